"""Thousands of recordings, by several processes or machines."""
