"""What a core of the layer kernels runs: layer.cc against NumPy to the bit, and both against float64."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erfc

from whisper_npu.dtypes import F32
from whisper_npu.host.cxx import find_cxx
from whisper_npu.host.vmac import accumulate
from whisper_npu.kernels.layer import numerics
from whisper_npu.kernels.layer.core import LAYER_CC
from whisper_npu.kernels.layer.numerics import (
    EXP2_ERROR,
    EXP2_SCALE,
    GELU_ERROR,
    MAGIC,
    START,
    STEP,
    attend,
    attended_block,
    centred,
    divided,
    exp2,
    finish,
    gelu,
    mac,
    normed,
    reciprocal,
    rounded,
    scaled,
    started,
    whole,
)
from whisper_npu.kernels.layer.phases import D_HEAD, KEYS, NUMBERS, TILE, UNIT, Number
from whisper_npu.kernels.verifier import Function, Functions, MemRef
from whisper_npu.kernels.verifier.core_functions import compiled, in_numpy
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import EPSILON, Activation

BF16 = ml_dtypes.bfloat16
Array = NDArray[Any]
F64 = NDArray[np.float64]
CORE = {function.name: function for function in LAYER_CC.functions(NPU1, ())}
DECLARED = [
    Function(name, tuple(MemRef(p.shape or (), p.dtype) for p in function.parameters), "layer.o")
    for name, function in CORE.items()
]
Make = Callable[[], Functions]


@cache
def with_compiler() -> Functions:
    return compiled(DECLARED, (LAYER_CC,), NPU1)


@cache
def without() -> Functions:
    return in_numpy(DECLARED, (LAYER_CC,), NPU1)


needs_compiler = pytest.mark.skipif(find_cxx(os.environ) is None, reason="no C++ compiler")
both = pytest.mark.parametrize(
    "make", [pytest.param(with_compiler, marks=needs_compiler), without], ids=["compiled", "numpy"]
)


def call(make: Make, name: str, *arguments: Array | int) -> list[Array]:
    """The arguments after a call: copies."""
    copies = [np.array(argument, np.int32 if isinstance(argument, int) else None) for argument in arguments]
    make().call(name, copies)
    return copies


def call_both(name: str, *arguments: Array | int) -> list[Array]:
    """The same, held to be equal to the bit with a compiler and without."""
    ours, theirs = call(with_compiler, name, *arguments), call(without, name, *arguments)
    for mine, other, parameter in zip(ours, theirs, CORE[name].parameters, strict=True):
        # Behind maxima and totals lie scores that only C++ keeps.
        part = slice(2 * TILE if name == "layer_attend" and parameter.name == "kept" else None)
        bits = [np.atleast_1d(array)[part].view(f"u{array.dtype.itemsize}") for array in (mine, other)]
        assert np.array_equal(*bits), f"{parameter.name} of {name}"
    return ours


# --- How objects lie, by the definition, element by element -------------------------------------------------


@cache
def places(height: int, width: int) -> NDArray[np.int64]:
    """Which element of a 64 x 64 matrix comes when, in micro-tiles of this size."""
    rows = [
        (i + y) * TILE + j + x
        for i in range(0, TILE, height)
        for j in range(0, TILE, width)
        for y in range(height)
        for x in range(width)
    ]
    return np.array(rows)


A, B, C = (4, 8), (8, 4), (4, 4)


def tiled(matrix: Array, micro_tile: tuple[int, int]) -> Array:
    return np.ascontiguousarray(matrix).ravel()[places(*micro_tile)].reshape(TILE, TILE)


def untiled(buffer: Array, micro_tile: tuple[int, int]) -> Array:
    matrix = np.empty(buffer.size, buffer.dtype)
    matrix[places(*micro_tile)] = buffer.ravel()
    return matrix.reshape(TILE, TILE)


def spread(matrix: Array) -> Array:
    """As the memtile spreads B: row 2 i + h becomes row i + 32 h."""
    return np.concatenate([matrix[0::2], matrix[1::2]])


def numbers_of(**of: int) -> NDArray[np.int32]:
    numbers = np.zeros(NUMBERS, np.int32)
    for name, value in of.items():
        numbers[Number[name]] = value
    return numbers


# --- Values -------------------------------------------------------------------------------------------------

KINDS = ["normal", "huge", "tiny", "any", "zeros", "equal", "both zeros", "offset"]


def values(kind: str, seed: int, *shape: int) -> F32:
    """Finite, below 2^100."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape).astype(np.float32)
    if kind == "any":
        bits = rng.integers(0, 2**32, shape) & 0x807F_FFFF | rng.integers(0, 227, shape) << 23
        return bits.astype(np.uint32).view(np.float32)
    made = {
        "normal": normal * np.float32(3),
        "huge": normal * np.float32(2.0**96),
        "tiny": normal * np.float32(2.0**-100),
        "zeros": np.zeros(shape),
        "equal": np.full(shape, normal.flat[0]),
        "both zeros": np.where(normal < 0, np.float32(-0.0), np.float32(0)),
        "offset": normal + np.float32(1000),
    }
    return made[kind].astype(np.float32)


seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(KINDS)
objects = settings(max_examples=15)


@needs_compiler
@objects
@given(kinds=st.tuples(kinds, kinds, kinds), seed=seeds, blocks=st.integers(1, 10), tile=st.integers(0, 25))
def test_products_and_epilogues_have_the_same_bits_in_numpy(
    kinds: tuple[str, str, str], seed: int, blocks: int, tile: int
) -> None:
    a, b = (values(kind, seed + i, TILE, TILE).astype(BF16) for i, kind in enumerate(kinds[:2]))
    sums, kept = values(kinds[2], seed + 2, UNIT), values(kinds[0], seed + 3, 640)
    for gelu_too in (0, 1):
        numbers, c = numbers_of(COLUMN_BLOCKS=blocks, GELU=gelu_too), np.zeros((TILE, TILE), BF16)
        call_both("layer_finish", sums, kept, numbers, c, tile)
        for half in (0, 1):
            call_both("layer_finish_f32", sums, kept, numbers, c, tile, half)
    if not {"huge", "any"} & {*kinds}:  # whose sums overflow
        call_both("layer_matmul", a, b, sums)
    call_both("layer_zero", sums)


@needs_compiler
@objects
@given(seed=seeds, blocks=st.integers(0, 10), words=st.integers(0, 256))
def test_headers_have_the_same_bits_in_numpy(seed: int, blocks: int, words: int) -> None:
    rng = np.random.default_rng(seed)
    told = rng.standard_normal(UNIT).astype(BF16)
    told[: 2 * NUMBERS] = rng.integers(0, 256, 2 * NUMBERS)
    told[2 * Number.COLUMN_BLOCKS : 2 * Number.COLUMN_BLOCKS + 2] = 0, blocks
    told[2 * Number.KEY_BLOCKS : 2 * Number.KEY_BLOCKS + 2] = divmod(words, 256)
    told[1312:2336] = rng.integers(0, 256, 1024)
    kept, mask = rng.standard_normal(640).astype(np.float32), rng.integers(-9, 9, 256).astype(np.int32)
    call_both("layer_header", tiled(told.reshape(TILE, TILE), B), numbers_of(), kept, mask)


masks = st.sampled_from([-1, -1, 0, 1, -(2**31), 0x0F0F_00FF, -2, 0x7FFF_FFFF]) | st.integers(
    -(2**31), 2**31 - 1
)
scales = st.sampled_from([0.0, 1e-30, 1e-3, 0.3, 3.0, 40.0])


