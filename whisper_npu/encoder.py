"""Whisper's audio encoder: a list of ops, which a device runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whisper_npu.attention_npu import fused_qkv
from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError
from whisper_npu.layers import Conv1d, LayerNorm, conv1d_op
from whisper_npu.npu.device import Device, Value
from whisper_npu.ops import EncoderLayer, Linear, Norm, Op

Weights = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class ModelDimensions:
    """The encoder's sizes, in the names of openai/whisper; read from a checkpoint, never assumed."""

    n_mels: int  # mel bands: 80, or 128 for large-v3
    n_audio_ctx: int  # positions out of the encoder: 1500 for 30 s
    n_audio_state: int  # width of the residual stream
    n_audio_head: int  # attention heads; d_head = n_audio_state / n_audio_head
    n_audio_layer: int  # transformer blocks
    n_audio_mlp: int  # width of the feed-forward's middle, 4 x n_audio_state in every release


def encoder_shapes(dims: ModelDimensions) -> dict[str, tuple[int, ...]]:
    """Every array of the encoder under openai/whisper's own name, with its shape.

    Linear weights are (out, in) and convolutions (out, in, 3), as PyTorch stores them. The key projection
    has no bias. Source: AudioEncoder in openai/whisper, whisper/model.py.
    """
    n_state, n_mlp = dims.n_audio_state, dims.n_audio_mlp
    shapes: dict[str, tuple[int, ...]] = {
        "conv1.weight": (n_state, dims.n_mels, 3),
        "conv1.bias": (n_state,),
        "conv2.weight": (n_state, n_state, 3),
        "conv2.bias": (n_state,),
        "positional_embedding": (dims.n_audio_ctx, n_state),
        "ln_post.weight": (n_state,),
        "ln_post.bias": (n_state,),
    }
    block = {
        "attn_ln.weight": (n_state,),
        "attn_ln.bias": (n_state,),
        "attn.query.weight": (n_state, n_state),
        "attn.query.bias": (n_state,),
        "attn.key.weight": (n_state, n_state),
        "attn.value.weight": (n_state, n_state),
        "attn.value.bias": (n_state,),
        "attn.out.weight": (n_state, n_state),
        "attn.out.bias": (n_state,),
        "mlp_ln.weight": (n_state,),
        "mlp_ln.bias": (n_state,),
        "mlp.0.weight": (n_mlp, n_state),
        "mlp.0.bias": (n_mlp,),
        "mlp.2.weight": (n_state, n_mlp),
        "mlp.2.bias": (n_state,),
    }
    for layer in range(dims.n_audio_layer):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


@dataclass(frozen=True)
class EncoderOps:
    """Everything that one window is, in order: what runs, what kernels are chosen for, what reports count."""

    conv1: Linear
    conv2: Linear
    blocks: tuple[EncoderLayer, ...]
    ln_post: Norm

    @classmethod
    def of(cls, dims: ModelDimensions) -> EncoderOps:
        n_ctx, n_state = dims.n_audio_ctx, dims.n_audio_state
        block = EncoderLayer(n_ctx, n_state, dims.n_audio_head, dims.n_audio_mlp)
        return cls(
            conv1d_op(2 * n_ctx, dims.n_mels, n_state, stride=1, residual=False, name="conv1"),
            conv1d_op(2 * n_ctx, n_state, n_state, stride=2, residual=True, name="conv2"),
            (block,) * dims.n_audio_layer,
            Norm(n_ctx, n_state, name="ln_post"),
        )


def encoder_ops(dims: ModelDimensions) -> tuple[Op, ...]:
    """The ops of one window, in order."""
    ops = EncoderOps.of(dims)
    return (ops.conv1, ops.conv2, *ops.blocks, ops.ln_post)


class AudioEncoder:
    """Log-mel to the audio features that the decoder attends to. Weights are staged on the device here, once.

    weights: the arrays of `encoder_shapes(dims)`. device: prepared for `encoder_ops(dims)`, or as it is.
    Source: Radford et al., arXiv 2212.04356, section 2.2.
    """

    def __init__(self, dims: ModelDimensions, weights: Weights, device: Device) -> None:
        self.dims, self.device = dims, device
        ops = EncoderOps.of(dims)
        self.conv1 = Conv1d(ops.conv1, weights["conv1.weight"], weights["conv1.bias"], device, stride=1)
        self.conv2 = Conv1d(ops.conv2, weights["conv2.weight"], weights["conv2.bias"], device, stride=2)
        self.positional_embedding = _f32(weights["positional_embedding"])  # (n_audio_ctx, n_state) f32
        self.blocks = [
            ResidualAttentionBlock(op, _below(f"blocks.{layer}.", weights), device)
            for layer, op in enumerate(ops.blocks)
        ]
        self.ln_post = LayerNorm(ops.ln_post, weights["ln_post.weight"], weights["ln_post.bias"], device)

    @property
    def shape(self) -> tuple[int, int]:
        """The audio features of one window have it."""
        return self.dims.n_audio_ctx, self.dims.n_audio_state

    def __call__(self, mel: F32) -> F32:
        """mel: (n_mels, 2 * n_audio_ctx) float32. Returns (n_audio_ctx, n_audio_state) float32.

        Raises UsageError for a mel of another shape.
        """
        expected = (self.dims.n_mels, 2 * self.dims.n_audio_ctx)
        if mel.shape != expected:
            raise UsageError(f"the mel has shape {mel.shape}, this model takes {expected}")
        x = self.conv1(mel.T)  # (2 * n_ctx, n_state)
        x = self.conv2(x, residual=self.positional_embedding)  # (n_ctx, n_state)
        for block in self.blocks:
            x = block(x)  # (n_ctx, n_state)
        return self.ln_post(x)


class ResidualAttentionBlock:
    """x + attention(norm(x)), and to that the feed-forward of its norm.

    `ops.EncoderLayer` reads like the paper.
    """

    def __init__(self, op: EncoderLayer, weights: Weights, device: Device) -> None:
        self.op, self.device = op, device
        q, k, v = (weights[f"attn.{name}.weight"] for name in ("query", "key", "value"))
        k_bias = np.zeros(len(k), np.float32)  # the key projection has none
        biases = [weights["attn.query.bias"], k_bias, weights["attn.value.bias"]]
        qkv_weight, qkv_bias = fused_qkv([q, k, v], biases, op.n_head)
        self.weights: dict[str, Value] = {
            "attn_ln_weight": _f32(weights["attn_ln.weight"]),
            "attn_ln_bias": _f32(weights["attn_ln.bias"]),
            "qkv_weight": device.stage(op.qkv, qkv_weight.T),
            "qkv_bias": qkv_bias,
            "out_weight": device.stage(op.out, weights["attn.out.weight"].T),
            "out_bias": _f32(weights["attn.out.bias"]),
            "mlp_ln_weight": _f32(weights["mlp_ln.weight"]),
            "mlp_ln_bias": _f32(weights["mlp_ln.bias"]),
            "mlp0_weight": device.stage(op.mlp0, weights["mlp.0.weight"].T),
            "mlp0_bias": _f32(weights["mlp.0.bias"]),
            "mlp2_weight": device.stage(op.mlp2, weights["mlp.2.weight"].T),
            "mlp2_bias": _f32(weights["mlp.2.bias"]),
        }

    def __call__(self, x: F32) -> F32:
        """x: (n_ctx, n_state) float32 in and out."""
        y = np.empty(x.shape, np.float32)
        self.device.run(self.op, {"x": x, **self.weights, "y": y})
        return y


def _f32(array: NDArray[np.floating]) -> F32:
    return array.astype(np.float32)


def _below(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
