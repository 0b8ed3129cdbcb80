"""Whisper's encoder in float64, which knows no device, no tile and no op."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import erf

from whisper_npu.encoder import ModelDimensions


def reference_encode(encoder: Mapping[str, np.ndarray], dims: ModelDimensions, mel: np.ndarray) -> np.ndarray:
    """(n_mels, 3000) -> (n_audio_ctx, n_audio_state), openai/whisper's AudioEncoder.forward in float64."""
    w = {name: array.astype(np.float64) for name, array in encoder.items()}

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * (1 + erf(x / np.sqrt(2))) / 2

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def convolution(x: np.ndarray, name: str, stride: int) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (1, 1)))
        windows = np.stack([padded[:, k : k + x.shape[1] : stride] for k in range(3)])
        return np.einsum("oik,kit->ot", w[f"{name}.weight"], windows) + w[f"{name}.bias"][:, None]

    x = gelu(convolution(gelu(convolution(mel, "conv1", 1)), "conv2", 2)).T + w["positional_embedding"]
    d_head = dims.n_audio_state // dims.n_audio_head
    for i in range(dims.n_audio_layer):
        block = f"blocks.{i}"
        h = norm(x, f"{block}.attn_ln")
        heads = []
        for j in range(dims.n_audio_head):
            columns = slice(j * d_head, (j + 1) * d_head)
            q, k, v = (linear(h, f"{block}.attn.{p}")[:, columns] for p in ("query", "key", "value"))
            scores = q @ k.T / np.sqrt(d_head)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v)
        x = x + linear(np.concatenate(heads, -1), f"{block}.attn.out")
        x = x + linear(gelu(linear(norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0")), f"{block}.mlp.2")
    return norm(x, "ln_post")
