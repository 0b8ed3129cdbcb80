"""How often a design's tasks move each element of its host arrays, from the text of its sequence alone."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from whisper_npu.kernels.verifier import Design
from whisper_npu.kernels.verifier.design import Memcpy


def times_moved(design: Design) -> dict[str, NDArray[np.uint16]]:
    """By argument of the sequence."""
    counts = {name: np.zeros(memref.elements, np.uint16) for name, memref in design.sequence.arguments}
    for op in design.sequence.ops:
        if isinstance(op, Memcpy):
            _count(counts[op.argument], op)
    return counts


def _count(counts: NDArray[np.uint16], op: Memcpy) -> None:
    """Only the outermost dimension may repeat, with stride 0: it visits what the others do, so many times."""
    (turns, stride), *inner = zip(op.sizes, op.strides, strict=True)
    repeats = turns if stride == 0 else 1
    dims = inner if stride == 0 else [(turns, stride), *inner]
    visited = as_strided(
        counts[op.offset :], [size for size, _ in dims], [step * counts.itemsize for _, step in dims]
    )
    visited += np.uint16(repeats)
