"""The parts of a recording that are transcribed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import inf


def seconds_within(clips: Sequence[float], end: float) -> float:
    """Seconds of the clips that lie before `end`.

    clips: as `TranscribeOptions.clip_timestamps`: start, end, start, ... in s; the last one may have no end.
    """
    starts_and_stops = zip_longest(clips[::2], clips[1::2], fillvalue=inf)
    return sum(max(0.0, min(stop, end) - start) for start, stop in starts_and_stops)
