"""What the phases of a dispatch make of its arguments: the numerics of the array, on whole matrices.

Every number is read and written where the phases say that it lies. Objects, streams and cores are left out:
the verifier has them, in a design's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.vmac import accumulate
from whisper_npu.kernels.layer.numerics import activated, attend, finish, normed
from whisper_npu.kernels.layer.phases import (
    D_HEAD,
    OBJECT,
    TILE,
    UNIT,
    Attend,
    Gemm,
    Matrix,
    Number,
    Phase,
    Rows,
    Units,
)
from whisper_npu.kernels.layer.weights import BIASES_AT, MASK_AT, parts_of_tile
from whisper_npu.npu.contract import Share
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Activation

T = TypeVar("T")
Words = NDArray[np.uint16]
Memory = Mapping[str, Words]  # by an argument's name: each bf16 is a word, each fp32 two of them

HALF = UNIT // 2
ROWS, QUERIES = 64, 256  # of a product, and of one head, that a thread takes at a time


def words_of(values: F32, *, are_bf16: bool) -> Words:
    """An argument, flat. values: those of a bf16 argument lie on its grid."""
    if are_bf16:
        return to_bf16(values.reshape(-1), Rounding.NEAREST_EVEN).view(np.uint16)
    return np.ascontiguousarray(values.reshape(-1)).view(np.uint16)


def values_of(words: Words, *, are_bf16: bool) -> F32:
    """The reverse."""
    if are_bf16:
        return (words.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return words.view(np.float32)


def unwritten(number: int) -> Words:
    """Memory that is NaN until something is written there, as bf16 and as fp32."""
    return np.full(number, 0x7FC0, np.uint16)


def in_turn(work: Callable[[T], object], items: Sequence[T]) -> None:
    """On one thread."""
    for item in items:
        work(item)


def execute(phases: Sequence[Phase], memory: Memory, target: Target, share: Share) -> None:
    """One phase after the other."""
    for phase in phases:
        told = headers_of(phase, memory[phase.headers], target)
        if isinstance(phase, Gemm):
            _multiply(phase, told, memory, target, share)
        elif isinstance(phase, Attend):
            _attend(phase, told[0], memory, share)
        else:
            _add_and_normalise(phase, told[0], memory)


class Header:
    """What a column of cores is told."""

    def __init__(self, stored: F32) -> None:
        found = _spread(stored.reshape(1, -1)).reshape(-1)
        high, low = found[:BIASES_AT].reshape(-1, 2).T
        self.numbers = (256 * high + low).astype(np.int64)
        pairs = found[BIASES_AT:MASK_AT].reshape(-1, 2)
        self.biases: F32 = pairs[:, 0] + pairs[:, 1]
        self.mask = np.unpackbits(found[MASK_AT:].clip(0, 255).astype(np.uint8), bitorder="little") != 0

    def __getitem__(self, number: Number) -> int:
        return int(self.numbers[number])


def headers_of(phase: Phase, headers: Words, target: Target) -> list[Header]:
    """Of each column of the array. headers: the argument that has them."""
    stored = headers[phase.header * OBJECT : (phase.header + target.columns) * OBJECT]
    return [Header(each) for each in values_of(stored, are_bf16=True).reshape(-1, OBJECT)]


def weight_of(phase: Gemm, weights: Words, target: Target) -> F32:
    """B (K, N). weights: the argument WEIGHTS."""
    return values_of(words_of_weight(phase, weights, target), are_bf16=True)


def words_of_weight(phase: Gemm, weights: Words, target: Target) -> Words:
    """The same in bf16."""
    columns, steps = target.columns, phase.K // TILE
    blocks = phase.N // (columns * TILE)
    start, number = phase.b * OBJECT, columns * blocks * steps
    stored = weights[start : start + number * OBJECT].reshape(columns, blocks, steps, TILE // 2, 2, TILE)
    by_rows = stored.transpose(2, 4, 3, 1, 0, 5)  # (steps, 2, 32, blocks, columns, 64): spread, a view
    return _in_order(by_rows, phase.result).reshape(phase.K, phase.N)


def bias_of(phase: Gemm, headers: Sequence[Header]) -> F32:
    """(N,)."""
    blocks = phase.N // (len(headers) * TILE)
    biases = [header.biases[: blocks * TILE].reshape(blocks, TILE) for header in headers]
    return _in_order(np.stack(biases, axis=1), phase.result).reshape(-1)


def _multiply(phase: Gemm, headers: Sequence[Header], memory: Memory, target: Target, share: Share) -> None:
    b, bias = weight_of(phase, memory["WEIGHTS"], target), bias_of(phase, headers)
    a, c = _rows(memory, phase.a, phase.M, phase.K), np.empty((phase.M, phase.N), np.float32)
    activation = Activation.GELU if headers[0][Number.GELU] else Activation.NONE

    def some_rows(rows: slice) -> None:
        sums = np.zeros(c[rows].shape, np.float32)
        accumulate(sums, a[rows], b, target.micro_tile[1])
        if phase.result is DType.BF16:
            c[rows] = finish(sums, bias, activation)
        else:
            c[rows] = activated(sums + bias, activation)

    share(some_rows, _cut(phase.M, ROWS))
    (_put_rows if phase.result is DType.BF16 else _put_rows_in_f32)(memory, phase.c, c)


def _in_order(values: NDArray[Any], result: DType) -> NDArray[Any]:
    """Columns of a product as they follow one another; the reverse of `by_columns`.

    values: (..., column blocks, columns of the array, 64).
    """
    *others, columns, _ = values.shape
    parts = parts_of_tile(result)
    return values.reshape(*others, columns, parts, TILE // parts).swapaxes(-3, -2)


def _attend(phase: Attend, header: Header, memory: Memory, share: Share) -> None:
    """Heads that fill up the last group are left out."""
    n_head, n_state = phase.n_head, phase.n_head * D_HEAD
    qkv = _rows(memory, phase.qkv, max(phase.M, phase.n_keys), 3 * n_state)
    q = qkv[: phase.M, :n_state].reshape(-1, n_head, D_HEAD).swapaxes(0, 1)
    k, v = qkv[: phase.n_keys, n_state:].reshape(-1, n_head, 2, D_HEAD).transpose(2, 1, 0, 3)
    context = np.empty(q.shape, np.float32)  # (n_head, M, d_head)

    def some_queries(place: tuple[int, slice]) -> None:
        head, _ = place
        context[place] = attend(q[place], k[head], v[head], header.mask[: phase.n_keys])

    share(some_queries, [(head, rows) for head in range(n_head) for rows in _cut(phase.M, QUERIES)])
    _put_rows(memory, phase.c, context.swapaxes(0, 1).reshape(phase.M, n_state))


def _add_and_normalise(phase: Rows, header: Header, memory: Memory) -> None:
    row = header[Number.ROW]
    s = _stream(memory, phase.x, phase.M, row)
    if phase.added is not None:
        n_state = header[Number.N_STATE]
        s[:, :n_state] += _stream(memory, phase.added, phase.M, row)[:, :n_state]
    if phase.sum is not None:
        _put_stream(memory, phase.sum, s)
    if phase.normed is not None:
        _put_rows(memory, phase.normed, normed(s, header[Number.N_STATE]))


def _spread(stored: F32) -> F32:
    """Objects as a core has them. stored: (n, 4096), as they lie; returns (n, 64, 64)."""
    return stored.reshape(-1, TILE // 2, 2, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)


# -------------------------------------------------------------------------------------- where matrices lie


def _rows(memory: Memory, matrix: Matrix, rows: int, cols: int) -> F32:
    """A copy, (rows, cols)."""
    found = np.empty((rows, cols), np.float32)
    for some, words in _blocks_of_rows(memory, matrix, rows, cols):
        found[some] = values_of(words, are_bf16=True)
    return found


def _put_rows(memory: Memory, matrix: Matrix, values: F32) -> None:
    """values: (rows, cols), on the bf16 grid."""
    for some, words in _blocks_of_rows(memory, matrix, *values.shape):
        words[:] = values[some].astype(ml_dtypes.bfloat16).view(np.uint16)


def _put_rows_in_f32(memory: Memory, matrix: Matrix, values: F32) -> None:
    """values: (rows, cols)."""
    halves = np.ascontiguousarray(values).view(np.uint16)
    for some, words in _blocks_of_rows(memory, matrix, *halves.shape):
        words[:] = halves[some]


def _blocks_of_rows(memory: Memory, matrix: Matrix, rows: int, cols: int) -> Iterator[tuple[slice, Words]]:
    """Rows that lie evenly, where they lie: which they are, and their words (rows, cols)."""
    for number, some in enumerate(_cut(rows, matrix.block)):
        start, height = matrix.offset + number * matrix.step, some.stop - some.start
        words = memory[matrix.argument][start : start + (height - 1) * matrix.ld + cols]
        yield some, as_strided(words, (height, cols), (2 * matrix.ld, 2))


def _stream(memory: Memory, units: Units, rows: int, row: int) -> F32:
    """A copy of the rows of the residual stream, (rows, row)."""
    found = np.empty((rows, row), np.float32)
    for some, halves in _blocks_of_units(memory, units, rows, row):
        found[some] = halves.reshape(-1, row)
    return found


def _put_stream(memory: Memory, units: Units, values: F32) -> None:
    for some, halves in _blocks_of_units(memory, units, *values.shape):
        halves[:] = values[some].reshape(halves.shape)


def _blocks_of_units(memory: Memory, units: Units, rows: int, row: int) -> Iterator[tuple[slice, F32]]:
    """Rows whose units lie evenly: which they are, and the halves of the units (units, 2, 2048) fp32."""
    numbers = memory[units.argument].view(np.float32)
    for number, some in enumerate(_cut(rows, units.block)):
        start, count = (units.offset + number * units.step) // 2, (some.stop - some.start) * row // UNIT
        last = (count - 1) * (units.unit // 2) + units.half // 2 + HALF
        yield (
            some,
            as_strided(numbers[start : start + last], (count, 2, HALF), (2 * units.unit, 2 * units.half, 4)),
        )


def _cut(rows: int, block: int) -> list[slice]:
    height = block or rows
    return [slice(start, min(start + height, rows)) for start in range(0, rows, height)]
