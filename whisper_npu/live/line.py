"""What was said, line by line, while somebody speaks."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.transcription.transcript import Segment


@dataclass(frozen=True)
class Line:
    """What was said between two pauses. Times are in seconds from the start of listening.

    A partial line may be revised by a later one with the same id, or be withdrawn by a final one without
    text. A final line is never revised.
    """

    id: int  # of the utterance, counted from 0
    start: float
    end: float  # of the speech: silence behind it does not count
    text: str  # without spaces at its ends; empty where nothing was said after all
    is_final: bool
    segments: tuple[Segment, ...] = ()  # of a final line: Whisper's
    language: str = "en"  # the code
