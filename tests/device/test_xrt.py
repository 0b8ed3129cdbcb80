"""What concerns the NPU's device alone: how it uses pyxrt, and what it says when something fails.

By the public door, on a fake that is stricter than the real one (tests/support/fake_pyxrt).
"""

from __future__ import annotations

import errno
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import stand_in_kernels
from tests.support.contracts import (
    MATMUL_64X64,
    MATMUL_64X512,
    SMALL,
    SMALL_BF16,
    SMALL_CONTEXT,
    SMALL_F32,
    SMALL_NORM,
    SMALL_PAIRS,
    SMALL_SCORES,
)
from tests.support.fake_pyxrt import Counts, FakeXrt, Fault, Part
from tests.support.npu import opened_npu
from tests.support.products import Multiply
from whisper_npu.dtypes import F32
from whisper_npu.errors import (
    DeviceError,
    DeviceNotFoundError,
    DispatchError,
    KernelManifestError,
    KernelNotBuiltError,
    NoAnswerError,
    PlanError,
)
from whisper_npu.kernels.matmul.kernel import MatmulContract, TiledMatmul, tiled_plan
from whisper_npu.kernels.norm.kernel import NormOnRows, rows_in_blocks
from whisper_npu.npu import device as device_module
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Buffer, Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.planner import Choice
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.xrt.buffer import pyxrt_errors
from whisper_npu.ops import Attention, Direction, Linear, Matmul, Norm, Numerics, Op, Operand
from whisper_npu.ops import Part as PartOfOp

ROOT = Path(__file__).parents[2]
# The same product under many names: as many xclbins.
MANY = tuple(replace(SMALL, name=f"matmul_8x24_{i}", k=8 + 4 * i) for i in range(NPU1.hw_contexts + 2))
CONTRACTS = (SMALL, SMALL_BF16, SMALL_F32, SMALL_PAIRS, SMALL_SCORES, SMALL_CONTEXT, SMALL_NORM, *MANY)

LARGE = Matmul(80, 60, 240)  # 500 dispatches of SMALL


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


@pytest.fixture
def npu(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    with opened_npu(tmp_path, fake, CONTRACTS) as npu:
        yield npu


def operands(op: Matmul, seed: int = 0) -> tuple[F32, F32]:
    """Small integers: every sum is exact."""
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-8, 9, operand.shape).astype(np.float32) for operand in op.inputs)
    return a, b


def is_right(multiply: Multiply, op: Matmul, seed: int = 0) -> bool:
    a, b = operands(op, seed)
    return np.array_equal(multiply(a, b), a @ b)


def contract_of(multiply: Multiply) -> MatmulContract:
    assert multiply.device.choice is not None
    (contract,) = multiply.device.choice.contracts
    assert isinstance(contract, MatmulContract)
    return contract


def product_for(contract: MatmulContract, seed: int = 0) -> Matmul:
    """One that does not fill its tiles, of several dispatches where that may be."""
    if contract.batch_layout:
        return Matmul(contract.m - 1, contract.k - 1, contract.n - 1, contract.batch)
    return Matmul(2 * contract.m + 1 + seed % 3, contract.k + 1, contract.n + 3)


def execute(npu: Device, plan: Plan, inputs: tuple[F32, ...]) -> list[Buffer]:
    """By the door that a plan is handed in by; returns the buffers of the results."""
    npu.load(plan.contract)
    buffers = [npu.alloc(layout) for layout in plan.layouts]
    for buffer, matrix in zip(buffers, plan.turned(inputs), strict=False):
        buffer.write(matrix)
    npu.execute(plan, buffers)
    return buffers[len(plan.inputs) :]


# --- Products -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(70, 50, 130), (9, 200, 25)], ids=["", "an element in a corner"])
@pytest.mark.parametrize("contract", [SMALL, SMALL_BF16, SMALL_F32, SMALL_PAIRS], ids=lambda c: c.name)
def test_results_are_those_of_the_exact_emulator_bit_for_bit(
    npu: Device, contract: MatmulContract, sizes: tuple[int, int, int]
) -> None:
    M, K, N = sizes
    rng = np.random.default_rng(0)
    a = rng.standard_normal((M, K)).astype(np.float32)
    b = rng.standard_normal((K, N)).astype(np.float32)
    expected = Multiply(Emulator(Fidelity.EXACT), contract)(a, b)
    assert np.array_equal(Multiply(npu, contract)(a, b), expected)


@pytest.mark.parametrize("contract", [SMALL, SMALL_PAIRS, SMALL_CONTEXT], ids=lambda c: c.name)
def test_the_dispatches_reported_are_those_that_the_device_saw(
    npu: Device, fake: FakeXrt, contract: MatmulContract
) -> None:
    multiply = Multiply(npu, contract)
    fake.pop_counts()
    for seed in range(3):
        assert is_right(multiply, product_for(contract), seed)
        (run,) = multiply.take_runs()
        counts = fake.pop_counts()
        assert run.stats.dispatches == counts.dispatches == run.plan.dispatches
        assert run.stats.submissions == counts.single_runs == run.plan.submissions
        assert counts.bytes_from_device == run.stats.bytes_from_device


