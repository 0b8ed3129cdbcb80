"""The work of `whisper-npu archive`: what was typed becomes a run, and a run an exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from whisper_npu.apps.archive.asked import AskedArchive, Wanted
from whisper_npu.apps.archive.run import run_archive
from whisper_npu.apps.archive.summary import Summary
from whisper_npu.apps.cli.archive_progress import ArchiveProgress
from whisper_npu.apps.cli.asked import asked_for
from whisper_npu.apps.cli.memory_limit import check_limit, needed_memory
from whisper_npu.apps.cli.tally import duration
from whisper_npu.apps.cli.terminal import Stderr
from whisper_npu.errors import UsageError, shown

MOST_NAMED = 10  # failures in the summary; all of them are in results.jsonl
# Options of `transcribe` that are not offered here, as it has them when nobody gives them.
_NOT_OFFERED: Mapping[str, Any] = {
    "audio": (),
    "output_dir": None,
    "skip_existing": False,
    "resume": False,
    "timestamps": False,
    "print_colors": False,
    "verbose": None,
    "report": None,
}


def archive_what(given: Mapping[str, Any], typed: frozenset[str]) -> int:
    """given: by the options' names. typed: those on the command line. Returns the exit code.

    Raises UsageError, and what ended the run before all was done.
    """
    asked = asked_archive(given, typed)
    check_limit(asked.model)
    wanted = Wanted(
        address=given["address"],
        n_workers=given["workers"],
        threads=given["threads"] or None,
        memory=needed_memory(asked.model),
    )
    with ArchiveProgress(quiet=given["quiet"]) as progress:
        summary = run_archive(given["what"], asked, wanted, progress)
    if not given["quiet"]:
        for line in ending(summary, given["out"]):
            Stderr(sys.stderr).print(line)
    if summary.stopped_by is not None:
        raise summary.stopped_by
    return 1 if summary.failed else 0


def asked_archive(given: Mapping[str, Any], typed: frozenset[str]) -> AskedArchive:
    """Raises UsageError for values that are wrong, or do not go together."""
    if given["out"] is None:
        raise UsageError("--out FOLDER is missing: results land there, and from there a run goes on")
    formats = given["output_format"] or (("txt",),)
    asked = asked_for({**_NOT_OFFERED, **given, "output_format": formats}, typed)
    model, recordings = asked.model, asked.recordings
    return AskedArchive(
        out=given["out"],
        formats=asked.files.formats,
        layout=asked.layout,
        options=asked.options,
        part_minutes=given["part_minutes"],
        audio_track=recordings.audio_track,
        strict=recordings.strict,
        max_seconds=3600 * recordings.max_hours,
        model=model.name,
        model_dir=None if model.folder is None else str(model.folder),
        local_files_only=model.local_files_only,
        device=model.device,
        kernel=model.kernel,
        fidelity=model.fidelity,
        compute_type=model.compute_type,
        kernels=tuple(str(one) for one in model.npu.kernel_folders),
        timeout=model.npu.timeout_seconds,
        check_results=model.check_results,
        on_device_error=model.on_device_error,
    )


def ending(summary: Summary, out: str) -> list[str]:
    """The end of a run, for a person."""
    parts = [f"{summary.n_done:,} done"]
    if summary.n_before:
        parts.append(f"{summary.n_before:,} done before")
    if summary.failed:
        parts.append(f"{len(summary.failed):,} failed")
    if summary.n_left:
        parts.append(f"{summary.n_left:,} left")
    lines = [f"{', '.join(parts)}; results in {shown(out)}"]
    if summary.n_done:
        pace = summary.audio_seconds / summary.wall_seconds
        lines.append(
            f"MEASURED {duration(summary.wall_seconds)} for {duration(summary.audio_seconds)} of audio: "
            f"{pace:,.1f} h per hour; "
            + ", ".join(f"{count} x {device}" for device, count in summary.ran_on.items())
        )
    lines += [shown(f"failed: {one.source.name}: {one.reason}") for one in summary.failed[:MOST_NAMED]]
    if len(summary.failed) > MOST_NAMED:
        lines.append(f"and {len(summary.failed) - MOST_NAMED:,} more failed: results.jsonl has all of them")
    if summary.n_left and not isinstance(summary.stopped_by, UsageError):
        lines.append("The same command goes on with what is left.")
    return lines
