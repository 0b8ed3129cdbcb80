"""How this CPU holds operands and multiplies them: two ways of the same meaning, both with fp32 sums.

`Blas` holds float32 whose values are on the operand's grid, and NumPy multiplies them. `Bf16Dot` holds bf16
itself, in half the memory, for the CPU's own dot product of bf16 pairs, which is twice as fast and takes
subnormal numbers for zero.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int64, c_void_p
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.native import address, cpu_flags, library
from whisper_npu.host.threads import Scratch, Threads

Packed = NDArray[Any]  # an operand as a HostGemm keeps it; its first axis counts the matrices of a batch

SOURCE = Path(__file__).with_name("bf16_dot.cc")
CPU_FLAG = "avx512_bf16"
PANEL = 64  # columns of B that lie together, as in bf16_dot.cc


class Side(Enum):
    """Which operand of a product a matrix is."""

    LHS = "lhs"
    RHS = "rhs"


@dataclass(frozen=True)
class OperandForm:
    """An operand's size and the numbers that it holds."""

    side: Side
    rows: int
    cols: int
    dtype: DType
    rounding: Rounding
    tile_k: int  # products are summed in steps of a multiple of this


class HostGemm(Protocol):
    """Operands are rounded as their form says, and have no padding that a product would read."""

    @property
    def longest_block(self) -> int:
        """Rows, or columns, of C that one thread multiplies at a time."""

    @property
    def row_step(self) -> int:
        """C is cut into blocks at multiples of this many rows, so that its bits do not depend on the cuts."""

    @property
    def column_step(self) -> int:
        """Blocks of columns are multiples of so many."""

    @property
    def columns_are_alike(self) -> bool:
        """Whether the bits depend on where columns are cut: they are cut alike for any number of threads."""

    @property
    def least_macs(self) -> int:
        """Nor do they where every block has at least as many multiplications."""

    @property
    def form_of_rhs(self) -> str:
        """Names the bytes that `pack` makes of a B: increase the number whenever it makes others."""

    def pack(self, matrix: F32, form: OperandForm, threads: Threads, into: Packed | None) -> Packed:
        """An operand. matrix: (batch, rows, cols), any strides; into: what may be written over, or None."""

    def unpack(self, packed: Packed, form: OperandForm) -> F32:
        """(batch, rows, cols) float32 of what `pack` made."""

    def transposed(self, packed: Packed, form: OperandForm, threads: Threads) -> Packed:
        """The operand of the transposed product: of an A a B, of a B an A."""

    def alloc_rows(self, rows: int, K: int, scratch: Scratch) -> Packed:
        """For some rows of an A of one matrix; the next ones come in the same place."""

    def pack_rows(self, matrix: F32, form: OperandForm, out: Packed) -> None:
        """Some rows of an A of one matrix. matrix: (rows, K)."""

    def pack_in_place(self, matrix: F32, form: OperandForm) -> Packed:
        """Some rows of an A, in the memory of matrix, (rows, K) contiguous."""

    def pack_rhs_of_bf16(self, words: NDArray[np.uint16], threads: Threads) -> Packed:
        """A B from bf16. words: (batch, K, N), whose rows or columns lie together."""

    @property
    def takes_bf16(self) -> bool:
        """Whether rows of an A are those of bf16, K even, wherever they lie; otherwise of float32."""

    def multiply(self, a: Packed, b: Packed, ks: slice, cols: slice, out: F32) -> None:
        """out = A[:, ks] @ B[ks, cols], of one matrix. out: (rows of A, cols) float32, any strides."""


