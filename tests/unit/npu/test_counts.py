"""The emulator counts what it executes, and executes what the plan says, the heads of a batch included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import MATMUL_64X64, MATMUL_64X512, SMALL_CONTEXT, SMALL_PAIRS, SMALL_SCORES
from tests.support.ops import random_inputs
from whisper_npu.dtypes import F32
from whisper_npu.host.threads import Threads
from whisper_npu.kernels.gemm.kernel import gemm
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, TiledMatmul, loop, tiled_plan
from whisper_npu.npu.device import Stats
from whisper_npu.npu.emulator.blocks import RunLists
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.plan import Walk
from whisper_npu.npu.planner import Choice
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Attention, Batched, Linear, Matmul, Op
from whisper_npu.ops.op import BF16_NUMERICS

each_fidelity = pytest.mark.parametrize("fidelity", Fidelity)
PRODUCT = Matmul(1200, 500, 600)
IN_TILES = tiled_plan(PRODUCT, MATMUL_64X512, run_list=25)
LAYER = Linear(1200, 500, 600)
ATTENTION = Attention(300, 128, 2)


def run(fidelity: Fidelity, op: Op, *plans: MatmulPlan) -> tuple[F32, Stats]:
    """By these plans of the op's products."""
    inputs = random_inputs(op)
    (result,) = op.outputs
    y = np.full(result.shape, np.nan, np.float32)
    names = [operand.name for operand in op.inputs]
    choice = Choice((TiledMatmul(plans[0].kernel),), plans={plan.op: plan for plan in plans})
    with Emulator(fidelity, Threads(2)) as device:
        given = dict(zip(names, inputs, strict=True)) | {result.name: y}
        return y, device.prepared(kernel=choice).run(op, given)


def counted(stats: Stats) -> tuple[int, int]:
    return stats.dispatches, stats.submissions


@each_fidelity
@pytest.mark.parametrize(
    "plan",
    [
        IN_TILES,
        tiled_plan(PRODUCT, MATMUL_64X64),
        tiled_plan(PRODUCT, gemm(NPU1, 1536, 512, 768), run_list=25),
        tiled_plan(Matmul(30, 40, 50), SMALL_PAIRS, run_list=3),
        tiled_plan(Matmul(7, 11, 5, 3), SMALL_SCORES),
        tiled_plan(Matmul(7, 11, 5, 3, Batched.CONTEXT), SMALL_CONTEXT, transposed=True),
    ],
    ids=lambda plan: plan.contract.name,
)
def test_what_is_counted_is_what_was_planned(fidelity: Fidelity, plan: MatmulPlan) -> None:
    _, stats = run(fidelity, plan.op, plan)
    assert counted(stats) == (plan.dispatches, plan.submissions)
    assert stats.bytes_to_device == plan.bytes_to_device


def half_of_the_work(self: Threads, work: Callable[[Any], object], items: Sequence[Any]) -> None:
    for item in items[: len(items) // 2]:
        work(item)


@pytest.mark.parametrize(
    ("op", "plans"),
    [
        (PRODUCT, (IN_TILES,)),
        (LAYER, (IN_TILES,)),
        (
            ATTENTION,
            tuple(tiled_plan(op, MATMUL_64X64, run_list=25) for op in (ATTENTION.scores, ATTENTION.context)),
        ),
    ],
    ids=["product", "rows of a layer", "attention"],
)
def test_what_fast_leaves_out_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, op: Op, plans: tuple[MatmulPlan, ...]
) -> None:
    _, whole = run(Fidelity.FAST, op, *plans)
    assert counted(whole) == (sum(p.dispatches for p in plans), sum(p.submissions for p in plans))
    monkeypatch.setattr(Threads, "parallel_for", half_of_the_work)
    _, half = run(Fidelity.FAST, op, *plans)
    assert 0.4 * whole.dispatches < half.dispatches < 0.6 * whole.dispatches
    assert 0.4 * whole.submissions < half.submissions < 0.6 * whole.submissions


