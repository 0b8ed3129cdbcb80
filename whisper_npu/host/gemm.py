"""How this CPU holds operands and multiplies them: two ways of the same meaning, both with fp32 sums.

`Blas` holds float32 whose values are on the operand's grid, and NumPy multiplies them. `Bf16Dot` holds bf16
itself, in half the memory, for the CPU's own dot product of bf16 pairs, which is twice as fast and takes
subnormal numbers for zero.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int64, c_void_p
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_npu.host.bf16 import F32, Rounding, on_grid
from whisper_npu.host.native import address, cpu_flags, library
from whisper_npu.host.threads import Scratch, Threads
from whisper_npu.npu.contract import DType
from whisper_npu.npu.plan import Layout, Role

Held = NDArray[Any]  # an operand as a CpuGemm holds it; its first axis counts heads

SOURCE = Path(__file__).with_name("bf16_dot.cc")
CPU_FLAG = "avx512_bf16"
PANEL = 64  # columns of B that lie together, as in bf16_dot.cc


class CpuGemm(Protocol):
    """Operands are rounded as their layout says, and have no padding that a product would read."""

    @property
    def longest_block(self) -> int:
        """Rows, or columns, of C that one thread multiplies at a time."""

    @property
    def column_step(self) -> int:
        """Columns of C had better be multiplied from multiples of this."""

    def hold(self, matrix: F32, layout: Layout, threads: Threads, into: Held | None) -> Held:
        """An operand. matrix: (heads, rows, cols), any strides; into: what may be written over, or None."""

    def matrix(self, held: Held, layout: Layout) -> F32:
        """(heads, rows, cols) float32 of what `hold` made."""

    def transposed(self, held: Held, layout: Layout, threads: Threads) -> Held:
        """The operand of the transposed product: of an A a B, of a B an A."""

    def room_for_rows(self, rows: int, K: int, scratch: Scratch) -> Held:
        """For some rows of an A of one head; the next ones come in the same place."""

    def pack_rows(self, matrix: F32, layout: Layout, out: Held) -> None:
        """Some rows of an A of one head. matrix: (rows, K)."""

    def pack_in_place(self, matrix: F32, layout: Layout) -> Held:
        """Some rows of an A, in the memory of matrix, (rows, K) contiguous."""

    def multiply(self, a: Held, b: Held, ks: slice, cols: slice, out: F32) -> None:
        """out = A[:, ks] @ B[ks, cols], of one head. out: (rows of A, cols), rows contiguous each."""


class Blas:
    """float32 in NumPy's BLAS, on whatever CPU."""

    longest_block = 768
    column_step = 1

    def hold(self, matrix: F32, layout: Layout, threads: Threads, into: Held | None) -> Held:
        # In the order of memory that the first had, so that K^T is not copied to be transposed.
        held = np.empty_like(matrix, np.float32) if into is None else into
        # Cut along the axis whose steps in memory are longest, so that a block lies together.
        axes = sorted(range(3), key=lambda axis: (matrix.shape[axis] == 1, -matrix.strides[axis]))

        def pack(values: Held, given: F32) -> None:
            self.pack_rows(given, layout, values)

        threads.by_rows(pack, held.transpose(axes), matrix.transpose(axes))
        return held

    def matrix(self, held: Held, layout: Layout) -> F32:
        return held

    def transposed(self, held: Held, layout: Layout, threads: Threads) -> Held:
        return held.swapaxes(1, 2)

    def room_for_rows(self, rows: int, K: int, scratch: Scratch) -> Held:
        return scratch.array("operand", (rows, K), np.float32)

    def pack_rows(self, matrix: F32, layout: Layout, out: Held) -> None:
        if layout.dtype is DType.BF16:
            on_grid(matrix.astype(np.float32, copy=False), layout.rounding, out=out)
        else:
            out[...] = matrix

    def pack_in_place(self, matrix: F32, layout: Layout) -> Held:
        self.pack_rows(matrix, layout, matrix)
        return matrix

    def multiply(self, a: Held, b: Held, ks: slice, cols: slice, out: F32) -> None:
        np.matmul(a[:, ks], b[ks, cols], out=out)


