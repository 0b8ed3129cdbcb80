"""Executes a design: every object of every fifo moves, every core runs its program, in place on host arrays.

A design is loaded once, as a hardware context loads it, and dispatched as often as one likes: the cores go on
where they are, and memory keeps what is in it.

Actors take turns until none can go on: the runtime sequence, each fifo's DMAs, each core. An object moves
whole, as soon as its source is full and all its destinations have room. What the DMAs of the array do in
parallel is here in some order, and the locks make any order compute the same; what no order can finish is
found when nothing moves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from whisper_npu.kernels.verifier.design import CONSUME, PRODUCE, Design, Memcpy, Tile, Wait, WriteParameter
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.memory import BITS, DTYPES, Buffers, CoreEnd, local_array
from whisper_npu.kernels.verifier.movement import Destination, Shim, Source, Stream, Task
from whisper_npu.kernels.verifier.patterns import object_order
from whisper_npu.kernels.verifier.program import CoreRun, FunctionCall, Functions, check_time
from whisper_npu.kernels.verifier.structure import check_structure
from whisper_npu.kernels.verifier.wiring import Pool, channels, pools
from whisper_npu.npu.targets import Target

# In each some object moves on. Without the host's data there are as many as the array's buffers hold.
MOST_SETTLING_ROUNDS = 10_000


@dataclass(frozen=True)
class Execution:
    """What moved and what ran. Rounds that cores began for the next dispatch are not counted."""

    calls: Mapping[Tile, Mapping[FunctionCall, int]]
    fifo_objects: Mapping[str, int]
    fifo_bytes: Mapping[str, int]  # each consumer of a broadcast gets as many
    shim_bytes: Mapping[tuple[Tile, str], int]  # (shim, "in" | "out"), seen from the array's side
    memtile_bytes: Mapping[tuple[Tile, str], int]
    parameters: tuple[WriteParameter, ...]
    seconds: float

    @property
    def dram_bytes(self) -> int:
        return sum(self.shim_bytes.values())


def execute(
    design: Design,
    arguments: Sequence[NDArray[Any]],
    functions: Functions,
    target: Target,
    *,
    timeout_seconds: float = 30,
) -> Execution:
    """One dispatch of a design that was just loaded; as `LoadedDesign` and its `dispatch`."""
    return LoadedDesign(design, functions, target).dispatch(arguments, timeout_seconds=timeout_seconds)


def _host_arrays(design: Design, arguments: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Flat views of the arrays, as bits."""
    declared = design.sequence.arguments
    if len(arguments) != len(declared):
        raise DesignError(f"the sequence has {len(declared)} arguments, {len(arguments)} arrays are given")
    flat: dict[str, NDArray[Any]] = {}
    for (name, memref), array in zip(declared, arguments, strict=True):
        if array.size != memref.elements or array.dtype != DTYPES[memref.dtype]:
            raise DesignError(
                f"argument {name} is {memref}, given are {array.size} elements of {array.dtype}"
            )
        if not array.flags.c_contiguous or not array.flags.writeable:
            raise DesignError(f"argument {name}: the array must be C-contiguous and writable")
        flat[name] = array.reshape(-1).view(BITS[memref.dtype])
    return flat


