"""How far a run of `transcribe` is, on stderr, and what is printed above that.

On a terminal it is one line that is never still; elsewhere one line at the start and one every half minute.
Nothing heavy is imported here, so that the line can move while the rest of the program is loading.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, RLock, Thread
from time import perf_counter
from typing import Protocol, TextIO

from whisper_npu.apps.cli.tally import Tally, about, duration, left, of_all, percent, speed
from whisper_npu.apps.cli.terminal import Stderr
from whisper_npu.apps.sources import Recording
from whisper_npu.errors import error_line, shown
from whisper_npu.screen import knows_codes
from whisper_npu.transcription.clips import seconds_within

HALF_A_MINUTE = 30.0


@dataclass(frozen=True)
class Awaited:
    """A recording that is to be transcribed."""

    name: str
    seconds: float | None  # of audio; None where its header does not tell


def awaited(recordings: Sequence[Recording], seconds: Sequence[float | None] | None = None) -> list[Awaited]:
    """seconds: their lengths; None: not known yet. What cannot be read has none."""
    known = seconds or [None] * len(recordings)
    return [Awaited(r.name, 0.0 if r.problem else s) for r, s in zip(recordings, known, strict=True)]


class Ticker:
    """Calls `action` every so many seconds, in a thread of its own, between `start` and `stop`."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds = seconds
        self._action = action
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        with suppress(RuntimeError):  # no thread can be started: the work goes on without
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)  # it may hang in a terminal that is held by Ctrl-S

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._action()


class Display(Protocol):
    """How progress is shown. `step`: what the program does instead of transcribing, such as loading."""

    @property
    def every(self) -> float:
        """Seconds between two calls of `tick`; 0: it need not be called."""

    def changed(self, tally: Tally, name: str, step: str | None) -> None:
        """A step or a recording has begun."""

    def tick(self, tally: Tally, name: str, step: str | None) -> None:
        """Time has passed."""

    def clear(self) -> None:
        """Make room for a line that is printed next."""


