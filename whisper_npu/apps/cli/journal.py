"""The journal of a recording that is being transcribed: what `--resume` goes on from.

It lies beside the recording's files as NAME.partial.jsonl and holds lines of JSON. The first one says what
was begun: which recording, model and options, by which version. Each further one has the segments of the
windows that were completed since the line before, and the point from which the next window goes on. A process
that is killed leaves at most its last line incomplete. Whoever reads it trusts none of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from whisper_npu import __version__
from whisper_npu.apps import as_kept
from whisper_npu.apps.json_line import json_line
from whisper_npu.errors import UsageError, WhisperNpuError, one_line
from whisper_npu.output import partial_path
from whisper_npu.owned import is_at, lock, owned_file
from whisper_npu.transcription.resume import ResumePoint
from whisper_npu.transcription.transcript import Segment
from whisper_npu.untrusted import json_object, open_regular

FORMAT = "whisper-npu/journal 1"
LONGEST_LINE = 16 << 20  # bytes; a window of 30 s with all its words and tokens has some 20 kB
LONGEST = 1 << 28  # bytes of a journal; a day of speech has some 50 MB
ANOTHER = "another run of whisper-npu is writing its journal"
_SAMPLED = 1 << 20  # bytes at the start, in the middle and at the end of a recording


class JournalError(WhisperNpuError):
    """A journal from which nothing can go on; the message is why, in words that follow a colon."""


@dataclass(frozen=True)
class Begun:
    """What a text depends on: a journal is of use only where all of it is the same."""

    recording: Mapping[str, Any] | None  # None for what cannot be read twice
    model: Mapping[str, Any]
    options: Mapping[str, Any]
    version: str = __version__

    def differs(self, other: Begun) -> str | None:
        """Why the work of the other cannot be continued as this one's."""
        if self.recording is None or self.recording != other.recording:
            return "the recording is another one, or has changed"
        if self.version != other.version:
            return f"whisper-npu {as_kept.text(other.version)[:20]} began it, this is {self.version}"
        if self.model != other.model:
            return "it was begun with another model, device or kernel"
        return "it was begun with other options" if self.options != other.options else None


@dataclass(frozen=True)
class Kept:
    """What an interrupted run has left of a recording."""

    segments: tuple[Segment, ...]  # of whole windows
    point: ResumePoint
    n_bytes: int  # of the journal's whole lines


def journal_path(output: Path) -> Path:
    """output: one of the recording's files, such as talk.srt, for talk.partial.jsonl."""
    return partial_path(output.with_suffix(".jsonl"))


