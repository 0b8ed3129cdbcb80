"""What happens in a run over an archive, for whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from whisper_npu.apps.archive.tasks import Done, Failed


class News(Protocol):
    def found(self, n_todo: int, n_before: int) -> None:
        """So many recordings are to be transcribed, and so many were done before."""

    def say(self, step: str) -> None:
        """Something else than transcribing is done, such as starting Ray."""

    def note(self, line: str) -> None:
        """Something that a person should know, though nothing is lost."""

    def crew(self, ran_on: Mapping[str, int], n_asked: int) -> None:
        """So many workers are ready on each device, of so many that Ray was asked for."""

    def part(self, audio_seconds: float) -> None:
        """A part of a long recording is stored."""

    def done(self, done: Done) -> None:
        """A recording is stored, whole."""

    def failed(self, failed: Failed) -> None:
        """A recording cannot be transcribed."""