# --- Run lists ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_list", [1, 8, 25, 376])
@pytest.mark.parametrize("contract", [SMALL, SMALL_BF16, SMALL_PAIRS], ids=lambda c: c.name)
def test_a_plan_says_how_many_dispatches_are_submitted_together(
    npu: Device, fake: FakeXrt, contract: MatmulContract, run_list: int
) -> None:
    """All but the last of them in a run list, and the last by itself: it can be waited for with a timeout."""
    a, b = operands(LARGE)
    exact = Multiply(Emulator(Fidelity.EXACT), contract)(a, b)
    npu.load(contract)
    plan = tiled_plan(LARGE, contract, run_list=run_list)
    buffers = [npu.alloc(layout) for layout in plan.layouts]
    for buffer, matrix in zip(buffers, (a, b), strict=False):
        buffer.write(matrix)
    for _ in range(2):
        fake.pop_counts()
        stats = npu.execute(plan, buffers)
        counts = fake.pop_counts()
        assert counts.dispatches == stats.dispatches == plan.dispatches
        assert counts.single_runs == stats.submissions == plan.submissions
        whole, left = divmod(plan.dispatches, run_list)
        assert counts.lists == (whole if run_list > 1 else 0) + (left > 1)
        assert counts.syncs_from_device == plan.submissions
        assert counts.bytes_from_device == stats.bytes_from_device == plan.bytes_from_device
        assert np.array_equal(buffers[-1].read(), exact)


