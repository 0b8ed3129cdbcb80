"""How matrices lie in a bo: the order of bytes that a kernel's DMA reads and writes. Pure: arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.npu.contract import Along
from whisper_npu.npu.plan import Layout

Array = NDArray[Any]


def allocated(layout: Layout) -> Array:
    """(heads, *layout.padded) float32 of any values; the heads lie as the layout says."""
    rows, cols = layout.padded
    beside = layout.along is Along.COLS
    array = np.empty((rows, layout.heads, cols) if beside else (layout.heads, rows, cols), np.float32)
    return array.transpose(1, 0, 2) if beside else array


def tile_of(matrices: Array, layout: Layout, at: Sequence[int]) -> Array:
    """A view of the tile at (row, column) of the grid of all heads. matrices: (heads, *layout.padded)."""
    head, row = divmod(at[0], layout.head_grid[0])
    rows, cols = layout.tile_rows, layout.tile_cols
    return matrices[head, row * rows : (row + 1) * rows, at[1] * cols : (at[1] + 1) * cols]


def in_tiles(memory: Array, layout: Layout) -> Array:
    """The elements of a bo as (..., heads, tiles down, tiles across, tile_rows, tile_cols), a view.

    Tiles lie one after the other, each row-major, but for heads side by side, of one tile each: those
    share every row. memory: (..., elements), of one matrix or of several.
    """
    before, (down, across) = memory.shape[:-1], layout.head_grid
    if layout.along is Along.COLS:
        rows = memory.reshape(*before, layout.tile_rows, layout.heads, layout.tile_cols)
        return rows.swapaxes(-3, -2)[..., :, None, None, :, :]
    return memory.reshape(*before, layout.heads, down, across, layout.tile_rows, layout.tile_cols)


def fill(tiles: Array, matrix: Array, layout: Layout) -> None:
    """Write matrices over their tiles; the padding stays as it is.

    tiles: from `in_tiles`, of all heads or of some. matrix: (rows, cols) or (heads, rows, cols), any strides,
    of the tiles' dtype.
    """
    heads, m, n = len(tiles), layout.tile_rows, layout.tile_cols
    down, across = layout.rows // m, layout.cols // n  # whole tiles
    matrix = matrix.reshape(heads, layout.rows, layout.cols)
    for i, rows in ((slice(down), slice(down * m)), (slice(down, down + 1), slice(down * m, None))):
        for j, cols in (
            (slice(across), slice(across * n)),
            (slice(across, across + 1), slice(across * n, None)),
        ):
            part = matrix[:, rows, cols]
            height, width = min(m, part.shape[1]), min(n, part.shape[2])
            if height and width:
                split = part.reshape(heads, -1, height, part.shape[2] // width, width)
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
