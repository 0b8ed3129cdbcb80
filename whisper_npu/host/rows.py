"""The host's work on rows of float32, compiled: `rows.cc`.

NumPy makes a pass over memory for every operation, these loops one to three in all: softmax takes a quarter
of NumPy's time, GELU a fifth, rounding a third.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.host.native import address, library

SOURCE = Path(__file__).with_name("rows.cc")


class _Shape(ctypes.Structure):
    _fields_ = (("planes", ctypes.c_int64), ("rows", ctypes.c_int64), ("cols", ctypes.c_int64))


class _Place(ctypes.Structure):
    _fields_ = (("plane", ctypes.c_int64), ("stride", ctypes.c_int64))  # in elements


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
            self.library.gelu(shape, *rows, address(polynomial), ctypes.c_int64(len(polynomial)))

    def layer_norm(self, x: F32, weight: F32, bias: F32, epsilon: float, out: F32) -> None:
        """x, out: (..., n), the same array or two; weight, bias: (n,)."""
        assert weight.shape == bias.shape == x.shape[-1:]
        parameters = address(weight), address(bias), ctypes.c_float(epsilon)
        for shape, (given, to) in _in_planes(x, out):
            self.library.layer_norm(shape, *given, *to, *parameters)

    def round_to_bf16(self, x: F32, out: F32) -> None:
        """To the nearest value on bf16's grid, ties to even. x, out: (..., n), the same array or two."""
        for shape, (given, to) in _in_planes(x, out):
            self.library.round_to_bf16(shape, *given, *to)

    def to_bf16(self, x: F32, out: NDArray[np.uint16]) -> None:
        """The same as bf16 itself, 16 bits per number."""
        for shape, (given, to) in _in_planes(x, out):
            self.library.to_bf16(shape, *given, *to)


def lie_in_rows(*arrays: NDArray[Any]) -> bool:
    """Whether their last axis is contiguous float32."""
    return all(
        array.dtype == np.float32 and array.ndim > 0 and array.size > 0 and array.strides[-1] == 4
        for array in arrays
    )


def _in_planes(*arrays: NDArray[Any]) -> Iterator[tuple[Any, list[tuple[Any, Any]]]]:
    """Arrays of one shape, each as address and strides, three axes at a time. The last is written to."""
    assert all(array.shape == arrays[0].shape for array in arrays)
    assert arrays[-1].flags.writeable
    if arrays[0].ndim > 3:
        for parts in zip(*arrays, strict=True):
            yield from _in_planes(*parts)
        return
    shape = (1, 1, *arrays[0].shape)[-3:]
    places = [(0, 0, *(step // array.itemsize for step in array.strides))[-3:-1] for array in arrays]
    by_reference = [ctypes.byref(_Place(*place)) for place in places]
    yield (
        ctypes.byref(_Shape(*shape)),
        list(zip(map(address, arrays), by_reference, strict=True)),
    )


def compiled() -> Rows | None:
    """The loops for this machine; None where it cannot compile them."""
    found = library(SOURCE)
    return None if found is None else Rows(found)