def identity(path: str) -> dict[str, Any]:
    """Another one for another recording, without reading all of it.

    Raises OSError, also for what is no file on a disk.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        digest = sha256()
        for start in (0, (status.st_size - _SAMPLED) // 2, status.st_size - _SAMPLED):
            file.seek(max(0, start))
            digest.update(file.read(_SAMPLED))
        return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "sampled": digest.hexdigest()}


class Journal:
    """The journal while its recording is transcribed.

    The file is made, or takes the place of an older one, with the first window: nothing is left of a run that
    ends before.
    """

    def __init__(self, path: Path, begun: Begun) -> None:
        """Raises JournalError where another run is writing it."""
        self.path = path
        self._begun = begun
        self._kept: Kept | None = None
        self._descriptor: int | None = None  # to write into
        self._old: int | None = None  # what was there before, locked
        with suppress(OSError):  # there is none, or it cannot be locked
            self._old = lock(path)
            if self._old is None:
                raise JournalError(ANOTHER)

    def go_on_from(self, kept: Kept | None) -> None:
        """kept: what the file holds already; None to begin anew."""
        self._kept = kept

    @property
    def is_there(self) -> bool:
        """Whether it has a window to go on from, of this run or of the one before it."""
        return self._descriptor is not None or self._kept is not None

    def append(self, segments: Sequence[Segment], point: ResumePoint) -> None:
        """Windows that are complete. Raises OSError, and ValueError for numbers that JSON does not have."""
        line = _line({"segments": [asdict(segment) for segment in segments], "point": point.to_dict()})
        if self._descriptor is not None:
            _write(self._descriptor, line)
        elif self._kept is not None:
            self._descriptor = self._continued(line, self._kept)
        else:
            self._descriptor = self._created(line)

    def _created(self, line: bytes) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary, descriptor = owned_file(self.path)
        try:
            _write(descriptor, _line({"format": FORMAT, "begun": asdict(self._begun)}) + line)
            if self._old is None:
                self._check_alone()
            os.replace(temporary, self.path)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        return descriptor

    def _check_alone(self) -> None:
        """Raises OSError where another run has begun a journal since this one found none."""
        try:
            other = lock(self.path)
        except OSError:  # there is none, or a file system without locks
            return
        if other is None:
            raise OSError(errno.EAGAIN, ANOTHER)
        os.close(other)

    def _continued(self, line: bytes, kept: Kept) -> int:
        if self._old is None:  # a file system without locks
            self._old = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        descriptor = os.dup(self._old)
        try:
            os.ftruncate(descriptor, kept.n_bytes)
            os.lseek(descriptor, kept.n_bytes, os.SEEK_SET)
            _write(descriptor, line)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def close(self) -> None:
        """The file stays. Raises nothing: `append` has written all of it."""
        for descriptor in (self._descriptor, self._old):
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)
        self._descriptor, self._old, self._kept = None, None, None

    def remove(self) -> None:
        """It is of no use any more. One that another run has put in its place stays."""
        ours = self._old if self._descriptor is None else self._descriptor
        if is_at(self.path, ours) if ours is not None else self._kept is not None:
            self.path.unlink(missing_ok=True)
        self.close()


def read_journal(path: Path, begun: Begun) -> Kept | None:
    """What can be continued; None where there is no journal, or no window in it.

    Raises JournalError where there is one that another work has begun, or that is damaged. That its last line
    is incomplete is no damage.
    """
    try:
        file = open_regular(path, follow_links=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"its journal cannot be read ({error.strerror})") from error
    with file:
        if (n_bytes := os.fstat(file.fileno()).st_size) > LONGEST:
            raise JournalError(f"its journal has {n_bytes:,} bytes, at most {LONGEST:,} are read")
        try:
            return _kept(_whole_lines(file), begun)
        except JournalError:
            raise
        except (OSError, ValueError, TypeError, KeyError, OverflowError, UsageError) as error:
            raise JournalError(
                f"its journal is damaged ({type(error).__name__}: {one_line(error)})"
            ) from error


def _kept(lines: Iterator[bytes], begun: Begun) -> Kept | None:
    first = next(lines, None)
    if first is None:
        return None
    head = json_object(first)
    if head.get("format") != FORMAT:
        raise JournalError("its journal is of another version, or none")
    if reason := begun.differs(Begun(**as_kept.mapping(head["begun"]))):
        raise JournalError(reason)
    segments: list[Segment] = []
    n_bytes, point = len(first), None
    for line in lines:
        found = json_object(line)
        segments += [as_kept.segment(one) for one in as_kept.sequence(found["segments"])]
        point = ResumePoint.from_dict(as_kept.mapping(found["point"]))
        n_bytes += len(line)
        if point.n_segments != len(segments) or [s.id for s in segments] != list(range(len(segments))):
            raise ValueError("segments are missing")
    return None if point is None else Kept(tuple(segments), point, n_bytes)


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    while (line := file.readline(LONGEST_LINE + 1)).endswith(b"\n"):
        yield line
    if len(line) > LONGEST_LINE:
        raise ValueError(f"a line of more than {LONGEST_LINE:,} bytes")


def _line(content: Mapping[str, object]) -> bytes:
    return f"{json_line(content)}\n".encode()


def _write(descriptor: int, lines: bytes) -> None:
    """All of it or, as far as the file system permits, nothing."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        left = memoryview(lines)
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError:
        os.ftruncate(descriptor, end)
        raise
