"""A vmac to the bit: both forms against whole numbers and fractions, and points that others measured."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import copysign, frexp, inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whisper_npu.dtypes import F32
from whisper_npu.host import vmac
from whisper_npu.host.native import library
from whisper_npu.host.vmac import accumulate, accumulate_in_numpy

Accumulate = Callable[[F32, F32, F32, int], None]
SUBNORMAL = 2.0**-133  # the smallest that bf16 holds

needs_compiler = pytest.mark.skipif(library(vmac.SOURCE) is None, reason="no C++ compiler")
each_form = pytest.mark.parametrize(
    "form", [pytest.param(accumulate, marks=needs_compiler, id="compiled"), accumulate_in_numpy]
)


def one_vmac(accumulator: float, a: list[float], b: list[float]) -> float:
    """By the definition, in exact arithmetic."""
    if not all(map(isfinite, [accumulator, *a, *b])):
        with np.errstate(invalid="ignore"):
            return float(np.dot(np.array([accumulator, *a]), np.array([1.0, *b])))
    addends = [(Fraction(accumulator), exponent(accumulator))] if accumulator else []
    addends += [
        (Fraction(x) * Fraction(y), exponent(x) + exponent(y)) for x, y in zip(a, b, strict=True) if x and y
    ]
    if not addends:
        return 0.0
    grid = power_of_two(max(e for _, e in addends) - 23)
    total = sum(round(value / grid) for value, _ in addends) * grid  # round: ties to even
    if not total:
        return 0.0
    last_bit = power_of_two(frexp(abs(float(total)))[1] - 24)
    result = float(round(total / last_bit) * last_bit)
    return 0.0 if abs(result) < 2.0**-126 else result if abs(result) < 2.0**128 else inf * result


def exponent(x: float) -> int:
    return max(frexp(x)[1] - 1, -126)


def power_of_two(e: int) -> Fraction:
    return Fraction(2) ** e


def expected(c: F32, a: F32, b: F32, products: int) -> F32:
    """Element by element."""
    result = c.copy()
    for i, j in np.ndindex(c.shape):
        total = float(c[i, j])
        for at in range(0, a.shape[1], products):
            k = slice(at, at + products)
            total = one_vmac(total, a[i, k].tolist(), b[k, j].tolist())
        result[i, j] = total
    return result


def assert_same_bits(x: F32, y: F32) -> None:
    same = (x.view(np.uint32) == y.view(np.uint32)) | (np.isnan(x) & np.isnan(y))
    assert same.all(), (x[~same], y[~same])


def from_bits(bits: list[int]) -> list[float]:
    """What bf16 numbers hold."""
    held: list[float] = (np.array(bits, np.uint32) << np.uint32(16)).view(np.float32).tolist()
    return held


def dot(form: Accumulate, accumulator: float, a: list[float], b: list[float]) -> float:
    """One element of C, of one vmac."""
    c = np.full((1, 1), accumulator, np.float32)
    form(c, np.array([a], np.float32), np.array([b], np.float32).T, 8)
    return float(c[0, 0])


# As bf16 holds them: close together, far apart, subnormal, all there are, and those of infinity and NaN.
EXPONENTS = [(126, 128), (117, 137), (0, 3), (0, 60), (190, 254), (0, 254), (0, 255)]


@st.composite
def operands(draw: st.DrawFn) -> tuple[F32, F32, F32]:
    """C, A and B, in which much cancels: columns of B repeat with the sign changed."""
    M, K, N = (draw(st.integers(1, most)) for most in (5, 20, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = draw(st.sampled_from(EXPONENTS))

    def matrix(*shape: int) -> F32:
        exponents, signs = rng.integers(low, high + 1, shape), rng.integers(0, 2, shape)
        bits = signs << 15 | exponents << 7 | rng.choice([0, 1, 64, 127, 85], shape)
        bits[rng.random(shape) < 0.1] &= 0x8000
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)

    a, b = matrix(M, K), matrix(K, N)
    half = K // 2
    if draw(st.booleans()):
        a[:, half : 2 * half], b[half : 2 * half] = a[:, :half], -b[:half]
    c = np.zeros((M, N), np.float32)
    if draw(st.booleans()):
        c = matrix(M, N)
        c.view(np.uint32)[c != 0] |= np.uint32(rng.integers(0, 2**16))  # fp32 has more bits
    return c, a, b


@each_form
@settings(max_examples=60)
@given(operands(), st.sampled_from([8, 4]))
def test_every_sum_is_rounded_as_the_definition_says(
    form: Accumulate, given: tuple[F32, F32, F32], products: int
) -> None:
    c, a, b = given
    result = c.copy()
    form(result, a, b, products)
    assert_same_bits(result, expected(c, a, b, products))


@needs_compiler
@settings(max_examples=30)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 300), st.integers(1, 90)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(1, 60), (60, 180), (0, 255)]),
)
def test_both_forms_give_the_same_bits_for_any_size_and_stride(
    sizes: tuple[int, int, int], seed: int, exponents: tuple[int, int]
) -> None:
    M, K, N = sizes
    rng = np.random.default_rng(seed)

    def matrix(rows: int, cols: int) -> F32:
        bits = rng.integers(0, 2**16, (cols, 2 * rows)) & 0x807F
        bits |= rng.integers(*exponents, bits.shape) << 7
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).T[::2]

    a, b = matrix(M, K), matrix(K, N)
    wide = np.zeros((M, N + 3), np.float32)
    results = wide[:, :N], np.zeros((M, N), np.float32)
    accumulate(results[0], a, b, 8)
    accumulate_in_numpy(results[1], a, b, 8)
    assert_same_bits(*results)
    assert not wide[:, N:].any()


# Bits of A, of B, and of the sum, from the tests in github.com/FIM43-Redeye/xdna-emu,
# src/interpreter/execute/vector_matmul/bf16_pipeline.rs. The last is of the chip itself, the others are of
# the model that equals it.
PUBLISHED = {
    "8 times 1": ([0x3F80] * 8, [0x3F80] * 8, 0x4100_0000),
    "8 times -2 * 3": ([0xC000] * 8, [0x4040] * 8, 0xC240_0000),
    "the smallest normal numbers": ([0x0080] * 8, [0x0080] * 8, 0),
    "nothing": ([0] * 8, [0x3F80] * 8, 0),
    "a large one and what is lost beside it": (
        [0xEBD7, 0xB13B, 0x4F6C, 0x8D21, 0x6080, 0x39C6, 0x107E, 0xD6A6],
        [0x0802, 0x7B38, 0x6983, 0x2273, 0x33A8, 0x1130, 0xE493, 0x18EC],
        0x7971_87FF,
    ),
    "infinity times zero": (
        [0x8000, 0x8036, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000],
        [0x7F7F, 0x0000, 0x8037, 0x8004, 0x0029, 0x806A, 0xF349, 0x7F80],
        0x7F80_0001,
    ),
}


@each_form
@pytest.mark.parametrize(("a", "b", "bits"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_points(form: Accumulate, a: list[int], b: list[int], bits: int) -> None:
    wanted = np.array([bits], np.uint32).view(np.float32)
    assert_same_bits(np.array([dot(form, 0.0, from_bits(a), from_bits(b))], np.float32), wanted)


@each_form
def test_of_2_to_the_30_its_negative_and_1_nothing_remains(form: Accumulate) -> None:
    """No order of IEEE additions of the three gives 0."""
    big = 2.0**15
    assert dot(form, 0.0, [big, big, 1, 0, 0, 0, 0, 0], [big, -big, 1, 0, 0, 0, 0, 0]) == 0
    assert dot(form, 1.0, [big, big], [big, -big]) == 0
    assert dot(form, 2.0**30, [big, 1], [-big, 1]) == 0
    assert dot(form, 2.0**30, [big, 128], [-big, 1]) == 128  # 2^7 is on the grid of 2^30
    assert dot(form, 2.0**30, [big, 64], [-big, 1]) == 0  # a tie, and 0 is even
    assert dot(form, 2.0**30, [big, 64, 64], [-big, 1, 1]) == 0
    assert dot(form, 2.0**30, [big, 64.5], [-big, 1]) == 128


@each_form
def test_a_products_exponent_is_the_sum_of_its_factors(form: Accumulate) -> None:
    """1.75 * 1.75 is above 3, and yet counts as if it were below 2: the grid stays finer."""
    tie = 2.0**-24
    assert dot(form, 0.0, [1.75, tie], [1.75, 1]) == 3.0625
    assert dot(form, 0.0, [1.75, tie], [1.75, 3]) == 3.0625 + 2.0**-22
    # An accumulator of 3.0625 is normalised, and its grid twice as coarse.
    assert dot(form, -3.0625, [1.75, tie], [1.75, 1.5]) == 0
    assert dot(form, -3.0625, [1.75, tie], [1.75, 3]) == 2.0**-22


@each_form
def test_a_subnormal_number_counts_with_the_smallest_normal_exponent(form: Accumulate) -> None:
    """So that its products coarsen the grid by up to 7 bits."""
    lost = 2.0**-49 * 0.75
    assert dot(form, 0.0, [SUBNORMAL, lost], [2.0**100, 1]) == 2.0**-33 + 2.0**-49
    assert dot(form, 0.0, [2.0**-126, lost], [2.0**93, 1]) == 2.0**-33 + lost
    assert dot(form, 2.0**-149, [1.0], [SUBNORMAL]) == 0


@each_form
def test_what_is_too_small_is_plus_zero_and_what_is_too_large_infinite(form: Accumulate) -> None:
    least, half = 2.0**-126, 2.0**-63
    assert dot(form, 0.0, [half], [half]) == least
    for sign in 1, -1:
        flushed = dot(form, 0.0, [sign * half], [half / 2])
        assert flushed == 0
        assert copysign(1, flushed) == 1
    # 24 bits hold 2^-126 - 2^-150, but no fp32 does; 2^-126 - 2^-151 is a tie.
    assert dot(form, 0.0, [half / 2, half / 2, -(2.0**-100)], [half, half, 2.0**-50]) == 0
    assert dot(form, 0.0, [half / 4] * 4 + [-(2.0**-100)], [half] * 4 + [2.0**-51]) == least
    assert dot(form, -0.0, [-0.0], [1.0]) == 0
    large = 2.0**127
    assert dot(form, large, [large], [1.0]) == inf
    assert dot(form, -large, [-large], [1.0]) == -inf
    assert dot(form, 0.0, [2.0**100, 2.0**100, 1.0], [2.0**100, -(2.0**100), 1.0]) == 0


@each_form
@example([inf, 1], [1, 1], inf)
@example([inf, inf], [1, -1], nan)
@example([inf, 0], [SUBNORMAL, 0], inf)
@example([0, 1], [inf, 1], nan)
@example([nan, 0], [0, 0], nan)
@example([1, 1], [1, -inf], -inf)
@given(st.just([1.0]), st.just([1.0]), st.just(1.0))
def test_what_is_not_finite_adds_as_ieee_says(
    form: Accumulate, a: list[float], b: list[float], wanted: float
) -> None:
    np.testing.assert_equal(dot(form, 0.0, a, b), wanted)
    np.testing.assert_equal(dot(form, inf, a, b), nan if wanted == -inf else wanted + inf)


@each_form
def test_a_sum_that_overflows_stays_infinite_and_leaves_its_neighbours_alone(form: Accumulate) -> None:
    a = np.full((3, 16), 2.0**63, np.float32)
    b = np.full((16, 20), 1.0, np.float32)
    b[:8, 7] = 2.0**63
    c = np.zeros((3, 20), np.float32)
    form(c, a, b, 8)
    assert (c[:, 7] == inf).all()
    assert (np.delete(c, 7, axis=1) == 2.0**67).all()
