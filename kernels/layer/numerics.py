"""What a core of the layer kernels computes, in its order, on whole arrays: to the bit as layer.cc does.

Arrays are float32; those called bf16 hold values of that grid. Products are vmacs of bf16 factors
(whisper_npu/host/vmac.py), other arithmetic is that of fp32 or of integers. What a core multiplies in fp32,
nine vmacs, is an IEEE product here: one for each row or result of attention, within PRODUCT_ERROR
(kernels/norm/kernel.py) on silicon.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.vmac import accumulate
from whisper_npu.kernels.layer.phases import D_HEAD, KEYS
from whisper_npu.kernels.norm.kernel import SUMS, WIDTH, inverse_root, summed
from whisper_npu.ops import EPSILON, Activation

Bools = NDArray[np.bool_]

S = 8  # products that one vmac of a matrix product adds: s of the micro-tile


def rounded(x: F32) -> F32:
    """To bf16."""
    return on_grid(np.asarray(x, np.float32), Rounding.NEAREST_EVEN)


def mac(sums: F32 | np.float32, a: F32 | np.float32, b: F32 | np.float32) -> F32:
    """sums + a b, element by element, each one vmac, whose rounding vmac.hpp describes. a, b: bf16."""
    sums, a, b = (np.asarray(x, np.float32) for x in (sums, a, b))
    exponent = np.maximum(_exponent(sums), _exponent(a) + _exponent(b))
    # A float64 whose last bit is worth 2^(exponent - 23): adding it rounds an addend to the grid of all.
    anchor = ((np.maximum(exponent, -252) + (1023 + 29)) << 52 | 1 << 51).view(np.float64)
    wide, product = sums.astype(np.float64), a.astype(np.float64) * b
    total = ((wide + anchor) - anchor) + ((product + anchor) - anchor)
    total[np.abs(total) < 2.0**-126 - 2.0**-151] = 0
    with np.errstate(over="ignore"):
        result: F32 = total.astype(np.float32)
    return result


Mac = Callable[[F32 | np.float32, F32 | np.float32, F32 | np.float32], F32]  # `mac`, or what stands for it


def _exponent(x: F32) -> NDArray[np.int64]:
    """As fp32 or bf16 hold it; for 0 far below all others."""
    held = (np.ascontiguousarray(x).view(np.int32) >> 23 & 0xFF).reshape(x.shape)
    return np.where(x == 0, -1000, np.maximum(held, 1) - 127).astype(np.int64)


# ------------------------------------------------------------------------------------------------- epilogue

GELU_END = np.float32(4)  # from here on GELU is x, or 0
GELU_MIDDLE = np.float32(2.5)
GELU_FIRST = np.float32(3.8623809814453125e-05)  # bf16
GELU_NEXT = tuple(
    map(
        np.float32, (-0.000599154329393059, 9.324478742200881e-05, 0.006054075434803963, -0.01622055470943451)
    )
)
GELU_LAST = tuple(map(np.float32, (0.0218933317810297, -0.017265327274799347, 0.006199568510055542)))
GELU_ERROR = 2.0**-11  # as far as `gelu` is from x Phi(x)


def finish(sums: F32, bias: F32, activation: Activation) -> F32:
    """The epilogue of a product: bf16(activation(sums + bias)). sums: (..., N), bias: (N,) or as sums."""
    return rounded(activated(sums + bias, activation))


def activated(x: F32, activation: Activation, mac: Mac = mac) -> F32:
    """The same in fp32, of sums with their bias."""
    return gelu(x, mac) if activation is Activation.GELU else x


def gelu(x: F32, mac: Mac = mac) -> F32:
    """x Phi(x) = max(x, 0) - a Phi(-a), where a is |x|, at most 4. Within GELU_ERROR.

    Phi(-a) is a polynomial of t = a - 2.5 that comes to 0 at 4. Its last steps and the product take factors
    in two parts: bf16, and the bf16 of the rest.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.int32)
    a = np.minimum(bits & np.int32(0x7FFF_FFFF), GELU_END.view(np.int32)).view(np.float32)
    t, t_rest = _parts(a - GELU_MIDDLE)
    phi = mac(GELU_NEXT[0], GELU_FIRST, t)
    for coefficient in GELU_NEXT[1:]:
        phi = mac(coefficient, rounded(phi), t)
    for step, coefficient in enumerate(GELU_LAST):
        high, low = _parts(phi)
        phi = mac(mac(coefficient, high, t), low, t)
        if step > 0:
            phi = mac(phi, high, t_rest)
    (a, a_rest), (high, low) = _parts(a), _parts(phi)
    positive = np.maximum(bits, np.int32(0)).view(np.float32)
    return mac(mac(mac(positive, -a, high), -a, low), -a_rest, high)


