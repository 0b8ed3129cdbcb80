"""What a model calls while it works on a recording, for those who measure it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from whisper_npu.npu.device import Run

# Called with a stage, and its start and end in seconds on perf_counter's clock. Stages: "audio", "mel",
# "encoder" (one call of it), and "transcribe", which includes mel, encoder and decoding.
OnStage = Callable[[str, float, float], None]
OnRun = Callable[[Run], None]
# Called with a stage as it starts; what it returns is a context for as long as the stage lasts. Stages:
# "audio", "decode", which holds "mel" and "encoder" (one call of it), and "other" for the caller's part.
Stage = Callable[[str], AbstractContextManager[None]]


def ignore_run(run: Run) -> None:
    """The default: nobody observes."""


def ignore_stage(stage: str, start: float, end: float) -> None:
    """The default: nobody observes."""


def no_question() -> None:
    """The default: the work goes on."""


def no_context(stage: str) -> AbstractContextManager[None]:
    """The default: a stage needs nothing around it."""
    return nullcontext()
