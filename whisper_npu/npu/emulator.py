"""A device without hardware: it executes a plan's dispatches on this CPU with the contract's numerics.

bf16 operands lie in float32 arrays whose values are on the bf16 grid, for the CPU has no bf16 GEMM; the
products of such values are exact in float32's range, so sums are fp32 sums, as in the core.

What is computed follows from walking the plan and from nothing else: the problem's sizes only say how
large the buffers are. C starts as NaN, so that a tile which no dispatch writes cannot pass for a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from time import perf_counter
from types import TracebackType

import numpy as np

from whisper_npu.errors import PlanError
from whisper_npu.npu.bf16 import F32, on_grid, to_bf16
from whisper_npu.npu.contract import CONTRACTS, Along, Contract, DType
from whisper_npu.npu.cost import gemm_tiles
from whisper_npu.npu.device import Buffer, Completion, Device, Fidelity
from whisper_npu.npu.plan import Layout, Plan, Walk


class EmulatedBuffer:
    """Padded matrices, row-major: a tile is a slice of one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.padded: F32 | None = None  # (heads, *layout.padded) float32

    @property
    def layout(self) -> Layout:
        return self._layout

    def write(self, matrix: F32) -> None:
        layout = self.layout
        if matrix.shape != layout.shape:
            raise PlanError(f"a matrix of shape {matrix.shape} does not fit a buffer of {layout}")
        if self.padded is None:
            self.padded = _allocated(layout, 0)  # padding stays zero for good
        inside = self.padded[:, : layout.rows, : layout.cols]
        inside[:] = to_bf16(matrix, layout.rounding) if layout.dtype is DType.BF16 else matrix

    def read(self) -> F32:
        if self.padded is None:
            raise PlanError(f"a buffer of {self.layout} is read before anything was written to it")
        return self.padded[:, : self.layout.rows, : self.layout.cols].reshape(self.layout.shape)

    def close(self) -> None:
        self.padded = None


def _allocated(layout: Layout, value: float) -> F32:
    """(heads, *layout.padded) float32, the heads lying as the layout says."""
    rows, cols = layout.padded
    if layout.along is Along.COLS:
        return np.full((rows, layout.heads, cols), value, np.float32).transpose(1, 0, 2)
    return np.full((layout.heads, rows, cols), value, np.float32)


@dataclass(frozen=True)
class Box:
    """A plan's products where they are every (head, i, j, k) of four ranges, each exactly once."""

    head: slice
    i: slice
    k: slice
    j: slice


