"""The encoder inside Hugging Face's Whisper classes, and inside a pipeline that holds one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whisper_npu.checkpoint.huggingface_folder import dimensions, encoder_names
from whisper_npu.compat.attached import Attached, unknown_kind
from whisper_npu.compat.forward import attach_module, attached_module, encode
from whisper_npu.errors import UsageError
from whisper_npu.npu.device import Device


def attach(model: Any, *, device: str | Device, kernel: str, threads: int | None) -> Attached:
    """Let the device do the forward of the model's encoder, with the model's own weights.

    model: a WhisperForConditionalGeneration, a WhisperModel, another that has its encoder, the encoder alone,
    or a pipeline with one of them.
    Raises UsageError for another kind of model, and what `attach_module` raises.
    """
    whisper, module = _encoder(model)
    if getattr(whisper.config, "use_weighted_layer_sum", False):
        raise UsageError(
            "use_weighted_layer_sum needs the output of every layer, and the device gives the last one's only"
        )
    dims, _ = dimensions(module.config.to_dict(), "the model's configuration")
    names = encoder_names(dims.n_audio_layer)
    names = {ours: theirs.removeprefix("encoder.") for ours, theirs in names.items()}
    return attach_module(module, dims, names, _forward_of, device=device, kernel=kernel, threads=threads)


def attached_to(model: Any) -> Attached | None:
    """What `attach` gave for this model, or for another one with its encoder. Raises UsageError."""
    _, module = _encoder(model)
    return attached_module(module)


def _encoder(model: Any) -> tuple[Any, Any]:
    """The model, without a pipeline around it, and its encoder."""
    from transformers import Pipeline
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    whisper = model.model if isinstance(model, Pipeline) else model
    module = (
        whisper.get_encoder() if hasattr(whisper, "get_encoder") else getattr(whisper, "encoder", whisper)
    )
    if not isinstance(module, WhisperEncoder):
        raise unknown_kind(whisper)
    return whisper, module


def _forward_of(attached: Attached) -> Callable[..., Any]:
    """WhisperEncoder.forward, with its result, and its parameters in the order of transformers 4."""
    from transformers.modeling_outputs import BaseModelOutput

    def forward(
        module: Any,
        input_features: Any,
        attention_mask: Any = None,  # Whisper's encoder does not use it
        head_mask: Any = None,
        output_attentions: object = None,
        output_hidden_states: object = None,
        return_dict: bool | None = None,
        **kwargs: Any,  # for the layers: nothing that changes what comes out
    ) -> Any:
        if output_hidden_states is None:
            output_hidden_states = module.config.output_hidden_states
        if output_hidden_states:
            raise UsageError(
                "output_hidden_states: the device gives the encoder's last hidden state only; leave it out, "
                "or detach() the encoder"
            )
        if head_mask is not None:
            raise UsageError("head_mask: the device attends with every head; leave it out, or detach()")
        # Attentions stay None even if asked for: generate() asks for the encoder's whenever it needs the
        # decoder's, as for the timestamps of words.
        features = encode(attached, module, input_features, module.conv1.weight.dtype)
        output = BaseModelOutput(last_hidden_state=features)
        return output.to_tuple() if return_dict is False else output

    return forward
