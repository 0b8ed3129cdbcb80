"""The segments of a recording as they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from inspect import GEN_RUNNING, getgeneratorstate
from threading import Event, RLock
from types import TracebackType
from typing import Any

from whisper_npu.audio import Sound
from whisper_npu.errors import CancelledError
from whisper_npu.transcription.clips import seconds_within
from whisper_npu.transcription.loop import as_segment
from whisper_npu.transcription.options import WHOLE_RECORDING
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.resume import ResumePoint
from whisper_npu.transcription.took import RunOn, Switch, Took
from whisper_npu.transcription.transcript import Segment, Transcript

OnProgress = Callable[[float, float], None]  # seconds that are done, of how many


def ignore_progress(seconds_done: float, duration: float) -> None:
    """The default: nobody follows."""


def nothing_heard(level: str) -> str:
    """The warning of a recording without any text. level: `Sound.level`."""
    return f"no speech was found: {level}"


@dataclass
class Decoded:
    """What is known of one recording so far. `Model` fills it in, `Stream` reads it."""

    source: str  # the recording's name
    ran_on: RunOn
    on_progress: OnProgress = ignore_progress
    duration: float = 0.0  # seconds
    clips: tuple[float, ...] = WHOLE_RECORDING  # as `TranscribeOptions.clip_timestamps`
    language: str = ""
    language_probability: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    n_before: int = 0  # segments of an earlier run, after which this one goes on
    point: ResumePoint | None = None  # where another run could go on
    seconds_done: float = 0.0  # of the recording
    finished: bool = False
    warnings: list[str] = field(default_factory=list)
    cancelled: Event = field(default_factory=Event)
    closed: bool = False  # while another thread was at work on it
    took: Took = field(default_factory=Took)

    def hears(self, sound: Sound, after: ResumePoint | None) -> None:
        """The recording is read. after: where an earlier run has stopped."""
        self.duration = sound.duration
        self.warnings.extend(sound.warnings)
        self.n_before = after.n_segments if after else 0
        self.point = after
        self.seconds_done = after.seconds if after else 0.0

    def reach_window(self, point: ResumePoint) -> None:
        """All before this window is decoded."""
        self.point = replace(point, n_segments=self.n_before + len(self.segments))
        self._reach(point.seconds)

    def add(self, segment: Any) -> None:
        """segment: faster-whisper's."""
        one = as_segment(segment, id=self.n_before + len(self.segments), duration=self.duration)
        self.segments.append(one)
        self._reach(one.end)

    def switched(self, switch: Switch | None) -> None:
        """The device failed in this recording. Says so once."""
        if str(switch) not in self.warnings:
            self.warnings.append(str(switch))

    def finish(self, sound: Sound) -> None:
        if self.n_before == 0 and not any(segment.text.strip() for segment in self.segments):
            self.warnings.append(nothing_heard(sound.level))
        self._reach(self.duration)
        self.finished = True

    def _reach(self, seconds: float) -> None:
        """The recording is decoded up to here, at least."""
        done = min(seconds, self.duration)
        if done > self.seconds_done:
            self.seconds_done = done
            self.on_progress(done, self.duration)

    def go_on(self) -> None:
        """Raises CancelledError once the work is to end."""
        if self.closed or self.cancelled.is_set():
            raise CancelledError(f"{self.source}: cancelled after {self.seconds_done:.1f} s of the recording")


class Stream:
    """A context manager and an iterator of segments, each decoded when it is asked for.

    The model is at work on this recording until the stream is exhausted, closed or dropped: another thread
    that wants to transcribe waits for that. What has been decoded remains in `result`, also if an exception,
    such as KeyboardInterrupt, ended the decoding.

    >>> from whisper_npu import load_model
    >>> model = load_model("tiny.en")
    >>> with model.stream("samples/sns-0930.wav") as stream:
    ...     print(f"{stream.language}, {stream.duration} s")
    ...     for segment in stream:
    ...         print(segment.text)
    en, 3.29 s
     He might even have been made amiable himself.
    >>> stream.seconds_done, stream.finished
    (3.29, True)
    >>> model.close()
    """

    def __init__(self, work: Generator[Segment | None, None, None], decoded: Decoded) -> None:
        """work: yields None once the language is known, then the segments; fills in `decoded` meanwhile."""
        self._work = work
        self._decoded = decoded
        self._one_at_a_time = RLock()
        next(work)

    @property
    def language(self) -> str:
        """The code of the language, given or detected."""
        return self._decoded.language

    @property
    def language_probability(self) -> float:
        """From 0 to 1; 1 if the language was given."""
        return self._decoded.language_probability

    @property
    def duration(self) -> float:
        """Of the recording, in seconds."""
        return self._decoded.duration

    @property
    def seconds_done(self) -> float:
        """How far the decoding has come in the recording; never decreases. Any thread may ask, at any time.

        It moves with every window, in silence too.
        """
        return self._decoded.seconds_done

    @property
    def point(self) -> ResumePoint | None:
        """The start of the window that is being decoded, from which `Model.stream` can go on, with after=.

        None before the first window. Its `n_segments` are whole; those behind them are decoded again.
        """
        return self._decoded.point

    @property
    def finished(self) -> bool:
        """Whether all of the recording has been decoded."""
        return self._decoded.finished

    def result(self) -> Transcription:
        """What has been decoded so far, and what it took; all of it once the stream is exhausted."""
        decoded = self._decoded
        return Transcription(
            transcript=Transcript(
                segments=tuple(decoded.segments),
                language=decoded.language,
                language_probability=decoded.language_probability,
                duration=decoded.duration,
            ),
            took=replace(decoded.took, heard_seconds=seconds_within(decoded.clips, decoded.seconds_done)),
            ran_on=decoded.ran_on,
            source=decoded.source,
            warnings=tuple(decoded.warnings),
            finished=decoded.finished,
        )

    def cancel(self) -> None:
        """End the work soon, from any thread, and let the model go. Returns at once.

        A thread that waits for a segment gets CancelledError before the next window is encoded, or decoded
        once more; whoever asks for one later gets it, too.
        """
        self._decoded.cancelled.set()
        if self._one_at_a_time.acquire(blocking=False):  # nobody waits for a segment
            try:
                self._close()
            finally:
                self._one_at_a_time.release()

    def close(self) -> None:
        """Decode no further, and let the model go.

        If another thread waits for a segment, that thread gets CancelledError, and this one waits for it.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            self._decoded.closed = True
            self._one_at_a_time.acquire()
        try:
            self._close()
        finally:
            self._one_at_a_time.release()

    def _close(self) -> None:
        if getgeneratorstate(self._work) == GEN_RUNNING:  # a callback that it has called closes it
            self._decoded.closed = True
        else:
            self._work.close()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Segment:
        with self._one_at_a_time:
            if not self._decoded.finished and self._decoded.cancelled.is_set():
                self._close()
                self._decoded.go_on()
            segment = next(self._work)
        assert segment is not None
        return segment

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
