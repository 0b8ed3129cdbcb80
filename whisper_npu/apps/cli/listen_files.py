"""The files of what was said: line by line while it is said, under a name that says so; whole at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path

from whisper_npu.apps.outputs import write_transcript
from whisper_npu.apps.sources import STDIN
from whisper_npu.errors import OutputError, shown
from whisper_npu.live.line import Line
from whisper_npu.output import Layout, check_file, partial_path
from whisper_npu.output.cues import speech_line
from whisper_npu.transcription.transcript import Segment, Transcript

_MODE = 0o666  # less the umask, as of any new file


class LiveFiles:
    """A context manager for the time of listening; it leaves no empty file behind.

    Nothing that is there is ever overwritten: a name that is taken gets a number.

    formats: at least one. stem: of the files' names. warn: prints a line for people.
    """

    def __init__(
        self, formats: tuple[str, ...], folder: Path, stem: str, warn: Callable[[str], None]
    ) -> None:
        self._formats, self._folder, self._stem, self._warn = formats, folder, stem, warn
        self._segments: list[Segment] = []
        self._language = ""
        self._descriptor = -1  # of the partial file
        self._waiting = b""  # what the partial file lacks
        self._is_warned = False
        self.paths: dict[str, Path] = {}
        self.partial = Path()

    def check(self) -> None:
        """Whether they can be written. Raises OutputError; leaves nothing behind."""
        for path in self._named(self._stem).values():
            check_file(path)

    def __enter__(self) -> LiveFiles:
        """Takes the names. Raises OutputError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(self._folder, error) from error
        for number in count(1):
            stem = self._stem if number == 1 else f"{self._stem}-{number}"
            self.paths = self._named(stem)
            self.partial = partial_path(self._folder / f"{stem}.txt")
            if not any(map(os.path.lexists, self.paths.values())) and self._taken():
                break
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self._segments:
            self.partial.unlink(missing_ok=True)

    def add(self, line: Line) -> None:
        """A final line. A disk that is full is no reason to end: what does not fit is written later."""
        self._language = self._language or line.language
        keeps_tokens = "json" in self._formats  # hours of them take memory
        self._segments += (
            line.segments if keeps_tokens else [replace(one, tokens=()) for one in line.segments]
        )
        lines = [speech_line(segment.text).strip() for segment in line.segments]
        self._waiting += "".join(f"{text}\n" for text in lines if text).encode(errors="replace")
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._descriptor, self._waiting) :]
            os.fsync(self._descriptor)
        except OSError as error:
            if not self._is_warned:
                self._is_warned = True
                self._warn(
                    f"whisper-npu: {shown(self.partial)}: cannot be written ({error.strerror}); listening "
                    "goes on, and all of it is written at the end: make room until then"
                )

    @property
    def has_text(self) -> bool:
        return any(segment.text.strip() for segment in self._segments)

    def finish(self, seconds: float) -> tuple[list[Path], list[str]]:
        """Write all files whole, and remove the partial one. seconds: that were heard.

        Returns the files that were written, and why others were not; then the partial one stays.
        """
        if not self.has_text:
            return [], []
        written, errors = write_transcript(self._transcript(seconds), self.paths, Layout())
        if not errors:
            self.partial.unlink(missing_ok=True)
        return written, errors

    def end_early(self, seconds: float) -> tuple[list[Path], list[str]]:
        """Keep what is final under names that say that more was said. Returns as `finish`."""
        if not self.has_text:
            return [], []
        paths = {fmt: partial_path(path) for fmt, path in self.paths.items()}
        written, errors = write_transcript(self._transcript(seconds), paths, Layout())
        return list(dict.fromkeys([self.partial, *written])), errors

    def _transcript(self, seconds: float) -> Transcript:
        # How sure the language is, no line says: JSON has null for it.
        return Transcript(tuple(self._segments), self._language, float("nan"), seconds)

    def _named(self, stem: str) -> dict[str, Path]:
        return {fmt: self._folder / f"{stem}.{fmt}" for fmt in self._formats}

    def _taken(self) -> bool:
        """Whether the partial file is this run's from here on; False: there is one of this name."""
        try:
            self._descriptor = os.open(
                self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, _MODE
            )
        except FileExistsError:
            return False
        except OSError as error:
            raise self._refused(self.partial, error) from error
        return True

    def _refused(self, path: Path, error: OSError) -> OutputError:
        return OutputError(
            f"{shown(path)}: cannot be written ({error.strerror}); check the folder's permissions and free "
            "space, or choose another by --output_dir"
        )


def stem_of(source: str | None, now: datetime) -> str:
    """Of the files' names. source: the recording that plays the microphone; None: it is a real one.

    `transcribe` writes talk.txt for talk.wav, so that this is talk.live.
    """
    if source is None:
        return f"listen-{now:%Y-%m-%d-%H%M%S}"
    return f"{'stdin' if source == STDIN else Path(source).stem}.live"
