"""DRAM movement: what the shims' DMAs are told, in few and long tasks for which their queues have room.

Starting a task takes the array's controller 520 to 2,870 cycles (github.com/FIM43-Redeye/xdna-emu, findings
2026-05-25 and 2026-05-27), so a task serves as many rounds as one buffer descriptor can say. A push onto a
full queue is dropped without an error (mlir-aie issue 3734), so a task that might find it full waits for the
oldest of its own channel: a wait says nothing about other channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

from whisper_npu.kernels.mlir import DesignParameterError, Dims, Text
from whisper_npu.kernels.tasks import DIMENSIONS, in_one_task, of_one_round, that_turn
from whisper_npu.npu.contract import Argument
from whisper_npu.npu.targets import WORD_BYTES, Target


class Dispatch(Protocol):
    """Whose host arrays move: a contract, or a part of one."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> Target: ...

    @property
    def arguments(self) -> tuple[Argument, ...]: ...


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


@dataclass(frozen=True)
class Phase:
    """What moves between two waits for everything."""

    title: str
    inputs: Sequence[Traffic]
    outputs: Sequence[Traffic]


def traffic(
    dispatch: Dispatch, argument: str, fifo: str, column: int, rounds: Dims, of_round: Dims, start: int = 0
) -> Traffic:
    """What a fifo moves of an argument in all rounds, in the fewest tasks.

    rounds: loops, outermost first; where the stride is 0 each turn moves the same again. of_round: what one
    round moves, at most four loops. start: elements before the first. Only the outermost of a descriptor's
    dimensions may have stride 0, and it has at most `max_repeat` turns.

    Raises StepTooLongError where a loop of `of_round` steps further than a shim can.
    """
    target = dispatch.target
    nbytes = next(a.dtype.nbytes for a in dispatch.arguments if a.name == argument)
    rounds, tile = that_turn(rounds), of_one_round(target, of_round) or [(1, 1)]
    longest = max(stride for _, stride in tile) * nbytes // WORD_BYTES
    if longest > target.shim.max_step:
        raise StepTooLongError(
            f"{dispatch.name}: rows of {argument} lie {longest:,} words apart, a shim steps over at most "
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
    """The task that starts like `start`, its outermost dimension in parts of at most `max_repeat` turns.

    What lies in one piece has stride 0 in the dimensions of one turn: so mlir-aie knows it, and counts no
    wraps (lib/Dialect/AIEX/IR/AIEXDialect.cpp, isLinearTransferWithoutTransformation).
    """
    if rounds:
        (count, stride), *inner = rounds
    elif len(tile) == DIMENSIONS:
        ((count, stride), *tile), inner = tile, []
    else:
        (count, stride), inner = (1, 0), []
    # A dimension of one turn: its stride is never taken, and valid all the same.
    is_linear = not inner and len(tile) == 1
    spare_stride = 0 if is_linear else tile[0][0] * tile[0][1]
    spare = [(1, spare_stride)] * (DIMENSIONS - 1 - len(inner) - len(tile))
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
    _issue(text, target, every, {each.fifo: len(each.tasks) for each in outputs})
    for number in range(target.shim_queue):
        text.waits(each.fifo for each in outputs if number < len(each.tasks))


def move_in_phases(text: Text, target: Target, phases: Sequence[Phase]) -> None:
    """The phases one after the other: what one writes, the next may read.

    A phase ends when every channel has done its last task: then nothing of it is under way, and queues and
    descriptors are free.
    """
    for phase in phases:
        text.line(f"// {phase.title}")
        every = [*phase.inputs, *phase.outputs]
        of_outputs = {each.fifo: len(each.tasks) for each in phase.outputs}
        _issue(text, target, every, dict.fromkeys((each.fifo for each in phase.inputs), 1) | of_outputs)
        text.waits(each.fifo for each in phase.inputs)
        for number in range(target.shim_queue):
            text.waits(each.fifo for each in phase.outputs if number < len(each.tasks))


def _issue(text: Text, target: Target, every: Sequence[Traffic], tokens: Mapping[str, int]) -> None:
    """Tasks, and the waits without which a queue would be full.

    tokens: of each fifo, how many of its last tasks give one at least. Those before the last `shim_queue` do
    in any case.
    """
    depth = target.shim_queue
    channels: Counter[int] = Counter()
    descriptor = {}  # the first of each fifo's
    for each in every:
        descriptor[each.fifo] = depth * channels[each.column]
        channels[each.column] += 1
    numbered = [(each, number) for each in every for number in range(len(each.tasks))]
    for each, number in sorted(numbered, key=lambda found: found[0].tasks[found[1]].first):
        task, left = each.tasks[number], len(each.tasks) - number
        if number >= depth:
            text.wait(each.fifo)  # for the task that is `depth` before it
        text.dma(
            task.argument,
            task.offset,
            task.dims,
            descriptor[each.fifo] + number % depth,
            each.fifo,
            token=left > depth or left <= tokens.get(each.fifo, 0),
        )
