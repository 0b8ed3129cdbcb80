"""Times that every player accepts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

Time = TypeVar("Time", int, float)


def milliseconds(seconds: float) -> int:
    """The nearest; 0 for what is not a number, or too large for one."""
    exact = 1000 * seconds
    return round(exact) if math.isfinite(exact) else 0


def in_order(spans: Iterable[tuple[Time, Time]], limit: Time, least: Time) -> list[tuple[Time, Time]]:
    """Starts and ends, changed only where that is needed to make them valid.

    Starts then never decrease, every span lasts at least `least`, and none is beyond `limit`.
    """
    ordered = []
    latest = least - least
    for start, end in spans:
        if start > latest:  # not so if it is not a number
            latest = max(latest, min(start, limit - least))
        end = end if end > latest + least else latest + least
        ordered.append((latest, min(end, limit)))
    return ordered
