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

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.kernels.layer.phases import TILE, UNIT, Matrix, Units, padded, row_length
from whisper_npu.npu.targets import WORD_BYTES, Target

BF16_BYTES = 2
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
    def first(self) -> Matrix:
        """Rows of bf16 over plane 0: what is added to the stream may lie there, and then its sum."""
        return Matrix(self.argument, self.offset, self.row, self.block, self._step)

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
    numbers = np.zeros(where.elements // 2, np.float32)
    whole = np.zeros((where.rows, where.row), np.float32)
    whole[: x.shape[0], : x.shape[1]] = x
    blocks = numbers.reshape(-1, where.planes, where.block * where.row // 2)
    for place, block in zip(blocks, _blocks(whole, where), strict=True):
        halves = block.reshape(-1, SUMS, UNIT // 2)  # (units, 2, 2048)
        for half in range(SUMS):
            place[half, : halves[:, half].size] = halves[:, half].reshape(-1)
    return numbers.view(ml_dtypes.bfloat16)


def taken_apart(memory: NDArray[Any], where: Planes, shape: tuple[int, int]) -> F32:
    """The reverse, the first of its rows and numbers: (rows, n_state).

    memory: (where.elements,) bf16.
    """
    numbers = np.ascontiguousarray(memory).view(np.float32)
    numbers = numbers.reshape(-1, where.planes, where.block * where.row // 2)
    halves = numbers[:, :SUMS].reshape(len(numbers), SUMS, -1, UNIT // 2)  # (blocks, 2, units, 2048)
    whole = halves.swapaxes(1, 2).reshape(-1, where.row)
    return whole[: shape[0], : shape[1]].copy()


def _blocks(whole: F32, where: Planes) -> list[F32]:
    return [whole[start : start + where.block] for start in range(0, where.rows, where.block)]
