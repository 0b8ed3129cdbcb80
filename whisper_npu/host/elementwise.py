"""What lies between the products: fp32 on the host, each behind a function that a kernel can replace.

Each has two forms: compiled (`rows.py`), and in NumPy for machines without a compiler, one pass after another
over a block that stays in cache. `Threads` cuts the blocks.
"""

from __future__ import annotations

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.host.rows import compiled, lie_in_rows

LEAST_EXPONENT = np.float32(-80)  # e^-80 over 1,500 keys is the smallest weight that is a normal float32

# artanh(erf(x / sqrt(2))) / x as a polynomial in x^2, highest power first, its error weighted by what it does
# to gelu(x)
_GELU = np.array(
    [
        1.805616434147339e-09,
        -1.3344640592549695e-07,
        3.969109457102604e-06,
        -5.524015796254389e-05,
        -3.3129992516478524e-05,
        0.03633428364992142,
        0.7978842258453369,
    ],
    np.float32,
)


def softmax(scores: F32, axis: int) -> F32:
    """exp(scores) over their sum along `axis`, stabilised by the maximum. Works in place.

    scores: (..., queries, keys) with axis -1, or (..., keys, queries) with axis -2; float32, minus infinity
    where a key is masked; at least one finite value along `axis`. Weights below e^-80 of the largest are 0:
    they would be subnormal numbers, which some CPUs multiply ten times slower.
    """
    rows = scores.swapaxes(axis, -1)
    if (loops := compiled()) and lie_in_rows(rows):
        loops.softmax(rows)
        return scores
    scores -= scores.max(axis=axis, keepdims=True)
    if scores.min() < LEAST_EXPONENT:
        scores[scores < LEAST_EXPONENT] = -np.inf
    np.exp(scores, out=scores)
    ones = np.ones(scores.shape[axis], np.float32)
    sums = scores @ ones if axis == -1 else ones @ scores  # four times as fast as np.sum
    scores *= np.expand_dims(1 / sums, axis)
    return scores


def gelu(x: F32) -> F32:
    """x * Phi(x) with the exact error function, as torch.nn.functional.gelu's default. Works in place.

    Phi(x) = (1 + tanh(x P(x^2))) / 2, at most 6e-7 from x * Phi(x) for |x| up to 10, and of x's own precision
    beyond. Source: Hendrycks and Gimpel, arXiv 1606.08415.
    """
    if (loops := compiled()) and lie_in_rows(x):
        loops.gelu(x, _GELU)
        return x
    square = x * x
    t = square * _GELU[0]
    for coefficient in _GELU[1:-1]:
        t += coefficient
        t *= square
    t += _GELU[-1]
    t *= x
    np.tanh(t, out=t)
    x *= np.float32(0.5)
    t *= x
    x += t
    return x


def layer_norm(x: F32, weight: F32, bias: F32, epsilon: float, out: F32) -> None:
    """Normalise each row to mean 0 and variance 1, then scale and shift.

    x, out: (n_ctx, n_state) float32; weight, bias: (n_state,) float32. Source: Ba et al., arXiv 1607.06450.
    """
    if (loops := compiled()) and lie_in_rows(x, out, weight, bias):
        loops.layer_norm(x, weight, bias, epsilon, out)
        return
    np.subtract(x, x.mean(axis=-1, keepdims=True), out=out)
    variance = np.einsum("ij,ij->i", out, out) / np.float32(x.shape[-1])
    out *= (1 / np.sqrt(variance + np.float32(epsilon)))[:, None]
    out *= weight
    out += bias
