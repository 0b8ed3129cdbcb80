"""Tolerances of products: kept by both fidelities whatever the operands are, and reached within a tenth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.contracts import (
    MATMUL_64X64,
    MATMUL_64X64_BASELINE,
    SMALL,
    SMALL_BF16,
    SMALL_FLOOR,
    SMALL_PAIRS,
)
from tests.support.toy_target import TOY
from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.kernels.gemm.kernel import padded_gemm
from whisper_npu.kernels.matmul.kernel import MatmulContract, in_bf16, matmul_64x512_k, tiled_plan
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul, Numerics

LONG = Matmul(1, 2048, 1)
KINDS: dict[str, tuple[MatmulContract, Matmul]] = {
    "gemm": (padded_gemm(NPU1, LONG, (16, 64, 16)), LONG),
    "gemm of a bf16 result": (padded_gemm(NPU1, LONG, (16, 64, 16), DType.BF16), LONG),
    "K on the cores": (matmul_64x512_k(NPU1, 512), Matmul(1, 512, 1)),
    "tiled": (MATMUL_64X64, Matmul(1, 512, 1)),
    "tiled, of bf16 results": (in_bf16(MATMUL_64X64), Matmul(1, 512, 1)),
    "the baseline's": (MATMUL_64X64_BASELINE, Matmul(1, 512, 1)),
}
FP32_RESULTS = {name: kind for name, kind in KINDS.items() if kind[0].result_dtype is DType.F32}


def run(contract: MatmulContract, op: Matmul, a: F32, b: F32, fidelity: Fidelity = Fidelity.EXACT) -> F32:
    plan = tiled_plan(op, contract)
    with Emulator(fidelity) as device:
        buffers = [device.alloc(layout) for layout in plan.layouts]
        for buffer, x in zip(buffers, (a, b), strict=False):
            buffer.write(x)
        device.execute(plan, buffers)
        return buffers[-1].read()


def share(op: Matmul, numerics: Numerics, a: F32, b: F32, c: F32) -> float:
    """How much of the tolerance the worst element took."""
    (exact,), (bound,) = op.reference(a, b), op.tolerance(numerics, a, b)
    return float((np.abs(c - exact) / bound).max())


@pytest.mark.parametrize(("contract", "op"), KINDS.values(), ids=KINDS)
def test_operands_that_all_round_down_reach_the_tolerance(contract: MatmulContract, op: Matmul) -> None:
    """Each is as far as it can be from what it becomes, 1, and so is each partial result in bf16."""
    nearest = contract.operand_rounding is Rounding.NEAREST_EVEN
    a = np.full((1, op.K), 1 + 2.0**-8 if nearest else 1 + 2.0**-7 - 2.0**-23, np.float32)
    b = a.T.copy()
    k = min(contract.k, op.K)
    if contract.result_dtype is DType.BF16:  # the last product brings every sum to a tie, or next to k + ulp
        a[:, k - 1 :: k], b[k - 1 :: k] = 1, 1 + k * 2.0**-8 if nearest else 1 + k * 2.0**-7 - 2.0**-7
    assert 0.9 < share(op, contract.numerics, a, b, run(contract, op, a, b)) <= 1


@pytest.mark.parametrize(("contract", "op"), FP32_RESULTS.values(), ids=FP32_RESULTS)
def test_addends_that_are_all_lost_reach_the_tolerance_of_sums(contract: MatmulContract, op: Matmul) -> None:
    """Operands on the grid: 1, and then products of 2^-24, ties on the grid of 1, which become 0.

    Where the host adds, each further partial result is one such product. The rounding of a bf16 result would
    hide all of it.
    """
    a = np.full((1, op.K), 2.0**-12, np.float32)
    a[:, 0] = 1
    k = min(contract.k, op.K)
    a[:, k:] = np.where(np.arange(op.K - k) % k == 0, a[:, k:], 0)
    numerics = replace(contract.numerics, operand_unit=0.0)
    assert 0.9 < share(op, numerics, a, a.T.copy(), run(contract, op, a, a.T.copy())) <= 1


def test_the_tolerance_in_figures() -> None:
    """512 products of 1: (2^-7 + 2^-16) * 512 of operands, 512 / 2^24 * 512 of sums, and both multiplied."""
    ones = np.ones((1, 512), np.float32)
    (bound,) = Matmul(1, 512, 1).tolerance(Numerics(2.0**-8), ones, ones.T)
    assert bound[0, 0] == pytest.approx(4.02356, rel=1e-5)
    (bound,) = Matmul(1, 512, 1).tolerance(Numerics(0.0), ones, ones.T)
    assert bound[0, 0] == pytest.approx(512 * 512 * 2.0**-24, rel=1e-4)
    (bound,) = Matmul(1, 512, 1).tolerance(Numerics(0.0, partial_k=64), ones, ones.T)
    assert bound[0, 0] == pytest.approx(512 * 71 * 2.0**-24, rel=1e-4)


SMALL_TOY = replace(SMALL, name="matmul_8x24_toy", target=TOY)
SMALL_LONG = replace(SMALL, name="matmul_8x24_k40", k=40)
CONTRACTS = SMALL, SMALL_TOY, SMALL_LONG, SMALL_BF16, SMALL_FLOOR, SMALL_PAIRS


@st.composite
def products(draw: st.DrawFn) -> tuple[Matmul, F32, F32]:
    """Numbers of one size or of all sizes, what is subnormal in bf16 included, of which much may cancel."""
    op = Matmul(*(draw(st.integers(1, most)) for most in (12, 70, 30)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = draw(st.sampled_from([(0, 1), (-12, 12), (-70, -50), (-140, -120), (-140, 60)]))

    def matrix(*shape: int) -> F32:
        x = rng.standard_normal(shape) * 2.0 ** rng.integers(low, high, shape)
        return x.astype(np.float32)

    a, b = matrix(op.M, op.K), matrix(op.K, op.N)
    half = op.K // 2
    if draw(st.booleans()):
        a[:, half : 2 * half], b[half : 2 * half] = a[:, :half], -b[:half]
    if draw(st.booleans()):
        a, b = on_grid(a, Rounding.NEAREST_EVEN), on_grid(b, Rounding.NEAREST_EVEN)
    return op, a, b


@settings(max_examples=100)
@given(st.sampled_from(CONTRACTS), products(), st.booleans())
def test_both_fidelities_keep_the_tolerance_and_differ_by_no_more_than_it_allows(
    contract: MatmulContract, product: tuple[Matmul, F32, F32], on_grid_already: bool
) -> None:
    """`fast` adds over all of K where partial results are fp32."""
    op, a, b = product
    numerics = contract.numerics
    if on_grid_already and contract.operand_rounding is Rounding.NEAREST_EVEN:
        a, b = on_grid(a, Rounding.NEAREST_EVEN), on_grid(b, Rounding.NEAREST_EVEN)
        numerics = replace(numerics, operand_unit=0.0)
    fused = numerics if contract.result_dtype is DType.BF16 else replace(numerics, partial_k=None)
    (right,) = op.reference(a, b)
    (bound,), (bound_of_fast,) = op.tolerance(numerics, a, b), op.tolerance(fused, a, b)
    exact, fast = (run(contract, op, a, b, fidelity) for fidelity in (Fidelity.EXACT, Fidelity.FAST))
    assert (np.abs(exact - right) <= bound).all()
    assert (np.abs(fast - right) <= bound_of_fast).all()
    assert (np.abs(fast.astype(np.float64) - exact) <= bound + bound_of_fast).all()
