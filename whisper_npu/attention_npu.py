"""Multi-head self-attention on the NPU, usable in any model: no checkpoint, no audio, no Whisper.

import numpy as np
from whisper_npu import AttentionNPU

attention = AttentionNPU(wq, wk, wv, wo, n_head=8)  # each (512, 512)
y = attention(x)  # (n_ctx, 512) float32 -> (n_ctx, 512) float32
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError
from whisper_npu.layers import LinearLayer
from whisper_npu.npu.device import Device
from whisper_npu.npu.open import open_device
from whisper_npu.ops import Attention, Linear

TYPICAL_N_CTX = 1500  # what kernels are chosen for; Whisper's 30 s
Weight = NDArray[np.floating]


class AttentionNPU:
    """softmax(Q K^T / sqrt(d_head)) V over `n_head` heads, with its four projections.

    Source: Vaswani et al., arXiv 1706.03762, section 3.2. Every matrix product is NPU dispatches; bias,
    softmax and mask are fp32 on the host. Weights are (out, in) as PyTorch stores them, (n_state, n_state)
    each; biases (n_state,) or None. They are staged on the device once, here.

    device: "auto", "npu", "emulator", or one from `open_device`, perhaps `prepared` with a kernel of your
    choice. Otherwise the kernels of least modelled time for 1,500 positions are taken; `attention.device`
    says which they are.
    Raises UsageError where shapes do not fit each other or `n_head` does not divide n_state.
    """

    def __init__(
        self,
        q_weight: Weight,
        k_weight: Weight,
        v_weight: Weight,
        out_weight: Weight,
        *,
        n_head: int,
        q_bias: Weight | None = None,
        k_bias: Weight | None = None,
        v_bias: Weight | None = None,
        out_bias: Weight | None = None,
        device: str | Device = "auto",
    ) -> None:
        weights = [np.asarray(weight) for weight in (q_weight, k_weight, v_weight, out_weight)]
        n_state = max((1, *weights[0].shape[-1:]))
        given = [None if bias is None else np.asarray(bias) for bias in (q_bias, k_bias, v_bias, out_bias)]
        for name, weight, bias in zip(("q", "k", "v", "out"), weights, given, strict=True):
            if weight.shape != (n_state, n_state):
                raise UsageError(f"{name}_weight has shape {weight.shape}, must be {(n_state, n_state)}")
            if bias is not None and bias.shape != (n_state,):
                raise UsageError(f"{name}_bias has shape {bias.shape}, must be {(n_state,)}")
        if n_head < 1 or n_head % 1 or n_state % n_head:
            raise UsageError(f"n_head {n_head} does not divide n_state {n_state}: take a divisor")
        biases = [np.zeros(n_state, np.float32) if bias is None else bias for bias in given]
        self.n_head, self.n_state = int(n_head), n_state
        ops = attention_ops(TYPICAL_N_CTX, n_state, self.n_head)
        if isinstance(device, str):
            device = open_device(device)
        if device.choice is None:
            device = device.prepared(ops)
        self.device = device
        qkv, _, out = ops
        qkv_weight, qkv_bias = (fused_qkv(q, k, v, self.n_head) for q, k, v, _ in (weights, biases))
        self.qkv = LinearLayer(qkv, device.stage(qkv, qkv_weight.T), qkv_bias, device)
        self.out = LinearLayer(out, device.stage(out, weights[3].T), biases[3], device)

    def __call__(self, x: F32, key_mask: ArrayLike | None = None) -> F32:
        """softmax(Q K^T / sqrt(d_head)) V, projected. x: (n_ctx, n_state) float32, n_ctx from 1 up.

        key_mask: (n_ctx,) bool, or 0 and 1; False and 0 for keys that no query may attend to. Returns
        (n_ctx, n_state) float32. Raises UsageError where shapes do not fit or the mask leaves no key.
        """
        x, mask = self._checked(x, key_mask)
        qkv = self.qkv(x)  # (n_ctx, 3 * n_state), q over sqrt(d_head) by its weights
        context = np.empty(x.shape, np.float32)  # (n_ctx, n_state)
        attention = Attention(len(x), self.n_state, self.n_head, masked=bool(mask))
        self.device.run(attention, {"qkv": qkv, "y": context} | mask)
        return self.out(context)  # (n_ctx, n_state)

    def _checked(self, x: F32, key_mask: ArrayLike | None) -> tuple[F32, dict[str, F32]]:
        """x as the ops take it, and the mask as an operand; none where every key counts."""
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] != self.n_state:
            raise UsageError(f"x has shape {x.shape}, must be (n_ctx, {self.n_state}) with n_ctx at least 1")
        if key_mask is None:
            return x, {}
        mask = np.asarray(key_mask)
        if mask.shape != x.shape[:1]:
            raise UsageError(f"key_mask has shape {mask.shape}, must be {x.shape[:1]}, one flag per key")
        if not np.isin(mask, (0, 1)).all():
            wrong = mask[~np.isin(mask, (0, 1))][0]
            raise UsageError(f"key_mask holds {wrong}, must hold booleans, or 0 and 1")
        if not mask.any():
            raise UsageError("key_mask leaves no key: at least one must be True")
        return x, {"mask": mask.astype(np.float32)}


def fused_qkv(q: Weight, k: Weight, v: Weight, n_head: int) -> F32:
    """Three projections as one, q divided by sqrt(d_head): their weights, or their biases.

    (n_state, ...) each; returns (3 * n_state, ...). One product for three: x is packed once, and N has fewer
    part-filled tiles.
    """
    scale = np.float32((len(q) // n_head) ** -0.5)
    q, k, v = (x.astype(np.float32, copy=False) for x in (q, k, v))
    return np.concatenate([q * scale, k, v])


def attention_ops(n_ctx: int, n_state: int, n_head: int) -> tuple[Linear, Attention, Linear]:
    """One call in order, for choosing kernels."""
    return (
        Linear(n_ctx, n_state, 3 * n_state, name="attention.qkv"),
        Attention(n_ctx, n_state, n_head),
        Linear(n_ctx, n_state, n_state, name="attention.out"),
    )
