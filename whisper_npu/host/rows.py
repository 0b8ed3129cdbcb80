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


class GeluOfCore(ctypes.Structure):
    """x Phi(x) as a core's polynomial: the constants of kernels/layer/numerics.py."""

    _fields_ = (
        ("end", ctypes.c_float),
        ("middle", ctypes.c_float),
        ("first", ctypes.c_float),
        ("next", ctypes.c_float * 4),
        ("last", ctypes.c_float * 3),
    )


class Exp2OfCore(ctypes.Structure):
    """Powers of two as a core's polynomial: the constants of kernels/layer/numerics.py."""

    _fields_ = (
        ("magic", ctypes.c_float),
        ("step", ctypes.c_float),
        ("one", ctypes.c_float),
        ("start", ctypes.c_float),
        ("least", ctypes.c_float),
        ("added", ctypes.c_float),
    )


class _Units(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("units", "halves", "rows", "cols"))


class _Steps(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("unit", "half", "row"))  # in elements


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

    # ------------------------------------------------------------------------- as cores of the array do it

    def epilogue(self, x: F32, bias: F32, gelu: GeluOfCore | None, out: NDArray[Any]) -> None:
        """out = activation(x + bias). x: (rows, n) float32; out: the same, or bf16 as uint16; bias: (n,)."""
        assert bias.shape == x.shape[-1:]
        work = self.library.epilogue_to_f32 if out.dtype == np.float32 else self.library.epilogue_to_bf16
        of_gelu = None if gelu is None else ctypes.byref(gelu)
        work(_one_plane(x), *_matrix(x), *_matrix(out), address(bias), of_gelu)

    def powers(self, x: F32, of: Exp2OfCore, totals: F32, *, in_bf16: bool) -> None:
        """Scores to powers of two times a constant, in place, and each row's sum to totals.

        x: (rows, keys); totals: (rows,) float32. in_bf16: powers lie at the start of each row as bf16.
        """
        assert totals.shape == x.shape[:1]
        work = self.library.powers_in_bf16 if in_bf16 else self.library.powers_in_f32
        work(_one_plane(x), *_matrix(x), ctypes.byref(of), address(totals))

    def divide(self, x: F32, totals: F32, out: NDArray[np.uint16]) -> None:
        """out = bf16(x / totals), each at least 2^-126. x, out: (rows, n); totals: (rows,)."""
        assert totals.shape == x.shape[:1]
        self.library.divide_to_bf16(_one_plane(x), *_matrix(x), *_matrix(out), address(totals))

    def add_and_normalise(
        self,
        x: F32,
        added: F32 | None,
        total: F32 | None,
        normed: NDArray[np.uint16] | None,
        epsilon: float,
    ) -> None:
        """total = x + added; normed: of each row's sum the deviations from the mean over their spread, bf16.

        All (units, halves, rows, n), n at most 2,048.
        """
        places = [
            (None, ctypes.byref(_Steps())) if array is None else _place(array)
            for array in (x, added, total, normed)
        ]
        assert x.shape[3] <= 2048
        self.library.add_and_normalise(
            ctypes.byref(_Units(*x.shape)),
            *(each for place in places for each in place),
            ctypes.c_float(epsilon),
        )


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


def _one_plane(x: F32) -> Any:
    return ctypes.byref(_Shape(1, *x.shape))


def _matrix(array: NDArray[Any]) -> tuple[Any, Any]:
    """Address and strides of (rows, n)."""
    row, step = array.strides
    assert step == array.itemsize
    return address(array), ctypes.byref(_Place(0, row // step))


def _place(array: NDArray[Any]) -> tuple[Any, Any]:
    """Address and strides of (units, halves, rows, n)."""
    assert array.strides[3] == array.itemsize
    return address(array), ctypes.byref(_Steps(*(step // array.itemsize for step in array.strides[:3])))


def compiled() -> Rows | None:
    """The loops for this machine; None where it cannot compile them."""
    found = library(SOURCE)
    return None if found is None else Rows(found)
