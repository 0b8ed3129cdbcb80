"""Whisper speech recognition with its encoder laid out for the AMD XDNA1 NPU.

The public names are imported on first use, so that `import whisper_npu` and `whisper-npu --help` cost
nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "AttentionNPU": "whisper_npu.attention_npu",
    "AudioError": "whisper_npu.errors",
    "CancelledError": "whisper_npu.errors",
    "DeviceError": "whisper_npu.errors",
    "DeviceNotFoundError": "whisper_npu.errors",
    "Model": "whisper_npu.transcription.model",
    "ResumePoint": "whisper_npu.transcription.resume",
    "Segment": "whisper_npu.transcription.transcript",
    "Stream": "whisper_npu.transcription.stream",
    "TranscribeOptions": "whisper_npu.transcription.options",
    "Transcript": "whisper_npu.transcription.transcript",
    "Transcription": "whisper_npu.transcription.result",
    "UsageError": "whisper_npu.errors",
    "WhisperNpuError": "whisper_npu.errors",
    "Word": "whisper_npu.transcription.transcript",
    "load_audio": "whisper_npu.audio",
    "open_audio": "whisper_npu.audio",
    "WhisperModel": "whisper_npu.compat.faster_whisper",
    "load_model": "whisper_npu.transcription.load",
    "open_device": "whisper_npu.npu.open",
    "transcribe": "whisper_npu.transcription.load",
}

__all__ = [
    "AttentionNPU",
    "AudioError",
    "CancelledError",
    "DeviceError",
    "DeviceNotFoundError",
    "Model",
    "ResumePoint",
    "Segment",
    "Stream",
    "TranscribeOptions",
    "Transcript",
    "Transcription",
    "UsageError",
    "WhisperModel",
    "WhisperNpuError",
    "Word",
    "__version__",
    "load_audio",
    "load_model",
    "open_audio",
    "open_device",
    "transcribe",
]

if TYPE_CHECKING:
    from whisper_npu.attention_npu import AttentionNPU
    from whisper_npu.audio import load_audio, open_audio
    from whisper_npu.compat.faster_whisper import WhisperModel
    from whisper_npu.errors import (
        AudioError,
        CancelledError,
        DeviceError,
        DeviceNotFoundError,
        UsageError,
        WhisperNpuError,
    )
    from whisper_npu.npu.open import open_device
    from whisper_npu.transcription.load import load_model, transcribe
    from whisper_npu.transcription.model import Model
    from whisper_npu.transcription.options import TranscribeOptions
    from whisper_npu.transcription.result import Transcription
    from whisper_npu.transcription.resume import ResumePoint
    from whisper_npu.transcription.stream import Stream
    from whisper_npu.transcription.transcript import Segment, Transcript, Word


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # or every mistyped name would have a type

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'whisper_npu' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
