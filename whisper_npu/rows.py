"""The host's work on rows of float32, compiled: `rows.cc`, by this machine's C++ compiler at the first use.

NumPy makes a pass over memory for every operation, these loops one to three in all: softmax takes a quarter
of NumPy's time, GELU a fifth, rounding a third. Without a compiler, or a cache to keep the result in,
`compiled` gives None, and whoever asked does the same in NumPy.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.cache import cache_folder, find_or_build
from whisper_npu.cxx import find_cxx
from whisper_npu.errors import CacheError

F32 = NDArray[np.float32]

SOURCE = Path(__file__).with_name("rows.cc")
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
LIBRARY = "rows.so"


class _Shape(ctypes.Structure):
    _fields_ = (("planes", ctypes.c_int64), ("rows", ctypes.c_int64), ("cols", ctypes.c_int64))


class _Place(ctypes.Structure):
    _fields_ = (("plane", ctypes.c_int64), ("stride", ctypes.c_int64))  # in floats


@dataclass(frozen=True)
class Rows:
    """The compiled loops. They take what `lie_in_rows` says yes to, and let other threads work meanwhile."""

    library: ctypes.CDLL

    def softmax(self, x: F32) -> None:
        """In place, over the last axis. x: (..., n)."""
        for shape, (rows,) in _in_planes(x):
            self.library.softmax(shape, *rows)

    def gelu(self, x: F32, polynomial: F32) -> None:
        """In place. x: (..., n); polynomial: artanh(erf(x / sqrt(2))) / x in x^2, highest power first."""
        for shape, (rows,) in _in_planes(x):
            self.library.gelu(shape, *rows, _address(polynomial), ctypes.c_int64(len(polynomial)))

    def layer_norm(self, x: F32, weight: F32, bias: F32, epsilon: float, out: F32) -> None:
        """x, out: (..., n), the same array or two; weight, bias: (n,)."""
        parameters = _address(weight), _address(bias), ctypes.c_float(epsilon)
        for shape, (given, to) in _in_planes(x, out):
            self.library.layer_norm(shape, *given, *to, *parameters)

    def round_to_bf16(self, x: F32, out: F32) -> None:
        """To the nearest value on bf16's grid, ties to even. x, out: (..., n), the same array or two."""
        for shape, (given, to) in _in_planes(x, out):
            self.library.round_to_bf16(shape, *given, *to)


def lie_in_rows(*arrays: NDArray[Any]) -> bool:
    """Whether their last axis is contiguous float32."""
    return all(
        array.dtype == np.float32 and array.ndim > 0 and array.size > 0 and array.strides[-1] == 4
        for array in arrays
    )


def _in_planes(*arrays: F32) -> Iterator[tuple[Any, list[tuple[Any, Any]]]]:
    """Arrays of one shape, each as address and strides, three axes at a time."""
    if arrays[0].ndim > 3:
        for parts in zip(*arrays, strict=True):
            yield from _in_planes(*parts)
        return
    shape = (1, 1, *arrays[0].shape)[-3:]
    places = [(0, 0, *(step // 4 for step in array.strides))[-3:-1] for array in arrays]
    by_reference = [ctypes.byref(_Place(*place)) for place in places]
    yield (
        ctypes.byref(_Shape(*shape)),
        list(zip(map(_address, arrays), by_reference, strict=True)),
    )


def _address(array: F32) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def compiled() -> Rows | None:
    """The loops for this machine, from the cache or compiled into it; None where that is not possible."""
    with _one_build:
        return _built()


_one_build = Lock()  # threads that ask at the same time for the first time


@lru_cache(maxsize=1)
def _built() -> Rows | None:
    key = sha256(repr([SOURCE.read_bytes(), FLAGS, platform.machine(), _cpu_flags()]).encode())
    try:
        folder = find_or_build(cache_folder(None), f"rows-{key.hexdigest()[:32]}", _compile)
        return Rows(ctypes.CDLL(str(folder / LIBRARY)))
    except (CompileError, CacheError, OSError):
        return None


def _compile(folder: Path) -> None:
    compiler = find_cxx(os.environ)
    if compiler is None:
        raise CompileError
    command = [*compiler, *FLAGS, str(SOURCE), "-o", str(folder / LIBRARY)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise CompileError
    ctypes.CDLL(str(folder / LIBRARY))  # before it counts as built


class CompileError(Exception):
    """There is no compiler, or it refuses the source."""


def _cpu_flags() -> str:
    """What the CPU can do, as Linux lists it: a home folder may serve several machines."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
            return next(line for line in cpuinfo if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return ""
