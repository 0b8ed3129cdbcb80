"""Products whose answer is known to the last bit, whatever the order in which a device adds.

Every number is an integer and every sum stays below 2^24, so that no addition of fp32 rounds: neither a
sequence of IEEE additions nor the nine addends that the array aligns to the largest
(github.com/FIM43-Redeye/xdna-emu, src/interpreter/execute/vector_matmul/bf16_pipeline.rs). What does round
shows:

- Operands lie between the numbers of bf16, as far from them as their rounding allows, ties included.
- Every sum is odd: none is zero, and above 256 bf16 does not hold it. So sums that are kept or written in
  bf16 differ, and so does a bf16 result that is rounded another way.
- All rows, columns, tiles and heads differ: one that is missing, stale or swapped with another is wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.ops import Matmul

EXACT = 2**24 - 1  # the largest sum of magnitudes
DIGITS = {DType.BF16: 8, DType.F32: 12}  # of an operand; 12: more than bf16 holds
HALF, ALL = 0x8000, 0xFFFF  # of the bits that bf16 drops of an fp32


def integers(op: Matmul, dtype: DType, rng: np.random.Generator) -> tuple[F32, F32]:
    """A and B as the array shall see them; raises nothing for any K below 2^23.

    Only the first column of A and the first row of B make odd products, one for each sum.
    """
    largest = 2 ** DIGITS[dtype] - 1
    a_max = min(largest, EXACT // op.K)
    b_max = min(largest, EXACT // (op.K * a_max))
    shape_a, shape_b = (operand.shape for operand in op.inputs)
    a = rng.integers(-a_max, a_max + 1, shape_a)
    b = 2 * rng.integers(-((b_max - 1) // 2), (b_max - 1) // 2 + 1, shape_b)
    a[..., :, 0] = 2 * rng.integers(-((a_max + 1) // 2), (a_max + 1) // 2, shape_a[:-1]) + 1
    b[..., 0, :] += 1
    return a.astype(np.float32), b.astype(np.float32)


def before_rounding(values: F32, rounding: Rounding, rng: np.random.Generator) -> F32:
    """Numbers that bf16 does not hold and that `rounding` makes these of, on either side where both do.

    values: on the bf16 grid. The bits of a float count magnitudes, and bf16 drops 16 of them: what rounds to
    nearest even lies up to half of those away, a tie only where what it rounds to is even.
    """
    bits = values.view(np.int32)
    if rounding is Rounding.NEAREST_EVEN:
        is_odd = bits >> 16 & 1
        moved = np.where(rng.integers(0, 2, bits.shape), HALF - is_odd, is_odd - HALF)
    else:
        moved = np.where(rng.integers(0, 2, bits.shape), 1, ALL)
        if rounding is Rounding.FLOOR:
            moved = np.where(values < 0, -moved, moved)
    given: F32 = np.where(values == 0, values, (bits + moved).astype(np.int32).view(np.float32))
    return given


def product(a: F32, b: F32, k: int, dtype: DType, rounding: Rounding) -> F32:
    """A @ B, exactly: the sum of partial results of `k` each, written in `dtype`."""
    c: F32 = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    for i in range(0, a.shape[-1], k):
        partial = np.matmul(a[..., i : i + k], b[..., i : i + k, :])
        c += partial if dtype is DType.F32 else in_bf16(partial, rounding)
    return c


def in_bf16(x: F32, rounding: Rounding) -> F32:
    """Rounded to eight digits, by arithmetic: no code that a device runs is asked."""
    rounded = {Rounding.NEAREST_EVEN: np.rint, Rounding.TOWARD_ZERO: np.trunc, Rounding.FLOOR: np.floor}
    digits, exponent = np.frexp(x.astype(np.float64))
    cut: NDArray[np.float64] = np.ldexp(rounded[rounding](np.ldexp(digits, 8)), exponent - 8)
    return cut.astype(np.float32)
