"""The segments of a recording as they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from inspect import GEN_RUNNING, getgeneratorstate
from threading import Event, RLock
from types import TracebackType

from whisper_npu.errors import CancelledError
from whisper_npu.transcription.clips import seconds_within
from whisper_npu.transcription.options import WHOLE_RECORDING
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.resume import ResumePoint
from whisper_npu.transcription.took import RunOn, Took
from whisper_npu.transcription.transcript import Segment, Transcript

OnProgress = Callable[[float, float], None]  # seconds that are done, of how many


def ignore_progress(seconds_done: float, duration: float) -> None:
    """The default: nobody follows."""


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
    seconds_done: float = 0.0  # of the recording
    finished: bool = False
    cancelled: Event = field(default_factory=Event)
    point: ResumePoint | None = None  # after the last whole window
    whole_segments: int = 0  # of `segments`, those of whole windows
    closed: bool = False  # while another thread was at work on it
    took: Took = field(default_factory=Took)

    def reach(self, seconds: float) -> None:
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

        It moves with every window, in silence too. With vad_filter the silence that was cut out counts only
        once a segment behind it is decoded.
        """
        return self._decoded.seconds_done

    @property
    def finished(self) -> bool:
        """Whether all of the recording has been decoded."""
        return self._decoded.finished

    @property
    def point(self) -> ResumePoint | None:
        """From where another stream of the same recording can go on; None before a window is whole."""
        return self._decoded.point

    @property
    def whole_segments(self) -> int:
        """How many of the segments so far lie before `point`."""
        return self._decoded.whole_segments

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
