"""Attention with random weights, and the paper's formula for it in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whisper_npu import AttentionNPU
from whisper_npu.dtypes import F32
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device
from whisper_npu.npu.planner import Choice

F64 = NDArray[np.float64]


class Case:
    """Random weights and input of one size; `reference` is the paper's formula in float64."""

    def __init__(self, n_ctx: int, n_state: int, n_head: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.n_head = n_head
        scale = n_state**-0.5
        self.weights = [
            (rng.standard_normal((n_state, n_state)) * scale).astype(np.float32) for _ in range(4)
        ]
        self.biases = [(rng.standard_normal(n_state) * 0.1).astype(np.float32) for _ in range(4)]
        self.x: F32 = rng.standard_normal((n_ctx, n_state)).astype(np.float32)

    def on(self, device: Device, kernel: Contract | Choice | str) -> AttentionNPU:
        q, k, v, out = self.biases
        return AttentionNPU(
            *self.weights,
            n_head=self.n_head,
            q_bias=q,
            k_bias=k,
            v_bias=v,
            out_bias=out,
            device=device.prepared((), kernel),
        )

    def reference(self, key_mask: NDArray[np.bool_] | None = None) -> F64:
        weights, biases = ([a.astype(np.float64) for a in arrays] for arrays in (self.weights, self.biases))
        q, k, v = (self.x @ w.T + b for w, b in zip(weights[:3], biases[:3], strict=True))
        d_head = self.x.shape[1] // self.n_head
        heads = []
        for h in range(self.n_head):
            columns = slice(h * d_head, (h + 1) * d_head)
            scores = q[:, columns] @ k[:, columns].T / np.sqrt(d_head)
            if key_mask is not None:
                scores[:, ~key_mask] = -np.inf
            weights_of_keys = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights_of_keys / weights_of_keys.sum(axis=1, keepdims=True) @ v[:, columns])
        out: F64 = np.hstack(heads) @ weights[3].T + biases[3]
        return out
