"""How live speech is cut into utterances."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from whisper_npu.errors import UsageError


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
