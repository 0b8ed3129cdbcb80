"""What C libraries print about a recording, kept from the terminal."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Silence C libraries: libmpg123 prints on stderr, and libsndfile on stdout, what they find damaged. Only
    one thread at a time may be here.

    libsndfile gives no door to libmpg123's MPG123_QUIET (github.com/libsndfile/libsndfile,
    src/mpeg_decode.c). So C's `stdout` and `stderr` are another stream meanwhile, which glibc allows (its
    manual, "Standard Streams"). Python uses file descriptors instead: what another thread prints, such as a
    progress bar, still appears.
    """
    variables, null = _c_streams()
    with _lock:
        kept = [variable.value for variable in variables]
        try:
            for variable in variables:
                variable.value = null
            yield
        finally:
            for variable, stream in zip(variables, kept, strict=True):
                variable.value = stream


@cache
def _c_streams() -> tuple[list[ctypes.c_void_p], int | None]:
    """C's variables `stdout` and `stderr`, and a stream to nowhere; none where these are constants (musl)."""
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return [], None
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    null = libc.fopen(os.fsencode(os.devnull), b"we")
    if null is None:
        return [], None
    return [ctypes.c_void_p.in_dll(libc, name) for name in ("stdout", "stderr")], null