def _parts(x: F32) -> tuple[F32, F32]:
    high = rounded(x)
    return high, rest(x, high)


def rest(x: F32, high: F32) -> F32:
    """What is left of x without its bf16, as bf16."""
    return rounded(mac(x, -high, np.float32(1)))


# ------------------------------------------------------------------------------------------------ attention

# Added to a number below 2^22, it rounds that to a whole one, which then stands in the last bits.
MAGIC = np.float32(1.5 * 2**23)
# Scores are rounded to this part of a whole number. So many steps bf16 has from one power of two to the next:
# as a number of steps, a score is the bits of a bf16, exponent and fraction. Scores must be below 2^15.
STEP = np.float32(2.0**-7)
ONE = np.float32(0x3F80)  # the bits of 1
LOWEST = np.float32(-(2.0**15))  # instead of a score that does not count
START = LOWEST + np.float32(256)  # the running maximum before the first key
HEADROOM = np.float32(16)  # a new running maximum is so far above its score: the next one seldom is needed
LEAST = np.float32(-129)  # powers of two from here down are 0
# 2^(m - 1) is within EXP2_SCALE (m^2 + EXP2_ADDED), for m from 1 to 2. A factor that all weights of a softmax
# have does nothing, so one vmac is all that it takes.
EXP2_ADDED = np.float32(2.049)
EXP2_SCALE = 3.0394716  # what `exp2` gives for 2^0
# Of `exp2`, relative. 0.69 * 2^-8 of it has the score, which is rounded to 2^-7: half of that times ln 2.
# The rest have polynomial and rounding: it is least for this EXP2_ADDED, in steps of 0.001.
EXP2_ERROR = 1.61 * 2.0**-8


def whole(score: F32) -> F32:
    """The nearest whole number, ties to even."""
    return (score + MAGIC) - MAGIC


def exp2(t: F32, maximum: F32 | float = 0.0, mac: Mac = mac) -> F32:
    """EXP2_SCALE 2^(t - maximum), bf16, within EXP2_ERROR; of what is below 2^-126, anything as small, or 0.

    maximum: whole, at least `whole(t)`.
    """
    shift = MAGIC + ONE - np.float32(maximum) / STEP
    steps = np.maximum(t / STEP + shift, MAGIC + ONE + LEAST / STEP) - MAGIC
    bits = steps.astype(np.int32) << 16
    m = (bits & 0x7F_0000) + 0x3F80_0000
    factor = m.view(np.float32)
    root = rounded(mac(EXP2_ADDED, factor, factor))
    result: F32 = np.maximum(root.view(np.int32) + (bits - m), np.int32(0)).view(np.float32)
    return result


def scaled(x: F32, exponent: F32) -> F32:
    """x times 2 to a whole number, which is 0 or less: exact, and 0 where the result is below 2^-126."""
    result = np.ldexp(x.astype(np.float64), np.maximum(exponent, -254).astype(np.int32))
    return np.where(np.abs(result) < 2.0**-126, 0.0, result).astype(np.float32)


def reciprocal(x: F32) -> F32:
    """1 / x for normal positive x, by Newton's steps."""
    y = (np.int32(0x7EF311C7) - np.asarray(x, np.float32).view(np.int32)).view(np.float32)
    for _ in range(3):
        y = y * (np.float32(2) - x * y)
    return y


def attend(q: F32, k: F32, v: F32, mask: Bools) -> F32:
    """softmax(q k^T) v by base 2, of one or many heads: bf16.

    q: (..., queries, 64), scaled to base 2; k, v: (..., keys, 64); all bf16. mask: (keys,), False for keys
    that do not count.
    """
    result = np.empty(q.shape, np.float32)
    for head in np.ndindex(q.shape[:-2]):
        state = started(len(q[head]))
        for first in range(0, len(mask), KEYS):
            block = slice(first, first + KEYS)
            state = attended_block(q[head], k[head][block], v[head][block], mask[block], *state)
        result[head] = divided(*state[:2])
    return result


