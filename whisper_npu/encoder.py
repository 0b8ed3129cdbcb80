"""Whisper's audio encoder: a list of ops, which a device runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whisper_npu.attention_npu import fused_qkv
from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError
from whisper_npu.layers import conv1d_weight
from whisper_npu.npu.device import Device, Value
from whisper_npu.ops import EncoderLayer, Norm, Op, Stem
from whisper_npu.staging import Constants, KeptIn, hold

Weights = Mapping[str, NDArray[np.floating]]
# Part of the key of what is kept: increase it whenever `encoder_constants` makes other values of the same
# weights.
_CONSTANTS_VERSION = 2


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

    stem: Stem
    blocks: tuple[EncoderLayer, ...]
    ln_post: Norm

    @classmethod
    def of(cls, dims: ModelDimensions) -> EncoderOps:
        n_ctx, n_state = dims.n_audio_ctx, dims.n_audio_state
        block = EncoderLayer(n_ctx, n_state, dims.n_audio_head, dims.n_audio_mlp)
        return cls(
            Stem(n_ctx, dims.n_mels, n_state),
            (block,) * dims.n_audio_layer,
            Norm(n_ctx, n_state, name="ln_post"),
        )


def encoder_ops(dims: ModelDimensions) -> tuple[Op, ...]:
    """The ops of one window, in order."""
    ops = EncoderOps.of(dims)
    return (ops.stem, *ops.blocks, ops.ln_post)


def encoder_constants(dims: ModelDimensions, weights: Weights) -> dict[str, Constants]:
    """What stays from window to window of each op, for `staging.hold`."""
    ops = EncoderOps.of(dims)
    blocks = enumerate(ops.blocks)
    return {
        "stem": _of_stem(ops.stem, weights),
        **{f"blocks.{layer}": _of_block(f"blocks.{layer}.", op, weights) for layer, op in blocks},
        "ln_post": _of_ln_post(ops.ln_post, weights),
    }


def _of_stem(op: Stem, weights: Weights) -> Constants:
    return Constants(
        op,
        {
            "conv1_weight": lambda: conv1d_weight(weights["conv1.weight"]),
            "conv1_bias": lambda: _f32(weights["conv1.bias"]),
            "conv2_weight": lambda: conv1d_weight(weights["conv2.weight"]),
            "conv2_bias": lambda: _f32(weights["conv2.bias"]),
            "residual": lambda: _f32(weights["positional_embedding"]),
        },
    )


def _of_block(prefix: str, op: EncoderLayer, weights: Weights) -> Constants:
    """prefix: of the block's names in weights."""

    def vector(name: str) -> Callable[[], F32]:
        return lambda: _f32(weights[f"{prefix}{name}"])

    def weight(name: str) -> Callable[[], NDArray[np.floating]]:
        return lambda: weights[f"{prefix}{name}.weight"].T

    def qkv_weight() -> F32:
        q, k, v = (weights[f"{prefix}attn.{name}.weight"] for name in ("query", "key", "value"))
        return fused_qkv(q, k, v, op.n_head).T

    def qkv_bias() -> F32:
        q, v = (weights[f"{prefix}attn.{name}.bias"] for name in ("query", "value"))
        return fused_qkv(q, np.zeros_like(q), v, op.n_head)  # the key projection has none

    return Constants(
        op,
        {
            "attn_ln_weight": vector("attn_ln.weight"),
            "attn_ln_bias": vector("attn_ln.bias"),
            "qkv_weight": qkv_weight,
            "qkv_bias": qkv_bias,
            "out_weight": weight("attn.out"),
            "out_bias": vector("attn.out.bias"),
            "mlp_ln_weight": vector("mlp_ln.weight"),
            "mlp_ln_bias": vector("mlp_ln.bias"),
            "mlp0_weight": weight("mlp.0"),
            "mlp0_bias": vector("mlp.0.bias"),
            "mlp2_weight": weight("mlp.2"),
            "mlp2_bias": vector("mlp.2.bias"),
        },
    )


def _of_ln_post(op: Norm, weights: Weights) -> Constants:
    return Constants(
        op,
        {
            "weight": lambda: _f32(weights["ln_post.weight"]),
            "bias": lambda: _f32(weights["ln_post.bias"]),
        },
    )


def _f32(array: NDArray[np.floating]) -> F32:
    return array.astype(np.float32)


class AudioEncoder:
    """Log-mel to the audio features that the decoder attends to. Weights are staged on the device here, once.

    weights: the arrays of `encoder_shapes(dims)`. device: prepared for `encoder_ops(dims)`, or as it is.
    kept_in: where what was laid out is kept for the next start; None: nowhere.
    Source: Radford et al., arXiv 2212.04356, section 2.2.
    """

    def __init__(
        self, dims: ModelDimensions, weights: Weights, device: Device, kept_in: KeptIn | None = None
    ) -> None:
        self.dims, self.device = dims, device
        if kept_in is not None:
            kept_in = replace(kept_in, identity=f"encoder {_CONSTANTS_VERSION} {kept_in.identity}")
        constants = encoder_constants(dims, weights)
        held = hold(constants, device, kept_in)
        self.stem, *self.blocks, self.ln_post = (
            _Step(of.op, held[name], device) for name, of in constants.items()
        )

    @property
    def shape(self) -> tuple[int, int]:
        """The audio features of one window have it."""
        return self.dims.n_audio_ctx, self.dims.n_audio_state

    def __call__(self, mel: F32) -> F32:
        """mel: (n_mels, 2 * n_audio_ctx) float32. Returns (n_audio_ctx, n_audio_state) float32.

        Between two steps x may stay on the device. Raises UsageError for a mel of another shape.
        """
        expected = (self.dims.n_mels, 2 * self.dims.n_audio_ctx)
        if mel.shape != expected:
            raise UsageError(f"the mel has shape {mel.shape}, this model takes {expected}")
        x = self.stem(mel.T)  # (n_ctx, n_state)
        for block in self.blocks:
            x = block(x)  # (n_ctx, n_state)
        features = np.empty(self.shape, np.float32)
        self.ln_post(x, features)
        return features


def prepared_encoder(
    dims: ModelDimensions,
    weights: Weights,
    device: Device,
    kernel: str = "auto",
    kept_in: KeptIn | None = None,
) -> AudioEncoder:
    """An encoder on a device that is prepared for it: kernel names its kernels, as in `Device.prepared`."""
    return AudioEncoder(dims, weights, device.prepared(encoder_ops(dims), kernel), kept_in)


@dataclass(frozen=True)
class _Step:
    """An op of one window, whose constants lie on the device. `ops.EncoderLayer` reads like the paper."""

    op: Op
    held: Mapping[str, Value]
    device: Device

    def __call__(self, x: Value, y: F32 | None = None) -> Value:
        """x, y: (n_ctx, n_state) float32. y: where to; None: where the next step reads it best."""
        to = self.device.result(self.op) if y is None else y
        self.device.run(self.op, {**self.held, "x": x, "y": to})
        return to
