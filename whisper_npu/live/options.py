"""How live speech is cut into utterances."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from whisper_npu.errors import UsageError
from whisper_npu.transcription.options import TranscribeOptions


@dataclass(frozen=True)
class LiveOptions:
    """Seconds, all of them. Raises UsageError for a value out of range."""

    pause: float = 0.5  # of silence, with which an utterance ends
    longest: float = 20.0  # of an utterance: without a pause it is cut where it is quietest
    partial_every: float = 1.0  # between two partial lines of an utterance; 0: there are none

    def __post_init__(self) -> None:
        for name, least, most in (("pause", 0.1, 10.0), ("longest", 5.0, 28.0), ("partial_every", 0.0, 60.0)):
            value = getattr(self, name)
            if not isfinite(value) or not least <= value <= most:
                raise UsageError(f"{name} is {value:g} s, must be from {least:g} to {most:g} s", option=name)


# What of a whole recording cannot be said of sound that goes on, and what to say instead.
_OF_RECORDINGS = {
    "clip_timestamps": "there is no recording to take parts of: leave it out",
    "prefix": "it would begin every utterance: give initial_prompt",
    "batch_size": "one utterance comes after the other: leave it out",
    "vad_max_speech_duration_s": "longest says where speech is cut: give that",
    "vad_min_silence_duration_ms": "pause says with how much silence an utterance ends: give that",
    "vad_speech_pad_ms": "utterances keep what silence there is around them: leave it out",
}


def check_live_options(options: TranscribeOptions) -> None:
    """Raises UsageError for an option that has no sense where the end of the recording is not known."""
    for name, why in _OF_RECORDINGS.items():
        if getattr(options, name) != getattr(_DEFAULT, name):
            raise UsageError(f"{name} is for recordings, not for live speech: {why}", option=name)


_DEFAULT = TranscribeOptions()