class Emulator:
    """Executes plans on this CPU. Its seconds are the CPU's."""

    def __init__(self, fidelity: Fidelity = Fidelity.FAST) -> None:
        self.fidelity = fidelity

    @property
    def name(self) -> str:
        return "emulator"

    @property
    def description(self) -> str:
        return f"emulator ({self.fidelity.value}), no NPU: the NPU's plans and numerics on this CPU"

    @property
    def clock(self) -> str:
        return "CPU"

    def kernels(self) -> tuple[Contract, ...]:
        return CONTRACTS

    def gemm_tiles(self) -> tuple[tuple[int, int, int], ...]:
        return gemm_tiles()

    def load(self, contract: Contract) -> None:
        """Nothing to load: a contract says all that the emulator needs."""

    def alloc(self, layout: Layout) -> Buffer:
        return EmulatedBuffer(layout)

    def run(self, plan: Plan, a: Buffer, b: Buffer, c: Buffer) -> Completion:
        start = perf_counter()
        for operand, layout, buffer in (("A", plan.a, a), ("B", plan.b, b), ("C", plan.c, c)):
            if buffer.layout != layout:
                raise PlanError(f"{operand} lies as {buffer.layout}, the plan reads {layout}")
        assert isinstance(a, EmulatedBuffer)
        assert isinstance(b, EmulatedBuffer)
        assert isinstance(c, EmulatedBuffer)
        if a.padded is None or b.padded is None:
            raise PlanError("an operand was never written: write A and B before the plan runs")
        walk, box = _walked(plan)
        c.padded = None  # a reader of the last result keeps it; this run makes its own
        if box is not None and self.fidelity is Fidelity.FAST:
            c.padded = _run_box(plan, box, a.padded, b.padded)
        else:
            c.padded = _run_dispatches(plan, walk, a.padded, b.padded)
        dispatches = -(-len(walk) // plan.contract.batch)
        return Completion(
            dispatches=dispatches,
            bytes_to_device=dispatches * plan.contract.bytes_to_device,
            bytes_from_device=dispatches * plan.contract.bytes_from_device,
            seconds=perf_counter() - start,
        )

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _run_dispatches(plan: Plan, walk: Walk, a: F32, b: F32) -> F32:
    """One dispatch after another, as the device would; the host adds each C tile to what is there."""
    c = _allocated(plan.c, np.nan)
    written = np.zeros(plan.c.grid, bool)
    for a_at, b_at, c_at in walk:
        partial = _core_output(plan.contract, _tile(a, plan.a, a_at) @ _tile(b, plan.b, b_at))  # (m, n)
        c_tile = _tile(c, plan.c, c_at)
        if written[tuple(c_at)]:
            c_tile += partial
        else:
            c_tile[:] = partial
            written[tuple(c_at)] = True
    return c


def _tile(matrices: F32, layout: Layout, at: Sequence[int]) -> F32:
    """A view of the tile at (row, column) of the grid of all heads. matrices: (heads, *layout.padded)."""
    head, row = divmod(at[0], layout.head_grid[0])
    rows, cols = layout.tile_rows, layout.tile_cols
    return matrices[head, row * rows : (row + 1) * rows, at[1] * cols : (at[1] + 1) * cols]


def _run_box(plan: Plan, box: Box, a: F32, b: F32) -> F32:
    """All dispatches of a box in large operations; K tiles are fused only where partial sums stay fp32."""
    m, k, n = plan.contract.m, plan.contract.k, plan.contract.n
    c = _allocated(plan.c, np.nan)  # (heads, *padded)
    a, b = a[box.head, _elements(box.i, m)], b[box.head, :, _elements(box.j, n)]
    total = c[box.head, _elements(box.i, m), _elements(box.j, n)]
    fused = plan.contract.result_dtype is DType.F32
    k_steps = [box.k] if fused else [slice(t, t + 1) for t in range(box.k.start, box.k.stop)]
    for number, k_step in enumerate(k_steps):
        ks = _elements(k_step, k)
        if number == 0:
            np.matmul(a[:, :, ks], b[:, ks], out=total)
            total[:] = _core_output(plan.contract, total)
        else:
            total += _core_output(plan.contract, a[:, :, ks] @ b[:, ks])
    return c


def _core_output(contract: Contract, partial: F32) -> F32:
    """What a core writes back of an fp32 accumulator."""
    return on_grid(partial, contract.result_rounding) if contract.result_dtype is DType.BF16 else partial


def _elements(tiles: slice, size: int) -> slice:
    return slice(tiles.start * size, tiles.stop * size)


@lru_cache(maxsize=256)  # an encoder has a dozen different plans and runs each many times
def _walked(plan: Plan) -> tuple[Walk, Box | None]:
    walk = plan.walk()
    return walk, _as_box(plan, walk)


def _as_box(plan: Plan, walk: Walk) -> Box | None:
    """The box that a walk fills, or None where it is anything else, a wrong plan for example."""
    head, i = np.divmod(walk.a[:, 0], plan.a.head_grid[0])
    b_head, k = np.divmod(walk.b[:, 0], plan.b.head_grid[0])
    j = walk.b[:, 1]
    consistent = (
        (b_head == head).all()
        and (walk.a[:, 1] == k).all()
        and (walk.c[:, 0] == head * plan.c.head_grid[0] + i).all()
        and (walk.c[:, 1] == j).all()
    )
    if not len(walk) or not consistent:
        return None
    axes = head, i, k, j
    ranges = [slice(int(axis.min()), int(axis.max()) + 1) for axis in axes]
    sizes = [r.stop - r.start for r in ranges]
    cells = np.ravel_multi_index(tuple(axis - r.start for axis, r in zip(axes, ranges, strict=True)), sizes)
    once = len(walk) == prod(sizes) and len(np.unique(cells)) == len(walk)
    return Box(*ranges) if once else None
