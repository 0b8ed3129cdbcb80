"""Which way round a product of a batch is made is its plan's business: no op says it, no result shows it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import MATMUL_64X64, MATMUL_64X512, SMALL, SMALL_CONTEXT, SMALL_SCORES
from tests.support.ops import matmuls, random_inputs
from whisper_npu.dtypes import F32
from whisper_npu.kernels.gemm.kernel import (
    HEADS,
    Gemm,
    GemmContract,
    padded_gemm,
)
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, TiledMatmul, tiled_plan
from whisper_npu.npu.cost import modelled_plan_seconds
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import padded_to_tiles, tile_of
from whisper_npu.npu.planner import Choice
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Attention, Batched, Matmul
from whisper_npu.ops.op import BF16_NUMERICS, F64

KERNELS = (
    TiledMatmul(MATMUL_64X64),
    TiledMatmul(MATMUL_64X512),
    Gemm(NPU1, (96, 64, 48)),
    Gemm(NPU1, (64, 64, 64)),
)
sizes = st.integers(1, 2000)
batches = st.builds(Matmul, sizes, sizes, sizes, st.integers(2, 8), st.sampled_from(list(Batched)))


def plan_of(kernel: Kernel, op: Matmul) -> MatmulPlan:
    plan = kernel.plan(op)
    assert isinstance(plan, MatmulPlan)
    return plan


def seconds_of(kernel: Kernel, op: Matmul) -> tuple[float, float]:
    """The middle of what is modelled, as it stands and transposed."""
    both = []
    for transposed in (False, True):
        if isinstance(kernel, TiledMatmul):
            contract = kernel.only
        else:
            assert isinstance(kernel, Gemm)
            contract = padded_gemm(NPU1, op, kernel.core_tile, transposed=transposed)
        plan = tiled_plan(op, contract, transposed=transposed, run_list=NPU1.run_list)
        both.append(modelled_plan_seconds(plan, NPU1.profile).middle)
    return both[0], both[1]


def by_walking(plan: MatmulPlan, a: F32, b: F32) -> F64:
    """What the dispatches add up to, in float64: the plan, and nothing else, says what is multiplied."""
    x, y = (
        padded_to_tiles(matrix, layout).astype(np.float64)
        for matrix, layout in zip(plan.turned((a, b)), plan.inputs, strict=True)
    )
    (c,) = plan.outputs
    result = np.zeros((c.batch, *c.padded))
    for left, right, to in plan.walk():
        tile_of(result, c, to)[:] += tile_of(x, plan.a, left) @ tile_of(y, plan.b, right)
    return result[:, : c.rows, : c.cols].reshape(c.shape)


@given(matmuls, st.booleans(), st.integers(0, 99))
def test_a_plan_makes_its_op_either_way_round(op: Matmul, transposed: bool, seed: int) -> None:
    a, b = random_inputs(op, seed)
    plan = tiled_plan(op, SMALL, transposed=transposed)
    assert plan.op == op
    assert plan.problem == (op.transposed if transposed else op)
    turned = plan.turned((a, b))
    assert [x.shape for x in turned] == [layout.shape for layout in plan.inputs]
    assert all(np.shares_memory(x, y) for x, y in zip(turned, (b, a) if transposed else (a, b), strict=True))
    result = by_walking(plan, a, b)
    back = plan.turned_back(result)  # type: ignore[arg-type]
    assert np.shares_memory(back, result)
    np.testing.assert_allclose(back, op.reference(a, b)[0], rtol=1e-9, atol=1e-12)


@given(batches, st.sampled_from(KERNELS))
def test_the_way_round_is_the_cheaper_one(op: Matmul, kernel: Kernel) -> None:
    upright, turned = seconds_of(kernel, op)
    plan = plan_of(kernel, op)
    seconds = modelled_plan_seconds(plan, NPU1.profile).middle
    assert seconds == pytest.approx(min(upright, turned), rel=1e-12)
    if upright == turned and op.batched is Batched.CONTEXT:
        assert not plan.transposed


@given(sizes, st.integers(1, 2000), st.integers(2, 8), st.sampled_from(KERNELS))
def test_scores_that_cost_the_same_come_as_the_context_takes_them(
    n_ctx: int, d_head: int, n_head: int, kernel: Kernel
) -> None:
    attention = Attention(n_ctx, n_head * d_head, n_head)
    upright, turned = seconds_of(kernel, attention.scores)
    scores, context = plan_of(kernel, attention.scores), plan_of(kernel, attention.context)
    if upright == turned:
        assert scores.transposed == context.transposed


@given(sizes, sizes, sizes, st.sampled_from(list(Batched)), st.sampled_from(KERNELS))
def test_a_single_product_is_never_turned(M: int, K: int, N: int, batched: Batched, kernel: Kernel) -> None:
    plan = plan_of(kernel, Matmul(M, K, N, batched=batched))
    assert not plan.transposed
    assert plan.problem == plan.op


@given(batches, st.sampled_from(KERNELS))
def test_a_planners_plan_is_submitted_in_the_targets_lists(op: Matmul, kernel: Kernel) -> None:
    plan = plan_of(kernel, op)
    assert plan.run_list == NPU1.run_list == 25
    assert plan.submissions == -(-plan.dispatches // 25)
    assert tiled_plan(op, MATMUL_64X64).run_list == 1


# --- n_ctx = d_head: two products of one shape --------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 64, 100])
@pytest.mark.parametrize("tile", [(96, 64, 48), (64, 64, 64), (16, 64, 128)])
def test_scores_and_context_of_one_shape_share_a_kernel(size: int, tile: tuple[int, int, int]) -> None:
    attention = Attention(size, 3 * size, 3)
    scores, context = (plan_of(Gemm(NPU1, tile), op) for op in (attention.scores, attention.context))
    assert isinstance(scores.contract, GemmContract)
    assert isinstance(context.contract, GemmContract)
    assert scores.contract.batch_layout == context.contract.batch_layout == HEADS
    assert scores.contract == context.contract
    assert scores.transposed == context.transposed


@pytest.mark.parametrize("size", [16, 64, 100, 1500])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_scores_and_context_that_cost_the_same_either_way_stay_as_they_stand(
    kernel: Kernel, size: int
) -> None:
    attention = Attention(size, 3 * size, 3)
    for op in (attention.scores, attention.context):
        upright, turned = seconds_of(kernel, op)
        assert upright == turned
        assert not plan_of(kernel, op).transposed


@pytest.mark.parametrize("fidelity", Fidelity)
@pytest.mark.parametrize("kernel", ["auto", "64x64", "gemm_64x64x64"])
def test_scores_and_context_of_one_shape_are_run_and_recorded_as_what_they_are(
    fidelity: Fidelity, kernel: str
) -> None:
    op = Attention(16, 48, 3, masked=True)
    qkv, mask = random_inputs(op)
    y = np.full((16, 48), np.nan, np.float32)
    with Emulator(fidelity) as emulator:
        device = emulator.prepared([op], kernel)
        with device.recording() as recording:
            device.run(op, {"qkv": qkv, "mask": mask, "y": y})
    assert [run.name for run in recording.runs] == ["attention.scores", "attention.context"]
    assert [run.plan.op for run in recording.runs] == [op.scores, op.context]
    assert (np.abs(y - op.reference(qkv, mask)[0]) <= op.tolerance(BF16_NUMERICS, qkv, mask)[0]).all()


@pytest.mark.parametrize("fidelity", Fidelity)
@pytest.mark.parametrize(
    ("contract", "batched"), [(SMALL_SCORES, Batched.SCORES), (SMALL_CONTEXT, Batched.CONTEXT)]
)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_device_gives_the_op_and_not_its_transpose(
    fidelity: Fidelity, contract: MatmulContract, batched: Batched, transposed: bool
) -> None:
    op = Matmul(7, 11, 5, 3, batched)
    a, b = random_inputs(op)
    c = np.full((3, 7, 5), np.nan, np.float32)
    plan = tiled_plan(op, contract, transposed=transposed)
    with Emulator(fidelity) as emulator:
        device = emulator.prepared(kernel=Choice((TiledMatmul(contract),), plans={op: plan}))
        assert device.plan(op) == plan
        device.run(op, {"a": a, "b": b, "c": c})
    assert (np.abs(c - op.reference(a, b)[0]) <= op.tolerance(BF16_NUMERICS, a, b)[0]).all()
