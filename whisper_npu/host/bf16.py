"""bfloat16 as the array sees it: float32 cut to 8 significant bits, by one of three roundings.

Values "on the bf16 grid" stay in float32 arrays here: they are exactly what a bf16 operand holds, in the
type that a CPU can multiply.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.rows import compiled, lie_in_rows

MANY = 1 << 14  # elements; calling compiled loops takes as long as NumPy takes for these
_LOW_BITS = np.uint32(0xFFFF)  # what bf16 drops of a float32
_SIGN_BIT = np.uint32(0x8000_0000)


def to_bf16(x: NDArray[Any], rounding: Rounding) -> NDArray[ml_dtypes.bfloat16]:
    """Round float32 to bfloat16; NaN stays NaN, infinities stay, nothing else becomes NaN.

    x: float32 of any shape; bfloat16 is given back as it is. Returns bfloat16 of the same shape.
    """
    if x.dtype == ml_dtypes.bfloat16:
        return x
    if rounding is Rounding.NEAREST_EVEN:
        if x.size >= MANY and (loops := compiled()) and lie_in_rows(x):
            out = np.empty(x.shape, ml_dtypes.bfloat16)
            loops.to_bf16(x, out.view(np.uint16))
            return out
        with np.errstate(over="ignore", invalid="ignore"):  # rounding up to infinity; signalling NaNs
            return x.astype(ml_dtypes.bfloat16)
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    if rounding is Rounding.FLOOR:
        # One ulp more magnitude for every negative number that has bits to drop.
        bits = np.where(bits & _SIGN_BIT, bits + _LOW_BITS, bits)
    cut: NDArray[ml_dtypes.bfloat16] = (bits >> np.uint32(16)).astype(np.uint16).view(ml_dtypes.bfloat16)
    cut[np.isnan(x)] = np.nan
    return cut


def on_grid(x: F32, rounding: Rounding, out: F32 | None = None) -> F32:
    """`to_bf16`, widened again: float32 values that bf16 holds exactly.

    out: where to, x itself if need be; None for a new array.
    """
    if out is None:
        out = np.empty_like(x, np.float32)
    loops = compiled() if rounding is Rounding.NEAREST_EVEN else None
    if loops and lie_in_rows(x, out):
        loops.round_to_bf16(x, out)
    else:
        out[...] = to_bf16(x, rounding)
    return out
