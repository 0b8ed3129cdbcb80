"""Where a transcription that was interrupted goes on, to the text that it would have had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from whisper_npu.errors import UsageError

_FRAMES_PER_SECOND = 100  # of Whisper's log-mel


@dataclass(frozen=True)
class ResumePoint:
    """The start of a window. The segments before it are whole; what comes behind is decoded again.

    A window that had to be decoded at a temperature above 0 is sampled, and may read otherwise the next time.
    """

    n_segments: int  # that are whole
    window: int  # the frame of 10 ms at which it starts; in batches its number. Without what was cut out
    seconds: float  # where in the recording it starts
    tokens: tuple[int, ...]  # of the text before it that the decoder reads
    spoken_until: float  # where the last word ends, in seconds without what was cut out; 0: unknown
    language: str
    language_probability: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> ResumePoint:
        """Raises UsageError for what `to_dict` cannot have given."""
        try:
            point = cls(**{**found, "tokens": tuple(found["tokens"])})
        except (TypeError, KeyError) as error:
            raise UsageError(f"no point to go on from ({error}): begin anew") from error
        whole = (point.n_segments, point.window, *point.tokens)
        numbers = (point.seconds, point.spoken_until, point.language_probability)
        if (
            not all(type(number) is int and 0 <= number < 2**31 for number in whole)
            or not all(type(number) in (int, float) and 0 <= number < 2**31 for number in numbers)
            or type(point.language) is not str
        ):
            raise UsageError("no point to go on from (a value is out of range): begin anew")
        return point


def clips_from(clips: tuple[float, ...], frame: int) -> tuple[float, ...]:
    """What is left of the clips from a frame on; empty if nothing is.

    clips: as `TranscribeOptions.clip_timestamps`: start, end, start, ... in s; the last one may have no end.
    """
    seconds = frame / _FRAMES_PER_SECOND
    left: list[float] = []
    for i in range(0, len(clips), 2):
        start, *end = clips[i : i + 2]
        if not end or end[0] > seconds:
            left += [max(start, seconds), *end]
    return tuple(left)
