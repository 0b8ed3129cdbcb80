"""What one kernel promises, to whoever plans with it, runs it or checks it.

A contract says what any device that claims to run the kernel must compute. The emulator executes it, the
planner plans with it, the verifier and the tests hold designs and devices to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.targets import CoreRate, Target
from whisper_npu.ops import Direction, Numerics, Op


@dataclass(frozen=True)
class Argument:
    """A bo that a kernel takes: what one dispatch reads of it or writes to it."""

    name: str
    elements: int
    dtype: DType
    direction: Direction

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.nbytes


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
        """The bos of a dispatch, in the order in which the kernel takes them; results come last."""

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
        """How many of the arguments are written."""
        return sum(argument.direction is not Direction.IN for argument in self.arguments)

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