@needs_compiler
@objects
@given(
    seed=seeds,
    kind=st.sampled_from(["normal", "equal", "both zeros"]),
    blocks=st.lists(st.tuples(masks, scales), min_size=1, max_size=5),
)
def test_attention_has_the_same_bits_in_numpy(seed: int, kind: str, blocks: list[tuple[int, float]]) -> None:
    """Each block of keys with a scale and a mask of its own: scores up to 1e4, the largest anywhere."""
    q = values(kind, seed, TILE, TILE).astype(BF16)
    c = np.zeros((TILE, TILE), BF16)
    for head in (0, 2):
        c = call_both("layer_query", tiled(q, A), c, head, 2)[1]
    rng = np.random.default_rng(seed)
    sums, kept = rng.standard_normal(UNIT).astype(np.float32), rng.standard_normal(640).astype(np.float32)
    sums, kept = call_both("layer_attend_start", sums, kept)
    for number, (mask, scale) in enumerate(blocks):
        kv = values(kind, seed + number, TILE, TILE)
        kv[:KEYS] *= np.float32(scale)
        words = np.full(256, mask, np.int32)
        _, _, sums, kept, *_ = call_both(
            "layer_attend", c, tiled(kv.astype(BF16), B), sums, kept, words, number
        )
    call_both("layer_attend_finish", sums, kept, c)


@needs_compiler
@objects
@given(seed=seeds, rise=st.sampled_from([1, 100, 101, 126, 127, 128, 254, 255, 256]))
def test_scores_far_apart_have_the_same_bits_in_numpy(seed: int, rise: int) -> None:
    """The maximum rises by as much from block to block; other keys are up to 150 below it.

    Each result of the first 32 is one key's, so that small weights show; the others are the first block's.
    """
    rng = np.random.default_rng(seed)
    q = np.zeros((TILE, TILE), BF16)
    q[:, 0] = 1
    c = call(without, "layer_query", tiled(q, A), np.zeros((TILE, TILE), BF16), 0, 0)[1]
    sums, kept = call(without, "layer_attend_start", np.zeros(UNIT, np.float32), np.zeros(640, np.float32))
    maximum = START
    for number in range(3):
        kv = np.zeros((TILE, TILE), np.float32)
        kv[:KEYS, 0] = number * rise - np.append(0, rng.integers(0, 300, KEYS - 1) / 2)
        kv[KEYS:] = np.tile(np.diag(1 + rng.random(KEYS)), (1, 2)) * np.repeat([1, number == 0], KEYS)
        every = np.full(256, -1, np.int32)
        _, _, sums, kept, *_ = call_both("layer_attend", c, tiled(kv.astype(BF16), B), sums, kept, every, 0)
        highest = whole(kv[:KEYS, 0].astype(BF16).astype(np.float32)).max()
        maximum = highest + numerics.HEADROOM if highest > maximum else maximum
        assert kept[0] * STEP - MAGIC == maximum