class Progress:
    """A context manager for the time in which recordings are transcribed.

    quiet: show nothing but failures. stderr: where; None where it is closed.
    clips: what is transcribed of each recording, as `TranscribeOptions.clip_timestamps`. Nothing else counts:
    neither in lengths nor in what is done.
    clock, ticker: the time, and what calls `tick`; a test has its own.

    All methods may be called in any thread. None fails because stderr does.
    """

    def __init__(
        self,
        recordings: Sequence[Awaited],
        *,
        quiet: bool,
        clips: Sequence[float] = (0.0,),
        stderr: TextIO | None = None,
        clock: Callable[[], float] = perf_counter,
        ticker: Callable[[float, Callable[[], None]], Ticker] = Ticker,
    ) -> None:
        self._names = [shown(recording.name) for recording in recordings]
        self._clips = clips
        self._tally = Tally([self._heard(recording.seconds) for recording in recordings], clock)
        self._quiet, self._clock = quiet, clock
        self._stderr = Stderr(stderr or sys.stderr)
        self._lock = RLock()
        self._position: Callable[[], float] | None = None  # of the recording at work
        self._step: str | None = "starting"
        self._is_open = False
        self._display = _display(self._stderr, quiet)
        self._ticker = ticker(self._display.every, self._tick)

    def __enter__(self) -> Progress:
        try:
            self._is_open = True
            self._show()
            if self._display.every:
                self._ticker.start()
        except BaseException:  # an interrupt: __exit__ will not be called
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect(self, recordings: Sequence[Awaited], clips: Sequence[float]) -> None:
        """These, and of each these clips, are to be transcribed, and not what was named at first."""
        with self._lock:
            self._clips = clips
            self._names = [shown(recording.name) for recording in recordings]
            self._tally = Tally([self._heard(recording.seconds) for recording in recordings], self._clock)

    def say(self, step: str) -> None:
        """The program does something else than transcribing, such as loading a model."""
        with self._lock:
            self._step = shown(step)
            self._show()

    def read(self, number: int) -> None:
        """Recording `number`, from 1, is about to be read."""
        with self._lock:
            self._tally.take(number)
            self._step = f"reading {self._name}"
            self._show()

    def begin(self, seconds: float | None = None, before: float = 0.0) -> None:
        """It is being transcribed.

        seconds: the recording's length, which reading it has shown. before: what an earlier run has done.
        """
        with self._lock:
            self._step = None
            self._position = None
            self._tally.begin(self._heard(seconds), self._heard(before) or 0.0)
            self._show()

    def advance(self, seconds: float) -> None:
        """seconds: how far this recording is done, from its start."""
        with self._lock:
            self._tally.advance(seconds_within(self._clips, seconds))

    def follow(self, position: Callable[[], float]) -> None:
        """Ask this, in any thread, how far the recording is done: seconds from its start."""
        with self._lock:
            self._position = position

    def done(self) -> None:
        """This recording is done."""
        with self._lock:
            self._position = None
            self._tally.finish()

    def fail(self, message: str) -> None:
        """The recording being read or transcribed failed. Prints one line, even if quiet."""
        with self._lock:
            self._position = None
            self._tally.drop()
            self._display.clear()
            self._stderr.print(error_line(message))

    def note(self, line: str) -> None:
        """Print a line for people on stderr, above the bar; nothing if quiet."""
        if not self._quiet:
            self.warn(line)

    def warn(self, line: str) -> None:
        """The same, also if quiet: something is lost."""
        with self.above():
            self._stderr.print(shown(line))

    @contextmanager
    def above(self) -> Iterator[None]:
        """For printing: there is no bar on the screen within it, and soon after it is drawn again below.

        Soon, not at once: what goes into a pipe may be printed by its reader on the same screen.
        """
        with self._lock:
            self._display.clear()
            yield

    def _show(self) -> None:
        if self._is_open:
            self._display.changed(self._tally, self._name, self._step)

    def _tick(self) -> None:
        with self._lock:
            if self._is_open:
                if self._position is not None:
                    self.advance(self._position())
                self._display.tick(self._tally, self._name, self._step)

    def _heard(self, length: float | None) -> float | None:
        """Seconds of a recording that are transcribed."""
        return None if length is None else seconds_within(self._clips, length)

    @property
    def _name(self) -> str:
        return self._names[self._tally.number - 1] if self._tally.number else ""

    def close(self) -> None:
        """Nothing is shown any more. `fail` and `note` still print."""
        self._is_open = False
        try:
            self._ticker.stop()
        finally:
            if self._lock.acquire(timeout=1.0):  # the ticker holds it while it hangs in a held terminal
                try:
                    self._display.clear()
                finally:
                    self._lock.release()


def _display(stderr: Stderr, quiet: bool) -> Display:
    if quiet:
        return _Nothing()
    if knows_codes(stderr.stream, os.environ):
        from whisper_npu.apps.cli.progress_bar import ProgressBar  # rich, a tenth of a second

        return ProgressBar(stderr)
    return _Lines(stderr)


class _Nothing:
    every = 0.0

    def changed(self, tally: Tally, name: str, step: str | None) -> None:
        pass

    def tick(self, tally: Tally, name: str, step: str | None) -> None:
        pass

    def clear(self) -> None:
        pass


class _Lines:
    """For logs, pipes and terminals without escape codes."""

    every = HALF_A_MINUTE

    def __init__(self, stderr: Stderr) -> None:
        self._stderr = stderr
        self._has_begun = False

    def changed(self, tally: Tally, name: str, step: str | None) -> None:
        if tally.has_begun and not self._has_begun:
            self._has_begun = True
            what = name if tally.count == 1 else f"{tally.count} recordings"
            length = f" ({about(tally)}{tally.total:,.1f} s)" if tally.total else ""
            self._stderr.print(f"whisper-npu: transcribing {what}{length}")

    def tick(self, tally: Tally, name: str, step: str | None) -> None:
        if not tally.has_begun:
            self._stderr.print(f"whisper-npu: {step}, {duration(tally.elapsed)} so far")
            return
        parts = [of_all(tally), percent(tally)]
        if tally.total:
            parts.append(f"{tally.done:,.0f} s of {about(tally)}{tally.total:,.0f} s")
        if tally.speed is None:
            parts.append(f"{duration(tally.elapsed)} so far")
        parts += [speed(tally), left(tally)]
        self._stderr.print("whisper-npu: " + ", ".join(part for part in parts if part))

    def clear(self) -> None:
        pass
