"""Whisper's audio encoder: a list of ops, which a device runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whisper_npu.attention_npu import fused_qkv
from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError
from whisper_npu.npu.device import Buffer, Device, Value
from whisper_npu.ops import EncoderLayer, Norm, Op, Stem
from whisper_npu.staging import KeptIn, Weight, stage

Weights = Mapping[str, NDArray[np.floating]]
# Part of the key of what is kept: increase it whenever `encoder_products` makes other values of the same
# weights.
_PRODUCTS_VERSION = 1


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


def encoder_products(dims: ModelDimensions, weights: Weights) -> dict[str, Weight]:
    """Every weight of a matrix product, as the device multiplies by it, for `staging.stage`."""
    ops = EncoderOps.of(dims)
    products = {
        "conv1": Weight(ops.stem.conv1, lambda: _conv_weight(weights["conv1.weight"])),
        "conv2": Weight(ops.stem.conv2, lambda: _conv_weight(weights["conv2.weight"])),
    }
    for layer, op in enumerate(ops.blocks):
        products |= _block_products(f"blocks.{layer}.", op, weights)
    return products


def _conv_weight(weight: NDArray[np.floating]) -> NDArray[np.floating]:
    """(out, in, 3), as PyTorch stores it, as the product's (3 * in, out)."""
    return weight.transpose(0, 2, 1).reshape(len(weight), -1).T


def _block_products(prefix: str, op: EncoderLayer, weights: Weights) -> dict[str, Weight]:
    def qkv() -> F32:
        q, k, v = (weights[f"{prefix}attn.{name}.weight"] for name in ("query", "key", "value"))
        return fused_qkv(q, k, v, op.n_head).T

    return {
        f"{prefix}qkv": Weight(op.qkv, qkv),
        f"{prefix}out": Weight(op.out, lambda: weights[f"{prefix}attn.out.weight"].T),
        f"{prefix}mlp0": Weight(op.mlp0, lambda: weights[f"{prefix}mlp.0.weight"].T),
        f"{prefix}mlp2": Weight(op.mlp2, lambda: weights[f"{prefix}mlp.2.weight"].T),
    }


@dataclass(frozen=True)
class _Staged:
    """Weights as the device has them; what it holds together with others is made when it is asked for."""

    products: Mapping[str, Weight]
    on_device: Mapping[str, Buffer]

    def __getitem__(self, name: str) -> Value:
        return self.on_device[name] if name in self.on_device else self.products[name].make()


class AudioEncoder:
    """Log-mel to the audio features that the decoder attends to. Weights are staged on the device here, once.

    weights: the arrays of `encoder_shapes(dims)`. device: prepared for `encoder_ops(dims)`, or as it is.
    kept_in: where staged weights are kept for the next start; None: nowhere.
    Source: Radford et al., arXiv 2212.04356, section 2.2.
    """

    def __init__(
        self, dims: ModelDimensions, weights: Weights, device: Device, kept_in: KeptIn | None = None
    ) -> None:
        self.dims, self.device = dims, device
        if kept_in is not None:
            kept_in = replace(kept_in, identity=f"encoder {_PRODUCTS_VERSION} {kept_in.identity}")
        products = encoder_products(dims, weights)
        staged = _Staged(products, stage(products, device, kept_in))
        ops = EncoderOps.of(dims)
        self.stem = _Step(ops.stem, _of_stem(staged, weights), device)
        self.blocks = [
            _Step(op, _of_block(f"blocks.{layer}.", op, staged, weights), device)
            for layer, op in enumerate(ops.blocks)
        ]
        self.ln_post = _Step(ops.ln_post, _of_ln_post(weights), device)

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


class _Step:
    """An op of one window, whose constants lie on the device. `ops.EncoderLayer` reads like the paper."""

    def __init__(self, op: Op, constants: Mapping[str, Value], device: Device) -> None:
        self.op, self.device = op, device
        self.held = device.hold(op, constants)

    def __call__(self, x: Value, y: F32 | None = None) -> Value:
        """x, y: (n_ctx, n_state) float32. y: where to; None: where the next step reads it best."""
        to = self.device.result(self.op) if y is None else y
        self.device.run(self.op, {"x": x, "y": to} | self.held)
        return to


def _of_stem(staged: _Staged, weights: Weights) -> dict[str, Value]:
    return {
        "conv1_weight": staged["conv1"],
        "conv1_bias": _f32(weights["conv1.bias"]),
        "conv2_weight": staged["conv2"],
        "conv2_bias": _f32(weights["conv2.bias"]),
        "residual": _f32(weights["positional_embedding"]),
    }


def _of_block(prefix: str, op: EncoderLayer, staged: _Staged, weights: Weights) -> dict[str, Value]:
    """prefix: of the block's names in staged and weights."""

    def vector(name: str) -> F32:
        return _f32(weights[prefix + name])

    q_bias, v_bias = vector("attn.query.bias"), vector("attn.value.bias")
    k_bias = np.zeros_like(q_bias)  # the key projection has none
    return {
        "attn_ln_weight": vector("attn_ln.weight"),
        "attn_ln_bias": vector("attn_ln.bias"),
        "qkv_weight": staged[f"{prefix}qkv"],
        "qkv_bias": fused_qkv(q_bias, k_bias, v_bias, op.n_head),
        "out_weight": staged[f"{prefix}out"],
        "out_bias": vector("attn.out.bias"),
        "mlp_ln_weight": vector("mlp_ln.weight"),
        "mlp_ln_bias": vector("mlp_ln.bias"),
        "mlp0_weight": staged[f"{prefix}mlp0"],
        "mlp0_bias": vector("mlp.0.bias"),
        "mlp2_weight": staged[f"{prefix}mlp2"],
        "mlp2_bias": vector("mlp.2.bias"),
    }


def _of_ln_post(weights: Weights) -> dict[str, Value]:
    return {"weight": _f32(weights["ln_post.weight"]), "bias": _f32(weights["ln_post.bias"])}


def _f32(array: NDArray[np.floating]) -> F32:
    return array.astype(np.float32)
