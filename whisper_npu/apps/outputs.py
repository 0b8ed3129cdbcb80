"""Which files a run writes for its recordings: planned, and checked before hours of work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.apps.sources import STDIN
from whisper_npu.errors import UsageError, shown
from whisper_npu.output import check_file, is_stream, output_path


@dataclass(frozen=True)
class OutputFiles:
    """Which files to write for each recording; none unless asked for."""

    formats: tuple[str, ...]
    folder: Path

    def paths(self, source: str) -> dict[str, Path]:
        """Where the transcript of a recording goes in each format."""
        return {fmt: output_path(source, fmt, self.folder) for fmt in self.formats}


def check_outputs(sources: Sequence[str], outputs: OutputFiles, report: Path | None = None) -> None:
    """Check that the transcripts of these recordings, and the report, can be written, each by itself.

    sources: paths, or "-"; each once

    Raises UsageError where two of them would be written to one file, or one of them over a recording.
    Raises OutputError for a folder that cannot be written, a folder in a file's place, a name too long.
    """
    written = [(path, source) for source in sources for path in outputs.paths(source).values()]
    named = [(path, shown(source)) for path, source in written]
    if report is not None:
        named.append((report, "the report"))
    recordings = {os.path.realpath(source): source for source in sources if source != STDIN}
    writers: dict[str, str] = {}  # the file that is written: for what
    for path, writer in named:
        check_file(path)
        real = os.path.realpath(path)
        if real in recordings:
            raise UsageError(
                f"{shown(path)}: is one of the recordings and would be overwritten; "
                "name another folder with --output_dir"
            )
        if is_stream(path):
            continue
        if real in writers:
            raise UsageError(
                f"{shown(path)}: would be written more than once, for {writers[real]} and for {writer}; "
                "give them runs of their own, each with its own --output_dir, or rename one of them"
            )
        writers[real] = writer


def without_transcripts(sources: Sequence[str], outputs: OutputFiles) -> tuple[str, ...]:
    """The recordings that are still to be transcribed: some file of theirs is absent or empty.

    Files are written whole or not at all, so one that holds something is complete. An empty one may be what
    another program left when it was stopped. Standard input is never the same recording twice, so it stays.

    Raises UsageError if no files are written, so that nothing could be there.
    """
    if not outputs.formats:
        raise UsageError("--skip_existing looks for files of an earlier run; say which: --output_format srt")
    return tuple(
        source
        for source in sources
        if source == STDIN or not all(_holds_something(path) for path in outputs.paths(source).values())
    )


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
