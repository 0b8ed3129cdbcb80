"""Time of an audio stream that FFmpeg skips, so that its time stamps leave it out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate


class Pauses:
    """Those of one stream."""

    def __init__(self, found: Iterable[tuple[int, float]] = ()) -> None:
        """found: for each the place in the file behind which it counts, and how many seconds it lasts."""
        ordered = sorted(found)
        self._places = [place for place, _ in ordered]
        self._ends = list(accumulate((seconds for _, seconds in ordered), initial=0.0))

    @property
    def seconds(self) -> float:
        """Of all together."""
        return self._ends[-1]

    def before(self, place: int) -> float:
        """Seconds of pause before what lies there."""
        return self._ends[bisect_right(self._places, place)]
