"""Whisper's audio encoder, every product of it through the NPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from whisper_npu.attention_npu import AttentionNPU, attention_problems
from whisper_npu.errors import UsageError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.elementwise import gelu, layer_norm
from whisper_npu.layers import Linear
from whisper_npu.npu.device import RowFunction
from whisper_npu.npu.matmul import Matmul, as_it_is
from whisper_npu.npu.plan import Problem

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


class AudioEncoder:
    """Log-mel to the positions that the decoder attends to. Weights are staged on the device here, once.

    weights: the arrays of `encoder_shapes(dims)`. Source: Radford et al., arXiv 2212.04356, section 2.2.
    """

    def __init__(self, dims: ModelDimensions, weights: Weights, matmul: Matmul) -> None:
        self.dims = dims
        self.matmul = matmul
        self.conv1 = Conv1d(weights["conv1.weight"], weights["conv1.bias"], matmul, stride=1, name="conv1")
        self.conv2 = Conv1d(weights["conv2.weight"], weights["conv2.bias"], matmul, stride=2, name="conv2")
        self.positional_embedding = _f32(weights["positional_embedding"])  # (n_audio_ctx, n_state) f32
        self.blocks = [
            ResidualAttentionBlock(_below(f"blocks.{layer}.", weights), dims.n_audio_head, matmul)
            for layer in range(dims.n_audio_layer)
        ]
        self.ln_post = LayerNorm(weights["ln_post.weight"], weights["ln_post.bias"])

    def __call__(self, mel: F32) -> F32:
        """mel: (n_mels, 2 * n_audio_ctx) float32. Returns (n_audio_ctx, n_audio_state) float32.

        Raises UsageError for a mel of another shape.
        """
        expected = (self.dims.n_mels, 2 * self.dims.n_audio_ctx)
        if mel.shape != expected:
            raise UsageError(f"the mel has shape {mel.shape}, this model takes {expected}")
        x = self.conv1(mel.T)  # (2 * n_ctx, n_state)
        x = self.conv2(x, add=self.positional_embedding)  # (n_ctx, n_state)
        for block in self.blocks:
            x = block(x)
        self.matmul.threads.by_rows(self.ln_post.in_place, x)
        return x


class ResidualAttentionBlock:
    """Attention and feed-forward, each normalised before and added to the stream after."""

    def __init__(self, weights: Weights, n_head: int, matmul: Matmul) -> None:
        self.matmul = matmul
        self.attn_ln = LayerNorm(weights["attn_ln.weight"], weights["attn_ln.bias"])
        self.attn = AttentionNPU(
            weights["attn.query.weight"],
            weights["attn.key.weight"],
            weights["attn.value.weight"],
            weights["attn.out.weight"],
            q_bias=weights["attn.query.bias"],
            v_bias=weights["attn.value.bias"],
            out_bias=weights["attn.out.bias"],
            n_head=n_head,
            matmul=matmul,
        )
        self.mlp_ln = LayerNorm(weights["mlp_ln.weight"], weights["mlp_ln.bias"])
        self.mlp0 = Linear(weights["mlp.0.weight"], weights["mlp.0.bias"], matmul, name="mlp.0", after=gelu)
        self.mlp2 = Linear(weights["mlp.2.weight"], weights["mlp.2.bias"], matmul, name="mlp.2")

    def __call__(self, x: F32) -> F32:
        """x: (n_ctx, n_state) float32 in and out."""
        x = self.attn(x, norm=self.attn_ln, add=x)
        return self.matmul.by_rows(x, self.mlp0.step(before=self.mlp_ln), self.mlp2.step(add=x))


class Conv1d(Linear):
    """A convolution of width 3, padded by 1, and GELU. One product: three neighbouring rows side by side."""

    def __init__(
        self,
        weight: NDArray[np.floating],
        bias: NDArray[np.floating],
        matmul: Matmul,
        *,
        stride: int,
        name: str,
    ) -> None:
        flat = weight.transpose(0, 2, 1).reshape(len(weight), -1)
        super().__init__(flat, bias, matmul, name=name, after=gelu)
        self.stride = stride

    def __call__(self, x: F32, *, before: RowFunction = as_it_is, add: F32 | None = None) -> F32:
        """x: (n_frames, in) float32. Returns (n_frames / stride, out) float32."""
        padded = np.zeros((len(x) + 2, x.shape[1]), np.float32)
        padded[1:-1] = x
        # im2col without a copy: three rows of `padded` are 3 * in numbers in a row.
        windows = sliding_window_view(padded.reshape(-1), 3 * x.shape[1])[:: self.stride * x.shape[1]]
        return super().__call__(windows, before=before, add=add)


class LayerNorm:
    def __init__(self, weight: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        self.weight, self.bias = _f32(weight), _f32(bias)

    def __call__(self, x: F32) -> F32:
        """x: some rows of (n_ctx, n_state) float32. Returns as much."""
        y = np.empty_like(x)
        layer_norm(x, self.weight, self.bias, out=y)
        return y

    def in_place(self, x: F32) -> None:
        layer_norm(x, self.weight, self.bias, out=x)


def encoder_problems(dims: ModelDimensions) -> list[Problem]:
    """Every product of one window, for choosing a kernel."""
    n_ctx, n_state, n_mlp = dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_mlp
    block = [
        *attention_problems(n_ctx, n_state, dims.n_audio_head),
        Problem(n_ctx, n_state, n_mlp),
        Problem(n_ctx, n_mlp, n_state),
    ]
    stem = [Problem(2 * n_ctx, 3 * dims.n_mels, n_state), Problem(n_ctx, 3 * n_state, n_state)]
    return stem + block * dims.n_audio_layer


def _f32(array: NDArray[np.floating]) -> F32:
    return array.astype(np.float32)


def _below(prefix: str, weights: Weights) -> Weights:
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
