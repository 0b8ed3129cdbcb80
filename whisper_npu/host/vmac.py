"""Products of bf16 to the bit as an AIE-ML core makes them: what one vmac adds, and how it rounds.

`vmac.hpp` says what a vmac does and who measured it. Here are its two forms for whole matrices: compiled, and
in NumPy for machines without a compiler. They give the same bits.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.host.native import address, library

HEADER = Path(__file__).with_name("vmac.hpp")
SOURCE = Path(__file__).with_name("vmac.cc")

# As in vmac.hpp: 2^e is e + 254, so that a product's exponent is the sum of its factors' as bf16 holds them.
_BIAS = 254
_LEAST = 2
_NONE = -1024
_BLOCK = 1 << 15  # addends at a time: float64 that a core's cache holds


def accumulate(c: F32, a: F32, b: F32, products: int) -> None:
    """C += A B, `products` products in each vmac, in the order of K.

    c: (M, N) float32, changed in place; the elements of a row lie together. a: (M, K), b: (K, N) float32 on
    the bf16 grid, any strides.
    """
    compiled = library(SOURCE)
    if compiled is None:
        accumulate_in_numpy(c, a, b, products)
    else:
        _compiled(compiled, c, a, b, products)


def _compiled(built: ctypes.CDLL, c: F32, a: F32, b: F32, products: int) -> None:
    (M, K), N = a.shape, b.shape[1]
    assert c.shape == (M, N)
    assert c.strides[1] == c.itemsize
    assert a.dtype == b.dtype == c.dtype == np.float32  # the library reads as many bytes as float32 has
    built.multiply(
        *(address(a), *map(c_int64, _steps(a))),
        *(address(b), *map(c_int64, _steps(b))),
        *(address(c), c_int64(_steps(c)[0])),
        *map(c_int64, (M, K, N, products)),
    )


def _steps(matrix: F32) -> tuple[int, ...]:
    return tuple(stride // matrix.itemsize for stride in matrix.strides)


def accumulate_in_numpy(c: F32, a: F32, b: F32, products: int) -> None:
    """The same without a compiler."""
    rows = max(1, _BLOCK // (products * max(1, c.shape[1])))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite stays so
        of_a, of_b = _Factors(a), _Factors(b)
        for block in (slice(at, at + rows) for at in range(0, len(c), rows)):
            sums = c[block].astype(np.float64)
            for at in range(0, a.shape[1], products):
                k = slice(at, at + products)
                sums = _vmac(sums, of_a.part(block, k), of_b.part(k, slice(None)))
            c[block] = sums


Part = tuple[NDArray[np.float64], NDArray[np.int16]]  # of a matrix: values and exponents


class _Factors:
    """A matrix in float64, and the exponents that its elements count with."""

    def __init__(self, x: F32) -> None:
        held = (np.ascontiguousarray(x).view(np.uint32) >> np.uint32(23) & np.uint32(0xFF)).astype(np.int16)
        self.exponents = np.where(x == 0, np.int16(_NONE), np.maximum(held, np.int16(1)))
        self.values = x.astype(np.float64)

    def part(self, rows: slice, cols: slice) -> Part:
        return self.values[rows, cols], self.exponents[rows, cols]


def _vmac(sums: NDArray[np.float64], a: Part, b: Part) -> NDArray[np.float64]:
    """One vmac for each of the results. sums: (M, N); a: (M, products); b: (products, N)."""
    (a_values, a_exponents), (b_values, b_exponents) = a, b
    of_products = (a_exponents[:, :, None] + b_exponents).max(axis=1, initial=_LEAST)
    largest = np.maximum(_exponents_of_sums(sums), of_products)
    anchor = ((largest + (1023 + 29 - _BIAS)) << 52 | 1 << 51).view(np.float64)
    addends = a_values[:, :, None] * b_values  # (M, products, N), exact
    plain = sums + addends.sum(axis=1)  # finite where all addends are: they are float32's products
    addends += anchor[:, None]
    addends -= anchor[:, None]
    total = addends.sum(axis=1) + ((sums + anchor) - anchor)
    total[np.abs(total) < 2.0**-126 - 2.0**-151] = 0
    result: NDArray[np.float64] = total.astype(np.float32).astype(np.float64)
    finite = np.isfinite(plain)
    return result if finite.all() else np.where(finite, result, plain)


def _exponents_of_sums(x: NDArray[np.float64]) -> NDArray[np.int64]:
    held = (x.view(np.int64) >> 52 & 0x7FF) + (_BIAS - 1023)
    return np.where(x == 0, _NONE, np.maximum(held, _BIAS - 126))
