"""The order in which a DMA visits memory: sizes and strides, outermost first, in elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from whisper_npu.kernels.verifier.design import Dims

Index = NDArray[np.intp]


def visited(dims: Dims) -> Index:
    """Where each element of a transfer lies, in the order of the stream."""
    index: Index = np.zeros(1, np.intp)
    for size, stride in dims:
        index = (index[:, np.newaxis] + stride * np.arange(size, dtype=np.intp)).reshape(-1)
    return index


def is_contiguous(dims: Dims) -> bool:
    """Whether the elements lie one after the other: such a transfer needs no wraps."""
    expected = 1
    for size, stride in reversed(dims):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


class HostTransfer:
    """A shim task's part of a host array, object by object."""

    def __init__(self, host: NDArray[Any], offset: int, dims: Dims, elements: int) -> None:
        """host: flat, not copied; `elements` of one object, of which the transfer has a whole number."""
        self._host = host[offset:]
        self._dims = tuple((size, stride if size > 1 else 0) for size, stride in dims)
        self._elements = elements
        split = _split(self._dims, elements)
        self._is_split = split is not None
        if split is None:  # objects end within a row: one index for each element
            return
        outer, inner = split
        shape = [size for size, _ in (*outer, *inner)]
        strides = [stride * host.itemsize for _, stride in (*outer, *inner)]
        self._view = as_strided(self._host, shape, strides)
        self._outer = tuple(size for size, _ in outer)

    def read(self, number: int) -> NDArray[Any]:
        """A copy of object `number`, flat, in stream order."""
        if self._is_split:
            return np.array(self._object(number), order="C").reshape(-1)
        data: NDArray[Any] = self._host[self._index(number)]
        return data

    def write(self, number: int, data: NDArray[Any]) -> None:
        if self._is_split:
            part = self._object(number)
            part[...] = data.reshape(part.shape)
        else:
            self._host[self._index(number)] = data

    def _object(self, number: int) -> NDArray[Any]:
        place: list[int] = []
        for size in reversed(self._outer):
            number, index = divmod(number, size)
            place.insert(0, index)
        part: NDArray[Any] = self._view[tuple(place)]
        return part

    def _index(self, number: int) -> Index:
        """Where each element of object `number` lies."""
        left: Index = np.arange(number * self._elements, (number + 1) * self._elements, dtype=np.intp)
        index = np.zeros_like(left)
        for size, stride in reversed(self._dims):
            left, place = np.divmod(left, size)
            index += stride * place
        return index


def _split(dims: Dims, elements: int) -> tuple[Dims, Dims] | None:
    """Dimensions that count objects, and those of one; None if no dimension ends where an object does."""
    inner: list[tuple[int, int]] = []
    left = elements
    for position in reversed(range(len(dims))):
        size, stride = dims[position]
        if left % size and size % left:
            return None
        if size > left:
            inner.insert(0, (left, stride))
            return (*dims[:position], (size // left, left * stride)), tuple(inner)
        inner.insert(0, (size, stride))
        left //= size
        if left == 1:
            return dims[:position], tuple(inner)
    return None


def object_order(pieces: Sequence[tuple[int, int]], dims: Dims) -> Index | None:
    """An object's elements in stream order, each piece (offset, elements) by `dims`; None: as they lie."""
    if not dims:
        return None
    order = visited(dims)
    return np.concatenate([offset + order for offset, _ in pieces])
