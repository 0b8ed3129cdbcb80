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

from math import prod

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.ops import Matmul

EXACT = 2**24 - 1  # the largest sum of magnitudes
# Between A's numbers, of which there are 256: they have 8 digits, or 13, which bf16 does not hold.
A_STEP = {DType.BF16: 2, DType.F32: 32}
HALF, ALL = 0x8000, 0xFFFF  # of the bits that bf16 drops of an fp32
OFF_GRID = 64  # rows of each operand that lie between the numbers of bf16: what rounds one row rounds all


def integers(op: Matmul, dtype: DType, rng: np.random.Generator) -> tuple[F32, F32]:
    """A and B as the array shall see them, for any K up to 2^14 (of fp32 operands: 2^10).

    A is odd, and so is the first row of B; the rest of B is even.
    """
    step = A_STEP[dtype]
    shifts = (shift for shift in range(8) if op.K * 128 * step * (256 >> shift) <= EXACT)
    bytes_of_a, bytes_of_b = (_random_bytes(operand.shape, rng) for operand in op.inputs)
    a: F32 = bytes_of_a.astype(np.float32) * np.float32(step) + np.float32(1)
    b: F32 = (bytes_of_b >> next(shifts)).astype(np.float32) * np.float32(2)
    b[..., 0, :] += 1
    return a, b


def _random_bytes(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int8]:
    return np.frombuffer(rng.bytes(prod(shape)), np.int8).reshape(shape)


def before_rounding(values: F32, rounding: Rounding) -> F32:
    """Numbers that bf16 does not hold and that `rounding` makes these of, on either side where both do.

    values: on the bf16 grid. The bits of a float count magnitudes, and bf16 drops 16 of them: what rounds to
    nearest even lies up to half of those away, a tie only where what it rounds to is even.
    """
    given = values.copy()
    some = given[..., :OFF_GRID, :]
    bits = some.view(np.int32)
    rows, cols = (np.arange(size) for size in some.shape[-2:])
    up = (rows[:, None] + cols) % 2 == 0
    if rounding is Rounding.NEAREST_EVEN:
        half = HALF - (bits >> 16 & 1)
        moved = np.where(up, half, -half)
    else:
        moved = np.broadcast_to(np.where(up, 1, ALL), some.shape)
        if rounding is Rounding.FLOOR:
            moved = np.where(some < 0, -moved, moved)
    some[...] = np.where(some == 0, some, (bits + moved).astype(np.int32).view(np.float32))
    return given


def product(a: F32, b: F32, k: int, dtype: DType, rounding: Rounding) -> F32:
    """A @ B, exactly: the sum of partial results of `k` each, written in `dtype`."""
    if dtype is DType.F32:
        whole: F32 = np.matmul(a, b)
        return whole
    c: F32 = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    for i in range(0, a.shape[-1], k):
        partial: F32 = np.matmul(a[..., i : i + k], b[..., i : i + k, :])
        c += in_bf16(partial, rounding)
    return c


def in_bf16(x: F32, rounding: Rounding) -> F32:
    """Rounded to eight digits, by arithmetic: no code that a device runs is asked."""
    rounded = {Rounding.NEAREST_EVEN: np.rint, Rounding.TOWARD_ZERO: np.trunc, Rounding.FLOOR: np.floor}
    digits, exponent = np.frexp(x.astype(np.float64))
    cut: NDArray[np.float64] = np.ldexp(rounded[rounding](np.ldexp(digits, 8)), exponent - 8)
    return cut.astype(np.float32)
