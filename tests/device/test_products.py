"""Products on every device: against float64, the published numerics, and with plans that are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.contracts import (
    CONTRACTS,
    MATMUL_64X64,
    MATMUL_64X64_BASELINE,
    MATMUL_64X512,
    NEAREST_BF16,
    NEAREST_FLOORED,
    ONE_PRODUCT_BF16,
    ONE_PRODUCT_FLOOR,
    SMALL,
    SMALL_BF16,
    SMALL_CONTEXT,
    SMALL_F32,
    SMALL_FLOOR,
    SMALL_SCORES,
)
from tests.support.products import Multiply
from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import PlanError
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, loop, tiled_plan
from whisper_npu.npu.device import KEPT_BUFFERS, Device, Stats, merged
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.plan import Loop
from whisper_npu.ops import Matmul

sizes = st.tuples(st.integers(1, 40), st.integers(1, 60), st.integers(1, 100))
small_contracts = st.sampled_from([SMALL, SMALL_BF16, SMALL_FLOOR, SMALL_F32])
seeds = st.integers(0, 2**32 - 1)


def operands(M: int, K: int, N: int, seed: int) -> tuple[F32, F32]:
    """Random, over several orders of magnitude."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((M, K)) * 10.0 ** rng.integers(-3, 3, (M, K))
    return a.astype(np.float32), rng.standard_normal((K, N)).astype(np.float32)


