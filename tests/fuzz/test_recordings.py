"""Hostile recordings through the doors that read audio: each ends in samples or one line."""

from __future__ import annotations

import hashlib
import sys
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.faults import FAULTS, FAULTY
from tests.fuzz.hostile import EITHER, REFUSED, Expected, Hostile, reads
from tests.fuzz.mutations import mutated
from tests.fuzz.reader import Outcome
from tests.fuzz.readers import Reader, outcomes
from tests.fuzz.recordings import hostile_recordings, in_the_suite, problem
from tests.fuzz.seeds import EVERYTHING, SEEDS
from tests.fuzz.valid import SPEECH, valid_recordings

pytestmark = pytest.mark.fuzz


@pytest.mark.parametrize("seed", SEEDS)
def test_every_hostile_recording_ends_in_samples_or_one_line(seed: int, tmp_path: Path) -> None:
    recordings = hostile_recordings(seed)
    found = outcomes(recordings if EVERYTHING else in_the_suite(recordings), tmp_path)
    assert len({recording.name for recording, _ in found}) == len(found) >= 300
    wrong = {one.name: what for one, outcome in found if (what := problem(one, outcome))}
    lines = "".join(f"\n{name}: {what}" for name, what in sorted(wrong.items()))
    assert not wrong, (
        f"{len(wrong)} of {len(found)} recordings (python -m tests.fuzz --seed {seed} NAME):{lines}"
    )


def test_the_same_recordings_come_for_the_same_seed() -> None:
    def some(seed: int) -> dict[str, bytes]:
        recordings = islice(mutated(seed), 100)
        return {one.name: hashlib.sha256(one.content).digest() for one in recordings}

    valid, first = valid_recordings(), some(0)
    assert some(1).keys() == first.keys()
    assert some(1) != first
    valid_recordings.cache_clear()
    assert valid_recordings() == valid
    assert some(0) == first


def test_all_formats_are_there() -> None:
    written = {name.partition("-")[0] for name in valid_recordings()}
    assert written >= {"wav", "rf64", "w64", "aiff", "caf", "au", "flac", "mp3", "aac", "m4a", "mp4", "mov"}
    assert written >= {"mkv", "webm", "ogg", "ts", "avi", "wma"}


# What must come of one, and whether it would be seen if something else came


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (EITHER, Outcome(fault="Traceback")),
        (EITHER, Outcome(seconds=2.0, took=61.0)),
        (REFUSED, Outcome(seconds=2.0)),
        (reads(1.9), Outcome(line="x: is not audio")),
        (reads(1.9), Outcome(seconds=1.0)),
        (reads(1.9, 2.1), Outcome(seconds=3.0)),
        (reads(0.5, warned=True), Outcome(seconds=1.0)),
    ],
)
def test_what_must_not_come_is_a_problem(expected: Expected, outcome: Outcome) -> None:
    assert problem(Hostile("wav/x", "wav", b"", expected), outcome)


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        (EITHER, Outcome(seconds=0.0)),
        (EITHER, Outcome(line="x: is not audio")),
        (REFUSED, Outcome(line="x: is not audio")),
        (reads(1.9, 2.1), Outcome(seconds=2.0)),
        (reads(0.5, warned=True), Outcome(seconds=1.0, warnings=("the seconds 1 to 2 are missing",))),
    ],
)
def test_what_may_come_is_none(expected: Expected, outcome: Outcome) -> None:
    assert problem(Hostile("wav/x", "wav", b"", expected), outcome) is None


@pytest.mark.parametrize("words", FAULTS)
def test_a_reader_notices_what_must_not_be_and_goes_on(words: str, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.wav", tmp_path / FAULTY
    for path in (good, bad):
        path.write_bytes(valid_recordings()["wav-16"].content)
    with Reader(tmp_path, sys.executable, "-m", "tests.fuzz.faults", words, str(SPEECH)) as reader:
        for _ in range(2):
            assert words in (reader.read(bad).fault or "")
            assert reader.read(good).seconds == 2.0
