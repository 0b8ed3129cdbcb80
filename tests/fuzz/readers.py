"""Several reader processes at once, each given one recording after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from tests.fuzz.hostile import Hostile
from tests.fuzz.reader import MEMORY, Outcome
from tests.fuzz.valid import SPEECH

N_READERS = 2
_REPOSITORY = Path(__file__, "../../..").resolve()


def outcomes(recordings: Iterable[Hostile], folder: Path) -> list[tuple[Hostile, Outcome]]:
    """What came of each recording. Each is written into the folder, and removed once it was read."""
    one_by_one = _shared(recordings)
    with ThreadPoolExecutor(N_READERS) as pool:
        parts = pool.map(lambda number: _read_some(one_by_one, folder / str(number)), range(N_READERS))
        return [pair for part in parts for pair in part]


def _shared(recordings: Iterable[Hostile]) -> Iterator[Hostile]:
    """The same, for several threads."""
    source, lock = iter(recordings), Lock()

    def following() -> Hostile | None:
        with lock:
            return next(source, None)

    return iter(following, None)


def _read_some(recordings: Iterator[Hostile], folder: Path) -> list[tuple[Hostile, Outcome]]:
    folder.mkdir()
    found = []
    with Reader(folder) as reader:
        for recording in recordings:
            path = write(recording, folder)
            found.append((recording, reader.read(path)))
            path.unlink()
    return found


def write(recording: Hostile, folder: Path) -> Path:
    """Into the folder, under a name that can be in any file system."""
    stem = "".join(letter if letter.isalnum() else "-" for letter in recording.name)
    path = folder / f"{stem}.{recording.suffix}"
    path.write_bytes(recording.content)
    if recording.n_zeros:
        os.truncate(path, len(recording.content) + recording.n_zeros)
    return path


class Reader:
    """A reader process, started when it is needed, and again after it ended."""

    def __init__(self, folder: Path, *command: str) -> None:
        """folder: for its temporary files and what it prints. command: another program of that kind."""
        self._command = command or (sys.executable, "-m", "tests.fuzz.reader", str(SPEECH))
        self._printed, self._temporary = folder / "stderr", folder / "tmp"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path) -> Outcome:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(str(path)) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            code = self._end()
            return Outcome(fault=f"the process ended with {code}: {self._printed.read_text()[-4000:]}")
        fields: dict[str, Any] = json.loads(answer)
        outcome = Outcome(**fields | {"warnings": tuple(fields["warnings"])})
        if outcome.grown > MEMORY:
            self._end()
        return outcome

    def _start(self) -> subprocess.Popen[str]:
        self._temporary.mkdir(exist_ok=True)
        environment = os.environ | {"TMPDIR": str(self._temporary), "PYTHONPATH": str(_REPOSITORY)}
        with self._printed.open("a") as printed:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                env=environment,
                text=True,
            )
        return self._process

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.communicate()  # closes its input, which ends it
        return process.returncode