class Blas:
    """float32 in NumPy's BLAS, on whatever CPU.

    A BLAS takes other loops for the rows and columns that its registers leave over, and for small products,
    and each may add in an order of its own. Where blocks are multiples of what the registers hold (OpenBLAS
    0.3: at most 24 rows by 48 columns) and not small (10^6 multiplications), an element comes out alike in
    any block.
    """

    longest_block = 768
    row_step = 24
    column_step = 48
    columns_are_alike = True  # OpenBLAS halves what is left of a long row of blocks, and ends it otherwise
    least_macs = 1 << 22
    form_of_rhs = "float32 in the matrix's own order, 1"
    takes_bf16 = False

    def pack(self, matrix: F32, form: OperandForm, threads: Threads, into: Packed | None) -> Packed:
        # In the order of memory that the first had, so that K^T is not copied to be transposed.
        packed = np.empty_like(matrix, np.float32) if into is None else into
        # Cut along the axis whose steps in memory are longest, so that a block lies together.
        axes = sorted(range(3), key=lambda axis: (matrix.shape[axis] == 1, -matrix.strides[axis]))

        def pack(values: Packed, given: F32) -> None:
            self.pack_rows(given, form, values)

        threads.parallel_for_rows(pack, packed.transpose(axes), matrix.transpose(axes))
        return packed

    def unpack(self, packed: Packed, form: OperandForm) -> F32:
        return packed

    def transposed(self, packed: Packed, form: OperandForm, threads: Threads) -> Packed:
        return packed.swapaxes(1, 2)

    def alloc_rows(self, rows: int, K: int, scratch: Scratch) -> Packed:
        return scratch.array("operand", (rows, K), np.float32)

    def pack_rows(self, matrix: F32, form: OperandForm, out: Packed) -> None:
        if form.dtype is DType.BF16:
            on_grid(matrix.astype(np.float32, copy=False), form.rounding, out=out)
        else:
            out[...] = matrix

    def pack_in_place(self, matrix: F32, form: OperandForm) -> Packed:
        self.pack_rows(matrix, form, matrix)
        return matrix

    def pack_rhs_of_bf16(self, words: NDArray[np.uint16], threads: Threads) -> Packed:
        packed = np.empty_like(words, np.float32)

        def widen(values: Packed, given: NDArray[np.uint16]) -> None:
            values[...] = (given.astype(np.uint32) << np.uint32(16)).view(np.float32)

        threads.parallel_for_rows(widen, packed, words)
        return packed

    def multiply(self, a: Packed, b: Packed, ks: slice, cols: slice, out: F32) -> None:
        np.matmul(a[:, ks], b[ks, cols], out=out)


