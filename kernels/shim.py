"""DRAM movement: what the shims' DMAs are told, in few and long tasks for which their queues have room.

Starting a task takes the array's controller 520 to 2,870 cycles (github.com/FIM43-Redeye/xdna-emu, findings
2026-05-25 and 2026-05-27), so a task serves as many rounds as one buffer descriptor can say. A push onto a
full queue is dropped without an error (mlir-aie issue 3734), so a task that might find it full waits for the
oldest of its own channel: a wait says nothing about other channels.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
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

    @property
    def last(self) -> int:
        """The highest element that it touches."""
        return self.offset + sum((count - 1) * stride for count, stride in self.dims)

    def overlaps(self, other: Task) -> bool:
        """Of what lies between the first and the last element of a task, all counts as its."""
        is_one = self.argument == other.argument
        return is_one and max(self.offset, other.offset) <= min(self.last, other.last)


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
    """What a fifo moves of an argument in all rounds: `tasks_of` them.

    Raises StepTooLongError where a loop of `of_round` steps further than a shim can.
    """
    nbytes = next(a.dtype.nbytes for a in dispatch.arguments if a.name == argument)
    tasks = tasks_of(dispatch.target, nbytes, argument, rounds, of_round, start, of=f"{dispatch.name}: ")
    return Traffic(fifo, column, tasks)


def tasks_of(
    target: Target, nbytes: int, argument: str, rounds: Dims, of_round: Dims, start: int = 0, *, of: str = ""
) -> tuple[Task, ...]:
    """The fewest tasks that move part of an argument.

    nbytes: of an element. rounds: loops, outermost first; where the stride is 0 each turn moves the same
    again. of_round: what one round moves, at most four loops. start: elements before the first. of: what an
    error begins with. Only the outermost of a descriptor's dimensions may have stride 0, and it has at most
    `max_repeat` turns.
    """
    rounds, tile = that_turn(rounds), of_one_round(target, of_round) or [(1, 1)]
    longest = max(stride for _, stride in tile) * nbytes // WORD_BYTES
    if longest > target.shim.max_step:
        raise StepTooLongError(
            f"{of}rows of {argument} lie {longest:,} words apart, a shim steps over at most "
            f"{target.shim.max_step:,}: take a smaller core tile"
        )
    # Each turn of the outer loops takes a task of its own.
    number = len(rounds) - in_one_task(target, nbytes, rounds, tile)
    outside, inside = rounds[:number], rounds[number:]
    tasks: list[Task] = []
    for turn, offset in enumerate(_offsets(outside)):
        first = Task(argument, turn * _turns(inside), start + offset, ())
        tasks += _in_parts(target, first, inside, tile)
    return tuple(tasks)


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
    """Issue every task, and wait for the outputs."""
    put(text, timetable(target, [Phase("", inputs, outputs)]))


def put(text: Text, turns: Sequence[Turn]) -> None:
    """Phases one after the other: what one writes, the next may read."""
    waited_for = {step.start for turn in turns for step in turn.steps if isinstance(step, Wait)}

    def put_steps(steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Wait):
                text.wait(step.start.fifo)
            else:
                task, token = step.task, step in waited_for
                text.dma(task.argument, task.offset, task.dims, step.descriptor, step.fifo, token=token)

    for turn in turns:
        if turn.phase.title:
            text.line(f"// {turn.phase.title}")
        put_steps(turn.own)
        if turn.ahead:
            text.line("// ahead: of the next phase")
        put_steps(turn.ahead)
        put_steps(turn.end)


# -------------------------------------------------------------------------------------------------- when


@dataclass(frozen=True)
class Start:
    """A task goes onto the queue of its channel."""

    fifo: str
    number: int  # on its channel, through all phases
    descriptor: int
    task: Task


@dataclass(frozen=True)
class Wait:
    """Until a task is done. On each channel the one that is waited for is the oldest with a token."""

    start: Start


Step = Start | Wait


@dataclass(frozen=True)
class Turn:
    """What the array's controller does from the end of the phase before to the end of this one.

    A phase has ended when every channel has done its last task of it.
    """

    phase: Phase
    own: tuple[Step, ...]  # of this phase, what did not start ahead
    ahead: tuple[Step, ...]  # of the next
    end: tuple[Wait, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.own + self.ahead + self.end

    @property
    def tasks(self) -> int:
        """All that start."""
        return sum(isinstance(step, Start) for step in self.steps)

    @property
    def exposed(self) -> int:
        """Of these, those for which cores wait: that bring what the first round reads. They start first."""
        inputs = {each.fifo for each in self.phase.inputs}
        starts = (step for step in self.own if isinstance(step, Start))
        return sum(start.fifo in inputs and start.task.first == 0 for start in starts)


def timetable(target: Target, phases: Sequence[Phase]) -> tuple[Turn, ...]:
    """When each task starts, and what is waited for.

    Of a phase, tasks of earlier rounds start first, and inputs before outputs: so whatever is waited for can
    finish. A task that writes to DRAM gives a token whether asked or not (mlir-aie,
    lib/Dialect/AIEX/Transforms/AIEDmaToNpu.cpp), and a token that is left would answer the wait of a later
    task: there is one wait for each. After the last phase nobody needs to know that inputs have been read.

    Before a phase has ended, tasks of the next one start ahead, where `_may_go_ahead` lets them: they queue
    behind those of their channel.
    """
    queues = _queues(target, phases)
    found: list[Turn] = []
    left = [_in_order(phase) for phase in phases]
    for number, phase in enumerate(phases):
        own = [step for fifo, task in left[number] for step in queues[fifo].put(task)]
        last = {fifo: queue.number for fifo, queue in queues.items()}
        ahead: list[Step] = []
        end: list[Wait] = []
        if number + 1 < len(phases):
            following = phases[number + 1]
            waiting: list[tuple[str, Task]] = []
            for fifo, task in left[number + 1]:
                # Nothing of the next phase is waited for: it may need what has not started yet.
                has_room = queues[fifo].number - last[fifo] < target.shim_queue
                is_next = fifo not in {fifo for fifo, _ in waiting}
                if is_next and has_room and _may_go_ahead(task, fifo, phase, following):
                    ahead += queues[fifo].put(task)
                else:
                    waiting.append((fifo, task))
            left[number + 1] = waiting
            end += [wait for each in phase.inputs for wait in queues[each.fifo].done(last[each.fifo])[-1:]]
        of_outputs = [queues[each.fifo].done(last[each.fifo]) for each in phase.outputs]
        end += [wait for waits in zip_longest(*of_outputs) for wait in waits if wait is not None]
        found.append(Turn(phase, tuple(own), tuple(ahead), tuple(end)))
    return tuple(found)


def _in_order(phase: Phase) -> list[tuple[str, Task]]:
    """Tasks and their fifos, those of earlier rounds first and inputs before outputs."""
    every = [(each.fifo, task) for each in (*phase.inputs, *phase.outputs) for task in each.tasks]
    return sorted(every, key=lambda found: found[1].first)


def _may_go_ahead(task: Task, fifo: str, before: Phase, phase: Phase) -> bool:
    """Whether a task of a phase may start while the one before goes on.

    It may read what that does not write. It may write where neither that nor its own phase reads or writes:
    one core may give results of its phase while another is still at work on the phase before.
    """
    is_input = any(fifo == each.fifo for each in phase.inputs)
    others = before.outputs if is_input else (*before.inputs, *before.outputs, *phase.inputs)
    return not any(task.overlaps(other) for each in others for other in each.tasks)


@dataclass
class _Queue:
    """Of one channel: the tasks that nobody has waited for."""

    fifo: str
    depth: int
    descriptor: int  # the first of as many
    number: int = 0  # of the next task
    running: deque[Start] = field(default_factory=deque)

    def put(self, task: Task) -> list[Step]:
        """A start, behind the wait without which the queue might be full."""
        waits = [Wait(self.running.popleft())] if len(self.running) == self.depth else []
        start = Start(self.fifo, self.number, self.descriptor + self.number % self.depth, task)
        self.number += 1
        self.running.append(start)
        return [*waits, start]

    def done(self, number: int) -> list[Wait]:
        """Waits for all before task `number`."""
        waits = []
        while self.running and self.running[0].number < number:
            waits.append(Wait(self.running.popleft()))
        return waits


def _queues(target: Target, phases: Sequence[Phase]) -> dict[str, _Queue]:
    """By fifo. Those of a shim share its descriptors."""
    queues: dict[str, _Queue] = {}
    channels: Counter[int] = Counter()
    for phase in phases:
        for each in (*phase.inputs, *phase.outputs):
            if each.fifo not in queues:
                first = target.shim_queue * channels[each.column]
                queues[each.fifo] = _Queue(each.fifo, target.shim_queue, first)
                channels[each.column] += 1
    return queues
