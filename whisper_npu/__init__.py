"""Whisper speech recognition with its encoder laid out for the AMD XDNA1 NPU.

The public names are imported on first use, so that `import whisper_npu` and `whisper-npu --help` cost
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AttentionNPU": "whisper_npu.attention_npu",
    "TranscribeOptions": "whisper_npu.transcription.options",
    "WhisperModel": "whisper_npu.compat.faster_whisper",
    "load_model": "whisper_npu.transcription.load",
    "open_device": "whisper_npu.npu.open",
    "transcribe": "whisper_npu.transcription.load",
}

__all__ = [
    "AttentionNPU",
    "TranscribeOptions",
    "WhisperModel",
    "__version__",
    "load_model",
    "open_device",
    "transcribe",
]

if TYPE_CHECKING:
    from whisper_npu.attention_npu import AttentionNPU
    from whisper_npu.compat.faster_whisper import WhisperModel
    from whisper_npu.npu.open import open_device
    from whisper_npu.transcription.load import load_model, transcribe
    from whisper_npu.transcription.options import TranscribeOptions


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whisper_npu' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
