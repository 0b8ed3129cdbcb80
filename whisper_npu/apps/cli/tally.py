"""How much of all recordings is done, how fast, and how long the rest will take.

Work is counted in seconds of audio. A recording whose length is not known yet is taken to be as long as those
that are known are on average; those of 0 s, which cannot be read or failed, say nothing about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter


class Tally:
    """seconds: of audio, one per recording; None where the length is not known before it is read."""

    def __init__(self, seconds: Sequence[float | None], clock: Callable[[], float] = perf_counter) -> None:
        self._seconds = list(seconds)
        self._clock = clock
        self._started = clock()
        self._began: float | None = None  # the first recording, after loading
        self._advanced = self._started  # when the last progress was made
        self._finished = 0.0  # seconds of audio of the recordings before this one
        self._current = 0.0  # of this one
        self._before = 0.0  # seconds of audio that an earlier run has done
        self.number = 0  # of the recording that is read or transcribed, from 1; 0: none yet
        self._is_open = False  # whether that recording is neither finished nor failed

    def take(self, number: int) -> None:
        """Recording `number`, from 1, is next."""
        self.number = number
        self._is_open = True

    def begin(self, seconds: float | None = None, before: float = 0.0) -> None:
        """It is read, and is being transcribed.

        seconds: its length, if reading has shown it. before: what an earlier run has done of it.
        """
        if seconds is not None:
            self._seconds[self.number - 1] = seconds
        self._current = before
        self._before += before
        if self._began is None:
            self._began = self._advanced = self._clock()

    def advance(self, seconds: float) -> None:
        """seconds: of this recording that are done, from its start. May be called though nothing is new."""
        length = self._seconds[self.number - 1]
        reached = seconds if length is None else min(seconds, length)
        if reached > self._current:  # otherwise the time since then is still to be counted down from `left`
            self._current = reached
            self._advanced = self._clock()

    def finish(self) -> None:
        """It is done."""
        length = self._seconds[self.number - 1]
        self._close(self._current if length is None else length)
        self._advanced = self._clock()

    def drop(self) -> None:
        """It failed: what was done of it counts, the rest is no work any more."""
        if self._is_open:  # otherwise only its files could not be written
            self._close(self._current)

    def _close(self, seconds: float) -> None:
        self._seconds[self.number - 1] = seconds
        self._finished += seconds
        self._current = 0.0
        self._is_open = False

    @property
    def has_begun(self) -> bool:
        """Whether the first recording is being transcribed: all before is loading."""
        return self._began is not None

    @property
    def count(self) -> int:
        return len(self._seconds)

    @property
    def done(self) -> float:
        """Seconds of audio."""
        return self._finished + self._current

    @property
    def is_estimate(self) -> bool:
        """Whether a part of `total` is a guess."""
        return None in self._seconds

    @property
    def total(self) -> float | None:
        """Seconds of audio; None where nothing is known of any recording."""
        known = [seconds for seconds in self._seconds if seconds is not None]
        n_unknown = self.count - len(known)
        if not n_unknown:
            return sum(known)
        lengths = [seconds for seconds in known if seconds > 0]
        return sum(lengths) / len(lengths) * (len(lengths) + n_unknown) if lengths else None

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.done / self.total) if self.total else None

    @property
    def elapsed(self) -> float:
        """Seconds since the program began to show progress, loading included."""
        return self._clock() - self._started

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second since the first recording began; None before anything is done."""
        done = self.done - self._before
        if self._began is None or done < 0.001 or self._advanced <= self._began:
            return None
        return done / (self._advanced - self._began)

    @property
    def left(self) -> float | None:
        """Seconds until all is done, at the speed so far."""
        if self.speed is None or self.total is None:
            return None
        return max(0.0, (self.total - self.done) / self.speed - (self._clock() - self._advanced))


def of_all(tally: Tally) -> str:
    """`12 of 50`; nothing where there is one recording only."""
    return f"{tally.number} of {tally.count}" if tally.number and tally.count > 1 else ""


def percent(tally: Tally) -> str:
    return "" if tally.fraction is None else f"{int(100 * tally.fraction)} %"


def speed(tally: Tally) -> str:
    """Times real time."""
    if tally.speed is None:
        return ""
    return f"{tally.speed:.1f}x" if tally.speed < 100 else f"{tally.speed:,.0f}x"


def left(tally: Tally) -> str:
    return "" if tally.left is None else f"{duration(tally.left)} left"


def seconds_done(tally: Tally) -> str:
    return f"{tally.done:,.0f} of {about(tally)}{tally.total:,.0f} s" if tally.total else ""


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours or (hours == 1 and minutes < 40):
        return f"{60 * hours + minutes} min"
    return f"{hours} h {minutes:02d} min"


def hours(seconds: float) -> str:
    """`0:42:10`."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def about(tally: Tally) -> str:
    """Before the total."""
    return "~" if tally.is_estimate else ""
