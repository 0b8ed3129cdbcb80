"""The encoder inside Hugging Face's Whisper classes, and inside a pipeline that holds one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whisper_npu.checkpoint.huggingface_folder import dimensions, encoder_names
from whisper_npu.compat.attached import Attached, unknown_kind
from whisper_npu.compat.forward import attach_module, encode
from whisper_npu.errors import UsageError
from whisper_npu.npu.device import Device


def attach(model: Any, *, device: str | Device, kernel: str, threads: int | None) -> Attached:
    """Let the device do the forward of the model's encoder, with the model's own weights.

    model: a WhisperForConditionalGeneration, a WhisperModel, or a pipeline with one of them.
    Raises UsageError for another kind of model, and what `attach_module` raises.
    """
    from transformers import Pipeline
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    whisper = model.model if isinstance(model, Pipeline) else model
    module = whisper.get_encoder() if hasattr(whisper, "get_encoder") else whisper
    if not isinstance(module, WhisperEncoder):
        raise unknown_kind(whisper)
    dims, _ = dimensions(module.config.to_dict(), "the model's configuration")
    names = encoder_names(dims.n_audio_layer)
    names = {ours: theirs.removeprefix("encoder.") for ours, theirs in names.items()}
    return attach_module(module, dims, names, _forward_of, device=device, kernel=kernel, threads=threads)


def _forward_of(attached: Attached) -> Callable[..., Any]:
    """WhisperEncoder.forward, with its parameters and its result."""
    from transformers.modeling_outputs import BaseModelOutput

    def forward(
        module: Any,
        input_features: Any,
        attention_mask: Any = None,  # Whisper's encoder does not use it
        *,
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
        # Attentions stay None even if asked for: generate() asks for the encoder's whenever it needs the
        # decoder's, as for the timestamps of words.
        output = BaseModelOutput(last_hidden_state=encode(attached, module, input_features))
        return output.to_tuple() if return_dict is False else output

    return forward
