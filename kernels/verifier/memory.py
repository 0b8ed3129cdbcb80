"""Memory at work: the buffers of a pool and what has been written to and read from them.

Elements are kept as bits. Memory that nothing wrote holds a recognisable NaN; so does a buffer that a core
acquires to produce, since what an earlier round left there is nothing to rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.kernels.verifier.design import PRODUCE, LocalBuffer
from whisper_npu.kernels.verifier.wiring import Pool

DTYPES: Mapping[str, np.dtype[Any]] = {
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32),
    "i32": np.dtype(np.int32),
}
# Elements move as bits. These NaNs (and this i32) mark memory that nothing wrote.
BITS: Mapping[str, np.dtype[Any]] = {
    "bf16": np.dtype(np.uint16),
    "f32": np.dtype(np.uint32),
    "i32": np.dtype(np.uint32),
}
POISON = {"bf16": 0xFFED, "f32": 0xFFEDBEEF, "i32": 0xFFEDBEEF}


def unwritten(array: NDArray[Any], dtype: str) -> bool:
    """Whether nothing has written some element of an array, of bits or of the type itself.

    Two elements of bf16 may hold one of fp32, whose low half may be anything: the high half tells for both.
    """
    bits = array.view(BITS[dtype])
    if dtype == "bf16":
        bits = bits.reshape(-1)[-1::-2]
    return bool((bits == POISON[dtype]).any())


class Buffers:
    """A pool at work: `written` and `read` count objects, of each port."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        memref = pool.memref
        self.depth = pool.depth
        self.poison = POISON[memref.dtype]
        self.slots = [np.full(memref.elements, self.poison, BITS[memref.dtype]) for _ in range(pool.depth)]
        self.objects = [slot.view(DTYPES[memref.dtype]).reshape(memref.shape) for slot in self.slots]
        # Where no fifo writes or reads, the core does.
        self.written = [0] * max(1, len(pool.inputs))
        self.read = [0] * max(1, len(pool.outputs))
        # Of each port and slot, whether all elements are known to be written: they need no look then.
        self.known = [[False] * pool.depth for _ in self.written]

    def can_write(self, port: int) -> bool:
        return self.written[port] - min(self.read) < self.depth

    def can_read(self, port: int) -> bool:
        return min(self.written) > self.read[port]

    def slot(self, number: int) -> NDArray[Any]:
        return self.slots[number % self.depth]

    def is_whole(self, number: int) -> bool:
        """Whether every element of an object has been written, by what moved or by a look."""
        place = number % self.depth
        known = True
        for port in self.known:
            known = known and port[place]
        if known:
            return True
        if unwritten(self.slots[place], self.pool.memref.dtype):
            return False
        self.mark(number, whole=True)
        return True

    def mark(self, number: int, *, whole: bool) -> None:
        for port in self.known:
            port[number % self.depth] = whole

    @property
    def left(self) -> int:
        """Objects that not all have passed on."""
        return max(self.written) - min(self.read)


class CoreEnd(Buffers):
    """A core's side of a fifo: what its acquires and releases do."""

    def __init__(self, pool: Pool, role: str) -> None:
        super().__init__(pool)
        self.role = role
        self.held = 0

    @property
    def first(self) -> int:
        """The oldest object that the core holds, or will."""
        return self.written[0] if self.role == PRODUCE else self.read[0]

    def can_acquire(self, count: int) -> bool:
        full = self.written[0] - self.read[0]
        return (self.depth - full if self.role == PRODUCE else full) >= count

    def acquire(self, count: int) -> None:
        """Hold `count` objects; those that are held already count."""
        if self.role == PRODUCE:
            for number in range(self.first + self.held, self.first + count):
                self.slot(number)[:] = self.poison
                self.mark(number, whole=False)
        self.held = max(self.held, count)

    def release(self, count: int) -> None:
        self.held -= count
        if self.role == PRODUCE:
            self.written[0] += count
        else:
            self.read[0] += count

    def holds(self, number: int) -> bool:
        """Whether the core has acquired an object, and not yet released it."""
        return 0 <= number - self.first < self.held

    @property
    def held_bits(self) -> tuple[bytes, ...]:
        """What lies in the objects that the core holds."""
        return tuple(self.slot(self.first + number).tobytes() for number in range(self.held))


class Element(NamedTuple):  # made for every acquired object: a dataclass takes three times as long
    """An acquired object."""

    end: CoreEnd
    number: int
    fifo: str

    @property
    def array(self) -> NDArray[Any]:
        return self.end.objects[self.number % self.end.depth]


class Subview(NamedTuple):
    """What an acquire gives: objects from `first` on."""

    end: CoreEnd
    first: int
    fifo: str


def local_array(buffer: LocalBuffer) -> NDArray[Any]:
    """The memory of an aie.buffer before the design runs."""
    memref = buffer.memref
    bits: NDArray[Any] = np.full(memref.elements, POISON[memref.dtype], BITS[memref.dtype])
    array: NDArray[Any] = bits.view(DTYPES[memref.dtype])
    if buffer.initial_value is not None:
        array[:] = buffer.initial_value
    return array.reshape(memref.shape)
