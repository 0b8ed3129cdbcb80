"""A process that reads recordings as the program does, and says what came of each.

    python -m tests.fuzz.reader WARM_UP

Each line of standard input is the path of a recording, as JSON; each line of standard output is its
`Outcome`. The process ends by itself, with a traceback on stderr, at a recording that takes too long. It has
limits of its own, so that no recording can take the memory or the disk of the machine.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import resource
import sys
import tempfile
import traceback
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from tests.fuzz.lines import is_line
from whisper_npu.audio import SAMPLE_RATE, AudioTrack, audio_seconds, audio_tracks, joined, load_audio
from whisper_npu.errors import AudioError, AudioWarning

LONGEST_SECONDS = 60  # that one recording may take
MAX_SECONDS = 60.0  # of sound in it; valid ones have 2
MEMORY = 128 * 2**20  # bytes by which the process may grow, whatever the headers claim
DAMAGE = "the seconds "  # is in every warning of lost sound, and in none of others
_ADDRESS_SPACE = 2**30  # bytes beyond what it had at first: memory that is asked for, even if never used
_FILE_SIZE = 2**30  # bytes of a temporary file


@dataclass(frozen=True)
class Outcome:
    """What came of one recording: samples, a line, or a fault of the program."""

    seconds: float | None = None  # how much sound was read
    line: str | None = None  # the message of the AudioError
    warnings: tuple[str, ...] = ()
    fault: str | None = None  # what must not be, as text
    took: float = 0.0  # seconds
    grown: int = 0  # bytes of the process beyond those that it had at first, at its largest


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is seen
    faulthandler.enable()
    _read(sys.argv[1])
    first = _largest()
    resource.setrlimit(resource.RLIMIT_AS, (_virtual() + _ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE,) * 2)
    for line in sys.stdin:
        faulthandler.dump_traceback_later(LONGEST_SECONDS, exit=True)
        outcome = _outcome(json.loads(line), first)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(asdict(outcome)), file=answers, flush=True)
        if outcome.grown > MEMORY:
            return  # the next recording shall not be blamed for it


def _outcome(path: str, first: int) -> Outcome:
    started, before = perf_counter(), _left_behind()
    try:
        found = _read(path)
    except BaseException:
        found = Outcome(fault=traceback.format_exc())
    fault, grown = found.fault, _largest() - first
    if fault is None and grown > MEMORY:
        fault = f"the process grew by {grown / 2**20:.0f} MB"
    if fault is None and (after := _left_behind()) != before:
        fault = f"left behind: (descriptors, temporary files, bytes on stderr) {before} became {after}"
    took = perf_counter() - started
    return Outcome(found.seconds, found.line, found.warnings, fault, took, grown)


def _read(path: str) -> Outcome:
    """Raises whatever must not be raised."""
    again = os.path.isfile(path)  # not so a pipe
    tracks, unreadable = _tracks(path)
    length = audio_seconds(path)
    assert length is None or (math.isfinite(length) and length >= 0), f"the length is {length}"
    seconds, line, warned = _load(path)
    assert seconds is None or tracks or not again or _are_several(path), "samples without a track"
    assert unreadable in (None, line), f"{unreadable!r}, but then {line!r}"
    assert line is None or (is_line(line)), f"no line: {line!r}"
    assert line is None or "memory" not in line, line
    if again:
        strict_seconds, strict_line, _ = _load(path, strict=True)
        damage = [words for words in warned if DAMAGE in words]
        if damage:
            assert strict_line is not None, f"strict, and yet no error, only {damage}"
        else:
            assert (strict_seconds, strict_line) == (seconds, line), f"strict: {strict_seconds} {strict_line}"
    return Outcome(seconds, line, warned)


def _are_several(path: str) -> bool:
    """Of recordings that were joined the first may have no track."""
    with open(path, "rb") as file:
        return bool(joined.starts(path, file))


def _tracks(path: str) -> tuple[tuple[AudioTrack, ...], str | None]:
    """The tracks, or the line why there are none."""
    try:
        return audio_tracks(path), None
    except AudioError as error:
        return (), str(error)


def _load(path: str, **options: Any) -> tuple[float | None, str | None, tuple[str, ...]]:
    """Seconds of samples, or the line why there are none; and warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            samples = load_audio(path, max_seconds=MAX_SECONDS, **options)
        except AudioError as error:
            return None, str(error), ()
    others = [str(warning) for warning in caught if not issubclass(warning.category, AudioWarning)]
    assert not others, f"warnings of others: {others}"
    assert (samples.dtype, samples.ndim) == (np.float32, 1), f"{samples.dtype} {samples.shape}"
    assert np.isfinite(samples).all(), "samples that are no numbers"
    lines = tuple(str(warning.message) for warning in caught)
    assert all(map(is_line, lines)), lines
    return len(samples) / SAMPLE_RATE, None, lines


def _left_behind() -> tuple[int, int, int]:
    n_descriptors = len(os.listdir("/proc/self/fd"))
    return n_descriptors, len(os.listdir(tempfile.gettempdir())), os.fstat(2).st_size


def _largest() -> int:
    """The most memory that the process has had, in bytes. getrusage would count its parent's, too."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmHWM"].split()[0])


def _virtual() -> int:
    """Bytes of its address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main()