def test_what_exact_leaves_out_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk.__iter__

    def half(self: Walk) -> Iterator[tuple[list[int], ...]]:
        return (product for number, product in enumerate(walk(self)) if number % 2 == 0)

    monkeypatch.setattr(Walk, "__iter__", half)
    _, stats = run(Fidelity.EXACT, PRODUCT, IN_TILES)
    assert counted(stats) == (IN_TILES.dispatches // 2, -(-IN_TILES.dispatches // 2 // 25))


def test_a_run_list_goes_when_it_is_full_or_the_last() -> None:
    lists = RunLists(4)
    gone = []
    for dispatches in (3, 1, 6, 0):
        lists.add(dispatches)
        gone.append((lists.executed.dispatches, lists.executed.submissions))
    assert gone == [(0, 0), (4, 1), (8, 2), (8, 2)]
    assert lists.submit() == lists.submit() == lists.executed
    assert (lists.executed.dispatches, lists.executed.submissions) == (10, 3)


# --- A plan that takes head 0's B for every head ------------------------------------------------------------


def with_one_b(plan: MatmulPlan) -> MatmulPlan:
    head, *others = plan.loops
    a, b, c = head.steps
    assert (head.name, b) != ("head", (0, 0))
    return replace(plan, loops=(loop("head", head.count, a=a, c=c), *others))


@each_fidelity
@pytest.mark.parametrize(
    ("op", "contract"),
    [(Matmul(40, 30, 50, 3), MATMUL_64X64), (Matmul(7, 11, 5, 3), SMALL_SCORES)],
    ids=["tiles", "all heads in one dispatch"],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_every_head_gets_the_b_that_the_plan_names(
    fidelity: Fidelity, op: Matmul, contract: MatmulContract, transposed: bool
) -> None:
    plan = tiled_plan(op, contract, transposed=transposed)
    right, _ = run(fidelity, op, plan)
    wrong, _ = run(fidelity, op, with_one_b(plan))
    a, b = random_inputs(op)
    taken = (np.broadcast_to(a[:1], a.shape), b) if transposed else (a, np.broadcast_to(b[:1], b.shape))
    for c, inputs in ((right, (a, b)), (wrong, taken)):
        assert (np.abs(c - op.reference(*inputs)[0]) <= op.tolerance(BF16_NUMERICS, *inputs)[0]).all()


@each_fidelity
@pytest.mark.parametrize("product", ["scores", "context"])
def test_attention_is_wrong_where_a_plan_of_it_is(fidelity: Fidelity, product: str) -> None:
    plans = {
        name: tiled_plan(getattr(ATTENTION, name), MATMUL_64X64, run_list=25)
        for name in ("scores", "context")
    }
    inputs = random_inputs(ATTENTION)
    (exact,), (bound,) = ATTENTION.reference(*inputs), ATTENTION.tolerance(BF16_NUMERICS, *inputs)
    right, _ = run(fidelity, ATTENTION, *plans.values())
    assert (np.abs(right - exact) <= bound).all()
    wrong, _ = run(fidelity, ATTENTION, *(plans | {product: with_one_b(plans[product])}).values())
    first, second = np.split(np.abs(wrong - right), 2, axis=1)  # (n_ctx, d_head) of each head
    assert first.max() < 0.01  # roundings: a wrong plan runs by itself
    assert second.max() > 0.1


# --- A plan with as many dispatches as the whole product has, and others ------------------------------------


@each_fidelity
def test_steps_of_k_that_repeat_are_added_as_often_and_those_that_are_missing_are_not(
    fidelity: Fidelity,
) -> None:
    """Eight of eight: 0 1 1 2 5 6 6 7."""
    op = Matmul(40, 8 * 64, 50)
    right = tiled_plan(op, MATMUL_64X64)
    steps = [loop(f"k by {step}", 2, a=(0, step), b=(step, 0)) for step in (5, 1, 1)]
    wrong = replace(right, loops=(*right.loops[:2], *steps))
    assert wrong.dispatches == right.dispatches
    c, _ = run(fidelity, op, wrong)
    a, b = random_inputs(op)
    times = np.repeat([1, 2, 1, 0, 0, 1, 2, 1], 64).astype(np.float32)
    (exact,), (bound,) = op.reference(a * times, b), op.tolerance(BF16_NUMERICS, a * times, b)
    assert (np.abs(c - exact) <= bound).all()