class Bf16Dot:
    """bf16 in `bf16_dot.cc`, which has the layouts: A in rows of even length, B in panels.

    Packed are A (batch, M, even K) and B (batch, panels, K pairs, PANEL, 2), as uint16. For bf16 operands
    whose k is even. Each element is summed by itself, in the order of k.
    """

    longest_block = 128
    row_step = 1
    column_step = PANEL
    columns_are_alike = False
    least_macs = 0
    takes_bf16 = True

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self._library = compiled

    @property
    def form_of_rhs(self) -> str:
        return f"pairs of bf16 in panels of {PANEL}, 1, as {_digest_of_source()} writes them"

    def pack(self, matrix: F32, form: OperandForm, threads: Threads, into: Packed | None) -> Packed:
        return (self._pack_lhs if form.side is Side.LHS else self._pack_rhs)(matrix, form, threads, into)

    def _pack_lhs(self, matrix: F32, form: OperandForm, threads: Threads, into: Packed | None) -> Packed:
        batch, M, K = matrix.shape
        packed = np.empty((batch, M, _even(K)), np.uint16) if into is None else into

        def pack(rows: slice) -> None:
            for index in range(batch):
                self.pack_rows(matrix[index, rows], form, packed[index, rows])

        threads.parallel_for_blocks(pack, M, batch * K * 4)
        return packed

    def _pack_rhs(self, matrix: F32, form: OperandForm, threads: Threads, into: Packed | None) -> Packed:
        batch, K, N = matrix.shape
        panels, pairs = -(-N // PANEL), -(-K // 2)
        packed = np.empty((batch, panels, pairs, PANEL, 2), np.uint16) if into is None else into

        def pack(some: slice) -> None:  # of all matrices' panels
            for index in range(some.start // panels, -(-some.stop // panels)):
                first, last = max(some.start - index * panels, 0), min(some.stop - index * panels, panels)
                columns = _exactly(matrix[index, :, first * PANEL : last * PANEL], form.rounding)
                k_step, n_step = (step // 4 for step in columns.strides)
                if 1 not in (k_step, n_step):
                    columns = np.ascontiguousarray(columns)
                    k_step, n_step = columns.shape[1], 1
                self._library.pack_panels(
                    address(columns),
                    c_int64(k_step),
                    c_int64(n_step),
                    address(packed[index, first]),
                    c_int64(K),
                    c_int64(columns.shape[1]),
                )

        threads.parallel_for_blocks(pack, batch * panels, 4 * K * PANEL)
        return packed

    def unpack(self, packed: Packed, form: OperandForm) -> F32:
        if form.side is Side.LHS:
            bits = packed[:, : form.rows, : form.cols].astype(np.uint32) << np.uint32(16)
        else:
            batch, panels, n_pairs = packed.shape[:3]
            pairs = packed.view(np.uint32)[..., 0].transpose(0, 2, 1, 3)  # (batch, pairs, panels, PANEL)
            both = np.empty((batch, n_pairs, 2, panels, PANEL), np.uint32)
            np.left_shift(pairs, np.uint32(16), out=both[:, :, 0])
            np.bitwise_and(pairs, np.uint32(0xFFFF0000), out=both[:, :, 1])
            bits = both.reshape(batch, 2 * n_pairs, panels * PANEL)[:, : form.rows, : form.cols]
        wide: F32 = bits.view(np.float32)
        return wide

    def transposed(self, packed: Packed, form: OperandForm, threads: Threads) -> Packed:
        pack = self._pack_rhs if form.side is Side.LHS else self._pack_lhs
        return pack(self.unpack(packed, form).swapaxes(1, 2), form, threads, None)

    def alloc_rows(self, rows: int, K: int, scratch: Scratch) -> Packed:
        return scratch.array("operand", (rows, _even(K)), np.uint16)

    def pack_rows(self, matrix: F32, form: OperandForm, out: Packed) -> None:
        rows = _exactly(matrix, form.rounding)
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

    def pack_in_place(self, matrix: F32, form: OperandForm) -> Packed:
        packed: Packed = matrix.view(np.uint16)[:, : _even(matrix.shape[1])]
        self.pack_rows(matrix, form, packed)
        return packed

    def pack_rhs_of_bf16(self, words: NDArray[np.uint16], threads: Threads) -> Packed:
        batch, K, N = words.shape
        k_step, n_step = (step // words.itemsize for step in words.strides[1:])
        assert words.dtype == np.uint16
        assert 1 in (k_step, n_step)
        assert K % 2 == 0
        packed = np.empty((batch, -(-N // PANEL), K // 2, PANEL, 2), np.uint16)

        def pack(some: slice) -> None:
            for index in range(some.start, some.stop):
                sizes = k_step, n_step, address(packed[index]), K, N
                self._library.pack_panels_of_bf16(
                    address(words[index]), *(x if isinstance(x, c_void_p) else c_int64(x) for x in sizes)
                )

        threads.parallel_for_blocks(pack, batch, 2 * K * N)
        return packed

    def multiply(self, a: Packed, b: Packed, ks: slice, cols: slice, out: F32) -> None:
        panel, beside = divmod(cols.start, PANEL)
        assert out.dtype == np.float32  # the library writes as many bytes as float32 has
        if beside or out.strides[1] != out.itemsize:  # begins within a panel, or rows have gaps
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


@lru_cache(maxsize=1)
def _digest_of_source() -> str:
    return sha256(SOURCE.read_bytes()).hexdigest()[:16]


def _even(size: int) -> int:
    return size + size % 2


def _exactly(matrix: F32, rounding: Rounding) -> F32:
    """float32 that becomes the right bf16 when it is rounded to nearest."""
    matrix = matrix.astype(np.float32, copy=False)
    return matrix if rounding is Rounding.NEAREST_EVEN else on_grid(matrix, rounding)


def blas(form: OperandForm) -> HostGemm:
    """NumPy's, whatever the operand."""
    return Blas()


def fastest(form: OperandForm) -> HostGemm:
    """What multiplies this operand on this CPU; the same for both operands of a plan."""
    suits = form.dtype is DType.BF16 and form.tile_k % 2 == 0
    dot = bf16_dot() if suits else None
    return Blas() if dot is None else dot


def bf16_dot() -> Bf16Dot | None:
    """None where the CPU has no dot product of bf16 pairs, or its compiler no word for it."""
    compiled = library(SOURCE) if cpu_has_dot() else None
    return None if compiled is None else Bf16Dot(compiled)


def cpu_has_dot() -> bool:
    return CPU_FLAG in cpu_flags()