class LoadedDesign:
    """The array, configured by a design, and its host.

    Raises DesignError where `check_structure` does: what is loaded takes no more memory than the array has.
    """

    def __init__(self, design: Design, functions: Functions, target: Target) -> None:
        check_structure(design, target)
        self._design = design
        self._fifos = {fifo.name: fifo for fifo in design.fifos}
        self._parameters = {buffer.name: local_array(buffer) for buffer in design.buffers}
        self._pools: list[Buffers] = []
        core_ends: dict[Tile, dict[tuple[str, str], CoreEnd]] = {core.tile: {} for core in design.cores}
        sources: dict[str, Source | Shim] = {}
        destinations: dict[str, list[Destination | Shim]] = {fifo.name: [] for fifo in design.fifos}
        for pool in pools(design):
            buffers = _buffers(pool, core_ends)
            self._pools.append(buffers)
            for number, port in enumerate(pool.inputs):
                fifo = self._fifos[port.fifo]
                dims = fifo.from_stream[fifo.consumers.index(pool.tile)]
                order = object_order([(port.offset, port.elements)], dims)
                destinations[port.fifo].append(
                    Destination(buffers, number, order, port.offset, port.elements)
                )
            for number, port in enumerate(pool.outputs):
                # What leaves a join goes piece by piece, each in the order that dimensionsToStream says.
                pieces = pool.inputs if len(pool.inputs) > 1 else (port,)
                dims = self._fifos[port.fifo].to_stream
                order = object_order([(piece.offset, piece.elements) for piece in pieces], dims)
                sources[port.fifo] = Source(buffers, number, order, port.offset, port.elements)
        self._shims: dict[str, Shim] = {}
        for fifo in design.fifos:
            if fifo.shim is not None:
                self._shims[fifo.name] = Shim(fifo)
                if fifo.producer == fifo.shim:
                    sources[fifo.name] = self._shims[fifo.name]
                else:
                    destinations[fifo.name].append(self._shims[fifo.name])
        self._streams = [Stream(f, sources[f.name], destinations[f.name]) for f in design.fifos]
        self._cores = [
            CoreRun(
                core,
                core_ends[core.tile],
                {b.value: self._parameters[b.name] for b in design.buffers if b.tile == core.tile},
                functions,
            )
            for core in design.cores
        ]
        self._actors: list[Stream | CoreRun] = [*self._streams, *self._cores]

    def dispatch(self, arguments: Sequence[NDArray[Any]], *, timeout_seconds: float = 30) -> Execution:
        """Run the design's sequence once on `arguments`, the host arrays, which change in place.

        They have the elements and types of the sequence's arguments, in any shape. Raises DesignError where
        the design hangs, where data is left over, where something is read that nothing wrote, and after
        `timeout_seconds`; what the array then holds is of no use. Elements of an output that no transfer
        reaches stay as they were.
        """
        dispatch = _Dispatch(self, _host_arrays(self._design, arguments), timeout_seconds)
        return dispatch.run()

    def settle(self, *, timeout_seconds: float = 30) -> object:
        """Let the cores go as far as they can, and say how the array stands between two dispatches.

        Equal answers: whatever comes next finds it the same. Which buffer of a fifo is the next one is not in
        it: fifos are circles.

        Raises DesignError where they never stop, and after `timeout_seconds`.
        """
        deadline = time.monotonic() + timeout_seconds
        for core in self._cores:
            core.deadline = deadline
        for _ in range(MOST_SETTLING_ROUNDS):
            turns = [actor.advance() for actor in self._actors]
            if not any(turns):
                break
            check_time(deadline, lambda: "its cores go on between two dispatches")
        else:
            raise DesignError("the cores go on among themselves for ever, with no data from the host")
        return tuple(core.position for core in self._cores)


def _buffers(pool: Pool, core_ends: Mapping[Tile, dict[tuple[str, str], CoreEnd]]) -> Buffers:
    if pool.tile.kind != "core":
        return Buffers(pool)
    role = CONSUME if pool.inputs else PRODUCE
    end = CoreEnd(pool, role)
    if pool.tile in core_ends:
        core_ends[pool.tile][(*pool.inputs, *pool.outputs)[0].fifo, role] = end
    return end