def test_plans_that_differ_in_run_lists_take_turns_on_one_kernel(npu: Device, fake: FakeXrt) -> None:
    a, b = operands(LARGE)
    for run_list in (25, 1, 376, 8, 25, 500, 2):
        fake.pop_counts()
        (c,) = execute(npu, tiled_plan(LARGE, SMALL, run_list=run_list), (a, b))
        assert np.array_equal(c.read(), a @ b)
        assert fake.pop_counts().single_runs >= -(-500 // run_list)


def test_dispatches_are_submitted_in_lists(npu: Device, fake: FakeXrt) -> None:
    multiply = Multiply(npu, SMALL)
    fake.pop_counts()
    assert is_right(multiply, LARGE)
    counts = fake.pop_counts()
    assert counts.dispatches == 500
    assert counts.lists == counts.single_runs == 500 / NPU1.run_list


# --- Several results ----------------------------------------------------------------------------------------

ROWS = Norm(
    2 * SMALL_NORM.rows + 1, SMALL_NORM.cols, residual=True
)  # three dispatches, the last nearly empty


def rows(seed: int = 0, op: Op = ROWS) -> tuple[F32, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(operand.shape).astype(np.float32) for operand in op.inputs)


def are_right(op: Op, inputs: tuple[F32, ...], results: list[F32]) -> bool:
    bounds = op.tolerance(Numerics(0.0), *inputs)
    return all(
        bool((np.abs(result - exact) <= bound).all())
        for result, exact, bound in zip(results, op.reference(*inputs), bounds, strict=True)
    )


@pytest.mark.parametrize("run_list", [1, 2, 25])
def test_a_kernel_may_have_several_results(npu: Device, fake: FakeXrt, run_list: int) -> None:
    npu.load(SMALL_NORM)
    plan = replace(rows_in_blocks(ROWS, SMALL_NORM), run_list=run_list)
    fake.pop_counts()
    for seed in range(3):
        inputs = rows(seed)
        results = execute(npu, plan, inputs)
        assert are_right(ROWS, inputs, [result.read() for result in results])
        counts = fake.pop_counts()
        assert counts.dispatches == 3
        assert counts.single_runs == plan.submissions
        assert counts.syncs_to_device == 3  # X, RESIDUAL, PARAMETERS
        assert counts.syncs_from_device == 2 * plan.submissions
        assert counts.bytes_from_device == plan.bytes_from_device


def test_an_op_with_several_results_runs_on_one_kernel(npu: Device, fake: FakeXrt) -> None:
    plan = rows_in_blocks(ROWS, SMALL_NORM)
    choice = Choice((TiledMatmul(SMALL),), on_rows=(NormOnRows(NPU1),), plans={ROWS: plan})
    view, inputs = npu.prepared([ROWS], choice), rows()
    results = [np.full(operand.shape, np.nan, np.float32) for operand in ROWS.outputs]
    values = {operand.name: value for operand, value in zip(ROWS.operands, (*inputs, *results), strict=True)}
    fake.pop_counts()
    stats = view.run(ROWS, values)
    assert stats.dispatches == fake.pop_counts().dispatches == 3
    assert are_right(ROWS, inputs, results)


def test_each_of_several_results_goes_where_it_is_wanted(npu: Device) -> None:
    """Written to where the caller says, or left where the array wrote it: whatever else runs."""
    op = Norm(SMALL_NORM.rows - 1, SMALL_NORM.cols, residual=True)  # one dispatch
    plan, inputs = rows_in_blocks(op, SMALL_NORM), rows(0, op)
    npu.load(SMALL_NORM)
    buffers = [npu.alloc(layout) for layout in plan.inputs]
    for buffer, matrix in zip(buffers, plan.turned(inputs), strict=True):
        buffer.write(matrix)
    given = np.full((2 * op.M, 2 * op.N), np.nan, np.float32)[::2, ::2]
    results = [npu.alloc(plan.outputs[0]), npu.alloc(plan.outputs[1], given)]
    npu.execute(plan, [*buffers, *results])
    assert results[1].read() is given
    kept = results[0].read()
    execute(npu, plan, rows(1, op))
    assert are_right(op, inputs, [kept, given])


def test_results_are_added_up_where_the_caller_wants_them(npu: Device) -> None:
    a, b = operands(LARGE)
    given = np.full((LARGE.N, LARGE.M), np.nan, np.float32).T
    npu.run(LARGE, {"a": a, "b": b, "c": given})
    assert np.array_equal(given, a @ b)
    prepared = npu.prepared([LARGE], SMALL)
    plan = prepared.plan(LARGE)
    assert plan is not None
    assert plan.dispatches == 500
    given[:] = np.nan
    prepared.run(LARGE, {"a": a, "b": b, "c": given})
    assert np.array_equal(given, a @ b)


def test_a_plan_that_leaves_out_a_tile_leaves_out_a_result(npu: Device) -> None:
    plan = tiled_plan(LARGE, SMALL)
    fewer = tuple(replace(loop, count=loop.count - 1) if loop.name == "j" else loop for loop in plan.loops)
    a, b = operands(LARGE)
    (c,) = execute(npu, replace(plan, loops=fewer), (a, b))
    right = LARGE.N - SMALL.n
    assert np.array_equal(c.read()[:, :right], (a @ b)[:, :right])
    assert np.isnan(c.read()[:, right:]).all()


def test_what_was_never_written_is_not_read(npu: Device) -> None:
    plan = tiled_plan(LARGE, SMALL)
    npu.load(SMALL)
    buffers = [npu.alloc(layout) for layout in plan.layouts]
    buffers[0].write(operands(LARGE)[0])
    with pytest.raises(PlanError, match="write every operand"):
        npu.execute(plan, buffers)
    with pytest.raises(PlanError, match="before anything was written"):
        buffers[2].read()
    with pytest.raises(PlanError, match="B lies as"):
        npu.execute(plan, [buffers[0], buffers[0], buffers[2]])


# --- Results that nobody keeps ------------------------------------------------------------------------------

HEADS = Attention(n_ctx=7, n_state=33, n_head=3)


def by_heads() -> Choice:
    """Scores and context in one dispatch each."""
    scores = replace(SMALL_SCORES, name="scores", m=7, k=11, n=7)
    context = replace(SMALL_CONTEXT, name="context", m=7, k=7, n=11)
    plans = {
        HEADS.scores: tiled_plan(HEADS.scores, scores),
        HEADS.context: tiled_plan(HEADS.context, context),
    }
    return Choice((TiledMatmul(SMALL),), plans=plans)


@pytest.fixture
def heads(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    contracts = [plan.contract for plan in by_heads().plans.values()]
    with opened_npu(tmp_path, fake, [SMALL, *contracts]) as npu:
        yield npu.prepared([HEADS], by_heads())


def lies_in_a_bo(array: NDArray[Any]) -> bool:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return hasattr(array.base, "bo")


def attention(device: Device, seed: int) -> F32:
    qkv = np.random.default_rng(seed).standard_normal((HEADS.n_ctx, 3 * HEADS.n_state)).astype(np.float32)
    y = np.full((HEADS.n_ctx, HEADS.n_state), np.nan, np.float32)
    device.run(HEADS, {"qkv": qkv, "y": y})
    return y


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[NDArray[Any]]]:
    """By the name of a value, what the host's ops were handed."""
    handed: dict[str, list[NDArray[Any]]] = {}
    run_on_host = device_module.run_on_host

    def watch(op: Op, values: dict[str, Any], threads: Any) -> None:
        for name, value in values.items():
            handed.setdefault(name, []).append(value)
        run_on_host(op, values, threads)

    monkeypatch.setattr(device_module, "run_on_host", watch)
    return handed


def test_scores_stay_where_the_array_wrote_them(heads: Device, host: dict[str, list[NDArray[Any]]]) -> None:
    exact = Emulator(Fidelity.EXACT).prepared([HEADS], by_heads())
    results = [attention(heads, seed) for seed in range(3)]
    assert [lies_in_a_bo(scores) for scores in host["scores"]] == [True] * 3
    assert [lies_in_a_bo(context) for context in host["context"]] == [True] * 3
    assert not any(map(lies_in_a_bo, results))
    expected = [attention(exact, seed) for seed in range(3)]
    assert all(map(np.array_equal, results, expected))  # nothing of a later one in an earlier one


def test_attention_that_fails_after_its_first_product(heads: Device, fake: FakeXrt) -> None:
    exact = Emulator(Fidelity.EXACT).prepared([HEADS], by_heads())
    attention(heads, 0)
    fake.inject(Fault.ERROR, at=2)
    with pytest.raises(DispatchError) as failure:
        attention(heads, 1)
    assert failure.traceback  # whose frames still hold the scores
    assert fake.dangling_views() == 0
    assert np.array_equal(attention(heads, 2), attention(exact, 2))


def test_what_was_left_in_a_bo_keeps_it(
    fake: FakeXrt, tmp_path: Path, host: dict[str, list[NDArray[Any]]]
) -> None:
    """Whoever looks at it sees numbers, after the device is closed too."""
    contracts = [plan.contract for plan in by_heads().plans.values()]
    with opened_npu(tmp_path, fake, [SMALL, *contracts]) as npu:
        attention(npu.prepared([HEADS], by_heads()), 0)
    del npu
    gc.collect()
    (scores,) = host["scores"]
    assert fake.dangling_views() == 0
    assert np.allclose(scores.sum(-1), 1)
    host.clear()
    del scores
    gc.collect()
    assert +fake.alive() == {}


@dataclass(frozen=True)
class TwoLayers(Op):
    """Two linear layers, one after the other."""

    name: str = field(default="two", compare=False)
    first = Linear(7, 11, 23)
    second = Linear(7, 23, 20)

    @property
    def operands(self) -> tuple[Operand, ...]:
        shapes = {"x": (7, 11), "w1": (11, 23), "b1": (23,), "w2": (23, 20), "b2": (20,)}
        given = (Operand(name, shape) for name, shape in shapes.items())
        return (*given, Operand("y", (7, 20), Direction.OUT))

    @property
    def macs(self) -> int:
        return self.first.macs + self.second.macs

    def lower(self) -> tuple[PartOfOp, ...]:
        return (
            PartOfOp(self.first, {"x": "x", "weight": "w1", "bias": "b1", "y": "middle"}),
            PartOfOp(self.second, {"x": "middle", "weight": "w2", "bias": "b2", "y": "y"}),
        )

    def reference(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        x, w1, b1, w2, b2 = (given.astype(np.float64) for given in inputs)
        return ((x @ w1 + b1) @ w2 + b2,)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        return (np.zeros((7, 20)),)


def test_rows_between_two_products_stay_there_too(npu: Device, host: dict[str, list[NDArray[Any]]]) -> None:
    op, rng = TwoLayers(), np.random.default_rng(0)
    inputs = [rng.integers(-1, 2, operand.shape).astype(np.float32) for operand in op.inputs]
    y = np.empty((7, 20), np.float32)
    values = {operand.name: given for operand, given in zip(op.inputs, inputs, strict=True)}
    view = npu.prepared([op], SMALL_F32)
    view.run(op, values | {"y": y})
    assert [lies_in_a_bo(rows) for rows in host["y"]] == [True, False]  # the last one is the caller's
    assert np.array_equal(y, op.reference(*inputs)[0])


# --- Views of one device ------------------------------------------------------------------------------------


def test_views_share_contexts_and_what_is_loaded(npu: Device, fake: FakeXrt) -> None:
    first = Multiply(npu, SMALL)
    assert is_right(first, LARGE)
    fake.pop_counts()
    second = Multiply(first.device, SMALL)
    assert is_right(second, LARGE)
    counts = fake.pop_counts()
    assert (counts.contexts, counts.runs, counts.dispatches) == (0, 0, 500)  # no known answer again


def test_contexts_are_closed_with_the_last_view(fake: FakeXrt, tmp_path: Path) -> None:
    npu = opened_npu(tmp_path, fake, [SMALL])
    view = Multiply(npu, SMALL)
    del npu
    gc.collect()
    assert fake.alive()["hw_context"] == 1
    assert is_right(view, LARGE)
    del view
    gc.collect()
    assert +fake.alive() == {}


# --- What is kept, what is moved ----------------------------------------------------------------------------


def test_only_what_changes_is_synced_and_weights_are_written_once(npu: Device, fake: FakeXrt) -> None:
    multiply = Multiply(npu, SMALL)
    _, b = operands(LARGE)
    fake.pop_counts()
    weight = multiply.stage(b)
    plan = tiled_plan(LARGE, SMALL)
    assert fake.pop_counts().bytes_to_device == plan.b.nbytes

    for round in range(5):
        a, _ = operands(LARGE, seed=round)
        assert np.array_equal(multiply(a, weight), a @ b)
        counts = fake.pop_counts()
        assert counts.bytes_to_device == plan.a.nbytes
        assert counts.bytes_from_device == plan.bytes_from_device
        if round:
            assert (counts.bos, counts.contexts) == (0, 0)


def test_nothing_is_made_anew_for_every_product(npu: Device, fake: FakeXrt) -> None:
    multiplies = [Multiply(npu, contract) for contract in (SMALL, SMALL_PAIRS, SMALL_SCORES)]
    for round in range(10):
        if round == 1:
            fake.pop_counts()
        for multiply in multiplies:
            assert is_right(multiply, product_for(contract_of(multiply)), seed=round)
    counts = fake.pop_counts()
    assert counts.lists > 0
    assert counts.bos == counts.runs == counts.runlists == counts.contexts == 0


def test_a_thousand_products_leave_nothing_behind(npu: Device, fake: FakeXrt) -> None:
    multiplies = [Multiply(npu, contract) for contract in (SMALL, SMALL_PAIRS, SMALL_CONTEXT, SMALL_F32)]

    def products(count: int) -> dict[str, int]:
        for i in range(count):
            multiply = multiplies[i % len(multiplies)]
            assert is_right(multiply, product_for(contract_of(multiply), seed=i), seed=i)
        gc.collect()
        return dict(fake.alive())

    before = products(50)
    assert products(1000) == before
    assert fake.dangling_views() == 0


def test_closing_gives_everything_back(fake: FakeXrt, tmp_path: Path) -> None:
    with opened_npu(tmp_path, fake, CONTRACTS) as npu:
        multiply = Multiply(npu, SMALL)
        assert is_right(multiply, LARGE)
        weight = multiply.stage(operands(LARGE)[1])
    alive = fake.alive()
    assert not any(alive[name] for name in ("hw_context", "kernel", "run", "runlist"))
    del multiply, weight, npu
    gc.collect()
    assert +fake.alive() == {}
    assert fake.dangling_views() == 0


def test_a_closed_device_opens_no_context_again(npu: Device, fake: FakeXrt) -> None:
    multiply = Multiply(npu, SMALL)
    npu.close()
    for use in (lambda: Multiply(npu, MANY[0]), lambda: is_right(multiply, LARGE)):
        with pytest.raises(DeviceError, match="the device was closed"):
            use()
    assert fake.alive()["hw_context"] == 0


def test_a_closed_buffer_is_gone_and_what_was_read_stays(npu: Device, fake: FakeXrt) -> None:
    multiply = Multiply(npu, SMALL)
    a, b = operands(LARGE)
    weight = multiply.stage(b)
    c = multiply(a, weight)
    before = fake.alive()["bo"]
    weight.close()
    gc.collect()
    assert fake.alive()["bo"] < before
    assert fake.dangling_views() == 0
    assert np.array_equal(c, a @ b)


# --- Contexts -----------------------------------------------------------------------------------------------


def test_contexts_stay_within_what_the_array_has(npu: Device, fake: FakeXrt) -> None:
    multiplies = [Multiply(npu, contract) for contract in MANY]
    for multiply in multiplies * 2:
        assert is_right(multiply, product_for(contract_of(multiply)))
        assert fake.alive()["hw_context"] <= NPU1.hw_contexts
    assert fake.pop_counts().contexts_refused == 0


def test_the_context_that_was_not_used_for_longest_makes_room(npu: Device, fake: FakeXrt) -> None:
    *first, last = (Multiply(npu, contract) for contract in MANY[: NPU1.hw_contexts])
    for multiply in (*first, last, first[0]):
        assert is_right(multiply, product_for(contract_of(multiply)))
    Multiply(npu, MANY[-1])
    fake.pop_counts()

    def contexts_made(multiply: Multiply) -> int:
        assert is_right(multiply, product_for(contract_of(multiply)))
        return fake.pop_counts().contexts

    assert contexts_made(first[0]) == 0
    assert contexts_made(first[1]) == 1


def test_contexts_that_others_hold_are_done_without(npu: Device, fake: FakeXrt, tmp_path: Path) -> None:
    Multiply(npu, MANY[0])
    device = fake.module.device(0)
    (uuid,) = fake.registered
    others = [fake.module.hw_context(device, fake.module.uuid(uuid)) for _ in range(NPU1.hw_contexts - 1)]
    assert is_right(Multiply(npu, MANY[1]), product_for(MANY[1]))  # in place of the one it had
    npu.close()
    others.append(fake.module.hw_context(device, fake.module.uuid(uuid)))
    with (
        opened_npu(tmp_path / "another program", fake, [MANY[2]]) as another,
        pytest.raises(DeviceError, match=f"{NPU1.hw_contexts} contexts for all programs"),
    ):
        Multiply(another, MANY[2])


def test_kernels_of_one_overlay_share_a_context(fake: FakeXrt, tmp_path: Path) -> None:
    with opened_npu(tmp_path / "npu", fake, ()) as npu:
        xclbin = stand_in_kernels.xclbin(*MANY)
        for contract in MANY:
            stand_in_kernels.write_kernel(tmp_path / "npu/kernels", contract, xclbin)
        for multiply in [Multiply(npu, contract) for contract in MANY] * 2:
            assert is_right(multiply, product_for(contract_of(multiply)))
        assert fake.pop_counts().contexts == 1


# --- Failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "answer"), [(Fault.ZEROS, "zeros"), (Fault.GARBAGE, "another result")])
@pytest.mark.parametrize("contract", [SMALL, SMALL_BF16, SMALL_PAIRS, SMALL_SCORES], ids=lambda c: c.name)
def test_a_kernel_that_computes_something_else_is_refused_before_it_is_used(
    npu: Device, fake: FakeXrt, fault: Fault, answer: str, contract: MatmulContract
) -> None:
    fake.inject(fault, lasting=True)
    for _ in range(2):
        fake.pop_counts()
        with pytest.raises(DispatchError) as caught:
            Multiply(npu, contract)
        assert fake.pop_counts().dispatches == 1  # the known product
        assert fake.alive()["hw_context"] == 0  # built again, it is loaded again
        for part in (contract.name, answer, str(contract.trial_op), "whisper-npu doctor"):
            assert part in str(caught.value)
    fake.heal()
    assert is_right(Multiply(npu, contract), product_for(contract))


PARTS = {
    "first": slice(1),
    "last": slice(-1, None),
    "last row": slice(-16, None),
    "one of many": slice(100, 101),
}


@pytest.mark.parametrize("elements", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("fault", [Fault.ZEROS, Fault.GARBAGE])
@pytest.mark.parametrize(
    ("contract", "result"),
    [(SMALL, 0), (SMALL_BF16, 0), (SMALL_PAIRS, 0), (SMALL_SCORES, 0), (SMALL_NORM, 0), (SMALL_NORM, 1)],
    ids=lambda given: given.name if isinstance(given, Contract) else f"result {given}",
)
def test_a_kernel_that_computes_a_part_of_a_result_wrong_is_refused_as_well(
    npu: Device, fake: FakeXrt, contract: Contract, result: int, fault: Fault, elements: slice
) -> None:
    of = contract.written[result]
    size = of.batch * of.rows * of.cols
    fake.inject(fault, lasting=True, part=Part(result, elements))
    with pytest.raises(DispatchError, match=r"another result; wrong are \d+ of") as caught:
        npu.load(contract)
    wrong = int(str(caught.value).split("wrong are ")[1].split(" of")[0])
    assert wrong == len(range(size)[elements])
    assert f"{wrong} of {size:,} elements of {of.operand}, " in str(caught.value)
    with pytest.raises(DispatchError):
        npu.load(contract)
    fake.heal()
    npu.load(contract)


@pytest.mark.parametrize("at", [1, 90, 100, 500], ids=lambda at: f"dispatch {at}")
@pytest.mark.parametrize(
    ("fault", "state", "remedy"),
    [
        (Fault.ENDED, "TIMEOUT", "--timeout"),
        (Fault.ABORT, "ABORT", "whisper-npu doctor"),
        (Fault.ERROR, "ERROR", "whisper-npu doctor"),
    ],
    ids=lambda fault: fault.name if isinstance(fault, Fault) else "",
)
def test_a_dispatch_that_fails_is_named_and_the_next_product_is_right(
    npu: Device, fake: FakeXrt, fault: Fault, state: str, remedy: str, at: int
) -> None:
    multiply = Multiply(npu, SMALL)
    fake.inject(fault, at=at)
    with pytest.raises(DispatchError) as caught:
        multiply(*operands(LARGE))
    message = str(caught.value)
    for part in (SMALL.name, state, str(LARGE), f"dispatch {at} of 500", remedy):
        assert part in message
    assert "\n" not in message
    assert is_right(multiply, LARGE, seed=1)


@pytest.mark.parametrize("at", [1, 90, 100, 500], ids=lambda at: f"dispatch {at}")
@pytest.mark.parametrize("sync_objects", [False, True], ids=["returned", "raised"])
def test_a_dispatch_that_never_ends_is_left_and_the_next_product_is_right(
    fake: FakeXrt, tmp_path: Path, sync_objects: bool, at: int
) -> None:
    """XRT returns TIMEOUT, or raises, depending on the driver. Which one of a lot hangs, nobody says."""
    fake.sync_objects = sync_objects
    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.02) as npu:
        multiply = Multiply(npu, SMALL)
        fake.inject(Fault.TIMEOUT, at=at)
        with pytest.raises(DispatchError) as caught:
            multiply(*operands(LARGE))
        message = str(caught.value)
        for part in (SMALL.name, "TIMEOUT", "0.02 s allowed", str(LARGE), "of 500", "--timeout"):
            assert part in message
        assert "\n" not in message
        assert is_right(multiply, LARGE, seed=1)


def test_a_timeout_in_the_known_product_is_named(npu: Device, fake: FakeXrt) -> None:
    fake.inject(Fault.TIMEOUT)
    with pytest.raises(DispatchError, match=r"matmul_8x24: dispatch 1 of 1 .* TIMEOUT"):
        Multiply(npu, SMALL)


@pytest.mark.parametrize("reason", ["(err=-62): Timer expired", "(err=-5): Input/output error"])
@pytest.mark.parametrize("at", [1, 30, 100])
def test_firmware_that_hangs_asks_for_a_reboot(npu: Device, fake: FakeXrt, at: int, reason: str) -> None:
    """Every later submission fails as well, of other kernels too."""
    multiply, other = Multiply(npu, SMALL), Multiply(npu, SMALL_F32)
    fake.wedged_by = reason
    fake.inject(Fault.WEDGED, at=at)
    for product in (multiply, multiply, other):
        with pytest.raises(NoAnswerError, match="firmware hangs: reboot") as caught:
            product(*operands(LARGE))
        assert reason in str(caught.value)


def test_firmware_that_hangs_while_a_context_opens_costs_no_other_context(npu: Device, fake: FakeXrt) -> None:
    Multiply(npu, MANY[0])
    fake.wedge_at_contexts()
    with pytest.raises(
        NoAnswerError, match=rf"{MANY[1].name}: opening a hw_context .* hangs: reboot"
    ) as caught:
        Multiply(npu, MANY[1])
    assert "contexts for all programs" not in str(caught.value)
    assert fake.alive()["hw_context"] == 1


@pytest.mark.parametrize(
    ("error", "wedged"),
    [
        (OSError(errno.ETIME, os.strerror(errno.ETIME)), True),
        (OSError(errno.EIO, os.strerror(errno.EIO)), True),
        (RuntimeError("failed to submit command: Timer expired"), True),
        (RuntimeError("IOCTL failed (err=-5)"), True),
        *(
            (RuntimeError(f"failed to submit command, {ended}"), True)
            for ended in (
                "error: -62",
                "error code -62",
                "error code: -5",
                "ret: -5",
                "ret=-62",
                "-EIO",
                "-ETIME",
            )
        ),
        *(
            (RuntimeError(f"failed to submit command, {ended}"), False)
            for ended in (
                "error: -22",
                "error code -110",
                "ret: -51",
                "interpret: 5",
                "error: 5.2",
                "-ETIMEDOUT",
            )
        ),
        (RuntimeError("IOCTL failed (err=-52): Invalid exchange"), False),
        (RuntimeError("IOCTL failed (err=-22): Invalid argument"), False),
        (OSError(errno.EINVAL, os.strerror(errno.EINVAL)), False),
    ],
    ids=str,
)
def test_what_asks_for_a_reboot(error: Exception, wedged: bool) -> None:
    with pytest.raises(DeviceError) as caught, pyxrt_errors("submitting"):
        raise error
    assert isinstance(caught.value, NoAnswerError) == wedged
    assert ("reboot" in str(caught.value)) == wedged
    with pytest.raises(DeviceNotFoundError) as not_found, pyxrt_errors("opening", DeviceNotFoundError):
        raise error
    assert ("reboot" in str(not_found.value)) == wedged


@pytest.mark.parametrize("at", [1, 90, 500], ids=lambda at: f"dispatch {at}")
@pytest.mark.parametrize("sync_objects", [False, True], ids=["said", "unsaid"])
def test_a_device_that_dies_late_in_a_wait(
    fake: FakeXrt, tmp_path: Path, sync_objects: bool, at: int
) -> None:
    """Shortly before time is up: it is gone, where XRT says so; where it does not, time is up."""
    fake.sync_objects = sync_objects
    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.05) as npu:
        multiply = Multiply(npu, SMALL)
        waited_for = -(-at // NPU1.run_list) * NPU1.run_list
        fake.inject(Fault.DIES, at=waited_for)
        with pytest.raises(DeviceError) as caught:
            multiply(*operands(LARGE))
        assert ("TIMEOUT" in str(caught.value)) == sync_objects
        assert ("the NPU is gone" in str(caught.value)) != sync_objects
        for _ in range(2):
            with pytest.raises(DeviceError, match="the NPU is gone"):
                multiply(*operands(LARGE))


def test_pairs_that_a_last_dispatch_leaves_out_do_no_harm(npu: Device) -> None:
    """The last dispatch of a packed batch may have any number of pairs; others keep what was there before."""
    exact = Multiply(Emulator(Fidelity.EXACT), SMALL_PAIRS)
    multiply = Multiply(npu, SMALL_PAIRS)
    for seed, tiles in enumerate([8, 5, 6, 7, 9, 3, 2, 1, 4]):
        a, b = operands(Matmul(tiles * SMALL_PAIRS.m, SMALL_PAIRS.k, SMALL_PAIRS.n), seed)
        for scale in (1, np.float32("inf"), -1):  # what stays behind multiplies to NaN
            with np.errstate(invalid="ignore"):
                left, right = a * np.float32(scale), exact(a * np.float32(scale), b)
            assert np.array_equal(multiply(left, b), right, equal_nan=True)


def test_after_a_failure_other_kernels_go_on(npu: Device, fake: FakeXrt) -> None:
    failing, other = Multiply(npu, SMALL), Multiply(npu, SMALL_F32)
    assert is_right(other, LARGE)
    fake.inject(Fault.TIMEOUT, at=7)
    with pytest.raises(DispatchError):
        failing(*operands(LARGE))
    fake.pop_counts()
    assert is_right(other, LARGE)
    assert fake.pop_counts().contexts == 0


@pytest.mark.parametrize("contract", [SMALL, SMALL_PAIRS], ids=lambda c: c.name)
def test_without_memory_there_is_an_error_and_afterwards_a_product(
    fake: FakeXrt, tmp_path: Path, contract: MatmulContract
) -> None:
    def product(npu: Device) -> None:
        assert is_right(Multiply(npu, contract), LARGE)

    with opened_npu(tmp_path / "counted", fake, CONTRACTS) as npu:
        product(npu)
    bos = fake.pop_counts().bos
    assert bos > 4
    for at in range(1, bos + 1):
        with opened_npu(tmp_path / str(at), fake, CONTRACTS) as npu:
            fake.no_memory(at=at)
            with pytest.raises(DeviceError, match=r"Cannot allocate memory.*ulimit -l"):
                product(npu)
            product(npu)


@pytest.mark.parametrize("sync_objects", [False, True])
@pytest.mark.parametrize("at", [1, 30, 100])
def test_a_device_that_vanishes_is_an_error_for_good(
    fake: FakeXrt, tmp_path: Path, at: int, sync_objects: bool
) -> None:
    fake.sync_objects = sync_objects
    with opened_npu(tmp_path, fake, CONTRACTS) as npu:
        multiply = Multiply(npu, SMALL)
        fake.inject(Fault.GONE, at=at)
        for _ in range(3):
            with pytest.raises(DeviceError, match="the NPU is gone"):
                multiply(*operands(LARGE))


def test_an_npu_that_does_not_open_is_not_found(fake: FakeXrt, tmp_path: Path) -> None:
    fake.gone = True
    with pytest.raises(DeviceNotFoundError, match="No such device"):
        opened_npu(tmp_path, fake, ())


# --- Built kernels ------------------------------------------------------------------------------------------


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        manifest = json.loads((place / "manifest.json").read_text())
        change(manifest)
        (place / "manifest.json").write_text(json.dumps(manifest))

    return edit


def flipped(suffix: str) -> Callable[[Path], None]:
    def flip(place: Path) -> None:
        file = place / f"{place.name}{suffix}"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)

    return flip


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flipped(".xclbin"), r"xclbin is not the file that was built"),
        (flipped(".insts.bin"), r"insts\.bin is not the file that was built"),
        (lambda place: (place / f"{place.name}.xclbin").unlink(), "cannot be read"),
        (lambda place: (place / f"{place.name}.insts.bin").unlink(), "cannot be read"),
        (lambda place: (place / "manifest.json").write_text("{"), "cannot be read"),
        (lambda place: (place / "manifest.json").write_text("[]"), "it is a list, not an object"),
        (edited(lambda m: m.update(target="npu2")), "built for npu2, not for npu1"),
        (edited(lambda m: m["contract"].update(k=16)), "promises something else"),
        (edited(lambda m: m["contract"].update(result_rounding="floor")), "promises something else"),
        (edited(lambda m: m["contract"].pop("products")), "promises something else"),
        (edited(lambda m: m.update(schema="something")), "no whisper-npu-kernel manifest"),
        (edited(lambda m: m.update(schema_version=99)), "version 99"),
        (edited(lambda m: m.pop("overlay")), "overlay"),
        (edited(lambda m: m.pop("outputs")), "not the file that was built"),
    ],
)  # fmt: skip
def test_a_kernel_that_is_not_what_its_manifest_says_is_not_loaded(
    npu: Device, fake: FakeXrt, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(tmp_path / "kernels" / SMALL.name)
    with pytest.raises(KernelManifestError, match=reason) as caught:
        Multiply(npu, SMALL)
    assert f"whisper-npu kernels build {SMALL.name}" in str(caught.value)
    assert fake.pop_counts() == Counts()
    assert not fake.registered
    assert is_right(Multiply(npu, SMALL_F32), LARGE)


def test_a_kernel_that_is_not_built_is_an_error_that_says_how_to(npu: Device, tmp_path: Path) -> None:
    missing = replace(SMALL, name="matmul_9x9")
    with pytest.raises(KernelNotBuiltError) as caught:
        Multiply(npu, missing)
    for part in ("matmul_9x9", str(tmp_path / "kernels"), "whisper-npu kernels build matmul_9x9"):
        assert part in str(caught.value)


# --- Threads and exits --------------------------------------------------------------------------------------


def test_no_wait_holds_the_gil_while_the_array_works(npu: Device, fake: FakeXrt) -> None:
    multiply = Multiply(npu, SMALL)
    multiply(*operands(LARGE))
    counts = fake.pop_counts()
    assert counts.lists > 10
    assert counts.waits_for_running == 0
    fake.inject(Fault.ERROR, at=3)
    with pytest.raises(DispatchError, match="ended with ERROR"):
        multiply(*operands(LARGE))
    assert fake.pop_counts().waits_for_running == 0


def test_what_does_not_end_is_waited_for_as_long_as_it_may_take(fake: FakeXrt, tmp_path: Path) -> None:
    """Asking for the state does not tell that the device is gone: a wait does."""
    with opened_npu(tmp_path, fake, [SMALL], timeout_seconds=0.2) as npu:
        multiply = Multiply(npu, SMALL)
        multiply(*operands(LARGE))
        fake.pop_counts()
        fake.inject(Fault.TIMEOUT, at=3)
        with pytest.raises(NoAnswerError, match="TIMEOUT"):
            multiply(*operands(LARGE))
        assert fake.pop_counts().waits_for_running > 0


def test_several_threads_share_the_device(npu: Device) -> None:
    contracts = (SMALL, SMALL_F32, SMALL_PAIRS, SMALL_SCORES, SMALL)
    together = threading.Barrier(len(contracts))
    right: list[bool] = []

    def work(contract: MatmulContract) -> None:
        together.wait()
        multiply = Multiply(npu, contract)
        right.extend(is_right(multiply, product_for(contract), seed) for seed in range(20))

    threads = [threading.Thread(target=work, args=(contract,)) for contract in contracts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20 * len(contracts)


EXIT = """
import atexit, sys
from pathlib import Path
import numpy as np
from tests.support.contracts import SMALL
from tests.support.npu import opened_npu
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.products import Multiply
from whisper_npu.errors import DispatchError

fake = FakeXrt()
atexit.register(lambda: print(fake.problems(), fake.alive()["run"], fake.alive()["hw_context"]))
npu = opened_npu(Path(sys.argv[1]), fake, [SMALL])
multiply = Multiply(npu, SMALL)
weight = multiply.stage(np.ones((30, 70), np.float32))
if sys.argv[2] != "nothing":
    fake.inject(Fault[sys.argv[2]], at=3)
try:
    multiply(np.ones((20, 30), np.float32), weight)
except DispatchError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("fault", "printed"),
    [("nothing", "[] 0 0"), ("ERROR", "DispatchError\n[] 0 0"), ("TIMEOUT", "NoAnswerError\n[] {left} 1")],
)
def test_python_may_end_without_closing(tmp_path: Path, fault: str, printed: str) -> None:
    """Runs go before what they use; one that hangs is left alone, for XRT ends whoever destroys it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXIT, str(tmp_path), fault],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    left = tiled_plan(Matmul(20, 30, 70), SMALL).dispatches
    assert done.stdout.strip() == printed.format(left=left)


# --- What the cost model knows of built kernels -------------------------------------------------------------


def compile_loop(folder: Path, contract: Contract, bundles: int, vmacs: int) -> None:
    """As if the build had found this loop in a kernel's object."""
    path = folder / "kernels" / contract.name / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    programs = {"core.o": {"inner_loop": {"bundles": bundles, "vmacs": vmacs}}}
    path.write_text(json.dumps({**manifest, "core_programs": programs}), encoding="utf-8")


def test_the_rate_of_a_compiled_loop_takes_the_place_of_an_assumed_one(fake: FakeXrt, tmp_path: Path) -> None:
    """As llvm-objdump showed it to the build, and in whatever is modelled of this device."""
    with opened_npu(tmp_path, fake, ()) as npu:
        assert npu.target == NPU1
        assumed = npu.prepared([LARGE]).choice
    compile_loop(tmp_path, MATMUL_64X64, bundles=32, vmacs=24)
    with opened_npu(tmp_path, fake, ()) as npu:
        for rates in (npu.target.profile.cautious, npu.target.profile.optimistic):
            assert rates.core is not None
            assert rates.core.macs_per_cycle == 0.75 * 128
        multiply = Multiply(npu, ops=[LARGE])
        assert is_right(multiply, LARGE)
        known = multiply.device.choice
    assert assumed is not None
    assert known is not None
    assert assumed.seconds is not None
    assert known.seconds is not None
    assert assumed.seconds.optimistic_s < known.seconds.optimistic_s
    assert known.seconds.cautious_s < assumed.seconds.cautious_s
    compile_loop(tmp_path, MATMUL_64X64, bundles=1, vmacs=24)  # no loop has more multiplications than bundles
    with opened_npu(tmp_path, fake, ()) as npu:
        assert npu.target == NPU1


@pytest.mark.parametrize("fastest_first", [False, True])
def test_the_slowest_compiled_loop_is_the_cautious_rate_and_the_fastest_the_optimistic(
    fake: FakeXrt, tmp_path: Path, fastest_first: bool
) -> None:
    with opened_npu(tmp_path, fake, [MATMUL_64X512]):
        pass
    one, other = sorted((16, 24), reverse=fastest_first)
    compile_loop(tmp_path, MATMUL_64X64, bundles=32, vmacs=one)
    compile_loop(tmp_path, MATMUL_64X512, bundles=32, vmacs=other)
    with opened_npu(tmp_path, fake, [MATMUL_64X512]) as npu:
        cautious, optimistic = npu.target.profile.cautious.core, npu.target.profile.optimistic.core
        assert cautious is not None
        assert optimistic is not None
        assert (cautious.macs_per_cycle, optimistic.macs_per_cycle) == (64, 96)
