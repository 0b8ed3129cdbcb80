"""Ops on rows: the host's, unless a kernel is modelled cheaper; a stand-in of a kernel for layer norms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ops import random_inputs
from whisper_npu.dtypes import F32, DType
from whisper_npu.encoder import encoder_ops
from whisper_npu.kernels import registry
from whisper_npu.npu.contract import Argument, Contract, KnownAnswer
from whisper_npu.npu.cost import host_seconds, modelled_plan_seconds
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import STAY, Loop, Plan
from whisper_npu.npu.planner import Choice, choose, smallest
from whisper_npu.npu.targets import NPU1, CoreRate, Target
from whisper_npu.ops import (
    EPSILON,
    Attention,
    Direction,
    EncoderLayer,
    Epilogue,
    Linear,
    Matmul,
    MergeHeads,
    Norm,
    Numerics,
    Op,
    Softmax,
    SplitHeads,
    Windows,
)
from whisper_npu.ops.op import BF16_NUMERICS
from whisper_npu.released import released_dimensions

PRODUCTS = tuple(kernel for kernel in registry.kernels(NPU1) if not kernel.makes_whole)


@dataclass(frozen=True)
class NormContract(Contract):
    """Layer norm of some rows of float32 per dispatch."""

    rows: int
    cols: int
    seconds: float  # that a core works on a dispatch

    __hash__ = Contract.__hash__
    overlay = "norm"
    macs = l1_bytes = 0
    numerics = Numerics(0.0)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        x = partial(Argument, elements=self.rows * self.cols, dtype=DType.F32)
        row = partial(Argument, elements=self.cols, dtype=DType.F32, direction=Direction.IN)
        return x("X", direction=Direction.IN), row("WEIGHT"), row("BIAS"), x("Y", direction=Direction.OUT)

    @property
    def bytes_to_device(self) -> int:
        return sum(argument.nbytes for argument in self.arguments[:-1])

    def layouts(self, op: Op) -> tuple[Layout, ...]:
        assert isinstance(op, Norm)
        x = partial(Layout, rows=op.M, cols=op.N, tile_rows=self.rows, tile_cols=self.cols, dtype=DType.F32)
        row = partial(Layout, rows=1, cols=op.N, tile_rows=1, tile_cols=self.cols, dtype=DType.F32)
        return x("X"), row("WEIGHT"), row("BIAS"), x("Y")

    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        x, weight, bias = tiles
        spread = np.sqrt(x.var(axis=1, keepdims=True) + np.float32(EPSILON))
        return ((x - x.mean(axis=1, keepdims=True)) / spread * weight + bias,)

    @property
    def written(self) -> tuple[Layout, ...]:
        return (Layout("Y", self.rows, self.cols, self.rows, self.cols, DType.F32),)

    def core_cycles(self, rate: CoreRate) -> float:
        return self.seconds * self.target.profile.clock_hz

    @property
    def trial_op(self) -> Norm:
        return Norm(self.rows, self.cols)

    def known_answer(self, op: Op, rng: np.random.Generator) -> KnownAnswer:
        assert isinstance(op, Norm)
        inputs = random_inputs(op)
        return KnownAnswer(inputs, self.compute(*inputs), (0.0,))


@dataclass(frozen=True)
class NormKernel(Kernel):
    """For norms without a residual."""

    target: Target = NPU1
    rows: int = 16
    seconds: float = 0.0
    name = "norm"

    def contract(self, op: Op) -> NormContract | None:
        if not isinstance(op, Norm) or op.residual:
            return None
        return NormContract(f"norm_{self.rows}x{op.N}", self.target, self.rows, op.N, self.seconds)

    def plan(self, op: Op) -> Plan:
        contract = self.contract(op)
        assert contract is not None
        assert isinstance(op, Norm)
        loop = Loop("i", -(-op.M // self.rows), ((1, 0), STAY, STAY, (1, 0)))
        return Plan(op, contract, (loop,), run_list=self.target.run_list)


def on_a_slow_host(target: Target = NPU1) -> Target:
    """A target beside which any dispatch is modelled cheaper than the host."""
    return replace(target, name="slow_host", profile=replace(target.profile, host_bytes_per_second=1.0))


def on_rows(op: Op) -> bool:
    return not isinstance(op, Matmul)


@pytest.mark.parametrize("model", ["tiny", "large-v3"])
def test_without_a_kernel_all_ops_on_rows_are_the_hosts(model: str) -> None:
    ops = encoder_ops(released_dimensions(model))
    choice = choose(ops, PRODUCTS)
    rows = [op for op in smallest(ops) if on_rows(op)]
    assert {type(op) for op in rows} == {Norm, Epilogue, Softmax, SplitHeads, MergeHeads, Windows}
    assert [choice.plan(op) for op in rows] == [None] * len(rows)
    assert not [op for op in choice.plans if on_rows(op)]


def test_what_has_parts_has_no_plan_of_its_own() -> None:
    ops = Linear(40, 32, 96, norm=True), Attention(40, 32, 2), EncoderLayer(40, 32, 2, 64)
    choice = choose(ops, [*PRODUCTS, NormKernel()])
    assert [choice.plan(op) for op in ops] == [None, None, None]


@given(
    M=st.integers(1, 100_000),
    N=st.integers(1, 2000),
    rows=st.sampled_from([16, 4096]),
    seconds=st.floats(0, 1e-3),
    host_gb=st.sampled_from([1.0, 15.0]),
)
def test_a_kernel_is_taken_where_it_is_modelled_cheaper_than_the_host(
    M: int, N: int, rows: int, seconds: float, host_gb: float
) -> None:
    """There and back to another overlay included."""
    profile = replace(NPU1.profile, host_bytes_per_second=1e9 * host_gb)
    target = replace(NPU1, profile=profile)
    op, kernel = Norm(M, N), NormKernel(target, rows, seconds)
    dispatches = -(-M // rows)
    submissions = -(-dispatches // 25)
    read, written = 4 * (rows * N + 2 * N), 4 * rows * N
    streams = max(4 * rows * N / 4 * 1.05, written / 4) / 1.028e9
    cautious = submissions * 136e-6 + (dispatches - submissions) * 29.7e-6
    cautious += dispatches * (4 * 2870 / 1.028e9 + max((read + written) / 15e9, streams, seconds))
    optimistic = submissions * 100e-6 + (dispatches - submissions) * 27.7e-6
    optimistic += dispatches * (4 * 520 / 1.028e9 + max(read / 28.1e9, written / 28.1e9, streams, seconds))
    device = 2 * (3.4e-3 * 1.4e-3) ** 0.5 + (cautious * optimistic) ** 0.5
    host = 4 * (2 * M * N + 2 * N) / (1e9 * host_gb)
    assert host_seconds(op, profile) == pytest.approx(host)
    modelled = modelled_plan_seconds(kernel.plan(op), profile)
    assert (modelled.cautious_s, modelled.optimistic_s) == pytest.approx((cautious, optimistic))
    if abs(device / host - 1) < 1e-6:
        return  # either
    expected = kernel.plan(op) if device < host else None
    for choice in (choose([op, Matmul(64, 64, 64)], [*PRODUCTS, kernel]), Choice(PRODUCTS[:1], (kernel,))):
        assert choice.plan(op) == expected


def test_the_cheapest_of_several_kernels_is_taken() -> None:
    target = on_a_slow_host()
    slow, fast = (NormKernel(target, 16, seconds) for seconds in (1e-3, 1e-4))
    op = Norm(1500, 512)
    for kernels in ([slow, fast], [fast, slow]):
        assert choose([op, Matmul(64, 64, 64)], [*PRODUCTS, *kernels]).plan(op) == fast.plan(op)


def test_what_a_kernel_does_not_do_is_the_hosts() -> None:
    kernel = NormKernel(on_a_slow_host())
    ops = encoder_ops(released_dimensions("base"))
    choice = choose(ops, [*PRODUCTS, kernel])
    for op in smallest(ops):
        if on_rows(op):
            assert (choice.plan(op) is not None) == (isinstance(op, Norm) and not op.residual)


def test_a_kernel_for_rows_changes_nothing_about_the_products() -> None:
    ops = encoder_ops(released_dimensions("base"))
    without, beside = choose(ops, PRODUCTS), choose(ops, [NormKernel(on_a_slow_host()), *PRODUCTS])
    assert (beside.kernels, beside.reason, beside.seconds) == (
        without.kernels,
        without.reason,
        without.seconds,
    )
    assert beside.alternatives == without.alternatives
    norm = next(op for op in smallest(ops) if isinstance(op, Norm) and not op.residual)
    assert dict(beside.plans) == {**without.plans, norm: beside.plan(norm)}
    assert "norm_16x512" in [contract.name for contract in beside.contracts]  # loaded with the others


# --- On a device that has the kernel ------------------------------------------------------------------------


class WithNorm(Emulator):
    """An emulator whose planner may take a kernel for norms."""

    def __init__(self, fidelity: Fidelity) -> None:
        super().__init__(fidelity, target=on_a_slow_host())

    def kernels(self) -> Any:
        return *registry.kernels(self.target), NormKernel(self.target)


@pytest.fixture(scope="module", params=list(Fidelity))
def with_norm(request: pytest.FixtureRequest) -> Any:
    with WithNorm(request.param) as device:
        yield device


def run(device: Emulator, op: Op) -> tuple[list[str], bool]:
    """The names of what was executed, and whether the results are within the op's tolerance."""
    inputs = random_inputs(op)
    outputs = [np.full(operand.shape, np.nan, np.float32) for operand in op.outputs]
    names = [operand.name for operand in (*op.inputs, *op.outputs)]
    with device.recording() as recording:
        device.run(op, dict(zip(names, [*inputs, *outputs], strict=True)))
    exact, tolerances = op.reference(*inputs), op.tolerance(BF16_NUMERICS, *inputs)
    kept = all(
        (np.abs(result - right) <= tolerance).all()
        for result, right, tolerance in zip(outputs, exact, tolerances, strict=True)
    )
    return [run.name for run in recording.runs], kept


def test_a_device_runs_its_plan(with_norm: Emulator) -> None:
    assert run(with_norm, Norm(41, 33, name="ln_post")) == (["ln_post"], True)
    assert run(with_norm, Norm(41, 33, residual=True)) == ([], True)  # the host's
    plan = with_norm.plan(Norm(41, 33))
    assert plan is not None
    assert plan.dispatches == 3


def test_a_norm_in_front_of_a_product_is_the_kernels_too(with_norm: Emulator) -> None:
    op = Linear(41, 33, 70, norm=True, name="attention.qkv")
    assert run(with_norm, op) == (["attention.qkv.norm", "attention.qkv"], True)
    names, kept = run(with_norm, EncoderLayer(41, 32, 2, 64))
    assert kept
    assert names[:2] == ["attention.qkv.norm", "attention.qkv"]
    assert len(names) == 7