def integers(M: int, K: int, N: int, seed: int) -> tuple[F32, F32]:
    """Small enough for every sum to be exact: order and tiling cannot excuse a difference."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-8, 9, (M, K)), rng.integers(-8, 9, (K, N))
    return a.astype(np.float32), b.astype(np.float32)


def execute(device: Device, plan: MatmulPlan, a: F32, b: F32) -> tuple[F32, Stats]:
    """A plan executed as it stands, whatever the planner would have made."""
    device.load(plan.contract)
    buffers = device.alloc(plan.a), device.alloc(plan.b), device.alloc(plan.c)
    buffers[0].write(a)
    buffers[1].write(b)
    stats = device.execute(plan, buffers)
    return buffers[2].read(), stats


@given(size=sizes, contract=small_contracts, seed=seeds)
def test_a_product_is_within_its_contracts_tolerance_of_float64(
    device: Device, size: tuple[int, int, int], contract: MatmulContract, seed: int
) -> None:
    a, b = operands(*size, seed)
    c = Multiply(device, contract)(a, b, "test")
    error = np.abs(c - a.astype(np.float64) @ b.astype(np.float64))
    assert (error <= contract.tolerance(a, b)).all()


@settings(max_examples=6)
@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)
@given(M=st.integers(1, 200), K=st.integers(1, 200), N=st.integers(1, 700), seed=seeds)
def test_every_kernel_keeps_its_promise_at_its_own_size(
    device: Device, contract: MatmulContract, M: int, K: int, N: int, seed: int
) -> None:
    a, b = operands(M, K, N, seed)
    c = Multiply(device, contract)(a, b, "test")
    assert c.shape == (M, N)
    assert (np.abs(c - contract.reference(a, b)) <= contract.tolerance(a, b)).all()


@given(
    size=sizes,
    contract=st.sampled_from([SMALL, SMALL_F32, ONE_PRODUCT_BF16, ONE_PRODUCT_FLOOR]),
    seed=seeds,
)
def test_integer_products_are_exact(
    device: Device, size: tuple[int, int, int], contract: MatmulContract, seed: int
) -> None:
    a, b = integers(*size, seed)
    assert np.array_equal(Multiply(device, contract)(a, b, "test"), a @ b)


@given(size=sizes, contract=small_contracts, seed=seeds)
def test_fast_agrees_with_exact(size: tuple[int, int, int], contract: MatmulContract, seed: int) -> None:
    a, b = operands(*size, seed)
    exact = Multiply(Emulator(Fidelity.EXACT), contract)(a, b, "test")
    fast = Multiply(Emulator(Fidelity.FAST), contract)(a, b, "test")
    # fp32 sums in another order; where partial results are bf16, such a difference may tip each over an ulp.
    K = a.shape[1]
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64) * 1.02
    bound = 2 * K * 2.0**-24 * magnitude
    if contract.result_dtype is DType.BF16:
        bound += 2.0**-7 * magnitude
    assert (np.abs(fast.astype(np.float64) - exact) <= bound).all()


@given(size=sizes, contract=small_contracts)
def test_the_dispatches_recorded_are_those_planned(
    device: Device, size: tuple[int, int, int], contract: MatmulContract
) -> None:
    multiply = Multiply(device, contract)
    a, b = operands(*size, seed=0)
    multiply(a, b, "first")
    multiply(a, b, "first")
    multiply(a, multiply.stage(b), "second")
    plan = tiled_plan(Matmul(*size), contract)
    first, second = merged(multiply.take_runs())
    assert (first.name, first.stats.calls, second.name, second.stats.calls) == ("first", 2, "second", 1)
    assert first.stats.dispatches == 2 * plan.dispatches
    assert second.stats.dispatches == plan.dispatches
    assert first.stats.bytes_to_device == 2 * plan.bytes_to_device
    assert first.stats.bytes_from_device == 2 * plan.bytes_from_device
    assert multiply.take_runs() == ()


@pytest.mark.parametrize("contract", [SMALL_SCORES, SMALL_CONTEXT], ids=lambda c: c.name)
def test_heads_of_one_dispatch_lie_as_the_contract_says(device: Device, contract: MatmulContract) -> None:
    rng = np.random.default_rng(11)
    a = rng.integers(-8, 9, (contract.batch, 7, 11)).astype(np.float32)
    b = rng.integers(-8, 9, (contract.batch, 11, 23)).astype(np.float32)
    multiply = Multiply(device, contract)
    assert np.array_equal(multiply(a, b, "test"), a @ b)
    assert [run.stats.dispatches for run in multiply.take_runs()] == [1]


PROJECTION = Matmul(3001, 512, 512)
TRUNCATED_FLOORED = MATMUL_64X64_BASELINE


@pytest.mark.parametrize(
    ("contract", "max_error"),
    [
        (TRUNCATED_FLOORED, 0.01072),
        (NEAREST_FLOORED, 0.00631),
        (NEAREST_BF16, 0.00364),
        (MATMUL_64X64, 0.00274),
        (MATMUL_64X512, 0.00274),
    ],
    ids=["truncated-floored", "nearest-floored", "nearest-bf16", "nearest-f32", "64x512"],
)
def test_the_published_experiment_gives_its_published_errors(
    device: Device, contract: MatmulContract, max_error: float
) -> None:
    """The projection of the 163.7 s experiment: its own numerics, and what better roundings make of it."""
    r = np.random.RandomState(42)  # the experiment's own generator
    a = (r.randn(3001, 512) * 0.1).astype(np.float32)
    b = (r.randn(512, 512) * 0.1).astype(np.float32)
    c, _ = execute(device, tiled_plan(PROJECTION, contract), a, b)
    assert np.abs(c - a @ b).max() == pytest.approx(max_error, abs=1.5e-5)


# A right plan for (16,36)@(36,72) by SMALL: loops i 2, j 3, k 3.
RIGHT = tiled_plan(Matmul(16, 36, 72), SMALL)
I, J, K = RIGHT.loops  # noqa: E741
WRONG_PLANS = {
    "the last row of tiles missing": (Loop("i", 1, I.steps), J, K),
    "the last column of tiles missing": (I, Loop("j", 2, J.steps), K),
    "the last K tile missing": (I, J, Loop("k", 2, K.steps)),
    "every dispatch repeated": (loop("again", 2), I, J, K),
    "the first K tile thrice": (I, J, loop("k", 3)),
    "A stays where it is": (I, J, loop("k", 3, b=K.steps[1])),
    "B stays where it is": (I, J, loop("k", 3, a=K.steps[0])),
    "C lands in one column": (I, loop("j", 3, b=J.steps[1]), K),
    "a step of i is lost on A": (loop("i", 2, c=I.steps[2]), J, K),
    "the B tiles of a row taken for those of a column": (
        I,
        loop("j", 3, b=(1, 0), c=J.steps[2]),
        loop("k", 3, a=K.steps[0], b=(0, 1)),
    ),
}
OUTSIDE_PLANS = {
    "one row too many": (Loop("i", 3, I.steps), J, K),
    "a step of two": (I, J, loop("k", 3, a=(0, 2), b=(1, 0))),
    "backwards": (I, loop("j", 3, b=(0, -1), c=(0, 1)), K),
}


def test_the_right_plan_is_right(device: Device) -> None:
    a, b = integers(16, 36, 72, seed=1)
    c, stats = execute(device, RIGHT, a, b)
    assert np.array_equal(c, a @ b)
    assert stats.dispatches == RIGHT.dispatches == 18


@pytest.mark.parametrize("loops", WRONG_PLANS.values(), ids=WRONG_PLANS.keys())
def test_a_wrong_plan_gives_a_wrong_result(device: Device, loops: tuple[Loop, ...]) -> None:
    a, b = integers(16, 36, 72, seed=1)
    c, stats = execute(device, replace(RIGHT, loops=loops), a, b)
    assert not np.array_equal(c, a @ b)
    assert stats.dispatches == replace(RIGHT, loops=loops).dispatches


@pytest.mark.parametrize("loops", WRONG_PLANS.values(), ids=WRONG_PLANS.keys())
def test_both_fidelities_are_wrong_in_the_same_way(loops: tuple[Loop, ...]) -> None:
    a, b = integers(16, 36, 72, seed=2)
    plan = replace(RIGHT, loops=loops)
    exact, fast = (execute(Emulator(fidelity), plan, a, b)[0] for fidelity in Fidelity)
    assert np.array_equal(exact, fast, equal_nan=True)


@pytest.mark.parametrize("loops", OUTSIDE_PLANS.values(), ids=OUTSIDE_PLANS.keys())
def test_a_dispatch_outside_its_operand_raises(device: Device, loops: tuple[Loop, ...]) -> None:
    a, b = integers(16, 36, 72, seed=1)
    with pytest.raises(PlanError, match="which has"):
        execute(device, replace(RIGHT, loops=loops), a, b)


def test_a_tile_that_no_dispatch_writes_is_not_a_number(device: Device) -> None:
    a, b = integers(16, 36, 72, seed=1)
    c, _ = execute(device, replace(RIGHT, loops=(loop("i", 1), J, K)), a, b)
    assert np.isnan(c[8:]).all()
    assert np.array_equal(c[:8], (a @ b)[:8])


def test_another_order_of_the_same_dispatches_gives_the_same_result(device: Device) -> None:
    a, b = integers(16, 36, 72, seed=3)
    c, _ = execute(device, replace(RIGHT, loops=(K, J, I)), a, b)
    assert np.array_equal(c, a @ b)


def test_a_result_outlives_the_next_product(device: Device) -> None:
    multiply = Multiply(device, SMALL)
    a, b = integers(16, 36, 72, seed=4)
    first = multiply(a, b, "test")
    kept = first.copy()
    multiply(2 * a, b, "test")
    assert np.array_equal(first, kept)


def test_buffers_of_many_shapes_are_not_kept_for_ever(device: Device) -> None:
    multiply = Multiply(device, SMALL)
    for M in range(1, 4 * KEPT_BUFFERS):
        a, b = integers(M, 12, M, seed=M)
        assert np.array_equal(multiply(a, b, "test"), a @ b)
    assert len(multiply.device._buffers) == KEPT_BUFFERS


def test_a_staged_weight_serves_any_number_of_rows(device: Device) -> None:
    multiply = Multiply(device, SMALL)
    _, b = integers(1, 36, 72, seed=5)
    weight = multiply.stage(b)
    for M in (1, 7, 8, 9, 33):
        a, _ = integers(M, 36, 72, seed=M)
        assert np.array_equal(multiply(a, weight, "test"), a @ b)


def test_operands_may_be_views_of_any_stride(device: Device) -> None:
    multiply = Multiply(device, SMALL)
    a, b = integers(40, 50, 60, seed=6)
    assert np.array_equal(multiply(b.T, a.T, "test"), (a @ b).T)
    assert np.array_equal(multiply(a[::3, ::2], b[::2], "test"), a[::3, ::2] @ b[::2])


def test_padding_of_an_earlier_product_does_not_leak_into_a_smaller_one(device: Device) -> None:
    multiply = Multiply(device, SMALL)
    a, b = integers(16, 36, 72, seed=7)
    multiply(a, b, "test")
    a, b = integers(9, 25, 49, seed=8)  # the same grid of tiles, less of it filled
    assert np.array_equal(multiply(a, b, "test"), a @ b)


def test_inner_sizes_that_differ_are_refused(device: Device) -> None:
    with pytest.raises(PlanError, match=r"b of scores has shape \(4, 5\), must be \(3, 5\)"):
        Multiply(device, SMALL)(np.ones((2, 3), np.float32), np.ones((4, 5), np.float32), "scores")


def test_a_buffer_of_another_layout_is_refused(device: Device) -> None:
    other = tiled_plan(Matmul(16, 36, 96), SMALL)
    a, b, c = device.alloc(RIGHT.a), device.alloc(other.b), device.alloc(RIGHT.c)
    with pytest.raises(PlanError, match="B lies as"):
        device.execute(RIGHT, [a, b, c])


def test_operands_that_were_never_written_are_refused(device: Device) -> None:
    with pytest.raises(PlanError, match="never written"):
        device.execute(RIGHT, [device.alloc(layout) for layout in RIGHT.layouts])