class _Dispatch:
    """One run of the sequence on a loaded design."""

    def __init__(
        self, loaded: LoadedDesign, host: Mapping[str, NDArray[Any]], timeout_seconds: float
    ) -> None:
        self.design = loaded._design
        self.fifos = loaded._fifos
        self.parameters = loaded._parameters
        self.pools = loaded._pools
        self.shims = loaded._shims
        self.streams = loaded._streams
        self.cores = loaded._cores
        self.actors = loaded._actors
        self.host = host
        self.start = time.monotonic()
        self.deadline = self.start + timeout_seconds
        self.written_parameters: list[WriteParameter] = []
        self.has_begun = False  # to move data
        self.waiting_for = ""
        self.settling = False  # before a parameter is written under way
        self.sequence = self._sequence()
        self.sequence_done = False
        for stream in self.streams:
            stream.objects = 0
        for core in self.cores:
            core.deadline = self.deadline
            core.calls.clear()

    def run(self) -> Execution:
        moved, stands_still = True, False
        while moved or not stands_still:
            check_time(self.deadline, lambda: "; ".join(self._standstill()) or "it still moves")
            stands_still = not moved
            # A list: every actor has its turn.
            moved = any([self._advance_sequence(stands_still), *[actor.advance() for actor in self.actors]])
        if not self.sequence_done:
            raise DesignError(f"deadlock: {'; '.join(self._standstill())}")
        left = self._left_over()
        if left:
            raise DesignError(f"unconsumed when the sequence was done: {'; '.join(left)}")
        return self._record()

    # the runtime sequence

    def _advance_sequence(self, stands_still: bool) -> bool:
        waits = bool(self.waiting_for) and not self.shims[self.waiting_for].tokens
        if self.sequence_done or waits or (self.settling and not stands_still):
            return False
        next(self.sequence, None)
        return True

    def _sequence(self) -> Iterator[None]:
        for op in self.design.sequence.ops:
            if isinstance(op, Memcpy):
                self.has_begun = True
                self.shims[op.fifo].tasks.append(Task(op, self.host[op.argument], self.fifos[op.fifo]))
            elif isinstance(op, Wait):
                while not self.shims[op.fifo].tokens:
                    self.waiting_for = op.fifo
                    yield
                self.waiting_for = ""
                self.shims[op.fifo].tokens -= 1
            else:
                if self.has_begun:
                    self.settling = True
                    yield
                    self.settling = False
                self._write(op)
        self.sequence_done = True

    def _write(self, op: WriteParameter) -> None:
        """Nothing may be under way that a core could read the parameter for, sooner or later than this."""
        if self.has_begun and (left := self._left_over()):
            raise DesignError(
                f"parameter {op.buffer} changes while tasks run that its core works on: a race: "
                f"{'; '.join(left)}"
            )
        self.parameters[op.buffer].reshape(-1)[op.index] = op.value
        self.written_parameters.append(op)

    # how it ended

    def _standstill(self) -> list[str]:
        waits = [f"the sequence waits for {self.waiting_for}"] if self.waiting_for else []
        return waits + self._tasks_left() + [core.state for core in self.cores] + self._objects_left()

    def _tasks_left(self) -> list[str]:
        left = [(shim.fifo.name, *shim.elements) for shim in self.shims.values() if shim.tasks]
        return [f"shim {name} has {elements} of {total} elements left" for name, elements, total in left]

    def _objects_left(self) -> list[str]:
        found = []
        for buffers in self.pools:
            if buffers.left:
                pool = buffers.pool
                names = ", ".join(port.fifo for port in (pool.inputs or pool.outputs))
                elements = buffers.left * pool.memref.elements
                found.append(f"{pool.tile} has {buffers.left} objects ({elements} elements) of {names}")
        return found

    def _left_over(self) -> list[str]:
        left = self._tasks_left() + self._objects_left()
        for core in self.cores:
            if core.in_round:
                holds = f", holds {', '.join(core.held)}" if core.held else ""
                left.append(f"{core.state}, in the middle of its round{holds}")
        return left

    def _record(self) -> Execution:
        objects = {stream.fifo.name: stream.objects for stream in self.streams}
        traffic = {name: count * self.fifos[name].memref.nbytes for name, count in objects.items()}
        by_kind: dict[str, Counter[tuple[Tile, str]]] = {
            "shim": Counter(),
            "memtile": Counter(),
            "core": Counter(),
        }
        for channel in channels(self.design):
            by_kind[channel.tile.kind][channel.tile, channel.direction] += traffic[channel.fifo]
        return Execution(
            calls={core.core.tile: dict(core.calls) for core in self.cores},
            fifo_objects=objects,
            fifo_bytes=traffic,
            shim_bytes=dict(by_kind["shim"]),
            memtile_bytes=dict(by_kind["memtile"]),
            parameters=tuple(self.written_parameters),
            seconds=time.monotonic() - self.start,
        )
