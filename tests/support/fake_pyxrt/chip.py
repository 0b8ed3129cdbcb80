"""The state behind the fake: memory in two copies, contexts, dispatches under way, faults to inject."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np

from tests.support import stand_in_kernels, text_kernels
from tests.support.stand_in_kernels import XCLBIN_MAGIC, Work
from whisper_npu.errors import WhisperNpuError

MIB = 1024 * 1024
HW_CONTEXTS = 6  # npu1_regs.c of amd/xdna-driver
CHAIN = 24  # runs of a runlist that go to the driver as one command; xrt_kernel.cpp
HEAP_BYTES = 512 * MIB  # cacheable bos: a heap of 64 MiB that grows to this

# Pairs of bytes that are NaN as bf16 and, twice, as fp32: each says where the number comes from.
NEVER_WRITTEN_HOST = 0xFFFF
NEVER_WRITTEN_DEVICE = 0x7FFF
IN_FLIGHT = 0x7FC1  # a result that is not waited for, or that no dispatch wrote
FREED = 0x7FC2


class Misuse(RuntimeError):
    """What a real NPU answers with wrong data, a hang or a crash."""


class Fault(Enum):
    """What can befall a dispatch."""

    TIMEOUT = "timeout"  # it never ends, nor does any later one of its context
    ENDED = "ended"  # the driver ends it with TIMEOUT, and with ABORT what is submitted behind it
    ABORT = "abort"
    ERROR = "error"
    ZEROS = "zeros"  # it completes, and its results are all zeros
    GARBAGE = "garbage"  # it completes, and its results, or a part of one of them, are something else
    OTHERWISE = "otherwise"  # it completes, and computes what `Planned.by` does in its place
    # The firmware hangs: this and every later submission fails, with `Chip.wedged_by`; contexts open still,
    # until `Chip.wedge_at_contexts`.
    WEDGED = "wedged"
    DIES = "dies"  # the device node vanishes while the dispatch is waited for, shortly before time is up
    GONE = "gone"  # the device node vanishes: this and every later call fails


@dataclass
class Counts:
    """What happened since the fake was made, or since somebody put a new one in its place."""

    dispatches: int = 0
    lists: int = 0  # run lists executed
    single_runs: int = 0  # started by themselves
    waits_for_running: int = 0  # of runs and lists that had not ended: such a wait holds Python's GIL
    bos: int = 0  # made, sub-bos not counted
    runs: int = 0  # made
    runlists: int = 0  # made
    contexts: int = 0
    contexts_refused: int = 0
    syncs_to_device: int = 0
    bytes_to_device: int = 0
    syncs_from_device: int = 0
    bytes_from_device: int = 0


@dataclass(frozen=True)
class Part:
    """Some elements of one of a dispatch's results."""

    result: int  # counted among the results
    elements: slice


Computes = Callable[[Work, list[stand_in_kernels.Memory]], None]


@dataclass
class Planned:
    """A fault of the dispatch or bo numbered `at`, and if `lasting` of every later one."""

    fault: Fault | None  # None: no memory
    at: int
    lasting: bool
    part: Part | None = None  # None: all of every result
    by: Computes | None = None

    def concerns(self, number: int) -> bool:
        return number >= self.at if self.lasting else number == self.at


class Memory:
    """The bytes of a root bo, twice."""

    def __init__(self, chip: Chip, size: int, cacheable: bool) -> None:
        self.chip = chip
        self.size = size
        self.cacheable = cacheable
        self.views: list[weakref.ref[memoryview]] = []

    @cached_property
    def cells(self) -> bytearray:
        return bytearray(_pattern(NEVER_WRITTEN_HOST, self.size).data)

    @cached_property
    def host(self) -> stand_in_kernels.Memory:
        return np.frombuffer(self.cells, np.uint8)

    @cached_property
    def device(self) -> stand_in_kernels.Memory:
        return _pattern(NEVER_WRITTEN_DEVICE, self.size)

    def view(self, start: int, size: int) -> memoryview:
        """What map() hands out; it does not keep this alive."""
        with memoryview(self.cells) as whole:
            view = whole[start : start + size]
        self.views = [known for known in self.views if known() is not None]
        self.views.append(weakref.ref(view))
        return view

    def __del__(self) -> None:
        if "chip" in self.__dict__:
            self.chip.freed(self)


