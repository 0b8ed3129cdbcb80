"""How long after the end of speech its final text came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from statistics import median

from whisper_npu.live.line import Line


@dataclass(frozen=True)
class Latencies:
    """Seconds from the end of speech to the final text, of each utterance in which something was said."""

    seconds: tuple[float, ...]

    @classmethod
    def of(cls, lines: Iterable[tuple[Line, float]], began: float) -> Latencies:
        """lines: each with the time at which it came; partial ones and those without text do not count.

        began: the time at which the first sample sounded, on the same clock, in s.
        """
        return cls(tuple(came - began - line.end for line, came in lines if line.is_final and line.text))

    @property
    def median(self) -> float | None:
        """None where nothing was said."""
        return median(self.seconds) if self.seconds else None

    @property
    def percentile_95(self) -> float | None:
        """The smallest that 95 of 100 do not exceed (nearest rank); None where nothing was said."""
        ordered = sorted(self.seconds)
        return ordered[ceil(0.95 * len(ordered)) - 1] if ordered else None

    def __str__(self) -> str:
        """Such as: 1.10 s (median), 1.62 s (95th percentile) of 7 lines."""
        if self.median is None:
            return "no line, so no latency"
        n = len(self.seconds)
        lines = "1 line" if n == 1 else f"{n} lines"
        return f"{self.median:.2f} s (median), {self.percentile_95:.2f} s (95th percentile) of {lines}"
