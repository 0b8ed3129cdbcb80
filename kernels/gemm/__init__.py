"""Whole matrices in one dispatch, of any size and of any batch."""
