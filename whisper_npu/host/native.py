"""C++ of this project, compiled by this machine's compiler at the first use and kept in the cache.

A wheel could not carry it: it is compiled for the very CPU. Without a compiler, or a cache to keep the result
in, `library` gives None, and whoever asked does the same in NumPy.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from numpy.typing import NDArray

from whisper_npu.cache import COMPILED, About, find_or_build
from whisper_npu.errors import CacheError
from whisper_npu.home import cache_folder
from whisper_npu.host.cxx import find_cxx

# For this very CPU; a*b+c may be rounded once.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-ffp-contract=fast",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
)
LIBRARY = "library.so"


def library(source: Path) -> ctypes.CDLL | None:
    """What this source becomes on this machine, from the cache or compiled into it; None where that fails."""
    with _building.setdefault(source, Lock()):
        return _built(source)


def build_meanwhile(*sources: Path) -> None:
    """Start compiling what is not compiled yet; `library` waits for it."""
    for source in sources:
        Thread(target=library, args=[source], name=f"whisper-npu compiles {source.name}").start()


def address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@lru_cache(maxsize=1)
def cpu_flags() -> Sequence[str]:
    """What the CPU can do, by Linux's names for it; nothing where Linux does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            return next(line for line in cpuinfo if line.startswith(("flags", "Features"))).split()
    except (OSError, StopIteration):
        return ()


_building: dict[Path, Lock] = {}  # for threads that ask at the same time for the first time


@lru_cache(maxsize=8)
def _built(source: Path) -> ctypes.CDLL | None:
    # The CPU too: a home folder may serve several machines.
    read = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.hpp")))]
    key = sha256(repr([read, FLAGS, platform.machine(), cpu_flags()]).encode())

    def compile_it(folder: Path) -> None:
        compiler = find_cxx(os.environ)
        if compiler is None:
            raise CompileError
        command = [*compiler, *FLAGS, str(source), "-o", str(folder / LIBRARY)]
        own = {**os.environ, "TMPDIR": str(folder)}  # the compiler's files go with the folder
        if subprocess.run(command, capture_output=True, check=False, env=own).returncode:
            raise CompileError
        ctypes.CDLL(str(folder / LIBRARY))  # before it counts as built

    try:
        folder = find_or_build(
            cache_folder(None),
            f"{source.stem}-{key.hexdigest()[:32]}",
            compile_it,
            About(COMPILED, source.name),
        )
        return ctypes.CDLL(str(folder / LIBRARY))
    except (CompileError, CacheError, OSError):
        return None


class CompileError(Exception):
    """There is no compiler, or it refuses the source."""
