"""A device without hardware: it executes a plan's dispatches on this CPU with the contract's numerics.

What is computed follows from walking the plan and from nothing else (`emulator_runs.py`). `cpu_gemm.py` holds
operands and multiplies them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from types import TracebackType

from whisper_npu.errors import PlanError
from whisper_npu.host import gemm as cpu_gemm
from whisper_npu.host.bf16 import F32
from whisper_npu.host.gemm import CpuGemm, Held, blas, cpu_has_dot, fastest
from whisper_npu.host.native import build_meanwhile
from whisper_npu.host.threads import Threads
from whisper_npu.npu.contract import CONTRACTS, Contract
from whisper_npu.npu.cost import gemm_tiles
from whisper_npu.npu.device import (
    Buffer,
    Chain,
    ChainCompletion,
    Completion,
    Device,
    Enters,
    Fidelity,
    RowProduct,
    RowsDone,
    run_rows_in_steps,
    run_steps,
)
from whisper_npu.npu.emulator.blocks import (
    is_whole,
    run_box,
    run_chain_in_blocks,
    run_dispatches,
    run_rows_in_blocks,
    shares_of,
    walked,
)
from whisper_npu.npu.plan import Layout, Plan

MACS_TO_SHARE = 1 << 26  # of one dispatch: from here on BLAS's threads gain more than they wait


class EmulatedBuffer:
    """Matrices without their padding: operands as `gemm` holds them, C as float32."""

    def __init__(self, layout: Layout, gemm: CpuGemm, threads: Threads) -> None:
        self._layout = layout
        self._threads = threads
        self.gemm = gemm
        self.held: Held | None = None  # of C (heads, rows, cols)

    @property
    def layout(self) -> Layout:
        return self._layout

    def write(self, matrix: F32) -> None:
        layout = self.layout
        if matrix.shape != layout.shape:
            raise PlanError(f"a matrix of shape {matrix.shape} does not fit a buffer of {layout}")
        matrix = matrix.reshape(layout.heads, layout.rows, layout.cols)
        self.held = self.gemm.hold(matrix, layout, self._threads, self.held)

    def read(self) -> F32:
        if self.held is None:
            raise PlanError(f"a buffer of {self.layout} is read before anything was written to it")
        return self.matrix().reshape(self.layout.shape)

    def close(self) -> None:
        self.held = None

    @property
    def written(self) -> Held:
        """`held`, for a run to read."""
        if self.held is None:
            raise PlanError("an operand was never written: write A and B before the plan runs")
        return self.held

    def matrix(self) -> F32:
        """(heads, rows, cols) float32 of what was written."""
        return self.gemm.matrix(self.written, self.layout)

    def transposed(self) -> Held:
        """The operand of the transposed product."""
        return self.gemm.transposed(self.written, self.layout, self._threads)


class Emulator:
    """Executes plans on this CPU. Its seconds are the CPU's.

    gemm_of: what multiplies an operand; None for `fastest`, and for NumPy where every dispatch is executed.
    """

    def __init__(
        self,
        fidelity: Fidelity = Fidelity.FAST,
        threads: Threads | None = None,
        gemm_of: Callable[[Layout], CpuGemm] | None = None,
    ) -> None:
        self.fidelity = fidelity
        self._threads = threads or Threads()
        self._gemm_of = gemm_of or (fastest if fidelity is Fidelity.FAST else blas)
        if self._gemm_of is fastest and cpu_has_dot():
            build_meanwhile(cpu_gemm.SOURCE)

    @property
    def name(self) -> str:
        return "emulator"

    @property
    def description(self) -> str:
        return f"emulator ({self.fidelity.value}), no NPU: the NPU's plans and numerics on this CPU"

    @property
    def clock(self) -> str:
        return "CPU"

    @property
    def threads(self) -> Threads:
        return self._threads

    def kernels(self) -> tuple[Contract, ...]:
        return CONTRACTS

    def gemm_tiles(self) -> tuple[tuple[int, int, int], ...]:
        return gemm_tiles()

    def load(self, contract: Contract) -> None:
        """Nothing to load: a contract says all that the emulator needs."""

    def alloc(self, layout: Layout) -> Buffer:
        return EmulatedBuffer(layout, self._gemm_of(layout), self._threads)

    def run(self, plan: Plan, a: Buffer, b: Buffer, c: Buffer) -> Completion:
        start = perf_counter()
        a, b, c = _checked("A", plan.a, a), _checked("B", plan.b, b), _checked("C", plan.c, c)
        walk, box = walked(plan)
        if box is not None and self.fidelity is Fidelity.FAST:
            c.held = run_box(plan, box, a.gemm, a.written, b.written, self._threads)
        else:
            operands = a.matrix(), b.matrix()
            blas_threads = self._threads.count if plan.contract.macs >= MACS_TO_SHARE else 1
            c.held = self._threads.alone(lambda: run_dispatches(plan, walk, *operands), blas_threads)
        return _completion(plan, perf_counter() - start)

    def run_rows(self, products: Sequence[RowProduct], given: F32) -> tuple[F32, tuple[RowsDone, ...]]:
        start = perf_counter()
        if self.fidelity is Fidelity.EXACT or not all(is_whole(rows.plan) for rows in products):
            return run_rows_in_steps(self, products, given)
        buffers = [_checked("B", rows.plan.b, rows.b) for rows in products]
        weights = [(buffer.gemm, buffer.written[0]) for buffer in buffers]
        c, spent = run_rows_in_blocks(products, weights, given, self._threads)
        shares = shares_of(perf_counter() - start, spent)
        done = []
        for number, rows in enumerate(products):
            before, pack, product, after = shares[4 * number : 4 * number + 4]
            done.append(RowsDone(_completion(rows.plan, product), pack, before + pack + product + after))
        return c, tuple(done)

    def run_chain(self, chain: Chain, a: Buffer, b: Buffer, other: Buffer, c: Buffer) -> ChainCompletion:
        start = perf_counter()
        first, second = chain.first, chain.second
        if self.fidelity is Fidelity.EXACT or not (is_whole(first) and is_whole(second)):
            return run_steps(self, chain, a, b, other, c)
        a, b, c = _checked("A", first.a, a), _checked("B", first.b, b), _checked("C", second.c, c)
        if chain.enters is Enters.A:
            other = _checked("B", second.b, other)
            operands = a.written, b.written, other.written
        else:  # C^T = between(B^T A^T) other^T
            other = _checked("A", second.a, other)
            operands = b.transposed(), a.transposed(), other.transposed()
        c.held, spent = run_chain_in_blocks(chain, (a.gemm, other.gemm), *operands, self._threads)
        first_seconds, _, pack_seconds, second_seconds = shares_of(perf_counter() - start, spent)
        return ChainCompletion(
            _completion(first, first_seconds), _completion(second, second_seconds), pack_seconds
        )

    def close(self) -> None:
        self._threads.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(operand: str, layout: Layout, buffer: Buffer) -> EmulatedBuffer:
    if buffer.layout != layout:
        raise PlanError(f"{operand} lies as {buffer.layout}, the plan reads {layout}")
    assert isinstance(buffer, EmulatedBuffer)
    return buffer


def _completion(plan: Plan, seconds: float) -> Completion:
    dispatches = -(-len(walked(plan)[0]) // plan.contract.batch)
    return Completion(
        dispatches=dispatches,
        bytes_to_device=dispatches * plan.contract.bytes_to_device,
        bytes_from_device=dispatches * plan.contract.bytes_from_device,
        seconds=seconds,
    )
