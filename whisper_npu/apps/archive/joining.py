"""What is kept of a part of a recording, and the transcript and the line that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from whisper_npu.apps import as_kept
from whisper_npu.apps.archive.sources import Source
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.stream import nothing_heard
from whisper_npu.transcription.transcript import Segment, Transcript


@dataclass(frozen=True)
class Took:
    """MEASURED, in seconds, by stage; and how often the device was asked."""

    audio: float = 0.0
    mel: float = 0.0
    encoder: float = 0.0
    decoder: float = 0.0
    overlapped: float = 0.0  # of the encoder's: it worked ahead, beside the log-mel and the decoder
    dispatches: int = 0

    @classmethod
    def of(cls, done: Transcription, audio_seconds: float) -> Took:
        """audio_seconds: in which the recording was read."""
        took = done.took
        return cls(
            audio_seconds + took.audio_seconds,
            took.mel_seconds,
            took.encoder.total_seconds,
            took.decode_seconds,
            took.encoder.overlapped_seconds,
            took.encoder.stats.dispatches,
        )

    @property
    def seconds(self) -> float:
        """Wall time of all of it."""
        return self.audio + self.mel + self.encoder + self.decoder - self.overlapped

    def __add__(self, other: Took) -> Took:
        return Took(
            self.audio + other.audio,
            self.mel + other.mel,
            self.encoder + other.encoder,
            self.decoder + other.decoder,
            self.overlapped + other.overlapped,
            self.dispatches + other.dispatches,
        )


@dataclass(frozen=True)
class RanOn:
    """Where something was transcribed, in words."""

    host: str
    device: str
    description: str
    kernel: str | None

    @classmethod
    def of(cls, done: Transcription, host: str) -> RanOn:
        ran_on = done.ran_on
        return cls(host, ran_on.device, ran_on.device_description, ran_on.kernel)


@dataclass(frozen=True)
class Recording:
    """What every part tells of the whole."""

    duration: float  # seconds
    level: str  # how loud it is, in words
    warnings: tuple[str, ...]  # what is lost of it
    language: str
    language_probability: float


@dataclass(frozen=True)
class Transcribed:
    """A recording, or a part of a long one, as it was transcribed. Times are on the recording's clock."""

    recording: Recording
    segments: tuple[Segment, ...]
    took: Took
    ran_on: tuple[RanOn, ...]  # each once
    warnings: tuple[str, ...] = ()  # of what happened meanwhile

    @property
    def transcript(self) -> Transcript:
        of = self.recording
        return Transcript(self.segments, of.language, of.language_probability, of.duration)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Transcribed | None:
        """None for what `to_dict` cannot have given."""
        try:
            return cls(
                _recording(as_kept.mapping(found["recording"])),
                tuple(map(as_kept.segment, as_kept.sequence(found["segments"]))),
                _took(as_kept.mapping(found["took"])),
                tuple(map(_ran_on, as_kept.sequence(found["ran_on"]))),
                tuple(map(as_kept.text, as_kept.sequence(found["warnings"]))),
            )
        except (TypeError, KeyError, ValueError):
            return None


def _recording(found: Mapping[str, Any]) -> Recording:
    return Recording(
        as_kept.number(found["duration"]),
        as_kept.text(found["level"]),
        tuple(map(as_kept.text, as_kept.sequence(found["warnings"]))),
        as_kept.text(found["language"]),
        as_kept.number(found["language_probability"]),
    )


def _took(found: Mapping[str, Any]) -> Took:
    seconds = {name: as_kept.number(value) for name, value in found.items() if name != "dispatches"}
    return Took(**seconds, dispatches=as_kept.whole(found["dispatches"]))


def _ran_on(found: Any) -> RanOn:
    given = dict(as_kept.mapping(found))
    kernel = given.pop("kernel")
    named = {name: as_kept.text(value) for name, value in given.items()}
    return RanOn(**named, kernel=None if kernel is None else as_kept.text(kernel))


def joined(parts: Sequence[Transcribed]) -> Transcribed:
    """All parts of a recording, in their order, as one."""
    segments = [segment for part in parts for segment in part.segments]
    return Transcribed(
        parts[0].recording,
        tuple(replace(segment, id=number) for number, segment in enumerate(segments)),
        sum((part.took for part in parts), Took()),
        tuple(dict.fromkeys(one for part in parts for one in part.ran_on)),
        tuple(dict.fromkeys(one for part in parts for one in part.warnings)),
    )


def line_of(source: Source, done: Transcribed, *, model: str, n_parts: int) -> dict[str, Any]:
    """A recording's line of results.jsonl. Seconds are MEASURED."""
    of, text = done.recording, done.transcript.text.strip()
    silent = [] if text else [nothing_heard(of.level)]
    return {
        "name": source.name,
        "duration": of.duration,
        "language": of.language,
        "language_probability": of.language_probability,
        "text": text,
        "warnings": [*of.warnings, *done.warnings, *silent],
        "model": model,
        "ran_on": [asdict(one) for one in done.ran_on],
        "seconds": {
            "all": done.took.seconds,
            "audio": done.took.audio,
            "mel": done.took.mel,
            "encoder": done.took.encoder,
            "decoder": done.took.decoder,
            "overlapped": done.took.overlapped,
        },
        "dispatches": done.took.dispatches,
        "parts": n_parts,
    }