class Bf16Dot:
    """bf16 in `bf16_dot.cc`, which has the layouts: A in rows of even length, B in panels.

    Held are A (heads, M, even K) and B (heads, panels, K pairs, PANEL, 2), as uint16. For bf16 operands whose
    k is even.
    """

    longest_block = 128
    column_step = PANEL

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._library = compiled

    def hold(self, matrix: F32, layout: Layout, threads: Threads, into: Held | None) -> Held:
        return (self._hold_a if layout.role is Role.A else self._hold_b)(matrix, layout, threads, into)

    def _hold_a(self, matrix: F32, layout: Layout, threads: Threads, into: Held | None) -> Held:
        heads, M, K = matrix.shape
        held = np.empty((heads, M, _even(K)), np.uint16) if into is None else into

        def pack(rows: slice) -> None:
            for head in range(heads):
                self.pack_rows(matrix[head, rows], layout, held[head, rows])

        threads.in_blocks(pack, M, heads * K * 4)
        return held

    def _hold_b(self, matrix: F32, layout: Layout, threads: Threads, into: Held | None) -> Held:
        heads, K, N = matrix.shape
        panels, pairs = -(-N // PANEL), -(-K // 2)
        held = np.empty((heads, panels, pairs, PANEL, 2), np.uint16) if into is None else into

        def pack(some: slice) -> None:  # of all heads' panels
            for head in range(some.start // panels, -(-some.stop // panels)):
                first, last = max(some.start - head * panels, 0), min(some.stop - head * panels, panels)
                columns = _exactly(matrix[head, :, first * PANEL : last * PANEL], layout.rounding)
                k_step, n_step = (step // 4 for step in columns.strides)
                if 1 not in (k_step, n_step):
                    columns = np.ascontiguousarray(columns)
                    k_step, n_step = columns.shape[1], 1
                self._library.pack_panels(
                    address(columns),
                    c_int64(k_step),
                    c_int64(n_step),
                    address(held[head, first]),
                    c_int64(K),
                    c_int64(columns.shape[1]),
                )

        threads.in_blocks(pack, heads * panels, 4 * K * PANEL)
        return held

    def matrix(self, held: Held, layout: Layout) -> F32:
        if layout.role is Role.B:
            heads, panels, pairs = held.shape[:3]
            held = held.transpose(0, 2, 4, 1, 3).reshape(heads, 2 * pairs, panels * PANEL)
        bits = held[:, : layout.rows, : layout.cols].astype(np.uint32) << np.uint32(16)
        wide: F32 = bits.view(np.float32)
        return wide

    def transposed(self, held: Held, layout: Layout, threads: Threads) -> Held:
        hold = self._hold_b if layout.role is Role.A else self._hold_a
        return hold(self.matrix(held, layout).swapaxes(1, 2), layout, threads, None)

    def room_for_rows(self, rows: int, K: int, scratch: Scratch) -> Held:
        return scratch.array("operand", (rows, _even(K)), np.uint16)

    def pack_rows(self, matrix: F32, layout: Layout, out: Held) -> None:
        rows = _exactly(matrix, layout.rounding)
        if rows.strides[1] != 4:
            rows = np.ascontiguousarray(rows)
        self._library.pack_rows(
            address(rows),
            c_int64(rows.strides[0] // 4),
            address(out),
            c_int64(out.strides[0] // 2),
            c_int64(rows.shape[0]),
            c_int64(rows.shape[1]),
        )

    def pack_in_place(self, matrix: F32, layout: Layout) -> Held:
        held: Held = matrix.view(np.uint16)[:, : _even(matrix.shape[1])]
        self.pack_rows(matrix, layout, held)
        return held

    def multiply(self, a: Held, b: Held, ks: slice, cols: slice, out: F32) -> None:
        panel, beside = divmod(cols.start, PANEL)
        if beside:  # begins within a panel
            whole = np.empty((len(out), beside + out.shape[1]), np.float32)
            self.multiply(a, b, ks, slice(panel * PANEL, cols.stop), whole)
            out[...] = whole[:, beside:]
            return
        self._library.multiply(
            c_void_p(a.ctypes.data + ks.start * a.itemsize),
            c_int64(a.strides[0] // a.itemsize),
            c_void_p(b.ctypes.data + panel * b.strides[0] + ks.start // 2 * b.strides[1]),
            c_int64(b.strides[0] // b.itemsize),
            address(out),
            c_int64(out.strides[0] // out.itemsize),
            c_int64(len(out)),
            c_int64(-(-(ks.stop - ks.start) // 2)),
            c_int64(out.shape[1]),
        )


def _even(size: int) -> int:
    return size + size % 2


def _exactly(matrix: F32, rounding: Rounding) -> F32:
    """float32 that becomes the right bf16 when it is rounded to nearest."""
    matrix = matrix.astype(np.float32, copy=False)
    return matrix if rounding is Rounding.NEAREST_EVEN else on_grid(matrix, rounding)


def blas(layout: Layout) -> CpuGemm:
    """NumPy's, whatever the operand."""
    return Blas()


def fastest(layout: Layout) -> CpuGemm:
    """What multiplies this operand on this CPU; the same for both operands of a plan."""
    inner = layout.tile_cols if layout.role is Role.A else layout.tile_rows
    suits = layout.role is not Role.C and layout.dtype is DType.BF16 and inner % 2 == 0
    dot = bf16_dot() if suits else None
    return Blas() if dot is None else dot


def bf16_dot() -> Bf16Dot | None:
    """None where the CPU has no dot product of bf16 pairs, or its compiler no word for it."""
    compiled = library(SOURCE) if cpu_has_dot() else None
    return None if compiled is None else Bf16Dot(compiled)


def cpu_has_dot() -> bool:
    return CPU_FLAG in cpu_flags()
