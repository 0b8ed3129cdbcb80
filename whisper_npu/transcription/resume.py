"""Where a transcription that was interrupted goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ResumePoint:
    """The end of a window, and what the next one needs of those before it."""

    seconds: float  # from the recording's start

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> ResumePoint:
        """What `to_dict` gave. Raises ValueError for anything else."""
        seconds = found.get("seconds")
        if not isinstance(seconds, float) or not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"seconds is {seconds!r}")
        return cls(seconds)
