"""The encoder inside a model of openai-whisper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whisper_npu.compat.attached import Attached, unknown_kind
from whisper_npu.compat.forward import attach_module, attached_module, encode
from whisper_npu.encoder import ModelDimensions, encoder_shapes
from whisper_npu.npu.device import Device


def attach(model: Any, *, device: str | Device, kernel: str, threads: int | None) -> Attached:
    """Let the device do the forward of the model's encoder, with the model's own weights.

    model: what whisper.load_model gives; UsageError for anything else. Raises what `attach_module` raises.
    """
    module = _encoder(model)
    theirs = model.dims
    dims = ModelDimensions(
        n_mels=theirs.n_mels,
        n_audio_ctx=theirs.n_audio_ctx,
        n_audio_state=theirs.n_audio_state,
        n_audio_head=theirs.n_audio_head,
        n_audio_layer=theirs.n_audio_layer,
        n_audio_mlp=4 * theirs.n_audio_state,  # ResidualAttentionBlock in whisper/model.py
    )
    names = {name: name for name in encoder_shapes(dims)}
    return attach_module(module, dims, names, _forward_of, device=device, kernel=kernel, threads=threads)


def attached_to(model: Any) -> Attached | None:
    """What `attach` gave for this model. Raises UsageError for another kind."""
    return attached_module(_encoder(model))


def _encoder(model: Any) -> Any:
    from whisper.model import Whisper

    if not isinstance(model, Whisper):
        raise unknown_kind(model)
    return model.encoder


def _forward_of(attached: Attached) -> Callable[..., Any]:
    """AudioEncoder.forward in whisper/model.py. x: (batch, n_mels, 2 * n_audio_ctx)."""

    def forward(module: Any, x: Any) -> Any:
        return encode(attached, module, x)

    return forward
