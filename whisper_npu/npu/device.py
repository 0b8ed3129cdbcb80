"""The seam between products and whatever computes them: one interface, two homes.

A device is handed plans whole and returns what it did. `npu/emulator.py` and `npu/xrt.py` implement it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Protocol

import numpy as np

from whisper_npu.errors import DeviceNotFoundError, PlanError, UsageError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.native import build_meanwhile
from whisper_npu.host.rows import SOURCE as ROWS
from whisper_npu.host.threads import Threads
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Layout, Plan


class Fidelity(Enum):
    """How literally the emulator takes a plan."""

    EXACT = "exact"  # dispatch by dispatch, every rounding where the contract puts it
    FAST = "fast"  # the same up to fp32 summation order, in few large operations


@dataclass(frozen=True)
class NpuOptions:
    """How an NPU is opened; the emulator needs none of it."""

    kernel_folders: tuple[Path, ...] = ()  # searched before $WHISPER_NPU_KERNELS and the user's own
    timeout_seconds: float = 10.0  # that one dispatch, or one run list, may take

    def __post_init__(self) -> None:
        if not 0 < self.timeout_seconds <= 3600:
            raise UsageError(f"timeout is {self.timeout_seconds:g} s, must be above 0 and at most 3600")


class Buffer(Protocol):
    """A matrix in the device's memory, in the layout that a kernel reads or writes."""

    @property
    def layout(self) -> Layout: ...

    def write(self, matrix: F32) -> None:
        """Pad, round and lay out a (rows, cols) matrix, as the layout says."""

    def read(self) -> F32:
        """The (rows, cols) matrix, without its padding. The caller may change it; no run does."""

    def close(self) -> None:
        """Give the memory back. The buffer is of no use afterwards; what `read` gave stays."""


@dataclass(frozen=True)
class Completion:
    """What a device did for one plan."""

    dispatches: int  # as executed, counted by the device
    bytes_to_device: int
    bytes_from_device: int
    seconds: float  # MEASURED, on the clock that `Device.clock` names


RowFunction = Callable[[F32], F32]  # of some rows, none of which depends on another
InPlaceOnRows = Callable[[F32, slice], object]  # the same in place; and which of all rows they are


@dataclass(frozen=True)
class RowProduct:
    """A product of one head, and what the host does to its rows: none depends on another.

    Of a linear layer the norm before it, its bias and activation, and the stream that it is added to.
    """

    before: RowFunction  # some rows of what is given to those rows of A
    plan: Plan
    a: Buffer  # room for A, of use to devices that need it whole
    b: Buffer
    after: InPlaceOnRows

    def prepared(self, x: F32) -> F32:
        """Some rows of A of some rows of what is given. Raises PlanError where they are no rows of A."""
        rows = self.before(x)
        if rows.shape != (len(x), self.plan.problem.K):
            raise PlanError(
                f"{len(x)} rows of A come as {rows.shape}, but {self.plan.problem} takes "
                f"{self.plan.problem.K} numbers a row"
            )
        return rows


@dataclass(frozen=True)
class RowsDone:
    """What a device did for one of several row products. What is left of `seconds` is the functions'."""

    product: Completion
    pack_seconds: float  # MEASURED, rows made an operand
    seconds: float  # MEASURED, of everything


class Enters(Enum):
    """As which operand a product's result enters the next product."""

    A = "A"
    B = "B"


@dataclass(frozen=True)
class Chain:
    """Two products, and a function of the host that turns the first's C into an operand of the second.

    Of attention the scores, their softmax and the context. C of the first is (queries, keys) and becomes A of
    the second, whose C has a row for each query; or it is (keys, queries) and becomes B, and C has a column
    for each.
    """

    first: Plan
    between: Callable[[F32], object]  # in place, on the scores of any queries: none depends on another
    second: Plan
    enters: Enters

    def __post_init__(self) -> None:
        inner = self.second.a if self.enters is Enters.A else self.second.b
        if self.first.c.shape != inner.shape:
            raise PlanError(
                f"the first product of a chain gives {self.first.c}, the second takes {inner} as its "
                f"{self.enters.value}: their sizes must agree"
            )


@dataclass(frozen=True)
class ChainCompletion:
    """What a device did for a chain. What is left of the time is the function's."""

    first: Completion
    second: Completion
    pack_seconds: float  # MEASURED, what the function gave made an operand


