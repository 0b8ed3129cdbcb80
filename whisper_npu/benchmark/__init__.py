"""Benchmarks: one product by every strategy, one dispatch, the whole pipeline, word error rates."""
