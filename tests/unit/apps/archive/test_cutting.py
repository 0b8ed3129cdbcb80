"""Long recordings are cut in pauses, into parts of about one length, and every time alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.archive import RATE, noise
from whisper_npu.apps.archive.cutting import parts_of
from whisper_npu.audio import HOP_LENGTH, InMemory, Sound, load_audio
from whisper_npu.audio.levels import LEVEL_STEP
from whisper_npu.audio.store import Store
from whisper_npu.dtypes import F32

SAMPLES = Path(__file__).parents[4] / "samples"
SPOKEN = [load_audio(SAMPLES / f"sns-0{number}.wav") for number in (870, 880, 890, 920, 930)]


def speech(pauses: float, seconds: float) -> tuple[F32, list[tuple[int, int]]]:
    """Sentences between pauses of digital silence, and the first and last sample of each pause."""
    pieces: list[F32] = []
    silent: list[tuple[int, int]] = []
    n = 0
    while n < seconds * RATE:
        sentence = SPOKEN[len(silent) % len(SPOKEN)]
        pieces += [sentence, np.zeros(round(pauses * RATE), np.float32)]
        silent.append((n + len(sentence), n + len(sentence) + len(pieces[-1])))
        n = silent[-1][1]
    return np.concatenate(pieces), silent


def cuts_of(samples: F32, part_seconds: float) -> list[int]:
    return [part.start for part in parts_of(Sound("a", InMemory(samples)), part_seconds)[1:]]


@settings(max_examples=15)
@given(st.integers(1, 40 * RATE), st.floats(0.5, 60))
@example(40 * RATE, 40.0)
@example(3 * RATE, 2.0)
def test_parts_are_all_of_a_recording_and_none_is_tiny(n_samples: int, part_seconds: float) -> None:
    parts = parts_of(Sound("a", InMemory(np.zeros(n_samples, np.float32))), part_seconds)
    assert parts[0].start == 0
    assert parts[-1].stop == n_samples
    assert [part.stop for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert all(part.start % HOP_LENGTH == 0 for part in parts)
    if len(parts) > 1:
        length = n_samples / len(parts)
        assert 0.75 * part_seconds <= length / RATE <= 1.5 * part_seconds
        assert all(0.5 * length - 161 <= part.stop - part.start <= 1.5 * length + 161 for part in parts)
    else:
        assert n_samples / RATE <= 1.5 * part_seconds


@pytest.mark.parametrize("bed", [0.0, 0.004])
def test_a_cut_lies_in_the_middle_of_a_pause(bed: float) -> None:
    """Also where noise lies below all of it, so that no level falls."""
    samples, pauses = speech(0.8, 60)
    cuts = cuts_of(samples + bed * 10 * noise(len(samples) / RATE)[: len(samples)], 20)
    assert len(cuts) == round(len(samples) / RATE / 20) - 1
    for cut in cuts:
        (within,) = [(first, last) for first, last in pauses if first <= cut < last]
        assert abs(cut - sum(within) / 2) < 0.3 * RATE


def test_the_longest_pause_near_the_place_is_taken() -> None:
    samples, pauses = speech(0.3, 40)
    nearest = min(first for first, _ in pauses if first > 0.45 * len(samples))
    long = max(first for first, _ in pauses if first < nearest)
    assert abs(long + RATE - len(samples) / 2) > abs(nearest + RATE / 2 - len(samples) / 2)
    samples = np.insert(samples, long, np.zeros(RATE, np.float32))
    (cut,) = cuts_of(samples, len(samples) / RATE / 2)
    assert long < cut < long + 1.3 * RATE


def test_quiet_speech_beside_loud_speech_is_no_pause() -> None:
    """A second speaker far from the microphone."""
    quiet = 0.004 * SPOKEN[0]
    loud = np.concatenate([SPOKEN[2], SPOKEN[3]])
    samples = np.concatenate([loud, quiet, np.zeros(RATE // 2, np.float32), loud])
    (cut,) = cuts_of(samples, len(samples) / RATE / 2)
    pause = len(loud) + len(quiet)
    assert pause - RATE // 4 < cut < pause + RATE // 2


def test_where_nobody_pauses_the_quietest_moment_is_taken() -> None:
    samples = np.tile(SPOKEN[0][2 * RATE : 5 * RATE // 2], 40)
    samples[11 * RATE : 11 * RATE + LEVEL_STEP] *= 0.7
    (cut,) = cuts_of(samples, 10)
    assert 0 <= 11 * RATE + LEVEL_STEP // 2 - cut < HOP_LENGTH


def test_the_same_recording_is_cut_alike_wherever_its_samples_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, _ = speech(0.5, 40)
    monkeypatch.setattr("whisper_npu.audio.store.IN_MEMORY", 1_000)
    with Store("a") as store:
        for first in range(0, len(samples), 70_001):
            store.add(samples[first : first + 70_001])
        assert [part.start for part in parts_of(Sound("a", store), 10)[1:]] == cuts_of(samples, 10)
