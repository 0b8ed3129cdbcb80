"""The loop nest of dispatches that one op becomes with one kernel. Pure: no device, no data.

A plan is what a device executes. It says for every dispatch which tile of each operand it reads or writes, as
a nest of counted loops whose steps are whole tiles, the way a DMA is programmed. Nothing else tells a device
what to compute: a plan with a dispatch missing, repeated or misplaced computes something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.errors import PlanError
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.layout import Layout
from whisper_npu.ops import Op

Step = tuple[int, int]  # (rows, columns) of tiles
STAY: Step = (0, 0)


@dataclass(frozen=True)
class Loop:
    """`count` rounds; each moves the tile of every operand on by its step."""

    name: str
    count: int
    steps: tuple[Step, ...]  # one for each operand of the plan


@dataclass(frozen=True)
class Walk:
    """The tiles of every tile product of a plan, in order.

    For each operand (products, 2), rows and columns.
    """

    tiles: tuple[NDArray[np.intp], ...]

    def __len__(self) -> int:
        return len(self.tiles[0])

    def __iter__(self) -> Iterator[tuple[list[int], ...]]:
        """The (row, column) of each operand's tile, product after product."""
        return zip(*(tiles.tolist() for tiles in self.tiles), strict=True)


@dataclass(frozen=True)
class Plan:
    """Which dispatches of which kernel make an op."""

    op: Op
    contract: Contract
    loops: tuple[Loop, ...]  # outermost first
    run_list: int = 1  # dispatches that are submitted together; the device is waited for once per list

    def __hash__(self) -> int:
        """The part that nearly always tells plans apart: they are looked up at every run."""
        return hash((self.op, self.contract, self.run_list))

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """How each operand lies, in the contract's order: what is read, then what is written."""
        return self.contract.layouts(self.op)

    @cached_property
    def inputs(self) -> tuple[Layout, ...]:
        return self.layouts[: -self.contract.results]

    @cached_property
    def outputs(self) -> tuple[Layout, ...]:
        return self.layouts[-self.contract.results :]

    def turned(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The op's inputs as the plan takes them: another order, other views of them."""
        return inputs

    @property
    def constants(self) -> frozenset[str]:
        """Operands of the op from which alone some of the plan's follow: those can be held by a device."""
        return frozenset()

    def held(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The plan's operands that follow from `constants`, by their layouts' names. given: the constants."""
        return {}

    def passing(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The plan's other operands. given: the op's other operands."""
        return {}

    def passed_on(self, name: str) -> Layout | None:
        """How an operand of the op lies that may go from one dispatch to another where it lies.

        None where the host lays it out.
        """
        return None

    @property
    def weight(self) -> Layout | None:
        """How the op's weight lies where it is staged beforehand; None where it cannot be."""
        return None

    def turned_weight(self, weight: NDArray[Any]) -> NDArray[Any]:
        """A weight as `weight` takes it."""
        return weight

    @property
    def results_are_views(self) -> bool:
        """Whether `turned_back` gives a view, of the op's result as well as of the plan's."""
        return True

    def turned_back(self, result: F32) -> F32:
        """A result of the plan as the op gives it."""
        return result

    def turn_back(self, result: F32, out: F32) -> None:
        """The same into an array that there is."""
        out[...] = self.turned_back(result)

    @property
    def dispatches(self) -> int:
        """A dispatch takes the next `contract.batch` tile products of the nest."""
        return -(-prod(loop.count for loop in self.loops) // self.contract.batch)

    @property
    def submissions(self) -> int:
        return -(-self.dispatches // self.run_list)

    @property
    def bytes_to_device(self) -> int:
        return self.dispatches * self.contract.bytes_to_device

    @property
    def bytes_from_device(self) -> int:
        return self.dispatches * self.contract.bytes_from_device

    def walk(self) -> Walk:
        """The tiles of every tile product. Raises PlanError where one lies outside its operand."""
        counts = tuple(loop.count for loop in self.loops)
        rounds = np.indices(counts).reshape(len(counts), -1).T  # (products, loops)
        walk = Walk(tuple(rounds @ self._steps(number) for number in range(len(self.layouts))))
        for tiles, layout in zip(walk.tiles, self.layouts, strict=True):
            outside = ((tiles < 0) | (tiles >= layout.grid)).any(axis=1)
            if outside.any():
                at, (down, across) = int(outside.argmax()), layout.grid
                tile = tuple(tiles[at].tolist())
                raise PlanError(
                    f"product {at} of {len(walk)} names tile {tile} of {layout.operand}, "
                    f"which has {down}x{across} tiles: let the kernel make the plan"
                )
        return walk

    def _steps(self, operand: int) -> NDArray[np.intp]:
        return np.array([loop.steps[operand] for loop in self.loops], dtype=np.intp).reshape(-1, 2)

    def __str__(self) -> str:
        names = [layout.operand for layout in self.layouts]
        lines = [
            f"{self.op} by {self.contract.name}: {self.dispatches:,} dispatches, "
            f"{self.bytes_to_device:,} bytes to the device, {self.bytes_from_device:,} back",
            "; ".join(f"{layout.operand} {layout}" for layout in self.layouts),
        ]
        for depth, loop in enumerate(self.loops):
            moves = [f"{name}+{step}" for name, step in zip(names, loop.steps, strict=True) if any(step)]
            lines.append("  " * depth + f"for {loop.name} in {loop.count}: {' '.join(moves)}")
        read, written = names[: len(self.inputs)], names[len(self.inputs) :]
        body = f"{', '.join(written)} += {self.contract.name}({', '.join(read)})"
        return "\n".join([*lines, "  " * len(self.loops) + body])
