"""What a core runs for a matrix product: the functions of matmul.cc, and the same in NumPy, to the bit.

Buffers are declared as matrices, or flat, but hold micro-tiles of the target's r,s,t: A (m/r, k/s, r, s),
B (k/s, n/t, s, t), C (m/r, n/t, r, t).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.vmac import accumulate_in_numpy
from whisper_npu.kernels.core import CoreFunction, CoreSource, Parameter, Sizes
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Direction

BLOCK = 4  # micro-tiles each way that product.hpp holds in registers


def units(target: Target) -> Sizes:
    """What m, k and n are multiples of: whole blocks of micro-tiles."""
    r, s, t = target.micro_tile
    return BLOCK * r, s, BLOCK * t


def functions(target: Target, sizes: Sizes) -> tuple[CoreFunction, ...]:
    """What matmul.cc defines for these m, k, n."""
    m, k, n = sizes
    a, b = Parameter("A", (m, k), "bf16"), Parameter("B", (k, n), "bf16")
    pair = Parameter("A and B", (m * k + k * n,), "bf16")
    f32, bf16 = (Parameter("C", (m, n), dtype, Direction.OUT) for dtype in ("f32", "bf16"))
    added_to = Parameter("C", (m, n), "f32", Direction.INOUT)

    def write_product(arguments: Sequence[NDArray[Any]]) -> None:
        _multiply(arguments, sizes, target.micro_tile, adds_to_c=False)

    def add_product(arguments: Sequence[NDArray[Any]]) -> None:
        _multiply(arguments, sizes, target.micro_tile, adds_to_c=True)

    macs = m * k * n
    return (
        CoreFunction("zero_f32", (f32,), _zero),
        CoreFunction("matmul_bf16_f32", (a, b, added_to), add_product, macs),
        CoreFunction("matmul_bf16_bf16", (a, b, bf16), write_product, macs),
        CoreFunction("matmul_pair_bf16_f32", (pair, f32), write_product, macs),
    )


MATMUL_CC = CoreSource(
    Path(__file__).with_name("matmul.cc"), ("m", "k", "n"), units, functions, headers=("product.hpp",)
)


def _zero(arguments: Sequence[NDArray[Any]]) -> None:
    arguments[0][...] = 0


def _multiply(
    arguments: Sequence[NDArray[Any]], sizes: Sizes, micro_tile: tuple[int, int, int], *, adds_to_c: bool
) -> None:
    """C = A B, or C += A B. arguments: A, B, C, or A and B in one buffer and then C."""
    (m, k, n), (r, s, t) = sizes, micro_tile
    *operands, c = arguments
    sums = _rows(c, (m, n), (r, t)) if adds_to_c else np.zeros((m, n), np.float32)
    pair = np.concatenate([operand.ravel() for operand in operands])  # B behind A, as in a pair
    a, b = _rows(pair[: m * k], (m, k), (r, s)), _rows(pair[m * k :], (k, n), (s, t))
    accumulate_in_numpy(sums, a, b, s)
    micro_tiles = sums.reshape(m // r, r, n // t, t).swapaxes(1, 2)
    result = to_bf16(micro_tiles, Rounding.NEAREST_EVEN) if c.dtype == ml_dtypes.bfloat16 else micro_tiles
    c[...] = result.reshape(c.shape)


def _rows(buffer: NDArray[Any], shape: tuple[int, int], micro_tile: tuple[int, int]) -> F32:
    """The float32 matrix of `shape` whose micro-tiles lie in `buffer` one after the other: a copy."""
    (rows, columns), (height, width) = shape, micro_tile
    tiles = buffer.reshape(rows // height, columns // width, height, width).astype(np.float32)
    return tiles.swapaxes(1, 2).reshape(shape)