class Context:
    """A hardware context: what its runs execute on, in order."""

    def __init__(self, slot: int, xclbin: bytes) -> None:
        self.slot = slot
        self.array = xclbin.removeprefix(XCLBIN_MAGIC)  # how it is configured
        self.queue: list[Flight] = []  # started and not executed yet
        self.hung = False

    def read(self, instructions: bytes) -> Work:
        """What these bytes have the array do. Raises ValueError where they are no instructions of its."""
        kind = text_kernels if text_kernels.is_text(self.array) else stand_in_kernels
        return kind.read(self.array, instructions)


@dataclass(frozen=True)
class Span:
    """Bytes that a dispatch reads or writes. It keeps no memory alive, as a run keeps no bo alive."""

    memory: weakref.ref[Memory]
    start: int
    stop: int
    writes: bool

    def overlaps(self, memory: Memory | None, start: int, stop: int) -> bool:
        return self.memory() is memory and start < self.stop and self.start < stop

    def meets(self, other: Span) -> bool:
        return self.overlaps(other.memory(), other.start, other.stop)

    def poison(self) -> None:
        """On the device, as what no dispatch has written yet."""
        memory = self.memory()
        if memory is not None:
            memory.device[self.start : self.stop] = _pattern(IN_FLIGHT, self.stop - self.start)


@dataclass(eq=False)
class Flight:
    """A dispatch from its start until it was waited for."""

    context: Context
    what: Work
    spans: tuple[Span, ...]  # of the data bos
    planned: Planned | None
    state: int = 0  # of ert_cmd_state, when executed
    seen: list[bytes] = field(default_factory=list)  # the host's copies of the operands at the start

    @property
    def fault(self) -> Fault | None:
        return self.planned and self.planned.fault

    @property
    def reads(self) -> list[Span]:
        return [span for span in self.spans if not span.writes]

    @property
    def writes(self) -> list[Span]:
        return [span for span in self.spans if span.writes]

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self.state == 0 or self.hung

    @property
    def hung(self) -> bool:
        return self.state == TIMEOUT and self.context.hung


NEW, COMPLETED, ERROR, ABORT, TIMEOUT = 1, 4, 5, 6, 8  # ert.h
STATES = {Fault.ABORT: ABORT, Fault.ERROR: ERROR}


