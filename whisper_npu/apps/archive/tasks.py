"""What is handed to a worker, and what comes back: small, frozen, and all that crosses between processes."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.apps.archive.sources import Source


@dataclass(frozen=True)
class Part:
    """From sample `start` to before sample `stop` of a recording, at 16 kHz."""

    start: int
    stop: int


@dataclass(frozen=True)
class Begin:
    """Read a recording. A short one is transcribed at once; a long one is cut at silence."""

    source: Source


@dataclass(frozen=True)
class Transcribe:
    """One part of a long recording."""

    source: Source
    part: Part
    language: str | None  # of the whole recording; None: of every window its own, as asked for
    language_probability: float = 1.0  # that it is spoken; 1 if the language was given


@dataclass(frozen=True)
class Join:
    """All parts of a long recording are there: make its transcript of them."""

    source: Source
    parts: tuple[Part, ...]


Task = Begin | Transcribe | Join


@dataclass(frozen=True)
class Cut:
    """What is left to do of a long recording: all `parts` make it up, and `todo` are not there yet."""

    source: Source
    parts: tuple[Part, ...]
    todo: tuple[Transcribe, ...]


@dataclass(frozen=True)
class PartDone:
    """One part of a long recording is stored."""

    source: Source
    part: Part


@dataclass(frozen=True)
class Done:
    """A recording whose transcript is stored, whole."""

    source: Source
    audio_seconds: float
    line: str  # its line of results.jsonl


@dataclass(frozen=True)
class Failed:
    """A recording that cannot be transcribed. Others go on."""

    source: Source
    reason: str  # one line


Outcome = Cut | PartDone | Done | Failed
