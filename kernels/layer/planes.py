"""How the residual stream lies in memory: fp32, in planes. Pure.

A core makes a unit of rows in three objects: the first half of its sums, the second, and the normalised rows.
Lying in planes, the same of all units one behind the other, the three are one loop of a shim's task:

    plane 0   first halves of the units, 2048 fp32 each
    plane 1   second halves
    plane 2   where they are asked for, normalised rows, bf16: plain rows of a matrix

A shim steps from one plane to the next over at most `shim.max_step` words, so a long stream is cut into
blocks of rows, each with planes of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.kernels.layer.phases import BF16_BYTES, TILE, UNIT, Matrix, Units, padded, row_length
from whisper_npu.npu.targets import WORD_BYTES, Target

SUMS = 2  # planes of halves


@dataclass(frozen=True)
class Planes:
    """Rows of the residual stream in an argument. Offsets and steps count bf16, two for each fp32."""

    argument: str
    offset: int
    rows: int  # M, with padding
    row: int  # numbers from one row to the next
    block: int  # rows whose planes lie one behind the other
    planes: int  # 2, or 3 with the normalised rows

    @property
    def elements(self) -> int:
        """Of bf16, all planes of all blocks; the last block has as many as the others."""
        return -(-self.rows // self.block) * self._step

    @property
    def units(self) -> Units:
        """The fp32 rows."""
        return Units(self.argument, self.offset, UNIT, self._plane, self.block, self._step)

    @property
    def normed(self) -> Matrix:
        """The normalised rows."""
        assert self.planes > SUMS
        return Matrix(self.argument, self.offset + SUMS * self._plane, self.row, self.block, self._step)

    @property
    def _plane(self) -> int:
        return self.block * self.row

    @property
    def _step(self) -> int:
        return self.planes * self._plane


def planes(
    target: Target, argument: str, offset: int, rows: int, n_state: int, *, normed: bool = False
) -> Planes:
    """The stream of `rows` rows, a multiple of what a round has, in the fewest blocks."""
    round_rows, row = target.core_rows * TILE, row_length(n_state)
    most = target.shim.max_step * WORD_BYTES // BF16_BYTES // row // round_rows * round_rows
    blocks = -(-rows // most)
    block = padded(-(-rows // blocks), round_rows)
    return Planes(argument, offset, rows, row, block, SUMS + 1 if normed else SUMS)


def laid_out(x: F32, where: Planes) -> NDArray[Any]:
    """Rows of the stream as they lie, all else zero. x: (rows, n_state). Returns (where.elements,) bf16.

    The bits are those of fp32: two elements of bf16 hold one number.
    """
    numbers = np.empty(where.elements // 2, np.float32)
    if x.shape != (where.rows, where.row):
        numbers[:] = 0
    for place, rows in _pieces(numbers, x, where):
        place[...] = rows
    return numbers.view(ml_dtypes.bfloat16)


def taken_apart(memory: NDArray[Any], where: Planes, shape: tuple[int, int], out: F32 | None = None) -> F32:
    """The reverse, the first of its rows and numbers: (rows, n_state).

    memory: (where.elements,) bf16. out: where to, of that shape; None for a new array.
    """
    found = np.empty(shape, np.float32) if out is None else out
    for place, rows in _pieces(np.ascontiguousarray(memory).view(np.float32), found, where):
        rows[...] = place
    return found


def _pieces(numbers: F32, x: F32, where: Planes) -> Iterator[tuple[F32, F32]]:
    """Where rows lie, and the rows (..., n_state) themselves: both views."""
    of_half = UNIT // 2 // where.row  # rows
    of_unit, n_state = SUMS * of_half, x.shape[1]
    blocks = numbers.reshape(-1, where.planes, where.block * where.row // 2)
    for number, block in enumerate(blocks):
        rows = x[number * where.block : (number + 1) * where.block]
        units = len(rows) // of_unit
        whole, last = rows[: units * of_unit], rows[units * of_unit :]
        halves = block[:SUMS].reshape(SUMS, -1, of_half, where.row)[..., :n_state]
        for half in range(SUMS):
            yield halves[half, :units], whole.reshape(units, SUMS, of_half, n_state)[:, half]
            if len(left := last[half * of_half : (half + 1) * of_half]):
                yield halves[half, units, : len(left)], left
