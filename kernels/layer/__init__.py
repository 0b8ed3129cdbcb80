"""Whole encoder layers in one dispatch, and the linear layers and the attention that they are made of."""
