"""A core that runs its program as far as its fifos let it.

The program is taken apart once: what stands between two acquires becomes a list of calls without arguments,
and a core function is bound to the buffers that it works on when it first meets them.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from whisper_npu.kernels.verifier.design import (
    CONSUME,
    Access,
    Acquire,
    Arithmetic,
    Call,
    Cast,
    Constant,
    Core,
    CoreOp,
    For,
    If,
    Load,
    Release,
)
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.memory import DTYPES, CoreEnd, Element, Subview, unwritten

# A loop that turns this often without an acquire will not meet one.
MAX_TURNS_WITHOUT_ACQUIRE = 100_000
TURNS_BETWEEN_LOOKS = 256  # at the clock


class Functions(Protocol):
    """The kernel functions that a design's cores call."""

    def prepare(self, name: str, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        """A call of one on its buffers, C-contiguous, of the declared shapes and types, in place.

        It may be made again and again: the arrays are the same, what they hold is not. A number by value
        comes as an array without dimensions.
        """

    def reads(self, name: str) -> tuple[bool, ...]:
        """Which of its arguments it reads, all of each, before it writes them."""

    def macs(self, name: str) -> int:
        """Multiply-accumulates of one call."""


@dataclass(frozen=True)
class FunctionCall:
    """A function, the shapes that it was called with, and what it multiplies."""

    function: str
    shapes: tuple[tuple[int, ...], ...]
    macs: int = 0


Value = int | NDArray[Any] | Element | Subview
Kind = TypeVar("Kind", bound=Value)
Step = Callable[[], None]


@dataclass(frozen=True)
class _Steps:
    """Operations that nothing can stop."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class _Take:
    """An acquire, and the end that it takes from.

    Equal to itself alone: two places of a program may have acquires of the same words.
    """

    op: Acquire
    end: CoreEnd

    @property
    def is_possible(self) -> bool:
        return self.end.can_acquire(self.op.count)


@dataclass(frozen=True)
class _Loop:
    op: For
    body: tuple[_Item, ...]


@dataclass(frozen=True)
class _Branch:
    op: If
    then: tuple[_Item, ...]
    otherwise: tuple[_Item, ...]


_Item = _Steps | _Take | _Loop | _Branch


class CoreRun:
    """A core that runs its program as far as its fifos let it."""

    def __init__(
        self,
        core: Core,
        ends: Mapping[tuple[str, str], CoreEnd],
        local: Mapping[str, NDArray[Any]],
        functions: Functions,
    ) -> None:
        self.core = core
        self.ends = ends
        self.functions = functions
        self.deadline = math.inf
        self.values: dict[str, Value] = dict(local)
        self.calls: Counter[FunctionCall] = Counter()
        self.bound_calls: list[_BoundCall] = []
        self.in_round = False  # it has consumed or given away something since its outermost loop last turned
        self.waiting: _Take | None = None
        self.counters: list[int] = []  # of the loops that it is in, the outermost first
        self.acquired = 0
        self.turns = 0  # of any loop, since the last acquire
        self.program = self._body(self._taken_apart(core.body))

    def advance(self) -> bool:
        before = self.acquired
        if self.waiting is None or self.waiting.is_possible:
            next(self.program, None)
        return self.acquired > before

    # the program, in pieces

    def _taken_apart(self, ops: Sequence[CoreOp]) -> tuple[_Item, ...]:
        items: list[_Item] = []
        steps: list[Step] = []
        for op in ops:
            if not isinstance(op, (For, If, Acquire)):
                steps.append(self._step(op))
                continue
            if steps:
                items.append(_Steps(tuple(steps)))
                steps = []
            if isinstance(op, For):
                items.append(_Loop(op, self._taken_apart(op.body)))
            elif isinstance(op, If):
                items.append(_Branch(op, self._taken_apart(op.then), self._taken_apart(op.otherwise)))
            else:
                items.append(_Take(op, self.ends[op.fifo, op.role]))
        return (*items, _Steps(tuple(steps))) if steps else tuple(items)

    def _step(self, op: CoreOp) -> Step:
        if isinstance(op, Constant):
            return partial(self.values.__setitem__, op.result, op.value)
        if isinstance(op, Arithmetic):
            return partial(self._arithmetic, op)
        if isinstance(op, Cast):
            return partial(self._cast, op)
        if isinstance(op, Load):
            return partial(self._load, op)
        if isinstance(op, Access):
            return partial(self._access, op)
        if isinstance(op, Release):
            return partial(self._release, op, self.ends[op.fifo, op.role])
        assert isinstance(op, Call), op
        self.bound_calls.append(_BoundCall(self, op))
        return self.bound_calls[-1]

    # running it

    def _body(self, items: tuple[_Item, ...]) -> Iterator[None]:
        for item in items:
            if isinstance(item, _Steps):
                for step in item.steps:
                    step()
            elif isinstance(item, _Take):
                while not item.is_possible:
                    self.waiting = item
                    yield
                self.waiting = None
                self._acquire(item.op, item.end)
            elif isinstance(item, _Loop):
                yield from self._loop(item)
            else:
                yield from self._body(item.then if self.get(item.op.condition, int) else item.otherwise)

    def _loop(self, loop: _Loop) -> Iterator[None]:
        op = loop.op
        lower, upper, step = (self.get(name, int) for name in (op.lower, op.upper, op.step))
        if step < 1:
            raise DesignError(f"{self.core.tile}: loop {op.variable} has step {step}")
        self.counters.append(lower)
        for count in range(lower, upper, step):
            if len(self.counters) == 1:
                self._end_round()
            self._turn(op)
            self.values[op.variable] = self.counters[-1] = count
            yield from self._body(loop.body)
        self.counters.pop()

    def _turn(self, op: For) -> None:
        self.turns += 1
        if self.turns > MAX_TURNS_WITHOUT_ACQUIRE:
            raise DesignError(
                f"{self.core.tile}: loop {op.variable} runs away, {self.turns} turns without an acquire"
            )
        if self.turns % TURNS_BETWEEN_LOOKS == 0:
            check_time(self.deadline, lambda: f"{self.core.tile} is in loop {op.variable}")

    def _end_round(self) -> None:
        for call in self.bound_calls:
            if call.in_round:
                self.calls[call.counted] += call.in_round
                call.in_round = 0
        self.in_round = False

    def get(self, name: str, kind: type[Kind]) -> Kind:
        value = self.values[name]
        if not isinstance(value, kind):
            raise DesignError(f"{self.core.tile}: {name} is no {kind.__name__}")
        return value

    def _arithmetic(self, op: Arithmetic) -> None:
        left, right = self.get(op.left, int), self.get(op.right, int)
        value = _arithmetic(op, left, right, str(self.core.tile))
        self.values[op.result] = self._within(op.result, value, op.bits)

    def _cast(self, op: Cast) -> None:
        self.values[op.result] = self._within(op.result, self.get(op.value, int), op.bits)

    def _within(self, name: str, value: int, bits: int) -> int:
        """Refused where the core would wrap it round: nobody means that."""
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise DesignError(f"{self.core.tile}: {name} = {value} is no signed number of {bits} bits")
        return value

    def _access(self, op: Access) -> None:
        subview = self.get(op.subview, Subview)
        self.values[op.result] = Element(subview.end, subview.first + op.index, subview.fifo)

    def _load(self, op: Load) -> None:
        buffer: NDArray[Any] = self.get(op.buffer, np.ndarray)
        index = tuple(self.get(name, int) for name in op.indices)
        if any(not 0 <= i < size for i, size in zip(index, buffer.shape, strict=True)):
            raise DesignError(f"{self.core.tile} loads {op.buffer}{list(index)}, its shape is {buffer.shape}")
        if unwritten(buffer[index].reshape(1), "i32"):
            raise DesignError(f"{self.core.tile} loads {op.buffer}{list(index)}, which nothing has written")
        self.values[op.result] = int(buffer[index])

    def _acquire(self, op: Acquire, end: CoreEnd) -> None:
        end.acquire(op.count)
        self.values[op.result] = Subview(end, end.first, op.fifo)
        self.in_round = self.in_round or op.role == CONSUME
        self.acquired += 1
        self.turns = 0

    def _release(self, op: Release, end: CoreEnd) -> None:
        if end.held < op.count:
            raise DesignError(f"{self.core.tile} releases {op.count} of {op.fifo}, it holds {end.held}")
        end.release(op.count)
        self.in_round = True

    # how it stands

    @property
    def position(self) -> tuple[object, ...]:
        """Where in its program it is and what it holds, whichever round it is in and whichever buffers."""
        held = {port: end.held_bits for port, end in self.ends.items()}
        return self.waiting, tuple(self.counters[1:]), tuple(held.items())

    @property
    def held(self) -> list[str]:
        """What it took from fifos and has not given back."""
        return [
            f"{end.held} of {fifo}" for (fifo, role), end in self.ends.items() if role == CONSUME and end.held
        ]

    @property
    def state(self) -> str:
        if self.waiting is None:
            return f"{self.core.tile} has not begun"
        fifo, role, end = self.waiting.op.fifo, self.waiting.op.role, self.waiting.end
        so_far = end.written[0]
        objects = f"{so_far} objects ({so_far * end.pool.memref.elements} elements) so far"
        if role == CONSUME:
            return f"{self.core.tile} waits to consume {fifo}, got {objects}"
        return f"{self.core.tile} waits to produce {fifo}, gave {objects}"


class _BoundCall:
    """One func.call of a core: the function, bound to each set of buffers that it has worked on."""

    def __init__(self, core: CoreRun, op: Call) -> None:
        self.core = core
        self.op = op
        reads = core.functions.reads(op.function)
        if len(reads) != len(op.arguments):
            raise DesignError(
                f"{op.function} has {len(reads)} arguments, {core.core.tile} gives {len(op.arguments)}"
            )
        self.arguments = tuple(zip(op.arguments, op.memrefs, reads, strict=True))
        self.bound: dict[tuple[int, ...], Step] = {}
        self.in_round = 0  # how often, in the round that has not ended
        shapes = tuple(memref.shape for memref in op.memrefs)
        self.counted = FunctionCall(op.function, shapes, core.functions.macs(op.function))

    def __call__(self) -> None:
        core = self.core
        key: list[int] = []  # for each argument the buffer's number, or its value
        for name, memref, is_read in self.arguments:
            value = core.values[name]
            if isinstance(value, Element):
                end, number, fifo = value
                key.append(number % end.depth)
                if not end.holds(number):
                    raise DesignError(
                        f"{core.core.tile}: {self.op.function} uses {name} of {fifo} after its release"
                    )
                if is_read and not end.is_whole(number):
                    self._reads_what_nobody_wrote(fifo)
            elif isinstance(value, int):
                key.append(value)
            else:
                key.append(0)
                if is_read and unwritten(core.get(name, np.ndarray), memref.dtype):
                    self._reads_what_nobody_wrote(name)
        check_time(core.deadline, lambda: f"{core.core.tile} calls {self.op.function}")
        call = self.bound.get(tuple(key))
        if call is None:
            arrays = [self._array(name) for name in self.op.arguments]
            call = self.bound[tuple(key)] = core.functions.prepare(self.op.function, arrays)
        call()
        self.in_round += 1

    def _reads_what_nobody_wrote(self, origin: str) -> None:
        raise DesignError(
            f"{self.core.core.tile}: {self.op.function} reads {origin}, which nothing has written"
        )

    def _array(self, name: str) -> NDArray[Any]:
        value = self.core.values[name]
        if isinstance(value, Element):
            return value.array
        if isinstance(value, int):
            return np.array(value, DTYPES["i32"])
        return self.core.get(name, np.ndarray)


def _arithmetic(op: Arithmetic, left: int, right: int, place: str) -> int:
    operation = op.operation
    if operation.startswith("cmpi"):
        predicate = operation.split()[1]
        if predicate.startswith("u"):
            left, right = left % 2**op.bits, right % 2**op.bits
        same = {"eq": left == right, "ne": left != right}
        order = {"lt": left < right, "le": left <= right, "gt": left > right, "ge": left >= right}
        return int(same[predicate] if predicate in same else order[predicate[1:]])
    if operation[:3] in ("div", "rem") and right == 0:
        raise DesignError(f"{place} divides by 0")
    results = {"addi": left + right, "subi": left - right, "muli": left * right}
    if operation in results:
        return results[operation]
    if left < 0 or right < 0:
        raise DesignError(f"{place}: {operation} of {left} and {right}, only positive numbers are understood")
    return left // right if operation.startswith("div") else left % right


def check_time(deadline: float, doing: Callable[[], str]) -> None:
    if time.monotonic() > deadline:
        raise DesignError(f"the design was not done in time: {doing()}")
