"""Encoder sizes of the released models, for planning and modelling without a checkpoint.

When a model runs, its sizes come from the checkpoint. Source: openai/whisper, model-card.md, and each model's
config.json on the hub.
"""

from __future__ import annotations

from whisper_npu.encoder import ModelDimensions
from whisper_npu.errors import UnknownModelError, quoted
from whisper_npu.near import did_you_mean


def _dimensions(n_state: int, n_layer: int, n_mels: int = 80) -> ModelDimensions:
    return ModelDimensions(
        n_mels=n_mels,
        n_audio_ctx=1500,
        n_audio_state=n_state,
        n_audio_head=n_state // 64,
        n_audio_layer=n_layer,
        n_audio_mlp=4 * n_state,
    )


_TINY, _BASE, _SMALL = _dimensions(384, 4), _dimensions(512, 6), _dimensions(768, 12)
_MEDIUM, _LARGE, _LARGE_V3 = _dimensions(1024, 24), _dimensions(1280, 32), _dimensions(1280, 32, n_mels=128)
RELEASED: dict[str, ModelDimensions] = {
    "tiny.en": _TINY,
    "tiny": _TINY,
    "base.en": _BASE,
    "base": _BASE,
    "small.en": _SMALL,
    "small": _SMALL,
    "medium.en": _MEDIUM,
    "medium": _MEDIUM,
    "large-v1": _LARGE,
    "large-v2": _LARGE,
    "large-v3": _LARGE_V3,
    "large": _LARGE_V3,
    "large-v3-turbo": _LARGE_V3,
    "turbo": _LARGE_V3,
    # Distilled models keep their teacher's encoder.
    "distil-small.en": _SMALL,
    "distil-medium.en": _MEDIUM,
    "distil-large-v2": _LARGE,
    "distil-large-v3": _LARGE_V3,
    "distil-large-v3.5": _LARGE_V3,
}


def released_dimensions(model: str) -> ModelDimensions:
    """The encoder sizes of a released model. Raises UnknownModelError for any other name."""
    if model not in RELEASED:
        hint = did_you_mean(model, RELEASED)
        raise UnknownModelError(
            f"no sizes are known for model {quoted(model)}: "
            f"{hint and f'{hint} '}there are {', '.join(RELEASED)}"
        )
    return RELEASED[model]
