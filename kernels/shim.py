"""DRAM movement: what the shims' DMAs are told, in few and long tasks for which their queues have room.

Starting a task takes the array's controller 520 to 2,870 cycles (github.com/FIM43-Redeye/xdna-emu, findings
2026-05-25 and 2026-05-27), so a task serves as many rounds as one buffer descriptor can say. A push onto a
full queue is dropped without an error (mlir-aie issue 3734), so a task that might find it full waits for the
oldest of its own channel: a wait says nothing about other channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from whisper_npu.kernels.mlir import DesignParameterError, Dims, Text
from whisper_npu.kernels.tasks import DIMENSIONS, in_one_task, of_one_round, that_turn
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import WORD_BYTES, Target


class StepTooLongError(DesignParameterError):
    """An operand whose rows lie too far apart."""


@dataclass(frozen=True)
class Task:
    """Part of a host array, in the order in which it streams."""

    argument: str
    first: int  # the round, counted from 0, that needs it first
    offset: int  # where it starts, in elements
    dims: tuple[tuple[int, int], ...]  # DIMENSIONS of them, as dma_memcpy_nd has them


@dataclass(frozen=True)
class Traffic:
    """All that goes through one fifo of a shim in a dispatch, in the order of the rounds."""

    fifo: str
    column: int
    tasks: tuple[Task, ...]

    def behind(self, other: Traffic) -> Traffic:
        """First the tasks of another one on the same fifo, which are all for the first round."""
        return replace(self, tasks=(*other.tasks, *self.tasks))


def traffic(
    contract: Contract, argument: str, fifo: str, column: int, rounds: Dims, of_round: Dims, start: int = 0
) -> Traffic:
    """What a fifo moves of an argument in all rounds, in the fewest tasks.

    rounds: loops, outermost first; where the stride is 0 each turn moves the same again. of_round: what one
    round moves, at most four loops. start: elements before the first. Only the outermost of a descriptor's
    dimensions may have stride 0, and it has at most `max_repeat` turns.

    Raises StepTooLongError where a loop of `of_round` steps further than a shim can.
    """
    target = contract.target
    nbytes = next(a.dtype.nbytes for a in contract.arguments if a.name == argument)
    rounds, tile = that_turn(rounds), of_one_round(target, of_round) or [(1, 1)]
    longest = max(stride for _, stride in tile) * nbytes // WORD_BYTES
    if longest > target.shim.max_step:
        raise StepTooLongError(
            f"{contract.name}: rows of {argument} lie {longest:,} words apart, a shim steps over at most "
            f"{target.shim.max_step:,}: take a smaller core tile"
        )
    # Each turn of the outer loops takes a task of its own.
    number = len(rounds) - in_one_task(target, nbytes, rounds, tile)
    outside, inside = rounds[:number], rounds[number:]
    tasks: list[Task] = []
    for turn, offset in enumerate(_offsets(outside)):
        first = Task(argument, turn * _turns(inside), start + offset, ())
        tasks += _in_parts(target, first, inside, tile)
    return Traffic(fifo, column, tuple(tasks))


def _turns(loops: Dims) -> int:
    return prod(count for count, _ in loops)


def _offsets(loops: Dims) -> list[int]:
    """Where each turn of the loops starts."""
    offsets = [0]
    for count, stride in loops:
        offsets = [offset + turn * stride for offset in offsets for turn in range(count)]
    return offsets


def _in_parts(target: Target, start: Task, rounds: Dims, tile: Dims) -> list[Task]:
    """The task that starts like `start`, its outermost dimension in parts of at most `max_repeat` turns."""
    if rounds:
        (count, stride), *inner = rounds
    elif len(tile) == DIMENSIONS:
        ((count, stride), *tile), inner = tile, []
    else:
        (count, stride), inner = (1, 0), []
    # A dimension of one turn: its stride is never taken, and valid all the same.
    spare = [(1, tile[0][0] * tile[0][1])] * (DIMENSIONS - 1 - len(inner) - len(tile))
    rounds_of_turn = _turns(inner) if rounds else 0
    return [
        Task(
            start.argument,
            start.first + turn * rounds_of_turn,
            start.offset + turn * stride,
            ((min(target.max_repeat, count - turn), stride), *inner, *spare, *tile),
        )
        for turn in range(0, count, target.max_repeat)
    ]


def task_count(inputs: Sequence[Traffic], outputs: Sequence[Traffic]) -> int:
    return sum(len(each.tasks) for each in (*inputs, *outputs))


def move(text: Text, target: Target, inputs: Sequence[Traffic], outputs: Sequence[Traffic]) -> None:
    """Issue every task, those of earlier rounds first and inputs before outputs, and wait for the outputs.

    Whatever is waited for can finish: the tasks of all earlier rounds have been issued. A task that writes to
    DRAM gives a token whether asked or not (mlir-aie, lib/Dialect/AIEX/Transforms/AIEDmaToNpu.cpp), and a
    token that is left would answer the wait of a later task: there is one wait for each.
    """
    every = [*inputs, *outputs]
    depth = target.shim_queue
    channels: Counter[int] = Counter()
    descriptor = {}  # the first of each fifo's
    for each in every:
        descriptor[each.fifo] = depth * channels[each.column]
        channels[each.column] += 1
    numbered = [(each, number) for each in every for number in range(len(each.tasks))]
    for each, number in sorted(numbered, key=lambda found: found[0].tasks[found[1]].first):
        task = each.tasks[number]
        if number >= depth:
            text.wait(each.fifo)  # for the task that is `depth` before it
        text.dma(
            task.argument,
            task.offset,
            task.dims,
            descriptor[each.fifo] + number % depth,
            each.fifo,
            token=each in outputs or number + depth < len(each.tasks),
        )
    for number in range(depth):
        text.waits(each.fifo for each in outputs if number < len(each.tasks))
