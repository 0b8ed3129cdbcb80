"""What every core runs: the functions of layer.cc, and the same in NumPy, to the bit.

A core has, besides the two objects each of A and B and the one of C, buffers of its own:

    sums     (4096,) f32   C of a product, O^T of attention, or a unit of rows
    kept     (640,)  f32   biases; or maxima and totals of 64 queries, and a strip of scores
    mask     (256,)  i32   one bit per key
    numbers  (16,)   i32   phases.Number

`head`, `object`, `tile`, `half`, `block` count from 0 inside one tile, unit or block of queries; `column` and
`row` say which core it is.

    layer_header(b, numbers, kept, mask)         b: a header; as much of kept and mask as the phase needs
    layer_zero(sums)
    layer_matmul(a, b, sums)                     sums += A B, in micro-tiles of C
    layer_finish(sums, kept, numbers, c, tile)   sums = activation(sums + biases), those of column block
                                                 tile % COLUMN_BLOCKS; c = bf16(sums)
    layer_finish_f32(sums, kept, numbers, c, tile, half)    the same of half the columns; c = these, fp32
    layer_query(a, c, head, column)              where head = column: c = 128 Q^T of this head, as a B has it
    layer_attend_start(sums, kept)
    layer_attend(c, b, sums, kept, mask, block)  c: 128 Q^T; b: KEYS rows of K, and of V below them
    layer_attend_finish(sums, kept, c)           c = bf16(O), over Q^T
    layer_rows_take(a, sums, object, column)     where object // 2 = column: half object % 2 of sums = a, fp32
    layer_rows_add(b, sums, numbers, object, row)           where object // 2 = row: half object % 2 of sums
                                                 += b, fp32, but only N_STATE numbers of each row
    layer_rows_sum(sums, c, half)                c = that half of sums, fp32
    layer_rows_normed(sums, kept, numbers, c)    c = bf16((sums - mean) / sqrt(variance + EPSILON)), by rows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.vmac import accumulate_in_numpy
from whisper_npu.kernels.core import CoreFunction, CoreSource, Parameter, Sizes
from whisper_npu.kernels.layer import numerics
from whisper_npu.kernels.layer.phases import (
    KEPT,
    KEYS,
    MASK_WORDS,
    NUMBERS,
    TILE,
    UNIT,
    Number,
)
from whisper_npu.kernels.norm.kernel import WIDTH
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Activation, Direction

Array = NDArray[Any]
IN, OUT, INOUT = Direction.IN, Direction.OUT, Direction.INOUT


def functions(target: Target, sizes: Sizes) -> tuple[CoreFunction, ...]:
    """What layer.cc defines."""

    def tile(name: str, direction: Direction = IN) -> Parameter:
        return Parameter(name, (TILE, TILE), "bf16", direction)

    def sums(direction: Direction) -> Parameter:
        return Parameter("sums", (UNIT,), "f32", direction)

    def half_of_sums(direction: Direction) -> Parameter:
        return Parameter("sums", (UNIT,), "f32", direction, in_part=True)

    def kept(direction: Direction) -> Parameter:
        return Parameter("kept", (KEPT,), "f32", direction, in_part=True)

    def mask(direction: Direction) -> Parameter:
        return Parameter("mask", (MASK_WORDS,), "i32", direction, in_part=True)

    def numbers(direction: Direction = IN) -> Parameter:
        return Parameter("numbers", (NUMBERS,), "i32", direction)

    def number(name: str) -> Parameter:
        return Parameter(name, (), "i32")

    a, b = tile("A"), tile("B")
    c, c_in_part = tile("C", OUT), Parameter("C", (TILE, TILE), "bf16", INOUT, in_part=True)
    return (
        _function("layer_header", _header, b, numbers(OUT), kept(INOUT), mask(INOUT)),
        _function("layer_zero", _zero, sums(OUT)),
        _function("layer_matmul", _matmul, a, b, sums(INOUT), macs=TILE**3),
        _function("layer_finish", _finish, sums(INOUT), kept(IN), numbers(), c, number("tile")),
        _function(
            "layer_finish_f32",
            _finish_f32,
            sums(INOUT),
            kept(IN),
            numbers(),
            c,
            number("tile"),
            number("half"),
        ),
        _function("layer_query", _query, a, c_in_part, number("head"), number("column")),
        _function("layer_attend_start", _attend_start, sums(OUT), kept(INOUT)),
        _function(
            "layer_attend",
            _attend,
            tile("C"),
            b,
            sums(INOUT),
            kept(INOUT),
            mask(IN),
            number("block"),
            macs=2 * KEYS * TILE * TILE,
        ),
        _function("layer_attend_finish", _attend_finish, sums(IN), kept(IN), c),
        _function("layer_rows_take", _rows_take, a, half_of_sums(INOUT), number("object"), number("column")),
        _function(
            "layer_rows_add",
            _rows_add,
            b,
            half_of_sums(INOUT),
            numbers(),
            number("object"),
            number("row"),
        ),
        _function("layer_rows_sum", _rows_sum, half_of_sums(IN), c, number("half")),
        _function("layer_rows_normed", _rows_normed, sums(INOUT), kept(INOUT), numbers(), c),
    )


def units(target: Target) -> Sizes:
    """It has no sizes."""
    return ()


LAYER_CC = CoreSource(
    Path(__file__).with_name("layer.cc"), (), units, functions, headers=("../matmul/product.hpp",)
)


def _function(
    name: str, in_numpy: Callable[..., None], *parameters: Parameter, macs: int = 0
) -> CoreFunction:
    """in_numpy: takes one array for each parameter, of its shape; an int for a number."""

    def call(arguments: Sequence[Array]) -> None:
        in_numpy(
            *(
                int(array) if parameter.is_number else array.reshape(parameter.shape)
                for array, parameter in zip(arguments, parameters, strict=True)
            )
        )

    return CoreFunction(name, parameters, call, macs)


# ------------------------------------------------------------------------------------- how objects lie in L1


def _matrix(buffer: Array, height: int, width: int) -> Array:
    """A copy of the TILE x TILE matrix whose micro-tiles lie in `buffer` one after the other."""
    tiles = buffer.reshape(TILE // height, TILE // width, height, width)
    return tiles.swapaxes(1, 2).reshape(TILE, TILE)


def _micro_tiles(matrix: Array, height: int, width: int) -> Array:
    """The other way round."""
    tiles = matrix.reshape(TILE // height, height, TILE // width, width)
    return tiles.swapaxes(1, 2).reshape(TILE, TILE)


def _bf16(x: F32) -> NDArray[ml_dtypes.bfloat16]:
    return to_bf16(x, Rounding.NEAREST_EVEN)


# ------------------------------------------------------------------------------------------------ in NumPy


def _header(b: Array, numbers: Array, kept: Array, mask: Array) -> None:
    x = _matrix(b, 8, 4).astype(np.float32).ravel()
    high, low = x[: 2 * NUMBERS].reshape(-1, 2).T.astype(np.int32)
    numbers[:] = 256 * high + low
    biases = TILE * numbers[Number.COLUMN_BLOCKS]
    high_bias, low_bias = x[2 * NUMBERS :][: 2 * biases].reshape(-1, 2).T
    kept[:biases] = high_bias + low_bias
    eight_keys = x[2 * (NUMBERS + KEPT) :][: 4 * numbers[Number.KEY_BLOCKS]].astype(np.uint8)
    mask[: numbers[Number.KEY_BLOCKS]] = eight_keys.view("<i4")


def _zero(sums: Array) -> None:
    sums[:] = 0


def _matmul(a: Array, b: Array, sums: Array) -> None:
    c = _matrix(sums, 4, 4)
    accumulate_in_numpy(c, _matrix(a, 4, 8).astype(np.float32), _matrix(b, 8, 4).astype(np.float32), 8)
    sums[:] = _micro_tiles(c, 4, 4).ravel()


def _finish(sums: Array, kept: Array, numbers: Array, c: Array, tile: int) -> None:
    _activate(sums, kept, numbers, tile, slice(None))
    c[:] = _bf16(sums.reshape(TILE, TILE))


def _finish_f32(sums: Array, kept: Array, numbers: Array, c: Array, tile: int, half: int) -> None:
    """C's row of 64 bf16 is 32 columns of the result."""
    columns = slice(half * TILE // 2, (half + 1) * TILE // 2)
    _activate(sums, kept, numbers, tile, columns)
    result = np.ascontiguousarray(_matrix(sums, 4, 4)[:, columns])
    c[:] = _micro_tiles(result.view(ml_dtypes.bfloat16), 4, 4)


def _activate(sums: Array, kept: Array, numbers: Array, tile: int, columns: slice) -> None:
    first = tile % int(numbers[Number.COLUMN_BLOCKS]) * TILE
    activation = Activation.GELU if numbers[Number.GELU] else Activation.NONE
    matrix = _matrix(sums, 4, 4)
    bias = kept[first : first + TILE][columns]
    matrix[:, columns] = numerics.activated(matrix[:, columns] + bias, activation)
    sums[:] = _micro_tiles(matrix, 4, 4).ravel()


def _query(a: Array, c: Array, head: int, column: int) -> None:
    """In steps of scores."""
    if head == column:
        q = _matrix(a, 4, 8).T.astype(np.float32)
        c[:] = _bf16(_micro_tiles(numerics.mac(np.zeros_like(q), q, 1 / numerics.STEP), 8, 4))


# kept in attention: maxima, plus MAGIC, in steps of scores, and totals of 64 queries. Behind them lie scores,
# which no other call needs.
_MAXIMA, _TOTALS = slice(TILE), slice(TILE, 2 * TILE)


def _attend_start(sums: Array, kept: Array) -> None:
    sums[:] = 0
    kept[_MAXIMA], kept[_TOTALS] = (numerics.START + numerics.MAGIC) / numerics.STEP, 0


def _attend(query: Array, b: Array, sums: Array, kept: Array, mask: Array, block: int) -> None:
    q = _matrix(query, 8, 4).T.astype(np.float32) * numerics.STEP
    k, v = _matrix(b, 8, 4).astype(np.float32).reshape(2, KEYS, TILE)
    counts = int(mask[block]) >> np.arange(KEYS) & 1 == 1
    o, totals = np.ascontiguousarray(_matrix(sums, 4, 4).T), kept[_TOTALS, None]
    o, totals, maximum = numerics.attended_block(
        q, k, v, counts, o, totals, kept[_MAXIMA, None] * numerics.STEP - numerics.MAGIC
    )
    sums[:] = _micro_tiles(o.T, 4, 4).ravel()
    kept[_MAXIMA], kept[_TOTALS] = (maximum[:, 0] + numerics.MAGIC) / numerics.STEP, totals[:, 0]


def _attend_finish(sums: Array, kept: Array, c: Array) -> None:
    c[:] = _bf16(_micro_tiles(numerics.divided(_matrix(sums, 4, 4).T, kept[_TOTALS, None]), 4, 4))


def _rows_take(a: Array, sums: Array, object: int, column: int) -> None:
    """A's row of 64 bf16 is 32 numbers of the residual stream."""
    if object // 2 == column:
        half = np.ascontiguousarray(_matrix(a, 4, 8)).view(np.float32).ravel()
        sums.reshape(2, -1)[object % 2] = half


def _rows_add(b: Array, sums: Array, numbers: Array, object: int, row: int) -> None:
    """The memtile has spread B: row i + 32 h of the object is row 2 i + h of the half, 32 numbers.

    What lies behind the numbers of a row may be anything, and is not added.
    """
    if object // 2 == row:
        length, n_state = int(numbers[Number.ROW]), int(numbers[Number.N_STATE])
        spread = _matrix(b, 8, 4).reshape(2, TILE // 2, TILE).swapaxes(0, 1)
        added = np.ascontiguousarray(spread).view(np.float32).reshape(-1, length)
        half = sums.reshape(2, -1)[object % 2].reshape(-1, length)
        half[:, :n_state] += added[:, :n_state]


def _rows_sum(sums: Array, c: Array, half: int) -> None:
    numbers = np.ascontiguousarray(sums.reshape(2, -1)[half])
    c[:] = _micro_tiles(numbers.view(ml_dtypes.bfloat16).reshape(TILE, TILE), 4, 4)


def _rows_normed(sums: Array, kept: Array, numbers: Array, c: Array) -> None:
    """sums keeps the deviations, kept a vector of 1 / sqrt(variance + EPSILON) for each row."""
    rows, n_state = sums.reshape(-1, int(numbers[Number.ROW])), int(numbers[Number.N_STATE])
    c[:] = _bf16(_micro_tiles(numerics.normed(rows, n_state).reshape(TILE, TILE), 4, 4))
    rows[:], scale = numerics.centred(rows, n_state)
    kept[: len(rows) * WIDTH] = np.repeat(scale[:, 0], WIDTH)
