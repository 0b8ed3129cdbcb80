"""What one kernel promises, to whoever plans with it, runs it or checks it.

A contract says what any device that claims to run the kernel must compute. The emulator executes it, the
planner plans with it, the verifier and the tests hold designs and devices to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.targets import CoreRate, Target
from whisper_npu.ops import Direction, Numerics, Op

# Calls a function with every item, in any order, perhaps on several threads.
Share = Callable[[Callable[[Any], object], Sequence[Any]], None]


@dataclass(frozen=True)
class Argument:
    """A bo that a kernel takes: what one dispatch reads of it or writes to it.

    One of direction INOUT is a workspace: no operand of the op, and neither written nor read by the host. It
    is zero before the first dispatch of a loaded kernel, and keeps what a dispatch leaves in it.
    """

    name: str
    elements: int
    dtype: DType
    direction: Direction

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.nbytes

    @property
    def is_workspace(self) -> bool:
        return self.direction is Direction.INOUT


@dataclass(frozen=True)
class KnownAnswer:
    """Operands of an op, and what a device must make of them."""

    inputs: tuple[F32, ...]
    results: tuple[NDArray[np.floating], ...]
    bounds: tuple[NDArray[np.floating] | float, ...]  # how far each element may lie from it; 0: it is equal

    def wrong(self, results: tuple[F32, ...]) -> tuple[NDArray[np.bool_], ...]:
        """Which elements of each result are not what they must be; what is no number never is."""
        with np.errstate(invalid="ignore"):  # signalling NaNs
            return tuple(
                ~(np.abs(result - expected) <= bound)
                for result, expected, bound in zip(results, self.results, self.bounds, strict=True)
            )


@dataclass(frozen=True)
class Work:
    """What a part of a dispatch takes: the next part begins when all of it is done."""

    bytes_read: int  # from DRAM, counted as often as they are read
    bytes_written: int
    stream_bytes: tuple[int, int]  # what the busiest channel of a shim reads, and what the busiest writes
    tasks: int  # DMA tasks of the shims that start in it
    writes: int = 0  # numbers that are written into cores
    core_cycles: float = 0.0  # MODELLED, of the busiest core
    hidden_tasks: int = 0  # of its tasks, those that start while its channels and cores are at work


@dataclass(frozen=True)
class Contract(ABC):
    """What one kernel promises: the work of one dispatch, its operands, its numerics."""

    name: str
    target: Target

    def __hash__(self) -> int:
        """A name nearly always tells contracts apart, and plans are looked up by theirs at every run."""
        return hash(self.name)

    @property
    @abstractmethod
    def overlay(self) -> str:
        """The array's configuration (xclbin) that it needs; kernels of one overlay share it."""

    @property
    @abstractmethod
    def arguments(self) -> tuple[Argument, ...]:
        """The bos of a dispatch, in the order in which the kernel takes them.

        First what is read, then a workspace, then the results.
        """

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of one dispatch; padding is worked on like the rest."""

    @property
    @abstractmethod
    def numerics(self) -> Numerics:
        """Its roundings."""

    @property
    @abstractmethod
    def bytes_to_device(self) -> int:
        """What one dispatch reads from DRAM, counted as often as it is read."""

    @property
    @abstractmethod
    def l1_bytes(self) -> int:
        """What a core's memory holds: buffers and stack."""

    @abstractmethod
    def layouts(self, op: Op) -> tuple[Layout, ...]:
        """How the op's operands lie: what is read, then what is written. The host's results are fp32."""

    @abstractmethod
    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        """What one tile product writes, by the array's numerics.

        tiles: as they lie, operands rounded already.
        """

    @property
    def shares(self) -> bool:
        """Whether `compute_shared` divides its work."""
        return False

    def compute_shared(self, share: Share, *tiles: F32) -> tuple[F32, ...]:
        """`compute` on several threads, with the same bits."""
        return self.compute(*tiles)

    @property
    @abstractmethod
    def written(self) -> tuple[Layout, ...]:
        """Each result as one dispatch writes it: a batch of one tile."""

    @abstractmethod
    def core_cycles(self, rate: CoreRate) -> float:
        """MODELLED cycles that the busiest core works on one dispatch."""

    @property
    @abstractmethod
    def trial_op(self) -> Op:
        """An op that fills one dispatch."""

    @abstractmethod
    def known_answer(self, op: Op, rng: np.random.Generator) -> KnownAnswer:
        """Operands for an op that a plan of this kernel makes, and the results.

        They differ from what any wrong rounding, sum, row, tile or head would give.
        """

    @property
    def cores(self) -> int:
        """Those that share one dispatch."""
        return self.target.cores

    @property
    def tasks(self) -> int:
        """DMA tasks of the shims that one dispatch starts."""
        return len(self.arguments)

    @property
    def writes(self) -> int:
        """Numbers that one dispatch writes into cores."""
        return 0

    def works(self, rate: CoreRate | None) -> tuple[Work, ...]:
        """What one dispatch takes, part by part: one part, unless a kernel says otherwise.

        rate: of its cores; None where no profile charges for their cycles.
        """
        cycles = 0.0 if rate is None else self.core_cycles(rate)
        read, written = self.bytes_to_device, self.bytes_from_device
        return (Work(read, written, self.stream_bytes, self.tasks, self.writes, cycles),)

    def tolerance_of(self, op: Op, *inputs: F32) -> tuple[NDArray[np.float64], ...]:
        """How far each element of the results of an op may lie from `Op.reference`.

        By the op's own rule, unless a kernel rounds where no other does.
        """
        return op.tolerance(self.numerics, *inputs)

    @property
    def stream_bytes(self) -> tuple[int, int]:
        """What the busiest channel of a shim reads in one dispatch, and what the busiest writes."""
        sizes = [argument.nbytes for argument in self.arguments]
        return max(sizes[: -self.results]), max(sizes[-self.results :])

    @property
    def batch(self) -> int:
        """Tile products of one dispatch."""
        return 1

    @property
    def gathers(self) -> bool:
        """Whether the host gathers the tiles of a dispatch into the first argument, by `gather`."""
        return False

    def gather(self, place: NDArray[Any], *tiles: NDArray[Any]) -> None:
        """Lay out the tiles of one dispatch.

        place: (batch, elements); tiles: (batch, rows, cols) per operand.
        """
        raise NotImplementedError(f"{self.name} reads its operands where they lie")

    @property
    def results(self) -> int:
        """How many of the arguments are results."""
        return sum(argument.direction is Direction.OUT for argument in self.arguments)

    @property
    def bytes_from_device(self) -> int:
        """What one dispatch writes to DRAM."""
        return sum(argument.nbytes for argument in self.arguments[-self.results :])

    def arguments_as_json(self) -> list[dict[str, Any]]:
        """For a manifest."""
        return [
            {
                "name": argument.name,
                "elements": argument.elements,
                "dtype": argument.dtype.value,
                "direction": argument.direction.value,
            }
            for argument in self.arguments
        ]

    def as_json(self) -> dict[str, Any]:
        """For a manifest: every field, enumerations by value, the target by its name."""

        def plain(value: object) -> object:
            if isinstance(value, dict):
                return {name: plain(inner) for name, inner in value.items()}
            return value.value if isinstance(value, Enum) else value

        flat = {field.name: getattr(self, field.name) for field in fields(self)}
        document = {
            name: asdict(value) if hasattr(value, "__dataclass_fields__") and name != "target" else value
            for name, value in flat.items()
        }
        return {name: plain(value) for name, value in document.items()} | {"target": self.target.name}


def in_order_of_trial(contracts: Iterable[Contract]) -> tuple[Contract, ...]:
    """From one core to all, then from few tasks of the shims to many, then by the bytes that they move.

    What hangs an array is then found by the smallest design that does.
    """
    return tuple(sorted(contracts, key=lambda c: (c.cores, c.tasks, c.bytes_to_device + c.bytes_from_device)))
