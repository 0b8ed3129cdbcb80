"""The arrays on the host that one dispatch reads and writes: made from operands, and taken apart again."""

from __future__ import annotations

from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.npu.contract import Argument
from whisper_npu.npu.layout import Layout, fill, in_tiles

ELEMENTS: dict[DType, np.dtype[Any]] = {
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F32: np.dtype(np.float32),
}


def rounded(values: F32, layout: Layout) -> NDArray[Any]:
    """Float32 values as elements of the layout's type."""
    return to_bf16(values, layout.rounding) if layout.dtype is DType.BF16 else values


def laid_out(values: F32, layout: Layout) -> NDArray[Any]:
    """An operand as the layout says, flat, its padding zero. values: of `layout.shape`, or flat."""
    memory = np.zeros(layout.batch * prod(layout.padded), ELEMENTS[layout.dtype])
    fill(in_tiles(memory, layout), rounded(values, layout), layout)
    return memory


def poisoned(argument: Argument) -> NDArray[Any]:
    """What a dispatch is to write, full of NaN."""
    return np.full(argument.elements, np.nan, ELEMENTS[argument.dtype])


def taken_apart(memory: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """The values of a result, of `layout.shape`, without padding."""
    tiles = in_tiles(memory, layout)  # (batch, down, across, rows, cols)
    whole = tiles.swapaxes(2, 3).reshape(layout.batch, *layout.padded)
    return whole[:, : layout.rows, : layout.cols].reshape(layout.shape)
