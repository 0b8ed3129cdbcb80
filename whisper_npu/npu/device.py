"""The seam between products and whatever computes them: one interface, two homes.

A device is handed plans whole and returns what it did. `npu/emulator.py` and `npu/xrt.py` implement it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Protocol

from whisper_npu.errors import DeviceNotFoundError, UsageError
from whisper_npu.npu.bf16 import F32
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
        """The (rows, cols) matrix, without its padding. No later run changes it under the caller."""

    def close(self) -> None:
        """Give the memory back. The buffer is of no use afterwards; what `read` gave stays."""


@dataclass(frozen=True)
class Completion:
    """What a device did for one plan."""

    dispatches: int  # as executed, counted by the device
    bytes_to_device: int
    bytes_from_device: int
    seconds: float  # MEASURED, on the clock that `Device.clock` names


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

    def close(self) -> None: ...

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


DEVICE_NAMES = ("auto", "npu", "emulator")


def open_device(
    name: str = "auto", fidelity: Fidelity = Fidelity.FAST, npu: NpuOptions | None = None
) -> Device:
    """Open `npu`, `emulator`, or with `auto` an NPU that can be used and otherwise the emulator.

    What was opened says so in its `name` and `description`. `fidelity` concerns the emulator only, `npu` the
    NPU. Raises DeviceNotFoundError where `npu` is asked for and none answers, UsageError for another name.
    """
    from whisper_npu.npu.emulator import Emulator
    from whisper_npu.npu.xrt import open_npu

    if name not in DEVICE_NAMES:
        raise UsageError(f"unknown device {name!r}: there are {', '.join(DEVICE_NAMES)}")
    if name == "emulator":
        return Emulator(fidelity)
    try:
        return open_npu(npu or NpuOptions())
    except DeviceNotFoundError:
        if name == "npu":
            raise
        return Emulator(fidelity)
