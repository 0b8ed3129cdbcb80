"""Objects on the move: a fifo's DMAs read them at its source and write them at every destination.

With the data goes whether all of it is known to be written: the host's is, and what a core gives away is
looked at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from whisper_npu.kernels.verifier.design import Memcpy, ObjectFifo
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.memory import Buffers, unwritten
from whisper_npu.kernels.verifier.patterns import HostTransfer, Index


class Task:
    """A shim DMA task under way."""

    def __init__(self, op: Memcpy, host: NDArray[Any], fifo: ObjectFifo) -> None:
        self.op = op
        dims = tuple(zip(op.sizes, op.strides, strict=True))
        self.transfer = HostTransfer(host, op.offset, dims, fifo.memref.elements)
        self.objects = op.elements // fifo.memref.elements
        self.moved = 0

    @property
    def is_done(self) -> bool:
        return self.moved == self.objects


class Shim:
    """The shim's end of a fifo: tasks in the order of their issue."""

    def __init__(self, fifo: ObjectFifo) -> None:
        self.fifo = fifo
        self.tasks: deque[Task] = deque()
        self.tokens = 0  # issued by tasks that are done, not waited for

    @property
    def is_ready(self) -> bool:
        return bool(self.tasks)

    def read(self) -> tuple[NDArray[Any], bool]:
        task = self.tasks[0]
        data = task.transfer.read(task.moved)
        self._moved(task)
        return data, True

    def write(self, data: NDArray[Any], *, known: bool) -> None:
        if not known and unwritten(data, self.fifo.memref.dtype):
            raise DesignError(f"fifo {self.fifo.name} brings elements to the host that nothing has written")
        task = self.tasks[0]
        task.transfer.write(task.moved, data)
        self._moved(task)

    def _moved(self, task: Task) -> None:
        task.moved += 1
        if task.is_done:
            self.tasks.popleft()
            self.tokens += task.op.token

    @property
    def elements(self) -> tuple[int, int]:
        """Left, and in all, of the tasks under way."""
        size = self.fifo.memref.elements
        objects = sum(task.objects for task in self.tasks)
        return size * (objects - sum(task.moved for task in self.tasks)), size * objects


class PoolEnd:
    """A fifo's end at a pool: reads or writes its port of the next object, in the DMA's order."""

    def __init__(self, buffers: Buffers, port: int, order: Index | None, start: int, elements: int) -> None:
        self.buffers = buffers
        self.port = port
        self.order = order
        self.part = slice(start, start + elements)


class Source(PoolEnd):
    @property
    def is_ready(self) -> bool:
        return self.buffers.can_read(self.port)

    def read(self) -> tuple[NDArray[Any], bool]:
        number = self.buffers.read[self.port]
        slot, whole = self.buffers.slot(number), self.buffers.is_whole(number)
        data = slot[self.part].copy() if self.order is None else slot.take(self.order)
        self.buffers.read[self.port] += 1
        return data, whole


class Destination(PoolEnd):
    @property
    def is_ready(self) -> bool:
        return self.buffers.can_write(self.port)

    def write(self, data: NDArray[Any], *, known: bool) -> None:
        number = self.buffers.written[self.port]
        slot = self.buffers.slot(number)
        slot[self.part if self.order is None else self.order] = data
        self.buffers.known[self.port][number % self.buffers.depth] = known
        self.buffers.written[self.port] += 1


class Stream:
    """A fifo: its source and all its destinations."""

    def __init__(
        self, fifo: ObjectFifo, source: Source | Shim, destinations: Sequence[Destination | Shim]
    ) -> None:
        self.fifo = fifo
        self.source = source
        self.destinations = destinations
        self.objects = 0

    def advance(self) -> bool:
        before = self.objects
        while self.source.is_ready:
            for end in self.destinations:
                if not end.is_ready:
                    return self.objects > before
            data, known = self.source.read()
            for end in self.destinations:
                end.write(data, known=known)
            self.objects += 1
        return self.objects > before
