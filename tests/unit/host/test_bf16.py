"""Rounding to bfloat16, against exact arithmetic on the bits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.dtypes import Rounding
from whisper_npu.host.bf16 import on_grid, to_bf16

f32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
one_array = st.lists(f32, min_size=1, max_size=50).map(lambda values: np.array(values, np.float32))


def neighbours(x: float) -> tuple[float, float]:
    """The two bf16 values around x, in float64: the definition, found by search."""
    grid = float(np.float32(x).astype(ml_dtypes.bfloat16))
    below = above = ml_dtypes.bfloat16(grid)
    if grid > x:
        below = np.nextafter(below, ml_dtypes.bfloat16(-np.inf))
    elif grid < x:
        above = np.nextafter(above, ml_dtypes.bfloat16(np.inf))
    return float(below), float(above)


@given(one_array)
def test_floor_takes_the_neighbour_below_and_toward_zero_the_one_nearer_zero(x: np.ndarray) -> None:
    floor, cut = on_grid(x, Rounding.FLOOR), on_grid(x, Rounding.TOWARD_ZERO)
    for value, f, c in zip(x.tolist(), floor.tolist(), cut.tolist(), strict=True):
        below, above = neighbours(value)
        assert f == below
        assert c == (below if value >= 0 else above)


@given(one_array)
def test_nearest_even_takes_the_nearer_neighbour(x: np.ndarray) -> None:
    for value, rounded in zip(x.tolist(), on_grid(x, Rounding.NEAREST_EVEN).tolist(), strict=True):
        below, above = neighbours(value)
        assert rounded in (below, above)
        if np.isfinite([below, above]).all():
            assert abs(rounded - value) == min(abs(below - value), abs(above - value))


def test_nearest_even_breaks_ties_to_the_even_neighbour() -> None:
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -1 - 2.0**-8], np.float32)
    assert on_grid(ties, Rounding.NEAREST_EVEN).tolist() == [1.0, 1 + 2.0**-6, -1.0]


@pytest.mark.parametrize("rounding", Rounding)
def test_what_is_not_a_number_stays_what_it_is(rounding: Rounding) -> None:
    payloads = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(to_bf16(payloads, rounding).astype(np.float32)).all()
    infinities = np.array([np.inf, -np.inf], np.float32)
    assert on_grid(infinities, rounding).tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("rounding", Rounding)
def test_no_rounding_errs_more_than_its_unit(rounding: Rounding) -> None:
    x = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    relative = np.abs(on_grid(x, rounding).astype(np.float64) - x) / np.abs(x)
    assert relative.max() <= rounding.unit
    assert relative.max() > 0.9 * rounding.unit  # the unit is not just some large number


@pytest.mark.parametrize("shape", [(7, 5), (301, 203)], ids=str)  # few, and as many as compiled loops take
@pytest.mark.parametrize("rounding", Rounding)
def test_strides_and_order_do_not_matter(rounding: Rounding, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    if rounding is Rounding.NEAREST_EVEN:
        assert np.array_equal(to_bf16(x, rounding), x.astype(ml_dtypes.bfloat16))
    assert np.array_equal(to_bf16(x.T, rounding), to_bf16(x, rounding).T)
    assert np.array_equal(to_bf16(x[::2, 1:], rounding), to_bf16(x, rounding)[::2, 1:])
