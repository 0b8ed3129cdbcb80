"""Attention on the NPU within a model of your own: a transformer block with random weights, no Whisper.

python samples/attention_in_your_model.py
"""

import numpy as np

from whisper_npu import AttentionNPU

n_ctx, n_state, n_head = 700, 384, 6
rng = np.random.default_rng(0)
q, k, v, out = (rng.standard_normal((n_state, n_state)) / n_state**0.5 for _ in range(4))  # (out, in) each
up = rng.standard_normal((n_state, 4 * n_state)) / n_state**0.5
down = rng.standard_normal((4 * n_state, n_state)) / (4 * n_state) ** 0.5
attention = AttentionNPU(q, k, v, out, n_head=n_head)  # on the NPU if there is one, else the emulator


def norm(x):  # (n_ctx, n_state)
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)


def block(x):  # (n_ctx, n_state) -> (n_ctx, n_state)
    x = x + attention(norm(x))
    return x + np.maximum(norm(x) @ up, 0) @ down


with attention.device.recording() as recording:
    y = block(rng.standard_normal((n_ctx, n_state)))
print(f"{y.shape} by {recording.stats.dispatches} dispatches on {attention.device.description}")