def started(queries: int) -> tuple[F32, F32, F32]:
    """O, totals and the running maximum before the first key: (queries, 64), (queries, 1), (queries, 1)."""
    shapes = (queries, D_HEAD), (queries, 1)
    return np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.float32), np.full(shapes[1], START)


def attended_block(
    q: F32, k: F32, v: F32, counts: Bools, o: F32, totals: F32, maximum: F32
) -> tuple[F32, F32, F32]:
    """O, totals and the running maximum after one block of keys: no score so far is above it.

    O and totals are times EXP2_SCALE 2^-maximum.

    q: (queries, 64), k, v: (keys, 64), counts: (keys,).
    """
    if not counts.any():
        return o, totals, maximum
    scores = np.zeros((len(q), len(k)), np.float32)
    accumulate(scores, q / STEP, k.T, S)
    scores *= STEP
    scores[:, ~counts] = LOWEST
    highest = whole(scores).max(axis=1, keepdims=True)
    new = np.where(highest > maximum, highest + HEADROOM, maximum)
    p = exp2(scores, new)  # (queries, keys)
    o, of_block = scaled(o, maximum - new), np.zeros_like(totals)
    accumulate(of_block, p, np.ones((len(k), 1), np.float32), S)
    accumulate(o, p, v, S)
    return o, scaled(totals, maximum - new) + of_block, new


def divided(o: F32, totals: F32) -> F32:
    """O by its totals, bf16; 0 where no key counts."""
    return rounded(o * reciprocal(np.maximum(totals, np.float32(2.0**-126))))


# ----------------------------------------------------------------------------------------------------- rows


def normed(s: F32, n_state: int, mac: Mac = mac) -> F32:
    """(s - mean) / sqrt(variance + EPSILON) of each row, bf16. s: (rows, P); 0 from n_state on."""
    deviations, scale = centred(s, n_state, mac)
    high, factor = rounded(deviations), rounded(scale)
    parts = mac(mac(np.float32(0), rest(deviations, high), factor), high, rest(scale, factor))
    return rounded(mac(parts, high, factor))


def centred(s: F32, n_state: int, mac: Mac = mac) -> tuple[F32, F32]:
    """Each row's deviations from its mean, (rows, P), and its 1 / sqrt(variance + EPSILON), (rows, 1).

    A square is that of the deviation's bf16, and twice that times the rest: all but 2^-16 of it. Sums as in
    kernels/norm. Deviations are 0 from n_state on.
    """
    rows = len(s)
    inverse = reciprocal(np.array([n_state], np.float32))
    deviations = np.zeros_like(s)
    counted = np.ascontiguousarray(s[:, :n_state])
    deviations[:, :n_state] = counted - summed(counted) * inverse
    vectors = deviations[:, :n_state].reshape(rows, -1, SUMS * WIDTH).swapaxes(0, 1)  # (n, rows, 64)
    squares, mixed = np.zeros(vectors.shape[1:], np.float32), np.zeros(vectors.shape[1:], np.float32)
    for vector in vectors:
        high = rounded(vector)
        squares, mixed = mac(squares, high, high), mac(mixed, high, rest(vector, high))
    twice = summed(mixed)
    variance = (summed(squares) + (twice + twice)) * inverse
    return deviations, inverse_root(variance + np.float32(EPSILON))


# -------------------------------------------------------------------------------------------- what it costs

# MODELLED: counted, not measured, as the head of layer.cc tells: for 16 numbers, in a bundle's busiest slot.
ZERO_SLOTS = 2
FINISH_SLOTS = 4  # of a product's tile
GELU_SLOTS = 22  # besides
SOFTMAX_SLOTS = 6  # of scores
RESCALE_SLOTS = 5  # of O^T, in those blocks of keys that bring one of four queries a new maximum
RESCALED = 0.03  # of 47 blocks the first, and of the others 0.001 to 0.003, MEASURED as layer.cc tells
DIVIDE_SLOTS = 12  # of O^T, once per block of queries
QUERY_SLOTS = 4  # of Q, once per block of queries: two conversions and a store of 32 bf16
TAKE_SLOTS = 2  # of rows
ADD_SLOTS = 3
SUM_SLOTS = 2
NORM_SLOTS = 10  # mean 2, deviations and squares 4, scale 4
BIAS_CYCLES = 8  # of each bias in a header
MASK_CYCLES = 80  # of each block of keys in a header
