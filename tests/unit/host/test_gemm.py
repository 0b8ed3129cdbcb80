"""Both ways in which this CPU multiplies operands: what they hold, and every product, against float64."""

from __future__ import annotations

import os

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host import gemm as host_gemm
from whisper_npu.host import threads
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.cxx import find_cxx
from whisper_npu.host.gemm import Blas, HostGemm, OperandForm, Side, bf16_dot, blas, cpu_has_dot, fastest
from whisper_npu.host.threads import Threads

THREADS = Threads(2)
TILE_K = 12


def form(
    side: Side,
    rows: int,
    cols: int,
    rounding: Rounding = Rounding.NEAREST_EVEN,
    dtype: DType = DType.BF16,
    tile_k: int = TILE_K,
) -> OperandForm:
    return OperandForm(side, rows, cols, dtype, rounding, tile_k)


@pytest.fixture(params=["Blas", "Bf16Dot"], scope="module")
def gemm(request: pytest.FixtureRequest) -> HostGemm:
    if request.param == "Blas":
        return Blas()
    if not cpu_has_dot() or find_cxx(os.environ) is None:
        pytest.skip("no dot product of bf16 pairs here, or no compiler")
    dot = bf16_dot()
    assert dot is not None
    return dot


def of_any_stride(rng: np.random.Generator, draw: st.DrawFn, *shape: int) -> F32:
    """Numbers over several orders of magnitude, the axes in any order of memory and with gaps."""
    order = draw(st.permutations(range(len(shape))))
    gap = draw(st.sampled_from([1, 1, 2]))
    whole = rng.standard_normal([shape[axis] * gap for axis in order]) * 10.0 ** rng.integers(-3, 3)
    matrix = whole.astype(np.float32)[tuple(slice(None, None, gap) for _ in shape)]
    return matrix.transpose(np.argsort(order))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[F32, F32]:
    """A and B of a batch."""
    batch, M, K, N = (draw(st.integers(1, most)) for most in (3, 30, 70, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return of_any_stride(rng, draw, batch, M, K), of_any_stride(rng, draw, batch, K, N)


roundings = st.sampled_from(Rounding)


@given(operands=pairs(), rounding=roundings, block_bytes=st.sampled_from([1, 1000, 1 << 19]))
def test_what_is_packed_is_rounded_and_nothing_else(
    gemm: HostGemm, operands: tuple[F32, F32], rounding: Rounding, block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "BLOCK_BYTES", block_bytes)  # so that threads share in small ones too
        check_what_is_packed(gemm, operands, rounding)


def check_what_is_packed(gemm: HostGemm, operands: tuple[F32, F32], rounding: Rounding) -> None:
    for matrix, side, other in zip(operands, (Side.LHS, Side.RHS), (Side.RHS, Side.LHS), strict=True):
        _, rows, cols = matrix.shape
        own = form(side, rows, cols, rounding)
        expected = on_grid(matrix, rounding)
        packed = gemm.pack(np.full_like(matrix, np.nan, order="F"), own, THREADS, None)
        packed = gemm.pack(matrix, own, THREADS, packed)  # nothing is left of what was there before
        assert np.array_equal(gemm.unpack(packed, own), expected)
        turned = gemm.unpack(gemm.transposed(packed, own, THREADS), form(other, cols, rows, rounding))
        assert np.array_equal(turned, expected.swapaxes(1, 2))


@given(operands=pairs(), rounding=roundings, part=st.tuples(*[st.floats(0, 1)] * 3))
def test_a_product_of_any_part_is_the_sum_of_its_products(
    gemm: HostGemm, operands: tuple[F32, F32], rounding: Rounding, part: tuple[float, float, float]
) -> None:
    a, b = operands
    batch, M, K, N = *a.shape, b.shape[2]
    forms = form(Side.LHS, M, K, rounding), form(Side.RHS, K, N, rounding)
    packed = [gemm.pack(matrix, own, THREADS, None) for matrix, own in zip(operands, forms, strict=True)]
    first_row, first_col = int(part[0] * (M - 1)), int(part[1] * (N - 1))
    ks = slice(int(part[2] * (K - 1)) // TILE_K * TILE_K, K)  # whole tiles of k
    for index in range(batch):
        around = np.full((M - first_row + 2, N - first_col + 5), 7, np.float32)
        out = around[1:-1, 2 : 2 + N - first_col]
        gemm.multiply(packed[0][index, first_row:], packed[1][index], ks, slice(first_col, N), out)
        left, right = (on_grid(matrix[index], rounding).astype(np.float64) for matrix in operands)
        left, right = left[first_row:, ks], right[ks, first_col:]
        bound = (np.abs(left) @ np.abs(right)) * (K + 1) * 2.0**-23 + 1e-37
        assert (np.abs(out - left @ right) <= bound).all()
        columns = np.full((out.shape[1], 2 * out.shape[0]), 7, np.float32)
        strided = columns.T[::2]
        gemm.multiply(packed[0][index, first_row:], packed[1][index], ks, slice(first_col, N), strided)
        assert (np.abs(strided - left @ right) <= bound).all()
        out[...] = 7
        assert (around == 7).all()  # nothing beside it
        assert (columns.T[1::2] == 7).all()


@given(rows=st.integers(1, 9), K=st.integers(1, 70), rounding=roundings, seed=st.integers(0, 2**32 - 1))
def test_rows_are_packed_alike_wherever_they_go(
    gemm: HostGemm, rows: int, K: int, rounding: Rounding, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lhs = form(Side.LHS, rows, K, rounding)
    x = rng.standard_normal((rows, K)).astype(np.float32)
    apart = gemm.alloc_rows(rows, K, THREADS.scratch)
    apart.view(np.uint8)[:] = 0xFF  # NaN, in either form
    gemm.pack_rows(x, lhs, apart)
    own = gemm.pack_in_place(x.copy(), lhs)
    whole = gemm.pack(x[None], lhs, THREADS, None)[0]
    assert np.array_equal(apart, whole)
    assert np.array_equal(own, whole)
    eye = gemm.pack(np.eye(K, dtype=np.float32)[None], form(Side.RHS, K, K, rounding), THREADS, None)[0]
    for packed in (apart, own):
        out = np.empty((rows, K), np.float32)
        gemm.multiply(packed, eye, slice(0, K), slice(0, K), out)
        assert np.array_equal(out, on_grid(x, rounding))


def test_what_is_no_number_stays_none(gemm: HostGemm) -> None:
    a = np.array([[[1, np.nan], [np.inf, 1], [3e38, 3e38], [1, 2]]], np.float32)
    b = np.array([[[2, 0], [1, 1]]], np.float32)
    forms = form(Side.LHS, 4, 2), form(Side.RHS, 2, 2)
    left, right = (
        gemm.pack(matrix, own, THREADS, None)[0] for matrix, own in zip((a, b), forms, strict=True)
    )
    out = np.empty((4, 2), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        gemm.multiply(left, right, slice(0, 2), slice(0, 2), out)
        expected = a[0].astype(ml_dtypes.bfloat16).astype(np.float32) @ b[0]
    assert np.array_equal(out, expected, equal_nan=True)
    assert np.isnan(out[0]).all()
    assert out[1, 0] == out[2, 0] == np.inf


def test_both_operands_are_multiplied_alike() -> None:
    for dtype, tile_k in ((DType.BF16, TILE_K), (DType.F32, TILE_K), (DType.BF16, 1)):
        lhs, rhs = (
            form(side, rows, cols, dtype=dtype, tile_k=tile_k)
            for side, rows, cols in ((Side.LHS, 20, 30), (Side.RHS, 30, 40))
        )
        assert type(fastest(lhs)) is type(fastest(rhs))
        assert type(blas(lhs)) is type(blas(rhs)) is Blas
        if (dtype, tile_k) != (DType.BF16, TILE_K):  # float32 operands, an odd k
            assert type(fastest(lhs)) is Blas


def test_another_cpu_multiplies_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_gemm, "cpu_flags", lambda: ("fma", "avx2"))
    assert type(fastest(form(Side.LHS, 20, 30))) is Blas


def test_a_compiler_that_knows_no_dot_product_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_gemm, "cpu_flags", lambda: (host_gemm.CPU_FLAG,))
    monkeypatch.setattr(host_gemm, "library", lambda source: None)
    assert type(fastest(form(Side.LHS, 20, 30))) is Blas