class Device(Protocol):
    """Something that executes plans. A context manager.

    `run` may be called from several threads; a buffer belongs to one at a time.
    """

    @property
    def name(self) -> str:
        """`emulator` or `npu`."""

    @property
    def description(self) -> str:
        """One line for a report: what ran."""

    @property
    def clock(self) -> str:
        """Whose seconds a Completion counts: `CPU` for the emulator, `NPU` for hardware."""

    @property
    def threads(self) -> Threads:
        """Those of the host, for whatever is done beside the device."""

    def kernels(self) -> tuple[Contract, ...]:
        """The contracts that it can run."""

    def gemm_tiles(self) -> tuple[tuple[int, int, int], ...]:
        """Core tiles m,k,n whose gemm it can run for any shape; () where `kernels` lists all there is."""

    def load(self, contract: Contract) -> None:
        """Make a kernel ready. Raises DeviceError where the device cannot run it."""

    def alloc(self, layout: Layout) -> Buffer:
        """A buffer of this layout, its contents undefined."""

    def run(self, plan: Plan, a: Buffer, b: Buffer, c: Buffer) -> Completion:
        """Execute every dispatch of the plan; C holds the sum of its partial results afterwards.

        Raises PlanError where a buffer's layout is not the plan's or a dispatch leaves its operand.
        """

    def run_rows(self, products: Sequence[RowProduct], given: F32) -> tuple[F32, tuple[RowsDone, ...]]:
        """Execute the plans, each of what the one before gave.

        The same as `run_rows_in_steps`, and by it where the device knows no shorter way.

        given: (M, ...), what the first `before` takes. Returns the last C, (M, N) float32.
        """

    def run_chain(self, chain: Chain, a: Buffer, b: Buffer, other: Buffer, c: Buffer) -> ChainCompletion:
        """Execute both plans; the same as `run_steps`, and by it where the device knows no shorter way.

        a, b: the first's operands; other: the second's, beside the first's result; c: the second's result.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Alloc = Callable[[Layout], Buffer]


def run_rows_in_steps(
    device: Device, products: Sequence[RowProduct], given: F32, alloc_middle: Alloc | None = None
) -> tuple[F32, tuple[RowsDone, ...]]:
    """Row products as runs, A and C whole in the host's memory before and after each.

    alloc_middle: for results that nobody keeps; None for `device.alloc`.
    """
    allocs = [alloc_middle or device.alloc] * (len(products) - 1) + [device.alloc]
    buffers, done = [], []
    for rows, alloc in zip(products, allocs, strict=True):
        buffers.append(alloc(rows.plan.c))
        given, one = _run_rows_in_steps(device, rows, given, buffers[-1])
        done.append(one)
    for buffer in buffers:
        buffer.close()
    return given, tuple(done)


def _run_rows_in_steps(device: Device, rows: RowProduct, given: F32, buffer: Buffer) -> tuple[F32, RowsDone]:
    start = perf_counter()
    plan, threads = rows.plan, device.threads
    operand = np.empty(plan.a.shape, np.float32)

    def prepare(part: slice) -> None:
        operand[part] = rows.prepared(given[part])

    threads.in_blocks(prepare, len(operand), operand[0].nbytes)
    prepared = perf_counter()
    rows.a.write(operand)
    packed = perf_counter()
    product = device.run(plan, rows.a, rows.b, buffer)
    c = buffer.read()
    threads.in_blocks(lambda part: rows.after(c[part], part), len(c), c[0].nbytes)
    return c, RowsDone(product, packed - prepared, perf_counter() - start)


def run_steps(
    device: Device,
    chain: Chain,
    a: Buffer,
    b: Buffer,
    other: Buffer,
    c: Buffer,
    alloc_middle: Alloc | None = None,
) -> ChainCompletion:
    """A chain as two runs, what lies between them whole in the host's memory.

    alloc_middle: for what nobody keeps, as above.
    """
    middle = (alloc_middle or device.alloc)(chain.first.c)
    first = device.run(chain.first, a, b, middle)
    scores = middle.read()
    upright = chain.enters is Enters.A
    for head in scores.reshape(-1, *scores.shape[-2:]):
        queries = head if upright else head.T
        device.threads.by_rows(lambda rows: chain.between(rows if upright else rows.T), queries)
    start = perf_counter()
    operand = device.alloc(chain.second.a if upright else chain.second.b)
    operand.write(scores)
    packed = perf_counter()
    second = device.run(chain.second, *((operand, other) if upright else (other, operand)), c)
    middle.close()
    operand.close()
    return ChainCompletion(first, second, packed - start)


DEVICE_NAMES = ("auto", "npu", "emulator")


def open_device(
    name: str = "auto",
    fidelity: Fidelity = Fidelity.FAST,
    npu: NpuOptions | None = None,
    threads: int | None = None,
) -> Device:
    """Open `npu`, `emulator`, or with `auto` an NPU that can be used and otherwise the emulator.

    What was opened says so in its `name` and `description`. `fidelity` concerns the emulator only, `npu` the
    NPU. threads: of the host, None for one a core. Raises DeviceNotFoundError where `npu` is asked for and
    none answers, UsageError for another name or no thread.
    """
    from whisper_npu.npu.emulator.device import Emulator

    if name not in DEVICE_NAMES:
        raise UsageError(f"unknown device {name!r}: there are {', '.join(DEVICE_NAMES)}")
    build_meanwhile(ROWS)  # what every device's host needs, while a model is read
    if name == "emulator":
        return Emulator(fidelity, Threads(threads))
    from whisper_npu.npu.xrt.device import open_npu

    try:
        return open_npu(npu or NpuOptions(), Threads(threads))
    except DeviceNotFoundError:
        if name == "npu":
            raise
        return Emulator(fidelity, Threads(threads))
