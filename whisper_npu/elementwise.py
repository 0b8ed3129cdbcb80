"""What lies between the products: fp32 on the host, each behind a function that a kernel can replace."""

from __future__ import annotations

import numpy as np

from whisper_npu.npu.bf16 import F32


def softmax(scores: F32, axis: int) -> F32:
    """exp(scores) over their sum along `axis`, stabilised by the maximum. Works in place.

    scores: float32, minus infinity where a key is masked; at least one finite value along `axis`.
    """
    scores -= scores.max(axis=axis, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=axis, keepdims=True)
    return scores


def gelu(x: F32) -> F32:
    """x * Phi(x) with the exact error function, as torch.nn.functional.gelu's default. Works in place.

    Source: Hendrycks and Gimpel, arXiv 1606.08415.
    """
    from scipy.special import erf  # 0.2 s to import

    phi = x * np.float32(np.sqrt(0.5))
    erf(phi, out=phi)
    phi += 1
    phi *= 0.5
    x *= phi
    return x


def layer_norm(x: F32, weight: F32, bias: F32) -> F32:
    """Normalise each row to mean 0 and variance 1, then scale and shift; epsilon 1e-5 as in Whisper.

    x: (n_ctx, n_state) float32; weight, bias: (n_state,) float32. Source: Ba et al., arXiv 1607.06450.
    """
    centred: F32 = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    centred /= np.sqrt(variance + np.float32(1e-5))
    centred *= weight
    centred += bias
    return centred
