"""The compiled loops: that they are there, any strides, and what happens without a compiler."""

from __future__ import annotations

import os
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host import native
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.cxx import find_cxx
from whisper_npu.host.elementwise import softmax
from whisper_npu.host.rows import compiled, lie_in_rows

needs_compiler = pytest.mark.skipif(find_cxx(os.environ) is None, reason="no C++ compiler")


@pytest.fixture
def own_library_again() -> Iterator[None]:
    yield
    native._built.cache_clear()


@st.composite
def views(draw: st.DrawFn) -> tuple[F32, F32]:
    """Two arrays of one shape whose last axis is contiguous, the others in any order and with gaps."""

    def view(shape: tuple[int, ...], seed: int) -> F32:
        gaps = tuple(size + draw(st.integers(0, 3)) for size in shape)
        order = [*draw(st.permutations(range(len(shape) - 1))), len(shape) - 1]
        random = np.random.default_rng(seed)
        whole = (random.standard_normal([gaps[axis] for axis in order]) * 5).astype(np.float32)
        whole = whole.transpose(np.argsort(order))
        return whole[tuple(slice(0, size) for size in shape)]

    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    return view(shape, draw(st.integers(0, 2**32 - 1))), view(shape, 0)


@needs_compiler
@given(arrays=views())
def test_any_strides(arrays: tuple[F32, F32]) -> None:
    loops = compiled()
    assert loops is not None
    x, out = arrays
    whole = out.base if out.base is not None else out
    before = whole.copy()
    loops.round_to_bf16(x, out)
    assert np.array_equal(out, x.astype(ml_dtypes.bfloat16).astype(np.float32))
    out[...] = -np.inf
    written = np.isneginf(whole)
    assert np.array_equal(whole[~written], before[~written])  # nothing between the rows
    out[...] = x
    loops.softmax(out)
    wide = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    assert np.abs(out - wide / wide.sum(-1, keepdims=True)).max() < 1e-6


@needs_compiler
@given(bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_every_bit_pattern_is_rounded_as_ml_dtypes_does(bits: list[int]) -> None:
    loops = compiled()
    assert loops is not None
    x = np.array(bits, np.uint32).view(np.float32)
    out = np.empty_like(x)
    loops.round_to_bf16(x, out)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.array_equal(out, expected, equal_nan=True)
    assert np.array_equal(np.signbit(out)[~np.isnan(x)], np.signbit(x)[~np.isnan(x)])
    halves = np.empty((2, len(x) + 3), np.uint16)[:, :-3]
    loops.to_bf16(np.broadcast_to(x, halves.shape), halves)
    assert np.array_equal(halves.view(ml_dtypes.bfloat16).astype(np.float32), [out, out], equal_nan=True)


def test_what_does_not_lie_in_rows_is_left_to_numpy() -> None:
    x = np.ones((4, 6), np.float32)
    assert lie_in_rows(x, x[1:, 2:], x[::2], x[0])
    assert not lie_in_rows(x.T)
    assert not lie_in_rows(x.astype(np.float64))
    assert not lie_in_rows(x, x[:, ::2])
    assert not lie_in_rows(x[:0])
    scores = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    assert np.allclose(softmax(scores.copy(), -2), softmax(scores.T.copy(), -1).T, rtol=1e-6)
    doubles = np.array([[1.00390625, 3.0]])
    assert on_grid(doubles.astype(np.float32)[:, ::-1], Rounding.NEAREST_EVEN).tolist() == [[3.0, 1.0]]


@needs_compiler
@pytest.mark.skipif("avx512f" not in native.cpu_flags(), reason="registers of one width only")
@pytest.mark.usefixtures("own_library_again")
def test_registers_of_either_width(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((7, 45), 45, 45))
    polynomial = np.array([-0.01, 0.8], np.float32)

    def results() -> list[F32]:
        native._built.cache_clear()
        loops = compiled()
        assert loops is not None
        soft, bent, rounded, normed = (x.copy() for _ in range(4))
        loops.softmax(soft)
        loops.gelu(bent, polynomial)
        loops.round_to_bf16(rounded, rounded)
        loops.layer_norm(normed, weight, bias, 1e-5, normed)
        return [soft, bent, rounded, normed]

    own = results()
    monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "-mno-avx512f"))
    narrow = results()
    for wide, other in zip(own, narrow, strict=True):
        assert np.allclose(wide, other, rtol=1e-5, atol=1e-7)
