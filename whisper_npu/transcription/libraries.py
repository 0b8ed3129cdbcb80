"""faster-whisper and CTranslate2, imported without what only other uses of them need.

PyAV, with all of FFmpeg, takes 50 ms and 18 MB, asyncio 20 ms (MEASURED): most recordings are decoded without
the one, and all without the other. onnxruntime, which runs Silero VAD, has telemetry from version 1.32 on:
nobody is told what is done here, unless the user has set its variable otherwise.
"""

from __future__ import annotations

import os

from whisper_npu.deferred import deferred

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

with deferred("av", "asyncio"):
    import ctranslate2
    import faster_whisper
    import faster_whisper.vad

__all__ = ["ctranslate2", "faster_whisper"]
