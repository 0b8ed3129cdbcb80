"""Quiet speech is heard, whatever is beside it; what is loud enough is heard as it is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from whisper_npu.audio import SAMPLE_RATE, InMemory, Sound, load_audio
from whisper_npu.audio.levels import LEVEL_STEP, Levels
from whisper_npu.transcription.audible import Audible, without_offset
from whisper_npu.transcription.speech import parts_with_speech, voice_check

SAMPLES = sorted((Path(__file__).parents[3] / "samples").glob("*.wav"))
SECONDS = 7
N_SAMPLES = SECONDS * SAMPLE_RATE
TIMES = np.arange(N_SAMPLES) / SAMPLE_RATE


@pytest.fixture(scope="module")
def said() -> np.ndarray:
    """A sentence: (n_samples,) float32."""
    return load_audio(SAMPLES[0])[:N_SAMPLES]


def sound_of(samples: np.ndarray) -> Sound:
    return Sound("a.wav", InMemory(samples.astype(np.float32)))


def heard(samples: np.ndarray) -> np.ndarray:
    return Audible(sound_of(samples)).samples(0, len(samples))


def clicks(every: float) -> np.ndarray:
    return (TIMES % every < 100 / SAMPLE_RATE).astype(np.float32)


BESIDE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nothing": lambda quiet: quiet,
    "a click in the middle": lambda quiet: np.where(
        np.arange(N_SAMPLES) // 100 == N_SAMPLES // 200, 1, quiet
    ),
    "two clicks a second": lambda quiet: np.maximum(quiet, clicks(0.5)),
    "an offset": lambda quiet: quiet + 0.5,
    "an offset later": lambda quiet: quiet + np.where(TIMES < 5, 0, 0.5),
    "an offset that drifts": lambda quiet: quiet + 0.3 * np.sin(TIMES),
    "a loud sentence before": lambda quiet: np.concatenate([quiet * 1000, quiet]),
    "a loud sentence behind": lambda quiet: np.concatenate([quiet, quiet * 1000]),
    "a loud tone": lambda quiet: np.concatenate([quiet, 0.8 * np.sin(2000 * TIMES)]),
}


@pytest.mark.parametrize("beside", BESIDE)
def test_quiet_speech_is_heard_beside(said: np.ndarray, beside: str) -> None:
    samples = BESIDE[beside](said * np.float32(1e-3))
    quiet = heard(samples)[-N_SAMPLES if beside == "a loud sentence before" else 0 :][:N_SAMPLES]
    assert 0.02 < np.percentile(np.abs(quiet), 98) < 0.5
    assert np.abs(quiet).max() <= 1
    voiced = sum(part.n_samples for part in parts_with_speech(InMemory(quiet), voice_check()))
    expected = sum(part.n_samples for part in parts_with_speech(InMemory(said), voice_check()))
    assert voiced > 0.9 * expected


@pytest.mark.parametrize("decibels", [-40, -60, -90])
def test_quiet_speech_is_found_where_loud_speech_is(said: np.ndarray, decibels: float) -> None:
    loud = list(parts_with_speech(InMemory(said), voice_check()))
    source = Audible(sound_of(said * 10 ** (decibels / 20)))
    found = list(parts_with_speech(source, voice_check()))
    assert len(found) == len(loud)


@pytest.mark.parametrize("level", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("pause", [0.0, 1e-4, 3e-3])
def test_ordinary_speech_and_its_pauses_are_heard_as_they_are(
    said: np.ndarray, level: float, pause: float
) -> None:
    noise = np.random.default_rng(0).normal(0, pause, 10 * SAMPLE_RATE)
    samples = (np.concatenate([said, noise, said]) * level).astype(np.float32)
    assert np.array_equal(heard(samples), samples)


def test_silence_stays_silence() -> None:
    assert not heard(np.zeros(3 * N_SAMPLES)).any()
    assert len(heard(np.zeros(0))) == 0


def test_pieces_are_the_whole(said: np.ndarray) -> None:
    quiet = np.concatenate([said, said * np.float32(1e-3) + 0.3, np.zeros(1234, np.float32)])
    whole = heard(quiet)
    source = Audible(sound_of(quiet))
    edges = [0, 1, 399, 5_000, 50_001, 112_000, 113_000, 150_007, len(quiet), len(quiet) + 10]
    pieces = [source.samples(start, stop) for start, stop in pairwise(edges)]
    assert np.allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_an_offset_is_taken_out_and_told() -> None:
    tone = 0.01 * np.sin(2 * np.pi * 440 * TIMES)
    sound = sound_of(tone + 0.5)
    assert sound.level == "its loudest sample is at -40 dB beside an offset (DC) of 0.50"
    assert np.abs(without_offset(sound, 1_000, 90_000) - tone[1_000:90_000]).max() < 1e-3
    assert sound_of(tone + 0.01).level == "its loudest sample is at -34 dB"  # of ordinary recordings


@pytest.mark.parametrize(
    "sizes", [[10_000], [1, 3_999, 4_000, 1_999], [100] * 100, [9_000, 0, 1_000]], ids=len
)
def test_levels_do_not_depend_on_the_blocks(sizes: list[int]) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, sum(sizes)).astype(np.float32)
    whole, parts = Levels(), Levels()
    whole.add(samples)
    for part in np.split(samples, np.cumsum(sizes)[:-1]):
        parts.add(part)
    assert np.array_equal(whole.values(), parts.values())
    assert len(whole.values()) == -(-len(samples) // LEVEL_STEP)
    assert whole.values() == pytest.approx(0.1, rel=0.1)


def test_silence_counts_in_levels() -> None:
    one = np.full(5_000, 0.5, np.float32) * np.resize([1, -1], 5_000).astype(np.float32)
    levels, expected = Levels(), Levels()
    for n in (0, 10, 20_001):
        levels.add(one)
        levels.add_silence(n)
        expected.add(np.concatenate([one, np.zeros(n, np.float32)]))
    assert np.array_equal(levels.values(), expected.values())


@pytest.mark.parametrize(
    ("seconds", "clips"),
    [
        ([(7, 1)], (0,)),
        ([(40, 0)], (0,)),
        ([(40, 0), (7, 1)], (39.75,)),
        ([(7, 1), (9, 0), (7, 1)], (0,)),
        ([(7, 1), (40, 0), (7, 1)], (0, 7.25, 46.75)),
        ([(7, 1), (40, 0)], (0, 7.25)),
        ([(20, 0), (7, 1), (20, 0), (7, 1), (20, 0)], (19.75, 27.25, 46.75, 54.25)),
    ],
)
def test_long_times_without_any_sound_are_left_out(
    seconds: list[tuple[int, float]], clips: tuple[float, ...]
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 7 * SAMPLE_RATE)
    samples = np.concatenate([noise if loud else np.zeros(n * SAMPLE_RATE) for n, loud in seconds])
    assert Audible(sound_of(samples)).clips_with_sound() == clips
