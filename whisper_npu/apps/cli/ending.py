"""The end of a transcription on stderr, for a person: three lines at most."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from whisper_npu.errors import shown
from whisper_npu.npu.cost import BASELINE
from whisper_npu.report import Report
from whisper_npu.screen import WIDTH, cells
from whisper_npu.transcription.took import RunOn


def ending(report: Report, written: Sequence[Path] = ()) -> list[str]:
    """At most three lines, each of at most WIDTH columns where the names in it permit.

    written: the files of the only recording; those of several are said as they are written.
    Nothing if no recording was transcribed: the errors have said why.
    """
    if not report.took:
        return []
    lines = [wrote(written)] if written and report.n_recordings == 1 else []
    lines += [_work(report), _beside_baseline(report)]
    if report.n_recordings > 1:
        if report.is_interrupted:
            lines.append(_interrupted(report))
        elif report.failed:
            lines.append(_failed(report))
    return lines


def wrote(paths: Sequence[Path]) -> str:
    """`wrote a.srt, a.vtt in subtitles/`: the files of one recording. The first form that fits, or all."""
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        return f"wrote {', '.join(map(shown, paths))}"
    folder, names = paths[0].parent, [shown(path.name) for path in paths]
    where = "" if folder == Path() else f" in {shown(os.path.join(folder, ''))}"
    lists = [", ".join(names)]
    if len({path.stem for path in paths}) == 1 < len(paths):
        lists.append(", ".join([names[0], *(shown(path.suffix) for path in paths[1:])]))
    if len(paths) == 1:
        return f"wrote {shown(paths[0])}"
    in_folder = [f"wrote {one}{where}" for one in lists]
    count = [f"wrote {len(paths)} files{where}"] if where else []
    return _first_that_fits(*in_folder, *count, in_folder[-1])  # a file without its folder is not found


def on_device(ran_on: RunOn, n_dispatches: int) -> str:
    """`on the CPU (emulated NPU), 26 dispatches`: what the encoder ran on."""
    device = "on the CPU (emulated NPU)" if ran_on.clock == "CPU" else f"on the {ran_on.clock}"
    if not n_dispatches:
        return f"{device}, no dispatches"
    return f"{device}, {n_dispatches:,} dispatch{'' if n_dispatches == 1 else 'es'}"


def _work(report: Report) -> str:
    """What it took. The first form that fits."""
    device = on_device(report.ran_on, report.stats.dispatches)
    rest = f"{_last_part(report.ran_on.model)} {device}"
    took, audio = _seconds(report.total_seconds), _seconds(report.audio_seconds)
    if not report.audio_seconds:
        return _first_that_fits(f"{took}, {rest}", f"{took} {device}")
    speed = _times(report.audio_seconds / report.total_seconds)
    return _first_that_fits(
        f"{took} for {audio} of audio ({speed} real time), {rest}",
        f"{took} for {audio} of audio ({speed}), {rest}",
        f"{took} for {audio} audio ({speed}), {rest}",
        f"{took} for {audio} ({speed}), {rest}",
        f"{took} for {audio} ({speed}) {device}",
    )


def _beside_baseline(report: Report) -> str:
    """The total, and in the same line what the baseline's seconds were."""
    line = f"MEASURED {_seconds(report.total_seconds)}; baseline {BASELINE.seconds} s: "
    line += f"one product {BASELINE.problem}, "
    return _first_that_fits(f"{line}author's NPU", f"{line}an NPU")


def _interrupted(report: Report) -> str:
    """In which recording, if not between two. Those that failed were named when they did."""
    done = f"{report.n_done} of {report.n_recordings} done"
    if report.failed:
        done += f", {len(report.failed)} failed"
    paths = [file.path for file in report.files if file.is_interrupted]
    return _first_that_fits(
        *(f"interrupted in {name}, {done}" for path in paths for name in (shown(path), _last_part(path))),
        f"interrupted, {done}",
    )


def _failed(report: Report) -> str:
    """As many names as fit, at least one."""
    names = [shown(file.path) for file in report.failed]
    count = f"{len(names)} of {report.n_recordings} failed"

    def named(n: int) -> str:
        more = f" and {len(names) - n} more" if n < len(names) else ""
        return f"{count}: {', '.join(names[:n])}{more}"

    most = min(len(names), WIDTH // len("a, "))
    return _first_that_fits(*map(named, range(most, 0, -1)))


def _last_part(path: str) -> str:
    """Of a file, a folder or a hub id."""
    return shown(os.path.basename(path.rstrip(os.sep)) or path)


def _first_that_fits(*forms: str) -> str:
    return next((form for form in forms if cells(form) <= WIDTH), forms[-1])


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:,.0f} s"


def _times(factor: float) -> str:
    return f"{factor:.1f}x" if factor < 9.95 else f"{factor:,.0f}x"