@needs_compiler
@objects
@given(
    seed=seeds,
    kinds=st.tuples(st.sampled_from([kind for kind in KINDS if kind not in {"huge", "any"}]), kinds),
    size=st.sampled_from([(64, 512), (384, 512), (512, 512), (768, 1024), (1280, 2048)]),
)
def test_rows_have_the_same_bits_in_numpy(seed: int, kinds: tuple[str, str], size: tuple[int, int]) -> None:
    """What a square of the first overflows is left out."""
    n_state, row = size
    a, b = (values(kind, seed + i, TILE, TILE // 2).view(BF16) for i, kind in enumerate(kinds))
    sums, kept, c = values(kinds[0], seed, UNIT), np.zeros(640, np.float32), np.zeros((TILE, TILE), BF16)
    numbers = numbers_of(N_STATE=n_state, ROW=row)
    for one in (2, 5):
        call_both("layer_rows_take", a, sums, one, 2)
        call_both("layer_rows_add", b, sums, numbers, one, 2)
        call_both("layer_rows_sum", sums, c, one % 2)
    call_both("layer_rows_normed", sums, kept, numbers, c)


# --- What each function is --------------------------------------------------------------------------------


@both
def test_a_header_tells_numbers_biases_and_the_mask(make: Make) -> None:
    told = np.zeros(UNIT, BF16)
    for number, value in ((Number.TILES, 12345), (Number.KEY_BLOCKS, 47), (Number.COLUMN_BLOCKS, 10)):
        told[2 * number : 2 * number + 2] = divmod(value, 256)
    high, low = np.arange(640) - 320, (np.arange(640) % 7) / 1024
    told[32:1312:2], told[33:1312:2] = high, low
    told[1312 : 1312 + 188] = np.arange(188)
    mask = np.full(256, 7, np.int32)
    _, numbers, kept, mask = call(
        make,
        "layer_header",
        tiled(told.reshape(TILE, TILE), B),
        numbers_of(),
        np.zeros(640, np.float32),
        mask,
    )
    assert numbers.tolist() == numbers_of(TILES=12345, KEY_BLOCKS=47, COLUMN_BLOCKS=10).tolist()
    assert np.array_equal(kept, (high.astype(BF16).astype(np.float32) + low).astype(np.float32))
    assert mask[:47].tobytes() == bytes(range(188))
    assert set(mask[47:].tolist()) == {7}  # not needed


@both
def test_a_tile_is_the_product_its_bias_and_gelu(make: Make) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, (TILE, TILE)).astype(BF16) for _ in range(2))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    (sums,) = call(make, "layer_zero", np.full(UNIT, np.nan, np.float32))
    for times in (1, 2):
        sums = call(make, "layer_matmul", tiled(a, A), tiled(b, B), sums)[2]
        assert np.array_equal(untiled(sums, C), times * exact)
    kept = rng.standard_normal(640).astype(np.float32)
    for tile in (0, 2, 4):
        bias = kept[tile % 3 * TILE :][:TILE]
        for activation, told in ((Activation.NONE, 0), (Activation.GELU, 1)):
            numbers, c = numbers_of(COLUMN_BLOCKS=3, GELU=told), np.zeros((TILE, TILE), BF16)
            of_bf16 = call(make, "layer_finish", sums, kept, numbers, c, tile)[3]
            expected = finish(2 * exact.astype(np.float32), bias, activation)
            assert np.array_equal(untiled(of_bf16, C).astype(np.float32), expected)
            part, columns = sums, []
            for half in (0, 1):
                part, _, _, c, *_ = call(make, "layer_finish_f32", part, kept, numbers, c, tile, half)
                columns.append(untiled(c, C).view(np.float32))
            assert np.array_equal(rounded(np.concatenate(columns, axis=1)), expected)
            assert not np.array_equal(rounded(columns[0]), columns[0])


@both
def test_a_core_keeps_the_queries_of_its_own_head(make: Make) -> None:
    q, before = (np.arange(2 * UNIT) % 251).astype(BF16).reshape(2, TILE, TILE)
    assert np.array_equal(call(make, "layer_query", tiled(q, A), before, 3, 2)[1], before)
    assert np.array_equal(call(make, "layer_query", tiled(q, A), before, 3, 3)[1], tiled(128 * q.T, B))


@both
def test_attention_of_64_queries_is_attend(make: Make) -> None:
    """Block by block, with the same bits: three blocks, the second masked whole, the third in part."""
    rng = np.random.default_rng(1)
    q, k, v = (rounded(rng.standard_normal((n, D_HEAD)).astype(np.float32)) for n in (TILE, 96, 96))
    counts = np.repeat([True, False, True], KEYS)
    counts[70:75] = False
    c = call(make, "layer_query", tiled(q.astype(BF16), A), np.zeros((TILE, TILE), BF16), 0, 0)[1]
    mask = np.zeros(256, np.int32)
    mask[:3] = np.packbits(counts, bitorder="little").view("<i4")
    sums, kept = call(make, "layer_attend_start", np.zeros(UNIT, np.float32), np.zeros(640, np.float32))
    for block in range(3):
        rows = slice(block * KEYS, (block + 1) * KEYS)
        kv = np.concatenate([k[rows], v[rows]]).astype(BF16)
        _, _, sums, kept, *_ = call(make, "layer_attend", c, tiled(kv, B), sums, kept, mask, block)
    c = call(make, "layer_attend_finish", sums, kept, c)[2]
    assert np.array_equal(untiled(c, C).astype(np.float32), attend(q, k, v, counts))


