"""Which files a run writes for its recordings: planned, and checked before hours of work."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.apps.sources import STDIN
from whisper_npu.errors import OutputError, UsageError, shown
from whisper_npu.output import (
    Layout,
    check_file,
    is_stream,
    output_path,
    partial_path,
    render,
    write_atomically,
)
from whisper_npu.owned import clear_left_behind
from whisper_npu.transcription.transcript import Transcript


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

    Removes from the folders what processes left that were killed while they wrote there.
    """
    written = [(path, source) for source in sources for path in outputs.paths(source).values()]
    named = [(path, shown(source)) for path, source in written]
    if report is not None:
        named.append((report, "the report"))
    recordings = {os.path.realpath(source): source for source in sources if source != STDIN}
    writers: dict[str, str] = {}  # the file that is written: for what
    for path, writer in named:
        check_file(path)
        _take(path, writer, recordings, writers)
    for path, source in written:  # while it is transcribed, and where that is interrupted
        _take(partial_path(path), shown(source), recordings, writers)
    for folder in {path.parent for path, _ in named if not is_stream(path)}:
        clear_left_behind(folder)


def _take(path: Path, writer: str, recordings: Collection[str], writers: dict[str, str]) -> None:
    """recordings: their real paths. writers: the real path that is written, for what; gets this one."""
    real = os.path.realpath(path)
    if real in recordings:
        raise UsageError(
            f"{shown(path)}: is one of the recordings and would be overwritten; "
            "name another folder with --output_dir"
        )
    if is_stream(path):
        return
    if real in writers:
        raise UsageError(
            f"{shown(path)}: would be written more than once, for {writers[real]} and for {writer}; "
            "give them runs of their own, each with its own --output_dir, or rename one of them"
        )
    writers[real] = writer


def write_transcript(
    transcript: Transcript, paths: Mapping[str, Path], layout: Layout
) -> tuple[list[Path], list[str]]:
    """Write each file, even where another cannot be written.

    paths: by format. Returns the files that were written, and why others were not.
    """
    written, errors = [], []
    for fmt, path in paths.items():
        try:
            write_atomically(path, render(transcript, fmt, layout))
            written.append(path)
        except OutputError as error:
            errors.append(str(error))
    return written, errors


def without_transcripts(
    sources: Sequence[str], outputs: OutputFiles, *, is_begun: Callable[[Path], bool] | None = None
) -> tuple[str, ...]:
    """The recordings that are still to be transcribed: some file of theirs is absent or empty.

    is_begun: says of a recording, by one of its files, whether an interrupted run has begun it once more.

    Files are written whole or not at all, so one that holds something is complete. An empty one may be what
    another program left when it was stopped. Standard input is never the same recording twice, so it stays.

    Raises UsageError if no files are written, so that nothing could be there.
    """
    if not outputs.formats:
        raise UsageError("--skip_existing looks for files of an earlier run; say which: --output_format srt")

    def is_done(source: str) -> bool:
        paths = list(outputs.paths(source).values())
        is_whole = source != STDIN and all(map(_holds_something, paths))
        return is_whole and not (is_begun and is_begun(paths[0]))

    return tuple(source for source in sources if not is_done(source))


def _holds_something(path: Path) -> bool:
    try:
        return os.path.isfile(path) and os.path.getsize(path) > 0
    except OSError:  # it went meanwhile
        return False
