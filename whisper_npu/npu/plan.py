"""From a problem and a contract to the loop nest of dispatches. Pure: no device, no data.

A plan is what a device executes. It says for every dispatch which tile of A and of B it reads and which
tile of C it adds to, as a nest of counted loops whose steps are whole tiles, the way a DMA is programmed.
Nothing else tells a device what to compute: a plan with a dispatch missing, repeated or misplaced computes
another matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import Rounding
from whisper_npu.npu.contract import Along, Contract, DType

Step = tuple[int, int]  # (rows, columns) of tiles


@dataclass(frozen=True)
class Problem:
    """A (M,K) @ B (K,N) -> C (M,N), for each of `heads`. Raises PlanError where a size is below 1."""

    M: int
    K: int
    N: int
    heads: int = 1

    def __post_init__(self) -> None:
        if min(self.M, self.K, self.N, self.heads) < 1:
            raise PlanError(f"no plan for {self}: every size must be at least 1")

    def __str__(self) -> str:
        times = f"{self.heads} x " if self.heads != 1 else ""
        return f"{times}({self.M},{self.K})@({self.K},{self.N})"

    @property
    def macs(self) -> int:
        return self.heads * self.M * self.K * self.N

    @property
    def transposed(self) -> Problem:
        """C^T = B^T @ A^T."""
        return Problem(self.N, self.K, self.M, self.heads)


class Role(Enum):
    """What a matrix is in a product."""

    A = "A"
    B = "B"
    C = "C"


@dataclass(frozen=True)
class Layout:
    """A matrix in a bo: cut into whole tiles, the last row and column of tiles padded with zeros.

    Of several heads each is padded by itself. Their tiles are counted as if every head lay below the one
    before; `along` says where it does lie.
    """

    role: Role
    rows: int
    cols: int
    tile_rows: int
    tile_cols: int
    dtype: DType
    rounding: Rounding  # by which the host rounds as it writes
    heads: int = 1
    along: Along = Along.ROWS

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is written and read: (rows, cols), or (heads, rows, cols)."""
        return (self.rows, self.cols) if self.heads == 1 else (self.heads, self.rows, self.cols)

    @property
    def head_grid(self) -> tuple[int, int]:
        """How many tiles of one head: down, across."""
        return -(-self.rows // self.tile_rows), -(-self.cols // self.tile_cols)

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles of all heads: down, across."""
        down, across = self.head_grid
        return self.heads * down, across

    @property
    def padded(self) -> tuple[int, int]:
        """One head with its padding."""
        down, across = self.head_grid
        return down * self.tile_rows, across * self.tile_cols

    @property
    def nbytes(self) -> int:
        return self.heads * prod(self.padded) * self.dtype.nbytes

    def __str__(self) -> str:
        down, across = self.head_grid
        times = f"{self.heads} x " if self.heads != 1 else ""
        return (
            f"{times}({self.rows},{self.cols}) {self.dtype.value} in {down}x{across} tiles "
            f"of {self.tile_rows}x{self.tile_cols}"
        )


@dataclass(frozen=True)
class Loop:
    """`count` rounds; each moves the tile of A, B and C on by a step."""

    name: str
    count: int
    a: Step = (0, 0)
    b: Step = (0, 0)
    c: Step = (0, 0)


@dataclass(frozen=True)
class Walk:
    """Every tile product of a plan in order: the (row, column) of its tiles. Each array is (products, 2)."""

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    c: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.c)

    def __iter__(self) -> Iterator[tuple[list[int], list[int], list[int]]]:
        return zip(self.a.tolist(), self.b.tolist(), self.c.tolist(), strict=True)


@dataclass(frozen=True)
class Plan:
    """Which dispatches of which kernel make a problem's product."""

    problem: Problem
    contract: Contract
    loops: tuple[Loop, ...]  # outermost first
    runlist: int = 1  # dispatches that are submitted together; the device is waited for once a list

    def __hash__(self) -> int:
        """Of what tells plans apart nearly always: they are looked up at every product."""
        return hash((self.problem, self.contract, self.runlist))

    @cached_property
    def a(self) -> Layout:
        return a_layout(self.contract, self.problem.M, self.problem.K, self.problem.heads)

    @cached_property
    def b(self) -> Layout:
        return b_layout(self.contract, self.problem.K, self.problem.N, self.problem.heads)

    @cached_property
    def c(self) -> Layout:
        """The sum of the partial results: fp32, kept by the host."""
        contract, problem = self.contract, self.problem
        return Layout(
            Role.C,
            problem.M,
            problem.N,
            contract.m,
            contract.n,
            DType.F32,
            contract.result_rounding,
            problem.heads,
            contract.heads_along.c if contract.heads_along else Along.ROWS,
        )

    @property
    def dispatches(self) -> int:
        """A dispatch takes the next `contract.batch` tile products of the nest."""
        return -(-prod(loop.count for loop in self.loops) // self.contract.batch)

    @property
    def submissions(self) -> int:
        return -(-self.dispatches // self.runlist)

    @property
    def bytes_to_device(self) -> int:
        return self.dispatches * self.contract.bytes_to_device

    @property
    def bytes_from_device(self) -> int:
        return self.dispatches * self.contract.bytes_from_device

    def walk(self) -> Walk:
        """The tiles of every product. Raises PlanError where one lies outside its operand."""
        counts = tuple(loop.count for loop in self.loops)
        rounds = np.indices(counts).reshape(len(counts), -1).T  # (products, loops)
        walk = Walk(*(rounds @ self._steps(operand) for operand in "abc"))
        for name, tiles, layout in (("A", walk.a, self.a), ("B", walk.b, self.b), ("C", walk.c, self.c)):
            outside = ((tiles < 0) | (tiles >= layout.grid)).any(axis=1)
            if outside.any():
                at = int(outside.argmax())
                raise PlanError(
                    f"product {at} of {len(walk)} names tile {tuple(tiles[at].tolist())} of {name}, "
                    f"which has {layout.grid[0]}x{layout.grid[1]} tiles: make the plan with tiled_plan"
                )
        return walk

    def _steps(self, operand: str) -> NDArray[np.intp]:
        return np.array([getattr(loop, operand) for loop in self.loops], dtype=np.intp).reshape(-1, 2)

    def __str__(self) -> str:
        lines = [
            f"{self.problem} by {self.contract.name}: {self.dispatches:,} dispatches, "
            f"{self.bytes_to_device:,} bytes to the device, {self.bytes_from_device:,} back",
            f"A {self.a}; B {self.b}; C {self.c}",
        ]
        for depth, loop in enumerate(self.loops):
            steps = {"A": loop.a, "B": loop.b, "C": loop.c}
            moves = " ".join(f"{operand}+{step}" for operand, step in steps.items() if any(step))
            lines.append("  " * depth + f"for {loop.name} in {loop.count}: {moves}")
        lines.append("  " * len(self.loops) + f"C tile += {self.contract.name}(A tile, B tile)")
        return "\n".join(lines)


def a_layout(contract: Contract, M: int, K: int, heads: int = 1) -> Layout:
    """A (M,K) as `contract` reads it."""
    along = contract.heads_along.a if contract.heads_along else Along.ROWS
    return Layout(
        Role.A, M, K, contract.m, contract.k, contract.operand_dtype, contract.operand_rounding, heads, along
    )


def b_layout(contract: Contract, K: int, N: int, heads: int = 1) -> Layout:
    """B (K,N) as `contract` reads it: the same for every M, so weights are staged once."""
    along = contract.heads_along.b if contract.heads_along else Along.ROWS
    return Layout(
        Role.B, K, N, contract.k, contract.n, contract.operand_dtype, contract.operand_rounding, heads, along
    )


def tiled_plan(problem: Problem, contract: Contract) -> Plan:
    """One product for each (i, j, k) of tiles, k innermost so that a tile of C is finished at once.

    Raises PlanError for a kernel that walks over heads and a problem of another number of heads, or of larger
    ones than it walks over.
    """
    heads = problem.heads
    sizes = ((problem.M, contract.m), (problem.K, contract.k), (problem.N, contract.n))
    fits = heads == contract.batch and all(size <= held for size, held in sizes)
    if contract.heads_along is not None and not fits:
        raise PlanError(
            f"{contract.name} takes {contract.batch} heads of at most ({contract.m},{contract.k})@"
            f"({contract.k},{contract.n}), not {problem}: take a kernel for that"
        )
    i, k = a_layout(contract, problem.M, problem.K).grid
    j = b_layout(contract, problem.K, problem.N).grid[1]
    return Plan(
        problem,
        contract,
        (
            *([Loop("head", heads, a=(i, 0), b=(k, 0), c=(i, 0))] if heads > 1 else []),
            Loop("i", i, a=(1, 0), c=(1, 0)),
            Loop("j", j, b=(0, 1), c=(0, 1)),
            Loop("k", k, a=(0, 1), b=(1, 0)),
        ),
    )


def host_batched_plan(problem: Problem, contract: Contract, columns: int) -> Plan:
    """tiled_plan with tile columns of B taken `columns` at a time: another order, and not a dispatch less.

    columns divides the tile columns of B, or PlanError.
    """
    i, k = a_layout(contract, problem.M, problem.K).grid
    j = b_layout(contract, problem.K, problem.N).grid[1]
    if problem.heads != 1:
        raise PlanError(f"no host-batched plan for {problem}: it is for one head")
    if columns < 1 or j % columns:
        raise PlanError(f"{columns} columns at a time do not divide the {j} tile columns of {problem}")
    return Plan(
        problem,
        contract,
        (
            Loop("batch of j", j // columns, b=(0, columns), c=(0, columns)),
            Loop("i", i, a=(1, 0), c=(1, 0)),
            Loop("j", columns, b=(0, 1), c=(0, 1)),
            Loop("k", k, a=(0, 1), b=(1, 0)),
        ),
    )