@both
def test_rows_come_are_added_to_and_leave_in_order(make: Make) -> None:
    """A unit is what the stream brings, number by number; of `added` only what counts is added."""
    rng = np.random.default_rng(2)
    unit, added = rng.standard_normal((2, UNIT)).astype(np.float32)
    numbers = numbers_of(N_STATE=384, ROW=512)
    sums = np.zeros(UNIT, np.float32)
    for one in range(8):  # those of other cores bring something else
        half = unit.reshape(2, -1)[one % 2] if one // 2 == 3 else np.float32(one)
        stream = np.broadcast_to(half, UNIT // 2).astype(np.float32).view(BF16).reshape(TILE, TILE)
        sums = call(make, "layer_rows_take", tiled(stream, A), sums, one, 3)[1]
    assert np.array_equal(sums, unit)
    for one in range(8):
        half = added.reshape(2, -1)[one % 2] if one // 2 == 1 else np.full(UNIT // 2, np.nan, np.float32)
        stream = spread(half.view(BF16).reshape(TILE, TILE))
        sums = call(make, "layer_rows_add", tiled(stream, B), sums, numbers, one, 1)[1]
    total = unit.copy().reshape(8, 512)
    total[:, :384] += added.reshape(8, 512)[:, :384]
    assert np.array_equal(sums, total.ravel())
    for half in (0, 1):
        c = call(make, "layer_rows_sum", sums, np.zeros((TILE, TILE), BF16), half)[1]
        assert untiled(c, C).tobytes() == total.ravel().reshape(2, -1)[half].tobytes()
    kept, c = np.zeros(640, np.float32), np.zeros((TILE, TILE), BF16)
    c = call(make, "layer_rows_normed", sums, kept, numbers, c)[3]
    assert np.array_equal(untiled(c, C).reshape(8, 512).astype(np.float32), normed(total, 384))


# --- GELU ---------------------------------------------------------------------------------------------------


def gelu_in_float64(x: F32) -> F64:
    wide = x.astype(np.float64)
    result: F64 = wide * 0.5 * erfc(-wide / np.sqrt(2))
    return result


def every_bf16() -> F32:
    """All that are finite."""
    found = np.arange(2**16, dtype=np.uint16).view(BF16).astype(np.float32)
    return found[np.isfinite(found)]


@pytest.mark.parametrize(
    "x",
    [
        every_bf16(),
        np.linspace(-6, 6, 400_001).astype(np.float32),
        np.geomspace(1e-30, 1, 9999).astype(np.float32),
    ],
    ids=["every bf16", "from -6 to 6", "small"],
)
def test_gelu_is_within_its_bound_of_float64(x: F32) -> None:
    reference = gelu_in_float64(x)
    error = np.abs(gelu(x) - reference)
    assert 0 < error.max() <= GELU_ERROR


def test_gelu_is_exact_far_from_0() -> None:
    x = every_bf16()
    x = x[np.abs(x) >= 4]
    assert np.array_equal(gelu(x), np.maximum(x, 0))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_gelu_of_whatever_is_finite_is_finite(x: float) -> None:
    (y,) = gelu(np.array([x], np.float32))
    assert np.isfinite(y)
    assert -0.172 <= y <= max(x, 0) + 2.0**-10


def test_small_numbers_keep_their_relative_error() -> None:
    """x / 2, as near as bf16 has it: the products with |x| see to that."""
    x = np.geomspace(1e-30, 1e-3, 5000).astype(np.float32)
    for sign in (1, -1):
        reference = gelu_in_float64(sign * x)
        assert (np.abs(gelu(sign * x) - reference) <= 2.0**-7 * np.abs(reference)).all()


# --- Powers of two, reciprocals -----------------------------------------------------------------------------


def error_of_exp2(t: F32) -> F64:
    found: F64 = exp2(t).astype(np.float64) / (EXP2_SCALE * 2.0 ** t.astype(np.float64)) - 1
    return found


def test_exp2_is_within_its_bound_of_float64() -> None:
    t = np.linspace(-125, 0.5, 400_001).astype(np.float32)
    error = error_of_exp2(t)
    assert 0.99 * EXP2_ERROR < -error.min() <= EXP2_ERROR
    assert 0.99 * EXP2_ERROR < error.max() <= EXP2_ERROR
    for maximum in (60.0, -1000.0, 12345.0):
        shifted = exp2(t[:4001] + np.float32(maximum), maximum)  # of sums that round
        assert (np.abs(shifted / exp2(t[:4001]) - 1) <= 2.0**-6).all()


def test_what_exp2_errs_hardly_adds_up_over_a_row() -> None:
    """Its errors are as often below as above: over evenly spread scores they nearly cancel."""
    error = error_of_exp2(np.linspace(-20, 0, 100_001).astype(np.float32))
    assert abs(error.mean()) < EXP2_ERROR / 20
    assert np.sqrt((error**2).mean()) < EXP2_ERROR / 2


def test_exp2_of_whole_numbers_is_the_same_power_times_a_constant_and_ends_in_0() -> None:
    t = -np.arange(200, dtype=np.float32)
    assert np.array_equal(exp2(t[:128]), exp2(t[:1]) * 2.0 ** t[:128].astype(np.float64))
    assert not exp2(t[129:]).any()
    assert not exp2(np.array([numerics.LOWEST]), START).any()
    between = exp2(np.linspace(-140, -125, 5001).astype(np.float32))
    assert (between >= 0).all()
    assert (between < 2.0**-123).all()


@given(seeds)
def test_scaling_is_exact_or_0(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = values("any", seed, 64)
    exponent = -rng.integers(0, 300, 64).astype(np.float32)
    exact = x.astype(np.float64) * 2.0 ** exponent.astype(np.float64)
    assert np.array_equal(scaled(x, exponent), np.where(np.abs(exact) < 2.0**-126, 0, exact))


def test_reciprocals_are_within_3_units_of_fp32() -> None:
    x = np.geomspace(2.0**-120, 2.0**120, 100_001).astype(np.float32)
    assert np.abs(reciprocal(x) * x.astype(np.float64) - 1).max() <= 3 * 2.0**-24


@given(seed=seeds, kind=st.sampled_from(["normal", "tiny", "any"]))
def test_a_vmac_errs_by_the_grid_of_the_largest_exponent_and_once_more(seed: int, kind: str) -> None:
    sums, a, b = (values(kind, seed + i, 64) for i in range(3))
    a, b = (np.where(np.abs(x) < 2.0**-126, np.float32(1), x) for x in (rounded(a), rounded(b)))
    product = a.astype(np.float64) * b
    exact, largest = sums + product, np.maximum(np.abs(sums), np.abs(product))
    error = np.abs(mac(sums, a, b) - exact)[np.abs(exact) < 2.0**127]
    assert (error <= (4 * 2.0**-24 * largest + 2.0**-126)[np.abs(exact) < 2.0**127]).all()


# --- Attention ----------------------------------------------------------------------------------------------


def softmax_in_float64(q: F32, k: F32, counts: NDArray[np.bool_]) -> F64:
    scores = q.astype(np.float64) @ k.astype(np.float64).T
    scores[:, ~counts] = -np.inf
    weights = 2.0 ** (scores - scores.max(axis=1, keepdims=True))
    result: F64 = weights / weights.sum(axis=1, keepdims=True)
    return result


def bf16_normals(seed: int, *shape: int) -> F32:
    return rounded(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def long_rows(case: str) -> tuple[F32, F32, F32]:
    """q, k, v of 40 queries and 1,500 keys."""
    q, k, v = bf16_normals(3, 40, D_HEAD), bf16_normals(4, 1500, D_HEAD), bf16_normals(5, 1500, D_HEAD)
    if case == "one dominant key":
        q, k[1234] = np.abs(q), 2
    elif case == "all keys equal":
        k[:] = k[0]
    elif case == "scores to 1e4":
        q = rounded(q * np.float32(400))
    elif case == "scores of 1e-30":
        q, k = rounded(q * np.float32(1e-15)), rounded(k * np.float32(1e-16))
    elif case == "scores of 0":
        q = q * np.float32(0)
    elif case == "rising":
        q, k = np.abs(q), np.sort(k, axis=0)
    return q, k, v


CASES = [
    "normal",
    "one dominant key",
    "all keys equal",
    "scores to 1e4",
    "scores of 1e-30",
    "scores of 0",
    "rising",
]


@pytest.mark.parametrize("case", CASES)
def test_long_rows_are_attended_as_in_float64(case: str) -> None:
    q, k, v = long_rows(case)
    counts = np.arange(1500) < 1490
    p = softmax_in_float64(q, k, counts)
    size = np.abs(q.astype(np.float64)) @ np.abs(k.astype(np.float64)).T
    if case == "scores to 1e4":
        assert size.max() > 1e4
    # Of a weight: what exp2 errs, twice, for totals have it too; what a score lacks, ten vmacs of it.
    of_weights = 2 * EXP2_ERROR + 10 * 1.25 * 2.0**-24 * size.max()
    bound = of_weights * (p @ np.abs(v)) + 2.0**-8 * np.abs(p @ v) + 2.0**-20
    error = np.abs(attend(q, k, v, counts) - p @ v)
    assert (error <= bound).all()


@pytest.mark.parametrize("case", CASES)
def test_softmax_rows_sum_to_1(case: str) -> None:
    """Totals are those of P as it is rounded, so a row of P / total lacks what fp32 rounds."""
    q, k, v = long_rows(case)
    counts = np.ones(1500, bool)
    _, totals, maximum = attended(q, k, v, counts)
    scores = np.zeros((len(q), len(k)), np.float32)
    accumulate(scores, q, k.T, 8)
    p = exp2(scores, maximum).astype(np.float64)
    weights = (p * reciprocal(totals)).astype(np.float32)
    assert np.abs(weights.sum(axis=1, dtype=np.float64) - 1).max() <= 2.0**-20
    in_bf16 = rounded(weights).astype(np.float64)
    assert np.abs(in_bf16.sum(axis=1) - 1).max() <= 2.0**-7
    assert np.array_equal(attend(q, k, np.ones_like(v), counts), np.ones_like(q))


def attended(
    q: F32, k: F32, v: F32, counts: NDArray[np.bool_], maximum: F32 | None = None
) -> tuple[F32, F32, F32]:
    """O, totals and maximum after all blocks. maximum: what the running one starts with."""
    o, totals, first = started(len(q))
    state = (o, totals, first if maximum is None else maximum)
    for at in range(0, len(k), KEYS):
        block = slice(at, at + KEYS)
        state = attended_block(q, k[block], v[block], counts[block], *state)
    return state


@pytest.mark.parametrize("case", CASES)
def test_a_running_maximum_gives_the_bits_of_one_that_is_known_beforehand(case: str) -> None:
    """O, totals, results: powers of two commute with every rounding that is not of numbers below 2^-126."""
    q, k, v = long_rows(case)
    counts = np.ones(1500, bool)
    o, totals, maximum = attended(q, k, v, counts)
    at_once = attended(q, k, v, counts, maximum)
    if case != "scores to 1e4":  # where weights of early keys come to nothing, sooner or later
        assert np.array_equal(o, at_once[0])
        assert np.array_equal(totals, at_once[1])
    assert np.array_equal(maximum, at_once[2])
    assert np.array_equal(divided(o, totals), divided(*at_once[:2]))
    scores = q.astype(np.float64) @ k.astype(np.float64).T
    above = maximum[:, 0] - scores.max(axis=1)
    assert ((above >= -0.51) & (above <= numerics.HEADROOM + 0.51)).all()


def test_weights_of_a_lower_maximum_are_those_of_a_higher_one_times_a_power_of_two() -> None:
    scores = np.linspace(-80, 0, 9999).astype(np.float32)
    for higher in (1, 7, 40):
        assert np.array_equal(exp2(scores, higher) * 2.0**higher, exp2(scores, 0.0))


@given(seed=seeds, keys=st.integers(1, 100))
@settings(max_examples=20)
def test_keys_that_do_not_count_change_nothing(seed: int, keys: int) -> None:
    """Whatever they hold, in whole blocks or in part; and a last block may be short."""
    rng = np.random.default_rng(seed)
    q, k, v = (
        bf16_normals(seed, 5, D_HEAD),
        bf16_normals(seed + 1, keys, D_HEAD),
        bf16_normals(seed + 2, keys, D_HEAD),
    )
    counts = rng.random(keys) < rng.choice([0.1, 0.5, 0.95])
    counts[rng.integers(keys)] = True
    other_k, other_v = k.copy(), v.copy()
    other_k[~counts], other_v[~counts] = 1e4, -1e4
    result = attend(q, k, v, counts)
    assert np.array_equal(result, attend(q, other_k, other_v, counts))
    p = softmax_in_float64(q, k, counts)
    assert (np.abs(result - p @ v) <= 3 * 2.0**-8 * (p @ np.abs(v)) + 2.0**-20).all()


def test_heads_are_attended_each_by_itself_and_no_key_gives_0() -> None:
    q, k, v = (
        bf16_normals(1, 3, 2, 40, D_HEAD),
        bf16_normals(2, 3, 2, 64, D_HEAD),
        bf16_normals(3, 3, 2, 64, D_HEAD),
    )
    counts = np.arange(64) != 9
    together = attend(q, k, v, counts)
    for head in np.ndindex(3, 2):
        assert np.array_equal(together[head], attend(q[head], k[head], v[head], counts))
    assert not attend(q, k, v, np.zeros(64, bool)).any()


def test_the_first_maximum_is_below_any_score_that_counts_and_above_those_that_do_not() -> None:
    """With what it is shifted by, it is a whole number that fp32 holds, as long as scores are below 2^15."""
    assert numerics.LOWEST - numerics.LEAST < START
    for n in (-START, numerics.MAGIC / 512, np.float32(0.0), START):
        assert (n + MAGIC) / STEP - MAGIC / STEP == n / STEP
        assert ((MAGIC + numerics.ONE) - n / STEP) + n / STEP == MAGIC + numerics.ONE
    scores = np.array([-(2.0**21), -1.5, -0.5, 0.5, 2.5, 2.0**21 + 0.5], np.float32)
    assert whole(scores).tolist() == [-(2.0**21), -2, 0, 0, 2, 2.0**21]


# --- Rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_state", "row"), [(64, 512), (384, 512), (768, 1024), (1280, 2048)])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_rows_are_normalised_as_in_float64(n_state: int, row: int, offset: float) -> None:
    s = np.random.default_rng(n_state).standard_normal((40, row)).astype(np.float32) + np.float32(offset)
    s[7, :n_state] = offset
    s[8, 11] = 1000  # as streams of trained models have
    counted = s[:, :n_state].astype(np.float64)
    deviations = counted - counted.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((deviations**2).mean(axis=1, keepdims=True) + EPSILON)
    y = normed(s, n_state)
    assert not y[:, n_state:].any()
    # bf16; of the mean what fp32 sums lack; of the scale 2^-15
    bound = (2.0**-8 + 2.0**-14) * np.abs(deviations * scale) + 2.0**-20 * (1 + abs(offset)) * scale
    assert (np.abs(y[:, :n_state] - deviations * scale) <= bound).all()
    assert np.abs(centred(s, n_state)[1] / scale - 1)[np.arange(40) != 7].max() <= 2.0**-15
