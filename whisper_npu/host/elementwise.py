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
    scores *= 1 / _sums(rows).swapaxes(axis, -1)
    return scores


def _sums(x: F32) -> F32:
    """(..., n) to (..., 1), each row alike whatever rows there are beside it.

    `einsum` goes through each row by itself where it lies together; what `np.sum` and BLAS do depends on how
    many rows there are, and how they lie. It is as fast as BLAS.
    """
    sums: F32 = np.einsum("...i->...", np.ascontiguousarray(x))[..., None]
    return sums


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
    n = np.float32(x.shape[-1])
    np.subtract(x, _sums(x) / n, out=out)
    variance = _sums(out * out) / n
    out *= 1 / np.sqrt(variance + np.float32(epsilon))
    out *= weight
    out += bias
