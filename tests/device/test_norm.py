"""The kernel of norms on every device: within the op's tolerance, close to the host, one dispatch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_npu.dtypes import F32
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, Gemm
from whisper_npu.kernels.norm.kernel import CHUNK, NormOnRows, norm, rows_in_blocks
from whisper_npu.npu.cost import host_seconds, modelled_plan_seconds, overlay_change
from whisper_npu.npu.device import Device, Recording
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.plan import STAY, Loop, Plan
from whisper_npu.npu.planner import Choice, choose
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import EncoderLayer, Matmul, Norm, Op

KERNEL = NormOnRows(NPU1)
seeds = st.integers(0, 2**32 - 1)


def with_plan(plan: Plan | None) -> Choice:
    """A choice that makes this plan's op by it, and products by gemm; no plan: norms are the host's."""
    return Choice((Gemm(NPU1, GEMM_TILE),), plans={} if plan is None else {plan.op: plan})


def operands_of(op: Op, seed: int) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    return {operand.name: rng.standard_normal(operand.shape).astype(np.float32) for operand in op.inputs}


def run(
    device: Device, op: Op, plan: Plan | None, operands: dict[str, F32]
) -> tuple[tuple[F32, ...], Recording]:
    prepared = device.prepared([op], with_plan(plan))
    results = {operand.name: np.full(operand.shape, np.nan, np.float32) for operand in op.outputs}
    with prepared.recording() as recording:
        prepared.run(op, operands | results)
    return tuple(results.values()), recording


@settings(max_examples=20)
@given(M=st.integers(1, 70), chunks=st.integers(1, 4), offset=st.sampled_from([0, 30]), seed=seeds)
def test_it_is_within_tolerance_and_close_to_the_host(
    device: Device, M: int, chunks: int, offset: int, seed: int
) -> None:
    op = Norm(M, chunks * CHUNK, residual=True)
    operands = operands_of(op, seed)
    operands["x"] += np.float32(offset)  # the mean is large beside the deviations
    plan = KERNEL.plan(op)
    results, recording = run(device, op, plan, operands)
    of_host, of_host_alone = run(device, op, None, operands)
    inputs = tuple(operands.values())
    expected, bounds = op.reference(*inputs), op.tolerance(plan.contract.numerics, *inputs)
    for result, on_host, exact, bound in zip(results, of_host, expected, bounds, strict=True):
        assert (np.abs(result - exact) <= bound).all()
        assert (np.abs(result.astype(np.float64) - on_host) <= 2 * bound).all()
    (done,) = recording.runs
    assert done.plan == plan
    assert (done.stats.dispatches, done.stats.submissions) == (1, 1)
    assert done.stats.bytes_to_device == plan.contract.bytes_to_device
    assert done.stats.bytes_from_device == plan.contract.bytes_from_device
    assert of_host_alone.runs == []


def test_a_norm_of_whisper(device: Device) -> None:
    op = Norm(1500, 512, residual=True)
    operands = operands_of(op, seed=0)
    results, recording = run(device, op, KERNEL.plan(op), operands)
    inputs = tuple(operands.values())
    bounds = op.tolerance(norm(NPU1, 1504, 512).numerics, *inputs)
    for result, exact, bound in zip(results, op.reference(*inputs), bounds, strict=True):
        assert (np.abs(result - exact) <= bound).all()
    (done,) = recording.runs
    assert done.plan.contract.name == "norm_1504x512"
    rows, parameters = 4 * 1504 * 512, 4 * 4 * 512
    assert (done.stats.bytes_to_device, done.stats.bytes_from_device) == (2 * rows + 4 * parameters, 2 * rows)


def test_rows_in_blocks_give_the_same_bits(device: Device) -> None:
    op = Norm(70, 256, residual=True)
    operands = operands_of(op, seed=1)
    whole, _ = run(device, op, KERNEL.plan(op), operands)
    blocks, recording = run(device, op, rows_in_blocks(op, norm(NPU1, 16, 256)), operands)
    assert all(map(np.array_equal, whole, blocks))
    assert recording.stats.dispatches == 5


def test_both_fidelities_give_the_same_bits() -> None:
    op = Norm(33, 384, residual=True)
    operands = operands_of(op, seed=2)
    fast, exact = (run(Emulator(fidelity), op, KERNEL.plan(op), operands)[0] for fidelity in Fidelity)
    assert all(map(np.array_equal, fast, exact))


MOVE = (1, 0)
WRONG = {
    "the last block missing": (2, (MOVE, MOVE, STAY, MOVE, MOVE)),
    "x stays where it is": (3, (STAY, MOVE, STAY, MOVE, MOVE)),
    "y in one block": (3, (MOVE, MOVE, STAY, MOVE, STAY)),
}


@pytest.mark.parametrize(("count", "steps"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_plan_gives_a_wrong_result(
    device: Device, count: int, steps: tuple[tuple[int, int], ...]
) -> None:
    op = Norm(48, 128, residual=True)
    operands = operands_of(op, seed=3)
    right = rows_in_blocks(op, norm(NPU1, 16, 128))
    wrong = replace(right, loops=(Loop("rows", count, steps),))
    (_, y), recording = run(device, op, wrong, operands)
    assert not np.array_equal(y, run(device, op, right, operands)[0][1])
    assert recording.stats.dispatches == count


def test_the_norm_of_a_layer_goes_by_its_plan(device: Device) -> None:
    op = EncoderLayer(20, 128, 2, 160)
    operands = operands_of(op, seed=4)
    (y,), recording = run(device, op, KERNEL.plan(op.norm), operands)
    (of_host,), of_host_alone = run(device, op, None, operands)
    assert np.abs(y - of_host).max() <= 2 * max(
        float(bound.max()) for bound in op.tolerance(norm(NPU1, 32, 128).numerics, *operands.values())
    )
    names = [done.name for done in recording.runs]
    assert names.count("mlp_ln") == 1
    assert [name for name in names if name != "mlp_ln"] == [done.name for done in of_host_alone.runs]


# ----------------------------------------------------------------------------------------------- the planner


@pytest.mark.parametrize("host_bytes_per_second", [15e9, 1e9, 0.5e9])
def test_it_is_taken_where_it_is_modelled_cheaper(host_bytes_per_second: float) -> None:
    """The more slowly the host passes over memory, the more a kernel saves."""
    profile = replace(NPU1.profile, host_bytes_per_second=host_bytes_per_second)
    target = replace(NPU1, profile=profile)
    op = Norm(1500, 512, residual=True)
    choice = choose([Matmul(1500, 512, 512), op, Matmul(1500, 512, 512)], registry.kernels(target))
    plan = NormOnRows(target).plan(op)
    seconds = 2 * overlay_change(profile).middle + modelled_plan_seconds(plan, profile).middle
    pays = seconds < host_seconds(op, profile)
    assert choice.plan(op) == (plan if pays else None)
    assert pays == (host_bytes_per_second < 2e9)
    assert (plan.contract in choice.contracts) == pays
