"""Recordings per hour of `whisper-npu archive` on this machine: the table of docs/archive.md.

python scripts/archive_speed.py [--model tiny.en] [--copies 40] [--workers 1 2]

It copies the recordings of samples/ so many times, and runs the command on Ray on this machine, where nothing
else should be at work: in a network of its own, as in `unshare --map-root-user --net`, Ray listens to nobody.
Every figure is MEASURED: the seconds of the whole command, and those from the first recording that is done to
the last one, without start and end, which tell what a longer archive takes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Run:
    n_workers: int
    n_recordings: int
    audio_seconds: float
    seconds: float  # of the whole command
    steady_rate: float  # recordings per second between the first one that is done and the last one


def measured(folder: Path, out: Path, model: str, n_workers: int) -> Run:
    command = [sys.executable, "-m", "whisper_npu", "archive", str(folder), "--out", str(out)]
    command += ["--model", model, "--device", "cpu", "--address", "local", "--quiet"]
    command += ["--workers", str(n_workers), "--threads", "1"]
    start = perf_counter()
    subprocess.run(command, check=True)
    seconds = perf_counter() - start
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    times = sorted(os.stat(path).st_mtime for path in (out / "done").iterdir())
    steady = (len(times) - 1) / (times[-1] - times[0])
    return Run(n_workers, len(lines), sum(line["duration"] for line in lines), seconds, steady)


def table(runs: list[Run]) -> str:
    head = (
        "| workers of 1 thread | recordings | whole command | recordings per hour, start and end included "
        "| recordings per hour in between | hours of audio per hour in between |\n"
        "|---:|---:|---:|---:|---:|---:|\n"
    )
    rows = ""
    for run in runs:
        mean = run.audio_seconds / run.n_recordings
        rows += f"| {run.n_workers} | {run.n_recordings} | {run.seconds:.0f} s "
        rows += f"| {3600 * run.n_recordings / run.seconds:,.0f} | {3600 * run.steady_rate:,.0f} "
        rows += f"| {mean * run.steady_rate:.1f} |\n"
    return head + rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "in"
        folder.mkdir()
        for sample in sorted(SAMPLES.glob("*.wav")):
            for number in range(asked.copies):
                shutil.copy(sample, folder / f"{sample.stem}-{number:03}.wav")
        runs = [measured(folder, Path(scratch) / f"out{n}", asked.model, n) for n in asked.workers]
    load = os.getloadavg()
    print(table(runs))
    mean = runs[0].audio_seconds / runs[0].n_recordings
    print(
        f"recordings of {mean:.1f} s on average; {os.cpu_count()} CPUs; load average {load[0]:.1f} at the end"
    )


if __name__ == "__main__":
    main()
