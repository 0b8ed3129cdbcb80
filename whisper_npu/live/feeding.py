"""From a microphone, or what plays one, to lines: one thread feeds a session, another one works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Thread
from typing import Protocol

from whisper_npu.audio import Samples
from whisper_npu.live.line import Line
from whisper_npu.live.session import Session
from whisper_npu.transcription.model import Model

AHEAD = 30.0  # seconds of finished speech that wait, before a source that can wait has to
_POLL = 0.05  # seconds
_PATIENCE = 5.0  # seconds that a source may take to stop


class Source(Protocol):
    """Where sound comes from: a `Microphone`, or `Playing`."""

    @property
    def name(self) -> str: ...

    @property
    def is_live(self) -> bool:
        """Whether it goes on while nobody takes its blocks."""
        ...

    def blocks(self) -> Iterator[Samples]:
        """(n,) float32 at 16 kHz, until it ends or is stopped."""
        ...

    def stop(self) -> None: ...

    def heard_at(self, seconds: float) -> float:
        """When, on `time.monotonic`, the sound at `seconds` from its start was there."""
        ...


class Listening:
    """Feeds a session from a source, in a thread of its own, and works on it in that which asks for lines."""

    def __init__(self, source: Source, session: Session, model: Model) -> None:
        self.source, self.session = source, session
        self.model = model
        self._stopped = False
        self.failure: Exception | None = None  # of the source, or of hearing it: no more comes

    def lines(self) -> Iterator[Line]:
        """Partial and final ones as they come; to be called once.

        Raises what the source raises, once all that was heard before has become final; at once what
        `Work.run` raises.
        """
        thread = Thread(target=self._feed, name="listening", daemon=True)
        thread.start()
        try:
            while not self.session.is_done:
                work = self.session.take(timeout=1.0)
                line = None if work is None else work.run(self.model)
                if line is not None:
                    yield line
        finally:
            self.stop()
            thread.join(_PATIENCE)
        if self.failure is not None:
            raise self.failure

    def late(self, line: Line) -> float:
        """Seconds that have passed since the end of its speech sounded: the latency of a line that comes."""
        return time.monotonic() - self.source.heard_at(line.end)

    def stop(self) -> None:
        """Listen no more: what is open becomes final. Any thread may call it, a signal handler too."""
        self._stopped = True
        self.source.stop()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to listen no more."""
        return self._stopped

    def _feed(self) -> None:
        try:
            for block in self.source.blocks():
                self.session.feed(block)
                while not self.source.is_live and not self._stopped and self.session.seconds_behind > AHEAD:
                    time.sleep(_POLL)
        except Exception as error:
            self.failure = error
        finally:
            self.session.end()
