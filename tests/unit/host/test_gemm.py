"""Both ways in which this CPU multiplies operands: what they hold, and every product, against float64."""

from __future__ import annotations

import os
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import ONE_PRODUCT_BF16, SMALL, SMALL_F32
from whisper_npu.host import gemm as cpu_gemm
from whisper_npu.host import threads
from whisper_npu.host.bf16 import F32, Rounding, on_grid
from whisper_npu.host.cxx import find_cxx
from whisper_npu.host.gemm import Blas, CpuGemm, bf16_dot, blas, cpu_has_dot, fastest
from whisper_npu.host.threads import Threads
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Problem, a_layout, b_layout, tiled_plan

THREADS = Threads(2)


@pytest.fixture(params=["Blas", "Bf16Dot"], scope="module")
def gemm(request: pytest.FixtureRequest) -> CpuGemm:
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
    """A and B of some heads."""
    heads, M, K, N = (draw(st.integers(1, most)) for most in (3, 30, 70, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return of_any_stride(rng, draw, heads, M, K), of_any_stride(rng, draw, heads, K, N)


roundings = st.sampled_from(Rounding)


@given(operands=pairs(), rounding=roundings, block_bytes=st.sampled_from([1, 1000, 1 << 19]))
def test_what_is_held_is_rounded_and_nothing_else(
    gemm: CpuGemm, operands: tuple[F32, F32], rounding: Rounding, block_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "BLOCK_BYTES", block_bytes)  # so that threads share in small ones too
        check_what_is_held(gemm, operands, replace(SMALL, operand_rounding=rounding))


def check_what_is_held(gemm: CpuGemm, operands: tuple[F32, F32], contract: Contract) -> None:
    rounding = contract.operand_rounding
    for matrix, layout_of in zip(operands, (a_layout, b_layout), strict=True):
        heads, rows, cols = matrix.shape
        layout = layout_of(contract, rows, cols, heads)
        expected = on_grid(matrix, rounding)
        held = gemm.hold(np.full_like(matrix, np.nan, order="F"), layout, THREADS, None)
        held = gemm.hold(matrix, layout, THREADS, held)  # nothing is left of what was there before
        assert np.array_equal(gemm.matrix(held, layout), expected)
        turned_layout = (b_layout if layout_of is a_layout else a_layout)(contract, cols, rows, heads)
        turned = gemm.matrix(gemm.transposed(held, layout, THREADS), turned_layout)
        assert np.array_equal(turned, expected.swapaxes(1, 2))


@given(operands=pairs(), rounding=roundings, part=st.tuples(*[st.floats(0, 1)] * 3))
def test_a_product_of_any_part_is_the_sum_of_its_products(
    gemm: CpuGemm, operands: tuple[F32, F32], rounding: Rounding, part: tuple[float, float, float]
) -> None:
    a, b = operands
    heads, M, K, N = *a.shape, b.shape[2]
    contract = replace(SMALL, operand_rounding=rounding)
    layouts = a_layout(contract, M, K, heads), b_layout(contract, K, N, heads)
    held = [
        gemm.hold(matrix, layout, THREADS, None) for matrix, layout in zip(operands, layouts, strict=True)
    ]
    first_row, first_col = int(part[0] * (M - 1)), int(part[1] * (N - 1))
    ks = slice(int(part[2] * (K - 1)) // 12 * 12, K)  # whole tiles of k
    for head in range(heads):
        around = np.full((M - first_row + 2, N - first_col + 5), 7, np.float32)
        out = around[1:-1, 2 : 2 + N - first_col]
        gemm.multiply(held[0][head, first_row:], held[1][head], ks, slice(first_col, N), out)
        left, right = (on_grid(matrix[head], rounding).astype(np.float64) for matrix in operands)
        left, right = left[first_row:, ks], right[ks, first_col:]
        bound = (np.abs(left) @ np.abs(right)) * (K + 1) * 2.0**-23 + 1e-37
        assert (np.abs(out - left @ right) <= bound).all()
        out[...] = 7
        assert (around == 7).all()  # nothing beside it


@given(rows=st.integers(1, 9), K=st.integers(1, 70), rounding=roundings, seed=st.integers(0, 2**32 - 1))
def test_rows_are_packed_alike_wherever_they_go(
    gemm: CpuGemm, rows: int, K: int, rounding: Rounding, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    contract = replace(SMALL, operand_rounding=rounding)
    layout = a_layout(contract, rows, K)
    x = rng.standard_normal((rows, K)).astype(np.float32)
    apart = gemm.room_for_rows(rows, K, THREADS.scratch)
    apart.view(np.uint8)[:] = 0xFF  # NaN, in either form
    gemm.pack_rows(x, layout, apart)
    own = gemm.pack_in_place(x.copy(), layout)
    whole = gemm.hold(x[None], layout, THREADS, None)[0]
    assert np.array_equal(apart, whole)
    assert np.array_equal(own, whole)
    eye = gemm.hold(np.eye(K, dtype=np.float32)[None], b_layout(contract, K, K), THREADS, None)[0]
    for packed in (apart, own):
        out = np.empty((rows, K), np.float32)
        gemm.multiply(packed, eye, slice(0, K), slice(0, K), out)
        assert np.array_equal(out, on_grid(x, rounding))


def test_what_is_no_number_stays_none(gemm: CpuGemm) -> None:
    a = np.array([[[1, np.nan], [np.inf, 1], [3e38, 3e38], [1, 2]]], np.float32)
    b = np.array([[[2, 0], [1, 1]]], np.float32)
    layouts = a_layout(SMALL, 4, 2), b_layout(SMALL, 2, 2)
    left, right = (
        gemm.hold(matrix, layout, THREADS, None)[0] for matrix, layout in zip((a, b), layouts, strict=True)
    )
    out = np.empty((4, 2), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        gemm.multiply(left, right, slice(0, 2), slice(0, 2), out)
        expected = a[0].astype(ml_dtypes.bfloat16).astype(np.float32) @ b[0]
    assert np.array_equal(out, expected, equal_nan=True)
    assert np.isnan(out[0]).all()
    assert out[1, 0] == out[2, 0] == np.inf


def test_both_operands_of_a_plan_are_multiplied_alike() -> None:
    for contract in (SMALL, SMALL_F32, ONE_PRODUCT_BF16):
        plan = tiled_plan(Problem(20, 30, 40), contract)
        assert type(fastest(plan.a)) is type(fastest(plan.b))
        assert type(fastest(plan.c)) is type(blas(plan.a)) is Blas
        if contract is not SMALL:  # float32 operands, an odd k
            assert type(fastest(plan.a)) is Blas


def test_another_cpu_multiplies_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_gemm, "cpu_flags", lambda: ("fma", "avx2"))
    assert type(fastest(a_layout(SMALL, 20, 30))) is Blas


def test_a_compiler_that_knows_no_dot_product_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_gemm, "cpu_flags", lambda: (cpu_gemm.CPU_FLAG,))
    monkeypatch.setattr(cpu_gemm, "library", lambda source: None)
    assert type(fastest(a_layout(SMALL, 20, 30))) is Blas
