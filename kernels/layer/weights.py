"""HEADERS and WEIGHTS: what each column of the array reads in the phases of a dispatch. Pure.

HEADERS has a header for each phase and each column of the array in it. WEIGHTS has for each Gemm, and for
each column of the array in it, the objects of B in the order in which the column's cores take them: all of K
for its 64 columns of C of the first column block, then of the next. So one task streams them, and its
repetition serves the next row block.

Objects lie interleaved: row 2 i + h of what is stored is row i + 32 h of the object (phases.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.kernels.layer.phases import (
    HALVES,
    KEYS,
    MAX_BIASES,
    MAX_KEYS,
    NUMBERS,
    OBJECT,
    TILE,
    UNIT,
    Attend,
    Gemm,
    Number,
    Phase,
    groups,
    row_length,
)
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Activation

BF16 = NDArray[ml_dtypes.bfloat16]

BIASES_AT = 2 * NUMBERS  # in a header
MASK_AT = BIASES_AT + 2 * MAX_BIASES


def objects_of_column(phase: Phase, target: Target) -> int:
    """How many objects of WEIGHTS each column reads in a phase."""
    return phase.N // (target.columns * TILE) * (phase.K // TILE) if isinstance(phase, Gemm) else 0


def numbers_of(phase: Phase, target: Target) -> dict[Number, int]:
    """What a phase's header tells each core; what is not named is 0."""
    rows, columns = target.core_rows, target.columns
    row_blocks = phase.M // (rows * TILE)
    if isinstance(phase, Gemm):
        return {
            Number.TILES: row_blocks * (phase.N // (columns * TILE)),
            Number.STEPS: phase.K // TILE,
            Number.IN_BF16: 1 if phase.result is DType.BF16 else 0,
            Number.IN_F32: parts_of_tile(DType.F32) if phase.result is DType.F32 else 0,
            Number.COLUMN_BLOCKS: phase.N // (columns * TILE),
            Number.GELU: int(phase.activation is Activation.GELU),
        }
    if isinstance(phase, Attend):
        return {
            Number.QUERIES: row_blocks * groups(phase.n_head, columns),
            Number.KEY_BLOCKS: phase.n_keys // KEYS,
        }
    return {
        Number.UNITS: phase.M * row_length(phase.n_state) // (UNIT * rows * columns),
        Number.ADDITIONS: HALVES * rows if phase.added else 0,
        Number.SUMS: HALVES if phase.sum else 0,
        Number.NORMED: 1 if phase.normed else 0,
        Number.N_STATE: phase.n_state,
        Number.ROW: row_length(phase.n_state),
    }


def header(
    numbers: Mapping[Number, int], biases: F32 | None = None, mask: NDArray[np.bool_] | None = None
) -> BF16:
    """One header as it lies in HEADERS, (4096,).

    biases: (up to 640,), of one column of the array; each is stored as the sum of two bf16, within 2^-17 of
    it, relative. mask: (up to 8192,), which keys count.
    """
    found = np.zeros(OBJECT, np.float32)
    for number, value in numbers.items():
        assert 0 <= value < 2**16, (number, value)
        found[2 * number : 2 * number + 2] = divmod(value, 256)
    if biases is not None:
        assert len(biases) <= MAX_BIASES, len(biases)
        high = to_bf16(biases, Rounding.NEAREST_EVEN).astype(np.float32)
        pairs = found[BIASES_AT : BIASES_AT + 2 * len(biases)].reshape(-1, 2)
        pairs[:, 0], pairs[:, 1] = high, biases - high
    if mask is not None:
        assert len(mask) <= MAX_KEYS, len(mask)
        bits = np.packbits(mask, bitorder="little")
        found[MASK_AT : MASK_AT + len(bits)] = bits
    return interleaved(to_bf16(found, Rounding.NEAREST_EVEN).reshape(1, TILE, TILE)).reshape(-1)


def parts_of_tile(result: DType) -> int:
    """Objects of C in which a tile of a product leaves: one of bf16, or two of 32 columns of fp32."""
    return result.nbytes // DType.BF16.nbytes


def by_columns(values: NDArray[Any], columns: int, result: DType) -> NDArray[Any]:
    """The columns (..., N) of a product as the array's take them: (..., column blocks, columns, 64).

    A tile of bf16 has 64 columns that lie side by side. Of a tile of fp32 each half does: the first halves of
    all columns of the array are one stretch, the second ones the next, so that both leave by one task.
    """
    parts = parts_of_tile(result)
    pieces = values.reshape(*values.shape[:-1], -1, parts, columns, TILE // parts)
    return pieces.swapaxes(-3, -2).reshape(*values.shape[:-1], -1, columns, TILE)


def objects_of(weight: F32, columns: int, result: DType = DType.BF16) -> BF16:
    """B (K, N) for each column of the array, (columns, objects, 4096): column block by column block.

    K is a multiple of 64, N of 64 `columns`. bf16, rounded to nearest even. result: of the product.
    """
    words = to_bf16(weight, Rounding.NEAREST_EVEN).view(np.uint16)  # NumPy copies those faster
    halves = words.reshape(-1, 2, TILE // 2, weight.shape[1])
    tiles = by_columns(halves, columns, result)  # (steps, 2, 32, blocks, columns, 64)
    ordered = tiles.transpose(4, 3, 0, 2, 1, 5)  # (columns, blocks, steps, 32, 2, 64): interleaved
    return ordered.reshape(columns, -1, OBJECT).view(ml_dtypes.bfloat16)


def interleaved(objects: BF16) -> BF16:
    """Objects (n, 64, 64) as they lie in HEADERS and WEIGHTS, (n, 4096)."""
    halves = objects.reshape(-1, 2, TILE // 2, TILE)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(-1, OBJECT)


def headers_of(
    phase: Phase, target: Target, bias: F32 | None = None, mask: NDArray[np.bool_] | None = None
) -> BF16:
    """What HEADERS holds for a phase, (columns, 4096).

    bias: (N,) of a Gemm, padded to its size. mask: (n_keys,) of an Attend.
    """
    columns, numbers = target.columns, numbers_of(phase, target)
    if bias is None:
        return np.tile(header(numbers, mask=mask), (columns, 1))
    assert isinstance(phase, Gemm)
    of_column = by_columns(bias, columns, phase.result).swapaxes(0, 1).reshape(columns, -1)
    return np.stack([header(numbers, biases) for biases in of_column])


def elements(phases: Iterable[Phase], target: Target) -> int:
    """Of WEIGHTS, for these phases."""
    return sum(target.columns * objects_of_column(phase, target) for phase in phases) * OBJECT
