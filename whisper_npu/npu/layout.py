"""How matrices lie in a bo.

Cut into tiles, in the order of bytes that a kernel's DMA reads and writes. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import DType, Rounding

Array = NDArray[Any]


class Along(Enum):
    """Where the next matrix of a batch lies."""

    ROWS = "rows"  # below the one before
    COLS = "cols"  # beside it


@dataclass(frozen=True)
class Layout:
    """An operand in a bo: cut into whole tiles, the last row and column of tiles padded with zeros.

    Each matrix of a batch is padded by itself. Tiles are counted as if every matrix lay below the one before;
    `along` says where it does lie.
    """

    operand: str  # its name in the kernel: "A", for example
    rows: int
    cols: int
    tile_rows: int
    tile_cols: int
    dtype: DType
    rounding: Rounding = Rounding.NEAREST_EVEN  # by which the host rounds as it writes
    batch: int = 1
    along: Along = Along.ROWS
    stands_for: tuple[int, ...] | None = None  # the op's operand, where the host lays it out anew before
    order: str = ""  # in which it then does, where there is more than one

    @property
    def operand_shape(self) -> tuple[int, ...]:
        """Of the op's operand; of what is written and read, unless the plan turns it into something else."""
        return self.stands_for or self.shape

    @property
    def shape(self) -> tuple[int, ...]:
        """What is written and read has it: (rows, cols), or (batch, rows, cols)."""
        return (self.rows, self.cols) if self.batch == 1 else (self.batch, self.rows, self.cols)

    @property
    def matrix_grid(self) -> tuple[int, int]:
        """How many tiles one matrix has: down, across."""
        return -(-self.rows // self.tile_rows), -(-self.cols // self.tile_cols)

    @property
    def grid(self) -> tuple[int, int]:
        """How many tiles the whole batch has: down, across."""
        down, across = self.matrix_grid
        return self.batch * down, across

    @property
    def padded(self) -> tuple[int, int]:
        """One matrix with its padding."""
        down, across = self.matrix_grid
        return down * self.tile_rows, across * self.tile_cols

    @property
    def nbytes(self) -> int:
        return self.batch * prod(self.padded) * self.dtype.nbytes

    def lies_as(self, other: Layout) -> bool:
        """Whether a bo of the other layout can be read by this one: only the operand's name may differ."""
        return replace(self, operand=other.operand) == other

    def __str__(self) -> str:
        down, across = self.matrix_grid
        times = f"{self.batch} x " if self.batch != 1 else ""
        return (
            f"{times}({self.rows},{self.cols}) {self.dtype.value} in {down}x{across} tiles "
            f"of {self.tile_rows}x{self.tile_cols}"
        )


def allocated(layout: Layout) -> Array:
    """(batch, rows, cols) float32 of any values; the matrices lie as the layout says."""
    batch, rows, cols = layout.batch, layout.rows, layout.cols
    beside = layout.along is Along.COLS
    array = np.empty((rows, batch, cols) if beside else (batch, rows, cols), np.float32)
    return array.transpose(1, 0, 2) if beside else array


def tile_of(matrices: Array, layout: Layout, at: Sequence[int]) -> Array:
    """A view of the tile at (row, column) of the whole batch's grid.

    matrices: (batch, *layout.padded), or (batch, rows, cols), whose tiles at the edges are smaller.
    """
    index, row = divmod(at[0], layout.matrix_grid[0])
    rows, cols = layout.tile_rows, layout.tile_cols
    return matrices[index, row * rows : (row + 1) * rows, at[1] * cols : (at[1] + 1) * cols]


def padded_to_tiles(values: Array, layout: Layout) -> Array:
    """(batch, *layout.padded) float32: zeros around what is given. values: (batch, rows, cols)."""
    padded = np.zeros((layout.batch, *layout.padded), np.float32)
    padded[:, : layout.rows, : layout.cols] = values
    return padded


def in_tiles(memory: Array, layout: Layout) -> Array:
    """The elements of a bo as (..., batch, tiles down, tiles across, tile_rows, tile_cols), a view.

    Tiles lie one after the other, each row-major, except where the matrices of a batch lie side by side, of
    one tile each: those share every row. memory: (..., elements), of one batch or of several.
    """
    before, (down, across) = memory.shape[:-1], layout.matrix_grid
    if layout.along is Along.COLS:
        rows = memory.reshape(*before, layout.tile_rows, layout.batch, layout.tile_cols)
        return rows.swapaxes(-3, -2)[..., :, None, None, :, :]
    return memory.reshape(*before, layout.batch, down, across, layout.tile_rows, layout.tile_cols)


def fill(tiles: Array, matrix: Array, layout: Layout) -> None:
    """Write matrices over their tiles; the padding stays as it is.

    tiles: from `in_tiles`, of the whole batch or of some of it. matrix: (rows, cols) or (batch, rows, cols),
    any strides, of the tiles' dtype.
    """
    batch, m, n = len(tiles), layout.tile_rows, layout.tile_cols
    down, across = layout.rows // m, layout.cols // n  # whole tiles
    matrix = matrix.reshape(batch, layout.rows, layout.cols)
    for i, rows in ((slice(down), slice(down * m)), (slice(down, down + 1), slice(down * m, None))):
        for j, cols in (
            (slice(across), slice(across * n)),
            (slice(across, across + 1), slice(across * n, None)),
        ):
            part = matrix[:, rows, cols]
            height, width = min(m, part.shape[1]), min(n, part.shape[2])
            if height and width:
                split = part.reshape(batch, -1, height, part.shape[2] // width, width)
                tiles[:, i, j, :height, :width] = split.transpose(0, 1, 3, 2, 4)


def micro_tiles(tiles: Array, height: int, width: int) -> Array:
    """(batch, rows, cols) -> (batch, rows/height, cols/width, height, width), as a core reads an operand."""
    batch, rows, cols = tiles.shape
    return tiles.reshape(batch, rows // height, height, cols // width, width).transpose(0, 1, 3, 2, 4)


def pack_pairs(pairs: Array, a: Array, b: Array, micro_tile: tuple[int, int, int]) -> None:
    """A and B of each product one after the other, both in micro-tile order.

    pairs: (batch, m * k + k * n), written. a: (batch, m, k), b: (batch, k, n).
    """
    r, s, t = micro_tile
    split = a[0].size
    for part, tiles in ((pairs[:, :split], micro_tiles(a, r, s)), (pairs[:, split:], micro_tiles(b, s, t))):
        part.reshape(tiles.shape)[:] = tiles  # a view: only the last axis is split
