"""The segments of a recording as they are decoded."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from types import TracebackType

from whisper_npu.transcription.clips import seconds_within
from whisper_npu.transcription.options import WHOLE_RECORDING
from whisper_npu.transcription.result import EncoderRun, Segment, Transcript, Transcription


@dataclass
class Decoded:
    """What is known of one recording so far. `Model` fills it in, `Stream` reads it."""

    duration: float = 0.0  # seconds
    clips: tuple[float, ...] = WHOLE_RECORDING  # as `TranscribeOptions.clip_timestamps`
    language: str = ""
    language_probability: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    seconds_done: float = 0.0  # of the recording
    finished: bool = False
    encoder: EncoderRun = field(default_factory=lambda: EncoderRun(windows=0, runs=(), total_seconds=0.0))
    audio_seconds: float = 0.0
    mel_seconds: float = 0.0
    decode_seconds: float = 0.0

    def reach(self, seconds: float) -> None:
        """The recording is decoded up to here, at least."""
        self.seconds_done = max(self.seconds_done, min(seconds, self.duration))


class Stream:
    """A context manager and an iterator of segments, each decoded when it is asked for.

    The model is at work on this recording until the stream is exhausted, closed or dropped: another thread
    that wants to transcribe waits for that. What has been decoded remains in `result`, also if an exception,
    such as KeyboardInterrupt, ended the decoding.
    """

    def __init__(self, work: Generator[Segment | None, None, None], decoded: Decoded) -> None:
        """work: yields None once the language is known, then the segments; fills in `decoded` meanwhile."""
        self._work = work
        self._decoded = decoded
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
            encoder=decoded.encoder,
            audio_seconds=decoded.audio_seconds,
            mel_seconds=decoded.mel_seconds,
            decode_seconds=decoded.decode_seconds,
            heard_seconds=seconds_within(decoded.clips, decoded.seconds_done),
        )

    def close(self) -> None:
        """Decode no further, and let the model go."""
        self._work.close()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Segment:
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
