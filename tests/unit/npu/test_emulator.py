"""How the emulator holds operands and results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.contracts import ONE_PRODUCT_BF16, SMALL, SMALL_F32
from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.gemm import Blas, HostGemm, OperandForm, Side, blas, fastest
from whisper_npu.kernels.matmul.kernel import MatmulContract, tiled_plan
from whisper_npu.npu.device import Buffer, Value
from whisper_npu.npu.emulator.device import Emulator, Fidelity, form_of
from whisper_npu.ops import Linear, Matmul

CONTRACTS = SMALL, SMALL_F32, ONE_PRODUCT_BF16


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_both_operands_of_a_plan_are_multiplied_alike(contract: MatmulContract) -> None:
    plan = tiled_plan(Matmul(20, 30, 40), contract)
    a, b = form_of(plan.a), form_of(plan.b)
    assert (a.side, a.rows, a.cols, a.tile_k) == (Side.LHS, 20, 30, contract.k)
    assert (b.side, b.rows, b.cols, b.tile_k) == (Side.RHS, 30, 40, contract.k)
    assert a.dtype is b.dtype is contract.operand_dtype
    assert type(fastest(a)) is type(fastest(b))
    assert type(blas(a)) is Blas
    if contract is not SMALL:  # float32 operands, an odd k
        assert type(fastest(a)) is Blas


@pytest.mark.parametrize(("fidelity", "asked"), [(Fidelity.FAST, fastest), (Fidelity.EXACT, blas)])
def test_what_multiplies_is_asked_for_operands_only(fidelity: Fidelity, asked: object) -> None:
    plan = tiled_plan(Matmul(20, 30, 40), SMALL)
    forms: list[OperandForm] = []

    def gemm_of(form: OperandForm) -> HostGemm:
        forms.append(form)
        return blas(form)

    with Emulator(fidelity, gemm_of=gemm_of) as device:
        for layout in plan.layouts:
            device.alloc(layout)
    assert forms == [form_of(plan.a), form_of(plan.b)]
    with Emulator(fidelity) as device:
        assert device._gemm_of is asked


@given(rounding=st.sampled_from(Rounding), seed=st.integers(0, 99))
def test_operands_are_held_rounded_and_results_as_they_are(rounding: Rounding, seed: int) -> None:
    contract = MatmulContract("m", SMALL.target, 8, 12, 24, core_count=1, operand_rounding=rounding)
    plan = tiled_plan(Matmul(20, 30, 40, 2), contract)
    rng = np.random.default_rng(seed)
    with Emulator() as device:
        for layout in plan.layouts:
            x = rng.standard_normal(layout.shape).astype(np.float32)
            buffer = device.alloc(layout)
            buffer.write(x)
            expected = x if layout is plan.c else on_grid(x, rounding)
            assert np.array_equal(buffer.read(), expected)


@settings(max_examples=15)
@example(size=(64, 400), rows=[1, 1500], staged_for=1500)
@example(size=(64, 400), rows=[1500, 1], staged_for=1)
@given(
    size=st.sampled_from([(384, 1536), (64, 400), (64, 64)]),
    rows=st.lists(st.sampled_from([1, 64, 200, 1500]), min_size=2, max_size=3),
    staged_for=st.sampled_from([1, 200, 1500]),
)
def test_a_weight_staged_once_serves_any_number_of_rows_on_a_device_as_it_is(
    size: tuple[int, int], rows: list[int], staged_for: int
) -> None:
    """Alone, products of so different sizes would take kernels that read it in different ways."""
    K, N = size
    weight, bias = np.ones((K, N), np.float32), np.zeros(N, np.float32)
    with Emulator() as device:
        multiplied(device, rows[0], weight, bias)  # planned before anything is staged
        staged = device.stage(Linear(staged_for, K, N), weight)
        again = device.stage(Linear(1500, K, N), weight)
        for M in rows:
            for given in (staged, again, weight):
                assert (multiplied(device, M, given, bias) == K).all()


def multiplied(device: Emulator, M: int, weight: Value, bias: F32) -> F32:
    K, N = (weight.layout if isinstance(weight, Buffer) else weight).shape
    x, y = np.ones((M, K), np.float32), np.full((M, N), np.nan, np.float32)
    device.run(Linear(M, K, N), {"x": x, "weight": weight, "bias": bias, "y": y})
    return y
