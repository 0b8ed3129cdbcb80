"""Where in time the frames of a stream belong: silence before them where sound is missing."""

from __future__ import annotations

from math import inf

# Seconds that a time stamp may be ahead of the sound before it. Recorders in browsers stamp packets as they
# come in, late by up to a tenth of a second; silence within a word would be worse than such a delay.
JITTER = 0.2
_BACK = 1.0  # seconds behind the sound before it: the stamps start again, as in files that were joined


class Clock:
    """Time stamps of a stream, in seconds, become the length of the silence before each frame.

    A stamp beyond what is possible belongs to files that were joined, or is damaged. The frames then follow
    one another, and later stamps are understood relative to it.
    """

    def __init__(
        self,
        start: float = 0.0,
        duration: float = inf,
        longest_gap: float = inf,
        longest_jump: float = inf,
        jitter: float = JITTER,
    ) -> None:
        """All in seconds.

        start: the stamp of the film's beginning; duration: of the film; longest_gap: that is possible at all;
        longest_jump: that is possible in the middle; jitter: by how much a stamp may be wrong.
        """
        self._start = start
        self._duration = duration
        self._longest_gap = longest_gap
        self._longest_jump = min(longest_gap, longest_jump)
        self._jitter = jitter

    def gap(self, stamp: float, seconds: float, *, is_exact: bool) -> float:
        """How much silence belongs between the first `seconds` and a frame with this stamp.

        is_exact: packets before it were lost, so that even a short gap is one.
        """
        gap = stamp - self._start - seconds
        longest = self._longest_jump if seconds else self._longest_gap
        if gap < -_BACK or gap > longest or seconds + gap > self._duration:
            self.ignore(gap)
            return 0.0
        return gap if gap > (0.0 if is_exact else self._jitter) else 0.0

    def ignore(self, gap: float) -> None:
        """The frame follows the one before it, whatever its stamp says, and so do those after it."""
        self._start += gap


def agree(stamp: float, expected: float) -> bool:
    """Whether two times, in seconds, are the same but for what recorders get wrong."""
    return abs(stamp - expected) <= JITTER
