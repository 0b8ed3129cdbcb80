"""Whether somebody speaks: however quiet, beside an offset, and not in noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.live_speech import sentence, silence, spoken
from whisper_npu.audio import Samples
from whisper_npu.live.voice import STEP, Voice
from whisper_npu.transcription.libraries import faster_whisper


def probabilities(samples: Samples) -> np.ndarray:
    voice = Voice()
    samples = samples.astype(np.float32)
    return np.array(
        [voice.probability(samples[i : i + STEP]) for i in range(0, len(samples) - STEP + 1, STEP)]
    )


def test_loud_speech_is_heard_as_faster_whisper_hears_it() -> None:
    samples = spoken(0)
    loud = samples * np.float32(0.9 / np.abs(samples).max())
    whole = loud[: len(loud) // STEP * STEP].copy()
    theirs = faster_whisper.vad.get_vad_model()(whole).reshape(-1)
    ours = probabilities(loud)
    assert np.mean((ours > 0.5) == (theirs > 0.5)) > 0.97


@pytest.mark.parametrize("offset", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("decibels", [0, -45, -80])
@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_speech_is_heard(decibels: float, offset: float, noise: float) -> None:
    samples = spoken(1)
    expected = probabilities(samples) > 0.5
    noisy = samples + np.random.default_rng(0).normal(0, noise * np.abs(samples).max(), len(samples))
    heard = probabilities(noisy * 10 ** (decibels / 20) + offset) > 0.5
    assert np.mean(heard[expected]) > 0.9
    assert np.mean(heard[~expected]) < 0.1


def test_quiet_speech_is_heard_after_loud_speech() -> None:
    """It may take some seconds."""
    quiet = sentence(1) * np.float32(10 ** (-60 / 20))
    heard = probabilities(np.concatenate([sentence(0), silence(6), quiet]))
    assert np.mean(heard[-len(quiet) // STEP :] > 0.5) > 0.5


@pytest.mark.parametrize("decibels", [-10, -26, -40])
def test_a_second_speaker_who_is_quieter_is_heard_at_once(decibels: float) -> None:
    alone = probabilities(sentence(1)) > 0.5
    quiet = sentence(1) * np.float32(10 ** (decibels / 20))
    before = np.concatenate([sentence(0), silence(0.5)])
    before = before[: len(before) // STEP * STEP]
    heard = probabilities(np.concatenate([before, quiet]))[len(before) // STEP :] > 0.5
    assert np.mean(heard[: len(alone)][alone]) > 0.9


@pytest.mark.parametrize("decibels", [-25, -45])
def test_noise_after_speech_is_no_speech(decibels: float) -> None:
    said = sentence(0)[: len(sentence(0)) // STEP * STEP]
    noise = np.random.default_rng(0).normal(0, np.std(said) * 10 ** (decibels / 20), 6 * 16_000)
    heard = probabilities(np.concatenate([said, noise]))[len(said) // STEP + 10 :]
    assert (heard < 0.5).all()


@pytest.mark.parametrize("decibels", [-20, -50, -80, -140])
@pytest.mark.parametrize("kind", ["white", "hum", "clicks", "offset"])
def test_noise_is_no_speech(kind: str, decibels: float) -> None:
    n = 20 * 16_000
    random, times = np.random.default_rng(0), np.arange(n) / 16_000
    noise = {
        "white": random.normal(0, 1, n),
        "hum": np.sin(2 * np.pi * 50 * times) + np.sin(2 * np.pi * 150 * times) / 3,
        "clicks": 10.0 * (random.random(n) < 3 / 16_000) + random.normal(0, 0.01, n),
        "offset": np.where(times % 4 < 2, 1.0, -1.0),  # a loose contact
    }[kind]
    assert (probabilities(noise * 10 ** (decibels / 20)) < 0.5).all()


def test_clipped_and_endless_sound_gives_numbers() -> None:
    extremes = np.tile(np.array([64, -64, 0, 1e-30], np.float32), STEP)
    assert np.isfinite(probabilities(extremes)).all()
