"""How far a run of `archive` is, on stderr: a line at the foot of a terminal, or one every half minute."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from threading import RLock
from time import perf_counter
from typing import TextIO

from whisper_npu.apps.archive.tasks import Done, Failed
from whisper_npu.apps.cli.progress import HALF_A_MINUTE, Ticker
from whisper_npu.apps.cli.tally import duration
from whisper_npu.apps.cli.terminal import Stderr, encodable
from whisper_npu.errors import error_line, shown
from whisper_npu.screen import columns, knows_codes

_REDRAWN = 0.5  # seconds
_MANY = 10  # recordings
_MOST_NAMED = 1000  # failures, as they happen: whoever has not mounted a share has thousands
_ERASE = "\r\x1b[K"


class ArchiveProgress:
    """A context manager for the time of a run; a `News` of apps/archive/news.py.

    quiet: print only failures. clock, ticker: the time, and what calls `tick`; a test has its own.
    """

    def __init__(
        self,
        *,
        quiet: bool,
        stderr: TextIO | None = None,
        clock: Callable[[], float] = perf_counter,
        ticker: Callable[[float, Callable[[], None]], Ticker] = Ticker,
    ) -> None:
        self._quiet, self._clock = quiet, clock
        self._stderr = Stderr(stderr or sys.stderr)
        self._lock = RLock()
        self._is_line = not quiet and knows_codes(self._stderr.stream, os.environ)
        self._ticker = ticker(_REDRAWN if self._is_line else HALF_A_MINUTE, self.tick)
        self._step = "starting"
        self._n_todo = self._n_done = self._n_failed = 0
        self._seconds_done = 0.0  # of audio, parts of recordings counted
        self._seconds_whole = 0.0  # of audio, of recordings that are whole
        self._ran_on: dict[str, int] = {}
        self._n_asked = 0
        self._began: float | None = None  # the first worker was ready

    def __enter__(self) -> ArchiveProgress:
        if not self._quiet:
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._quiet:
            self._ticker.stop()
        with self._lock:
            self._clear()

    def found(self, n_todo: int, n_before: int) -> None:
        with self._lock:
            self._n_todo, self._step = n_todo, ""
        before = f", {n_before:,} done already" if n_before else ""
        self.note(f"{n_todo:,} recording{'' if n_todo == 1 else 's'} to transcribe{before}")

    def say(self, step: str) -> None:
        with self._lock:
            self._step = shown(step)

    def note(self, line: str) -> None:
        if not self._quiet:
            self._print(shown(f"whisper-npu: {line}"))

    def crew(self, ran_on: Mapping[str, int], n_asked: int) -> None:
        with self._lock:
            grown = {device for device, count in ran_on.items() if count and device not in self._ran_on}
            self._ran_on |= dict.fromkeys(self._ran_on, 0) | dict(ran_on)
            self._n_asked = n_asked
            self._step = "waiting for workers" if not any(ran_on.values()) else ""
            if self._began is None and grown:
                self._began = self._clock()
        for device in sorted(grown):
            self.note(f"a worker is ready: {device}")

    def part(self, audio_seconds: float) -> None:
        with self._lock:
            self._seconds_done += audio_seconds

    def done(self, done: Done) -> None:
        with self._lock:
            self._n_done += 1
            self._seconds_whole += done.audio_seconds

    def failed(self, failed: Failed) -> None:
        with self._lock:
            self._n_failed += 1
            if self._n_failed <= _MOST_NAMED:
                self._print(error_line(f"{failed.source.name}: {failed.reason}"))
            elif self._n_failed == _MOST_NAMED + 1:
                self._print(error_line("more recordings fail: results.jsonl will have all of them"))

    def tick(self) -> None:
        with self._lock:
            text = encodable(self.line(), self._stderr.stream) if self._stderr.stream else self.line()
            if self._is_line and self._stderr.stream is not None:
                self._stderr.write(_ERASE + text[: max(1, columns(self._stderr.stream, os.environ) - 1)])
            else:
                self._stderr.print(f"whisper-npu: {text}")

    def line(self) -> str:
        """How far it is, in one line."""
        n_workers = sum(self._ran_on.values())
        ended = self._n_done + self._n_failed
        parts = [f"{ended:,} of {self._n_todo:,}"] if self._n_todo else []
        if self._n_failed:
            parts.append(f"{self._n_failed:,} failed")
        seconds = max(self._seconds_done, self._seconds_whole)
        if seconds and self._began is not None:
            pace = seconds / max(0.001, self._clock() - self._began)
            parts += [f"{duration(seconds)} of audio", f"{pace:,.1f} h per hour"]
        if self._began is not None:
            missing = "" if n_workers >= self._n_asked else f" of {self._n_asked}"
            parts.append(f"{n_workers}{missing} worker{'' if self._n_asked == 1 else 's'}")
        if left := self._left(ended):
            parts.append(f"{duration(left)} left")
        if self._step:
            parts.append(self._step)
        return ", ".join(parts)

    def _left(self, ended: int) -> float | None:
        """Seconds, at the pace so far: recordings are taken to be alike, which the last few need not be."""
        if self._began is None or not self._n_done or self._n_todo - ended < _MANY:
            return None
        return (self._clock() - self._began) / ended * (self._n_todo - ended)

    def _print(self, line: str) -> None:
        with self._lock:
            self._clear()
            self._stderr.print(line)

    def _clear(self) -> None:
        if self._is_line:
            self._stderr.write(_ERASE)