class Chip:
    """One NPU. Safe for several threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.counts = Counts()
        self.misuses: list[str] = []
        self.gone = False
        self.wedged = False
        self._contexts_wedged = False
        self.power_mode = "Default"
        self.wedged_by = "(err=-62): Timer expired"
        # Above a driver that gives contexts a syncobj, run.wait of XRT 2.25 does not return TIMEOUT when its
        # time is up, and raises what it also raises where the device is gone (xdna-driver, platform.cpp).
        self.sync_objects = False
        self.registered: dict[str, bytes] = {}  # by uuid, the xclbins
        self.memories: weakref.WeakSet[Memory] = weakref.WeakSet()
        self.contexts: weakref.WeakSet[Context] = weakref.WeakSet()
        self.objects: weakref.WeakSet[object] = weakref.WeakSet()  # of pyxrt's classes
        self.flights: list[Flight] = []
        self._freed: list[bytearray] = []  # memory that is gone and that somebody has a view of
        self._faults: list[Planned] = []
        self._dispatches = 0
        self._bos = 0
        self._rng = np.random.default_rng(0)

    # --- For tests ---

    def inject(self, fault: Fault, *, at: int = 1, lasting: bool = False, part: Part | None = None) -> None:
        """Let a fault happen to the `at`-th dispatch from now; if lasting, to every later one too.

        part: of what ZEROS and GARBAGE spoil; None for all of every result.
        """
        self._faults.append(Planned(fault, self._dispatches + at, lasting, part))

    def wedge_at_contexts(self) -> None:
        """Let the firmware hang from now on, so that no context opens."""
        self.wedged = self._contexts_wedged = True

    def compute_by(self, compute: Computes) -> None:
        """Let this be what every dispatch from now on does, in place of what its instructions say."""
        self._faults.append(Planned(Fault.OTHERWISE, self._dispatches + 1, lasting=True, by=compute))

    def no_memory(self, *, at: int = 1, lasting: bool = False) -> None:
        """Let the creation of the `at`-th bo from now fail."""
        self._faults.append(Planned(None, self._bos + at, lasting))

    def heal(self) -> None:
        """No more faults; contexts that hang do so still."""
        self._faults.clear()
        self.gone = self.wedged = self._contexts_wedged = False

    def pop_counts(self) -> Counts:
        """What happened since this was called last."""
        with self.lock:
            counts, self.counts = self.counts, Counts()
        return counts

    def alive(self) -> Counter[str]:
        """How many objects there are of each class of pyxrt, with hw_contexts as the driver counts them."""
        with self.lock:
            alive = Counter(type(each).__name__ for each in self.objects)
            alive["hw_context"] = len(self.contexts)
        return alive

    def dangling_views(self) -> int:
        """How many bos are gone of which somebody has a view still."""
        with self.lock:
            self._freed = [cells for cells in self._freed if _is_exported(cells)]
            return len(self._freed)

    def problems(self) -> list[str]:
        """All misuse so far, with what was written to memory that is gone."""
        with self.lock:
            for cells in self._freed:
                if bytes(cells) != bytes(_pattern(FREED, len(cells))):
                    self.note("a view from map() was written to after its bo was gone")
                    cells[:] = bytes(_pattern(FREED, len(cells)))
            return list(self.misuses)

    # --- For the binding ---

    def note(self, message: str) -> None:
        self.misuses.append(message)
        if sys.is_finalizing():
            os.write(2, f"fake pyxrt: misuse: {message}\n".encode())

    def misuse(self, message: str) -> Misuse:
        """To be raised."""
        self.note(message)
        return Misuse(message)

    def ioctl(self) -> None:
        if self.gone:
            raise RuntimeError("DRM_IOCTL_AMDXDNA_EXEC_CMD IOCTL failed (err=-19): No such device")

    def new_memory(self, size: int, *, cacheable: bool) -> Memory:
        self._bos += 1
        fails = any(plan.fault is None and plan.concerns(self._bos) for plan in self._faults)
        used = sum(memory.size for memory in self.memories if memory.cacheable)
        if fails or (cacheable and used + size > HEAP_BYTES):
            raise RuntimeError("DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-12): Cannot allocate memory")
        memory = Memory(self, size, cacheable)
        self.memories.add(memory)
        self.counts.bos += 1
        return memory

    def freed(self, memory: Memory) -> None:
        """The last owner of a bo's memory is gone."""
        with self.lock:
            # The driver keeps what a run uses that nobody can wait for.
            used = (span.memory() for f in self.flights if not self.is_lost(f) for span in f.spans)
            if any(other is None or other is memory for other in used):
                self.note("a bo was freed while a started run uses it")
            if "cells" not in memory.__dict__:
                return
            memory.__dict__.pop("host", None)
            for reference in memory.views:
                view = reference()
                if view is not None:
                    with suppress(BufferError):  # an array looks through it: poison is what it shall see
                        view.release()
            memory.cells[:] = bytes(_pattern(FREED, memory.size))
            self._freed = [cells for cells in (*self._freed, memory.cells) if _is_exported(cells)]

    def new_context(self, uuid: str) -> Context:
        if self._contexts_wedged:
            raise RuntimeError(f"DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed {self.wedged_by}")
        taken = {context.slot for context in self.contexts}
        slot = min(set(range(HW_CONTEXTS)) - taken, default=None)
        if slot is None:
            self.counts.contexts_refused += 1
            raise RuntimeError("DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument")
        context = Context(slot, self.registered[uuid])
        self.contexts.add(context)
        self.counts.contexts += 1
        return context

    def sync_to_device(self, memory: Memory, start: int, stop: int) -> None:
        for flight in self.flights:
            for span in flight.spans:
                # What is lost may read what it likes; its result could still arrive.
                if span.overlaps(memory, start, stop) and (span.writes or not self.is_lost(flight)):
                    raise self.misuse("sync to the device of bytes that a started run uses")
        memory.device[start:stop] = memory.host[start:stop]
        self.counts.syncs_to_device += 1
        self.counts.bytes_to_device += stop - start

    def sync_from_device(self, memory: Memory, start: int, stop: int) -> None:
        for flight in self.flights:
            if any(span.overlaps(memory, start, stop) for span in flight.writes):
                raise self.misuse("sync from the device of a result that was not waited for")
        memory.host[start:stop] = memory.device[start:stop]
        self.counts.syncs_from_device += 1
        self.counts.bytes_from_device += stop - start

    def start(self, context: Context, what: Work, spans: tuple[Span, ...]) -> Flight:
        """Begin a dispatch whose arguments are right."""
        self._dispatches += 1
        planned = [p for p in self._faults if p.fault is not None and p.concerns(self._dispatches)]
        flight = Flight(context, what, spans, planned[0] if planned else None)
        if flight.fault is Fault.GONE:
            self.gone = True
            self.ioctl()
        self.wedged |= flight.fault is Fault.WEDGED
        if self.wedged:
            raise RuntimeError(f"DRM_IOCTL_AMDXDNA_EXEC_CMD IOCTL failed {self.wedged_by}")
        self._refuse_races(flight)
        for span in flight.writes:
            span.poison()
        for span in flight.reads:
            memory = span.memory()
            assert memory is not None  # the run has looked
            flight.seen.append(memory.host[span.start : span.stop].tobytes())
        self.flights.append(flight)
        context.queue.append(flight)
        self.counts.dispatches += 1
        return flight

    def _refuse_races(self, new: Flight) -> None:
        """Runs of one context execute in order, those of two in any. No result may be lost in either."""
        for number, write in enumerate(new.writes):
            if any(write.meets(read) for read in new.reads):
                raise self.misuse("a run writes its result over its own operand")
            if any(write.meets(other) for other in new.writes[:number]):
                raise self.misuse("a run writes two results to one place")
        for flight in self.flights:
            elsewhere = flight.context is not new.context
            for span in flight.spans:
                harmed = span.writes or (elsewhere and not self.is_lost(flight))
                if harmed and any(write.meets(span) for write in new.writes):
                    raise self.misuse("a run writes where another that was not waited for reads or writes")
            if elsewhere and any(write.meets(read) for write in flight.writes for read in new.reads):
                raise self.misuse("a run reads what a run of another context, not waited for, writes")

    def withdraw(self, flight: Flight) -> None:
        """It was not submitted after all."""
        self.flights.remove(flight)
        flight.context.queue.remove(flight)
        self.counts.dispatches -= 1

    def is_lost(self, flight: Flight) -> bool:
        """Whether nobody can wait for it: it, or one before it, hangs."""
        return self.gone or self.wedged or flight.context.hung

    def execute_until(self, flight: Flight) -> None:
        """The device has come as far as this dispatch, or hangs."""
        while flight.state == 0:
            self._execute(flight.context.queue.pop(0))

    def _execute(self, flight: Flight) -> None:
        if self.wedged or flight.context.hung or flight.fault is Fault.TIMEOUT:
            flight.context.hung = True
            flight.state = TIMEOUT
            return
        if flight.fault is Fault.ENDED:
            flight.state = TIMEOUT
            while flight.context.queue:
                flight.context.queue.pop(0).state = ABORT
            return
        flight.state = STATES.get(flight.fault, COMPLETED) if flight.fault else COMPLETED
        if flight.state != COMPLETED:
            return
        data = []
        for span in flight.spans:
            memory = span.memory()
            if memory is None:
                return  # noted when it was freed
            data.append(memory.device[span.start : span.stop])
        planned = flight.planned
        try:
            with np.errstate(all="ignore"):  # memory that nobody wrote holds signalling NaNs, too
                if planned and planned.by:
                    planned.by(flight.what, data)
                    return
                flight.what.compute(*data)
        except WhisperNpuError as error:  # a text that hangs, or moves what it must not
            self.note(str(error))
            flight.state = ERROR
            return
        if planned:
            self._spoil(planned, flight.what, data)

    def _spoil(self, planned: Planned, what: Work, data: list[stand_in_kernels.Memory]) -> None:
        results = [
            stand_in_kernels.as_elements(memory, argument.dtype)
            for argument, memory in zip(what.arguments, data, strict=True)
            if argument.is_written
        ]
        if planned.part is not None:
            results = [results[planned.part.result][planned.part.elements]]
        for result in results:
            spoilt = result.view(np.uint8)  # below 0x40 finite in every type, and no small integer but 0
            garbage = planned.fault is Fault.GARBAGE
            spoilt[:] = self._rng.integers(0, 0x40, spoilt.size, np.uint8) if garbage else 0

    def abort(self, flight: Flight) -> None:
        """What a list executes after its first failure is worth nothing."""
        flight.state = ABORT
        for span in flight.writes:
            span.poison()

    def land(self, flight: Flight) -> None:
        """The host knows that the dispatch is over."""
        self.flights.remove(flight)
        for span, seen in zip(flight.reads, flight.seen, strict=True):
            memory = span.memory()
            if memory is not None and memory.host[span.start : span.stop].tobytes() != seen:
                raise self.misuse("the host wrote to an operand of a started run before it was waited for")


def _pattern(pair: int, size: int) -> stand_in_kernels.Memory:
    return np.full(-(-size // 2), pair, "<u2").view(np.uint8)[:size]


def _is_exported(cells: bytearray) -> bool:
    try:
        cells.append(0)
    except BufferError:
        return True
    cells.pop()
    return False
