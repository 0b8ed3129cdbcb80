"""The host's threads: one pool, whose workers each take a block of the work that fits a core's cache.

BLAS works on one thread inside each block, and on as many only where nobody else works. Two pools would wait
for the same cores, and a pool that spins while it waits slows the other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from math import prod
from numbers import Integral
from pathlib import Path
from threading import Lock, local
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from threadpoolctl import ThreadpoolController

from whisper_npu.errors import DeviceError, UsageError, quoted

BLOCK_BYTES = 512 * 1024  # of one array: a core's L2 holds it and what is computed from it
T = TypeVar("T")


class Scratch(local):
    """Memory of each thread for itself, used again: the system takes long to hand out fresh pages."""

    def __init__(self) -> None:
        self._kept: dict[str, NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of any contents, in the place of this thread's last one of this name."""
        nbytes = prod(shape) * np.dtype(dtype).itemsize
        kept = self._kept.get(name)
        if kept is None or kept.nbytes < nbytes:
            kept = self._kept[name] = np.empty(nbytes, np.uint8)
        return kept[:nbytes].view(dtype).reshape(shape)


MOST = 1024  # threads; no machine that this is for has so many cores


class Threads:
    """`count` threads for the host's work. May be called from several threads at once."""

    def __init__(self, count: int | None = None) -> None:
        """count: 1 to MOST; None or 0 for the cores that this process may use. Raises UsageError."""
        whole = isinstance(count, Integral) and not isinstance(count, bool)
        if count is not None and not (whole and 0 <= count <= MOST):
            raise UsageError(
                f"threads is {quoted(count)}, must be a whole number from 1 to {MOST}, or 0 for one per core"
            )
        self.count = int(count or cores())
        self.scratch = Scratch()
        self._pool = ThreadPoolExecutor(max(1, self.count - 1), "whisper-npu")  # beside the caller's thread
        self._closed = False
        self._process = os.getpid()

    def parallel_for(self, work: Callable[[T], object], items: Sequence[T]) -> None:
        """Call `work` with every item, in any order; returns when all are done.

        `work` calls no method of this; a second caller waits. Raises what a call raised, and what
        `check_open` raises.
        """
        self.check_open()
        with _one_at_a_time, _blas().limit(limits=1, user_api="blas"):
            self._share(work, items)

    @contextmanager
    def exclusively(self, blas_threads: int) -> Iterator[None]:
        """The caller works alone meanwhile, with this many of BLAS's threads; otherwise as `parallel_for`."""
        self.check_open()
        with _one_at_a_time, _blas().limit(limits=blas_threads, user_api="blas"):
            yield

    def parallel_for_rows(self, work: Callable[..., object], *arrays: NDArray[Any]) -> None:
        """Call `work` with blocks of the arrays, the same rows of each; what it returns is dropped.

        arrays: (rows, ...), as many rows each. `work` gets views; it multiplies no matrices.
        """
        row_bytes = max(array[0].nbytes for array in arrays)
        self.parallel_for_blocks(
            lambda rows: work(*(array[rows] for array in arrays)), len(arrays[0]), row_bytes
        )

    def parallel_for_blocks(self, work: Callable[[slice], object], rows: int, row_bytes: int) -> None:
        """Call `work` with slices that together are all of `rows`; as `parallel_for_rows`."""
        self.check_open()
        if rows * row_bytes <= BLOCK_BYTES:  # not worth a thread, nor waiting for others
            work(slice(0, rows))
            return
        rounds = -(-rows * row_bytes // (BLOCK_BYTES * self.count))
        blocks = split(rows, -(-rows // (rounds * self.count)))  # as many for each thread
        with _one_at_a_time:
            self._share(work, blocks)

    def _share(self, work: Callable[[T], object], items: Sequence[T]) -> None:
        """The caller takes a part too: it is awake already."""
        self.check_open()
        waiting = deque(items)

        def drain() -> None:
            while True:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                work(item)

        helpers = [self._pool.submit(drain) for _ in range(min(self.count, len(items)) - 1)]
        try:
            drain()
        finally:
            wait(helpers)
        for helper in helpers:
            helper.result()

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=os.getpid() == self._process)

    def check_open(self) -> None:
        """Raises DeviceError once this was closed, and in a process that was forked from this one's."""
        if os.getpid() != self._process:  # fork copies no threads: this would wait for ever
            raise DeviceError(
                f"the device was opened in process {self._process}, and a fork of it cannot use the device: "
                "take multiprocessing's start method spawn, and load the model in the new process"
            )
        if self._closed:
            raise DeviceError("the device was closed: open another with open_device, or load the model again")


def split(size: int, most: int) -> list[slice]:
    """0 to `size` in as few pieces of at most `most` as there can be, of nearly equal length."""
    pieces = -(-size // most)
    ends = [size * piece // pieces for piece in range(pieces + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def cores() -> int:
    """The cores that this process may use; two hardware threads of one core count once."""
    try:
        usable = os.sched_getaffinity(0)
        topology = Path("/sys/devices/system/cpu")
        return len({(topology / f"cpu{n}/topology/thread_siblings_list").read_text() for n in usable})
    except (AttributeError, OSError):  # not Linux, or a sandbox without /sys
        return os.cpu_count() or 1


# Two that work at once would take each other's cores, and the limit of BLAS holds for the whole process.
_one_at_a_time = Lock()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries
