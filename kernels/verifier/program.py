"""A core that runs its program as far as its fifos let it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


class Functions(Protocol):
    """The kernel functions that a design's cores call."""

    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        """Run one on its buffers, C-contiguous, of the declared shapes and types, in place.

        A number by value comes as an array without dimensions.
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


class CoreRun:
    """A core that runs its program as far as its fifos let it."""

    def __init__(
        self,
        core: Core,
        ends: Mapping[tuple[str, str], CoreEnd],
        local: Mapping[str, NDArray[Any]],
        functions: Functions,
        deadline: float,
    ) -> None:
        self.core = core
        self.ends = ends
        self.functions = functions
        self.deadline = deadline
        self.values: dict[str, Value] = dict(local)
        self.local = frozenset(local)
        self.calls: Counter[FunctionCall] = Counter()
        self.round_calls: Counter[FunctionCall] = Counter()
        self.in_round = False  # it has consumed or given away something since its outermost loop last turned
        self.waiting: Acquire | None = None
        self.acquired = 0
        self.turns = 0  # of any loop, since the last acquire
        self.ended = False
        self.program = self._run()

    def advance(self) -> bool:
        before = self.acquired
        if self.waiting is None or self._can_acquire(self.waiting):
            next(self.program, None)
        return self.acquired > before

    def _can_acquire(self, op: Acquire) -> bool:
        return self.ends[op.fifo, op.role].can_acquire(op.count)

    def _run(self) -> Iterator[None]:
        yield from self._body(self.core.body, depth=0)
        self.ended = True
        self.waiting = None

    def _body(self, ops: Sequence[CoreOp], depth: int) -> Iterator[None]:
        for op in ops:
            if isinstance(op, For):
                yield from self._loop(op, depth)
            elif isinstance(op, If):
                yield from self._body(op.then if self._get(op.condition, int) else op.otherwise, depth)
            elif isinstance(op, Acquire):
                while not self._can_acquire(op):
                    self.waiting = op
                    yield
                self.waiting = None
                self._acquire(op)
            else:
                self._step(op)

    def _loop(self, op: For, depth: int) -> Iterator[None]:
        lower, upper, step = (self._get(name, int) for name in (op.lower, op.upper, op.step))
        if step < 1:
            raise DesignError(f"{self.core.tile}: loop {op.variable} has step {step}")
        for count in range(lower, upper, step):
            if depth == 0:
                self._end_round()
            self._turn(op)
            self.values[op.variable] = count
            yield from self._body(op.body, depth + 1)

    def _turn(self, op: For) -> None:
        self.turns += 1
        if self.turns > MAX_TURNS_WITHOUT_ACQUIRE:
            raise DesignError(
                f"{self.core.tile}: loop {op.variable} runs away, {self.turns} turns without an acquire"
            )
        check_time(self.deadline, f"{self.core.tile} is in loop {op.variable}")

    def _end_round(self) -> None:
        self.calls.update(self.round_calls)
        self.round_calls.clear()
        self.in_round = False

    def _step(self, op: CoreOp) -> None:
        if isinstance(op, Constant):
            self.values[op.result] = op.value
        elif isinstance(op, Arithmetic):
            left, right = self._get(op.left, int), self._get(op.right, int)
            self.values[op.result] = _arithmetic(op.operation, left, right, str(self.core.tile))
        elif isinstance(op, Cast):
            self.values[op.result] = self._get(op.value, int)
        elif isinstance(op, Load):
            self.values[op.result] = self._load(op)
        elif isinstance(op, Access):
            subview = self._get(op.subview, Subview)
            self.values[op.result] = Element(subview.end, subview.first + op.index, subview.fifo)
        elif isinstance(op, Release):
            self._release(op)
        elif isinstance(op, Call):
            self._call(op)

    def _get(self, name: str, kind: type[Kind]) -> Kind:
        value = self.values[name]
        if not isinstance(value, kind):
            raise DesignError(f"{self.core.tile}: {name} is no {kind.__name__}")
        return value

    def _load(self, op: Load) -> int:
        buffer: NDArray[Any] = self._get(op.buffer, np.ndarray)
        index = tuple(self._get(name, int) for name in op.indices)
        if any(not 0 <= i < size for i, size in zip(index, buffer.shape, strict=True)):
            raise DesignError(f"{self.core.tile} loads {op.buffer}{list(index)}, its shape is {buffer.shape}")
        if unwritten(buffer[index].reshape(1), "i32"):
            raise DesignError(f"{self.core.tile} loads {op.buffer}{list(index)}, which nothing has written")
        return int(buffer[index])

    def _acquire(self, op: Acquire) -> None:
        end = self.ends[op.fifo, op.role]
        end.acquire(op.count)
        self.values[op.result] = Subview(end, end.first, op.fifo)
        self.in_round = self.in_round or op.role == CONSUME
        self.acquired += 1
        self.turns = 0

    def _release(self, op: Release) -> None:
        end = self.ends[op.fifo, op.role]
        if end.held < op.count:
            raise DesignError(f"{self.core.tile} releases {op.count} of {op.fifo}, it holds {end.held}")
        end.release(op.count)
        self.in_round = True

    def _call(self, op: Call) -> None:
        arrays: list[NDArray[Any]] = []
        reads = self.functions.reads(op.function)
        if len(reads) != len(op.arguments):
            raise DesignError(
                f"{op.function} has {len(reads)} arguments, {self.core.tile} gives {len(op.arguments)}"
            )
        for name, memref, is_read in zip(op.arguments, op.memrefs, reads, strict=True):
            if not memref.shape:
                arrays.append(self._number(op.function, name))
                continue
            array, origin = self._argument(op.function, name)
            if is_read and unwritten(array, memref.dtype):
                raise DesignError(
                    f"{self.core.tile}: {op.function} reads {origin}, which nothing has written"
                )
            arrays.append(array)
        self.functions.call(op.function, arrays)
        shapes = tuple(memref.shape for memref in op.memrefs)
        self.round_calls[FunctionCall(op.function, shapes, self.functions.macs(op.function))] += 1

    def _argument(self, function: str, name: str) -> tuple[NDArray[Any], str]:
        if name in self.local:
            return self._get(name, np.ndarray), name
        element = self._get(name, Element)
        if not element.is_held:
            raise DesignError(f"{self.core.tile}: {function} uses {name} of {element.fifo} after its release")
        return element.array, element.fifo

    def _number(self, function: str, name: str) -> NDArray[Any]:
        value, limits = self._get(name, int), np.iinfo(DTYPES["i32"])
        if not limits.min <= value <= limits.max:
            raise DesignError(f"{self.core.tile} gives {function} {name} = {value}, which is no i32")
        return np.array(value, limits.dtype)

    @property
    def held(self) -> list[str]:
        """What it took from fifos and has not given back."""
        return [
            f"{end.held} of {fifo}" for (fifo, role), end in self.ends.items() if role == CONSUME and end.held
        ]

    @property
    def state(self) -> str:
        if self.waiting is None:
            return f"{self.core.tile} has ended"
        fifo, role = self.waiting.fifo, self.waiting.role
        end = self.ends[fifo, role]
        so_far = end.written[0]
        objects = f"{so_far} objects ({so_far * end.pool.memref.elements} elements) so far"
        if role == CONSUME:
            return f"{self.core.tile} waits to consume {fifo}, got {objects}"
        return f"{self.core.tile} waits to produce {fifo}, gave {objects}"


def _arithmetic(operation: str, left: int, right: int, place: str) -> int:
    if operation.startswith("cmpi"):
        predicate = operation.split()[1]
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


def check_time(deadline: float, doing: str) -> None:
    if time.monotonic() > deadline:
        raise DesignError(f"the design was not done in time: {doing}")
