"""What streams through each channel of the shims in a phase, as loops: what a design prints, and costs count.

Each fifo moves whole objects of TILE x TILE bf16. The loops are in elements of bf16, outermost first; turns
with stride 0 move the same again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from whisper_npu.kernels.layer.phases import (
    BF16_BYTES,
    D_HEAD,
    HALVES,
    KEYS,
    OBJECT,
    TILE,
    UNIT,
    WEIGHTS,
    Attend,
    Gemm,
    Matrix,
    Phase,
    Rows,
    Units,
    groups,
    row_length,
)
from whisper_npu.kernels.layer.weights import objects_of_column, parts_of_tile
from whisper_npu.kernels.shim import Phase as Movement
from whisper_npu.kernels.shim import Traffic, Turn, tasks_of, timetable
from whisper_npu.kernels.tasks import Loop
from whisper_npu.npu.targets import WORD_BYTES, Target

A, B, C = "A_L3L2", "B_L3L2", "C_L2L3"


@dataclass(frozen=True)
class Run:
    """What a channel moves between two changes of its pattern."""

    argument: str
    start: int  # where its first element lies
    rounds: tuple[Loop, ...]
    of_round: tuple[Loop, ...]
    first: int = 0  # round of the phase that needs it
    turns: int = 1  # of `rounds` that make a round

    @property
    def elements(self) -> int:
        return prod(count for count, _ in (*self.rounds, *self.of_round))


@dataclass(frozen=True)
class Stream:
    """All that goes through one channel in a phase."""

    hop: str
    column: int
    runs: tuple[Run, ...]

    @property
    def fifo(self) -> str:
        return f"{self.hop}_{self.column}"

    @property
    def is_input(self) -> bool:
        return self.hop != C

    @property
    def nbytes(self) -> int:
        return BF16_BYTES * sum(run.elements for run in self.runs)


def streams(phase: Phase, target: Target) -> tuple[Stream, ...]:
    """A of each row of cores, by the shim of that column; B and C of each column."""
    rows, columns = range(target.core_rows), range(target.columns)
    of_a = [Stream(A, row, tuple(_runs(phase, target, A, row))) for row in rows]
    of_b = [
        Stream(B, column, (_header(phase, column), *_runs(phase, target, B, column))) for column in columns
    ]
    of_c = [Stream(C, column, tuple(_runs(phase, target, C, column))) for column in columns]
    return (*of_a, *of_b, *of_c)


def _runs(phase: Phase, target: Target, hop: str, place: int) -> Iterator[Run]:
    """place: the row of cores for A, the column for B and C."""
    if isinstance(phase, Gemm):
        return {A: _gemm_a, B: _gemm_b, C: _gemm_c}[hop](phase, target, place)
    if isinstance(phase, Attend):
        return {A: _attend_a, B: _attend_b, C: _attend_c}[hop](phase, target, place)
    return {A: _rows_a, B: _rows_b, C: _rows_c}[hop](phase, target, place)


@lru_cache(maxsize=256)
def turns_of(phases: tuple[Phase, ...], target: Target) -> tuple[Turn, ...]:
    """When the tasks of a dispatch start: what its design prints, and costs count."""
    return timetable(target, [_movement(phase, target) for phase in phases])


def _movement(phase: Phase, target: Target) -> Movement:
    every = [(stream.is_input, _traffic(stream, target)) for stream in streams(phase, target)]
    inputs, outputs = ([each for goes_in, each in every if goes_in is is_input] for is_input in (True, False))
    return Movement(str(phase), inputs, outputs)


def _traffic(stream: Stream, target: Target) -> Traffic:
    """A stream's runs as the tasks of one fifo."""
    tasks = [
        replace(task, first=run.first + task.first // run.turns)
        for run in stream.runs
        for task in tasks_of(target, BF16_BYTES, run.argument, run.rounds, run.of_round, run.start)
    ]
    return Traffic(stream.fifo, stream.column, tuple(tasks))


# ------------------------------------------------------------------------------------------------ pieces


def _in_row(target: Target, elements: int) -> tuple[Loop, ...]:
    """Elements that lie one behind the other, within a descriptor's wraps."""
    piece = 1 << (target.shim.max_wrap * WORD_BYTES // BF16_BYTES).bit_length() - 1
    if elements <= piece:
        return ((elements, 1),)
    return (elements // piece, piece), (piece, 1)


@dataclass(frozen=True)
class _Block:
    """Rows that lie evenly."""

    first: int
    rows: int
    offset: int  # of its first row


def _blocks(where: Matrix | Units, rows: int) -> Iterator[_Block]:
    size = where.block or rows
    for number, first in enumerate(range(0, rows, size)):
        yield _Block(first, min(size, rows - first), where.offset + number * where.step)


def _height(target: Target) -> int:
    """Rows of a round of products."""
    return target.core_rows * TILE


def _width(target: Target) -> int:
    """Columns of it."""
    return target.columns * TILE


def _header(phase: Phase, column: int) -> Run:
    return Run(phase.headers, (phase.header + column) * OBJECT, (), ((OBJECT, 1),))


# ------------------------------------------------------------------------------------------------ Gemm


def _gemm_a(phase: Gemm, target: Target, row: int) -> Iterator[Run]:
    """A row block's rows of each core, all of K, for each column block again."""
    across, ld = phase.N // _width(target), phase.a.ld
    for block in _blocks(phase.a, phase.M):
        down = block.rows // _height(target)
        yield Run(
            phase.a.argument,
            block.offset + row * TILE * ld,
            ((down, _height(target) * ld), (across, 0)),
            ((phase.K // TILE, TILE), (TILE, ld), (TILE, 1)),
            first=block.first // _height(target) * across,
        )


def _gemm_b(phase: Gemm, target: Target, column: int) -> Iterator[Run]:
    """All objects of the column, for each row block again."""
    objects, down = objects_of_column(phase, target), phase.M // _height(target)
    start = (phase.b + column * objects) * OBJECT
    yield Run(WEIGHTS, start, ((down, 0),), ((objects * OBJECT, 1),))


def _gemm_c(phase: Gemm, target: Target, column: int) -> Iterator[Run]:
    """Each tile in one object, or in one for each half of its columns: `by_columns` tells which they are."""
    across, ld, parts = phase.N // _width(target), phase.c.ld, parts_of_tile(phase.result)
    for block in _blocks(phase.c, phase.M):
        down = block.rows // _height(target)
        yield Run(
            phase.c.argument,
            block.offset + column * TILE,
            ((down, _height(target) * ld), (across * parts, _width(target))),
            ((_height(target), ld), (TILE, 1)),
            first=block.first // _height(target) * across,
            turns=parts,
        )


# ------------------------------------------------------------------------------------------------ Attend


def _attend_rounds(phase: Attend, target: Target) -> tuple[int, int]:
    """Groups of heads, and row blocks of queries in each."""
    return groups(phase.n_head, target.columns), phase.M // _height(target)


def _attend_a(phase: Attend, target: Target, row: int) -> Iterator[Run]:
    """Q of all heads of a group, for the row's queries: each column keeps its own."""
    (number, down), ld = _attend_rounds(phase, target), phase.qkv.ld
    yield Run(
        phase.qkv.argument,
        phase.qkv.offset + row * TILE * ld,
        ((number, target.columns * D_HEAD), (down, _height(target) * ld)),
        ((target.columns, D_HEAD), (TILE, ld), (D_HEAD, 1)),
    )


def _attend_b(phase: Attend, target: Target, column: int) -> Iterator[Run]:
    """K and V of the column's head, all keys, for each row block of queries again."""
    (number, down), ld = _attend_rounds(phase, target), phase.qkv.ld
    k_and_v = 2 * D_HEAD
    yield Run(
        phase.qkv.argument,
        phase.qkv.offset + phase.n_head * D_HEAD + column * k_and_v,
        ((number, target.columns * k_and_v), (down, 0)),
        ((phase.n_keys // KEYS, KEYS * ld), (KEYS, ld), (k_and_v, 1)),
    )


def _attend_c(phase: Attend, target: Target, column: int) -> Iterator[Run]:
    (number, down), ld = _attend_rounds(phase, target), phase.c.ld
    yield Run(
        phase.c.argument,
        phase.c.offset + column * D_HEAD,
        ((number, target.columns * D_HEAD), (down, _height(target) * ld)),
        ((_height(target), ld), (D_HEAD, 1)),
    )


# ------------------------------------------------------------------------------------------------ Rows


def _rounds_of(rows: int, phase: Rows, target: Target) -> int:
    """In which the array takes so many rows, one unit per core."""
    return rows * row_length(phase.n_state) // (UNIT * target.cores)


def _rows_a(phase: Rows, target: Target, row: int) -> Iterator[Run]:
    """Unit by unit, those of one row of cores, each to all of them."""
    x, columns, rows = phase.x, target.columns, target.core_rows
    for block in _blocks(x, phase.M):
        yield Run(
            x.argument,
            block.offset + row * x.unit,
            ((_rounds_of(block.rows, phase, target) * columns, rows * x.unit),),
            ((HALVES, x.half), *_in_row(target, OBJECT)),
            first=_rounds_of(block.first, phase, target),
            turns=columns,
        )


def _rows_b(phase: Rows, target: Target, column: int) -> Iterator[Run]:
    """Unit by unit, those of the column, which lie side by side in each round."""
    added, columns, rows = phase.added, target.columns, target.core_rows
    if added is None:
        return
    for block in _blocks(added, phase.M):
        yield Run(
            added.argument,
            block.offset + column * rows * added.unit,
            ((_rounds_of(block.rows, phase, target), columns * rows * added.unit),),
            ((rows, added.unit), (HALVES, added.half), *_in_row(target, OBJECT)),
            first=_rounds_of(block.first, phase, target),
        )


def _rows_c(phase: Rows, target: Target, column: int) -> Iterator[Run]:
    """The two halves of a round's sums, and the normalised rows behind them, or one of the two only."""
    columns, rows = target.columns, target.core_rows
    if (total := phase.sum) is not None:
        planes = HALVES + 1 if phase.normed else HALVES
        for block in _blocks(total, phase.M):
            yield Run(
                total.argument,
                block.offset + column * rows * total.unit,
                ((_rounds_of(block.rows, phase, target), columns * rows * total.unit),),
                ((planes, total.half), (rows, total.unit), *_in_row(target, OBJECT)),
                first=_rounds_of(block.first, phase, target),
            )
    elif (normed := phase.normed) is not None:
        for block in _blocks(normed, phase.M):
            yield Run(
                normed.argument,
                block.offset + column * rows * UNIT,
                ((_rounds_of(block.rows, phase, target), columns * rows * UNIT),),
                _in_row(target, rows * UNIT),
                first=_rounds_of(block.first, phase, target),
            )
