"""How long after the end of speech its final text came."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True)
class Latencies:
    """Seconds from the end of speech to the final text, of each utterance in which something was said."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float | None:
        """None where nothing was said."""
        return median(self.seconds) if self.seconds else None

    @property
    def percentile_95(self) -> float | None:
        """The smallest that 95 of 100 do not exceed (nearest rank); None where nothing was said."""
        ordered = sorted(self.seconds)
        return ordered[ceil(0.95 * len(ordered)) - 1] if ordered else None
