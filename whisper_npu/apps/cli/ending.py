"""The end of a transcription on stderr, for a person: three lines at most."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from whisper_npu.errors import shown
from whisper_npu.npu.cost import BASELINE
from whisper_npu.report import Report
from whisper_npu.screen import WIDTH


def ending(report: Report, written: Sequence[Path] = ()) -> list[str]:
    """At most three lines, each of at most WIDTH columns where the names in it permit.

    written: the files of the only recording; those of several are said as they are written.
    Nothing if no window was encoded: the errors have said why.
    """
    if not report.windows:
        return []
    lines = [wrote(written)] if written and len(report.files) == 1 else []
    lines += [_work(report), _beside_baseline(report)]
    if any(file.error for file in report.files) and len(report.files) > 1:
        lines.append(_failed(report))
    return lines


def wrote(paths: Sequence[Path]) -> str:
    """`wrote a.srt, a.vtt in subtitles/`: the files of one recording."""
    folders = list(dict.fromkeys(path.parent for path in paths))
    if len(folders) > 1 or len(paths) == 1 or folders == [Path()]:
        where, names = "", [shown(path) for path in paths]
    else:
        where, names = f" in {shown(folders[0])}{os.sep}", [shown(path.name) for path in paths]
    forms = [f"wrote {', '.join(names)}{where}"]
    if len({path.with_suffix("") for path in paths}) == 1 < len(paths):
        forms.append(f"wrote {', '.join([names[0], *(shown(path.suffix) for path in paths[1:])])}{where}")
    return _first_that_fits(*forms)


def _work(report: Report) -> str:
    """What it took. The first form that fits."""
    device = "on the CPU (emulated NPU)" if report.ran_on.clock == "CPU" else f"on the {report.ran_on.clock}"
    took, audio = _seconds(report.total_seconds), _seconds(report.audio_seconds)
    speed = _times(report.audio_seconds / report.total_seconds)
    count = report.stats.dispatches
    rest = f"{report.ran_on.model} {device}, {count:,} dispatch{'' if count == 1 else 'es'}"
    return _first_that_fits(
        f"{took} for {audio} of audio ({speed} real time), {rest}",
        f"{took} for {audio} of audio ({speed}), {rest}",
        f"{took} for {audio} audio ({speed}), {rest}",
        f"{took} for {audio} ({speed}), {rest}",
    )


def _beside_baseline(report: Report) -> str:
    """The total, and in the same line what the baseline's seconds were."""
    line = f"MEASURED {_seconds(report.total_seconds)}; baseline {BASELINE.seconds} s: "
    line += f"one product {BASELINE.problem}, "
    return _first_that_fits(f"{line}author's NPU", f"{line}an NPU")


def _failed(report: Report) -> str:
    """As many names as fit, at least one."""
    names = [shown(file.path) for file in report.files if file.error]
    start = f"{len(names)} of {len(report.files)} failed: "
    for count in range(len(names), 0, -1):
        more = f" and {len(names) - count} more" if count < len(names) else ""
        line = start + ", ".join(names[:count]) + more
        if len(line) <= WIDTH:
            break
    return line


def _first_that_fits(*forms: str) -> str:
    return next((form for form in forms if len(form) <= WIDTH), forms[-1])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:,.0f} s"


def _times(factor: float) -> str:
    return f"{factor:.1f}x" if factor < 9.95 else f"{factor:,.0f}x"
