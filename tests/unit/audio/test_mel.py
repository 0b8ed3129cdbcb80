"""log_mel against transformers, and against itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.recordings import noise
from whisper_npu.audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, load_audio, log_mel
from whisper_npu.errors import AudioError, UsageError

SAMPLES = sorted((Path(__file__).parents[3] / "samples").glob("*.wav"))


@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_agrees_with_transformers(n_mels):
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor(feature_size=n_mels)
    for path in SAMPLES:
        samples = load_audio(path)
        features = log_mel(samples, n_mels)
        assert features.dtype == np.float32
        assert features.shape == (n_mels, len(samples) // HOP_LENGTH + 1)
        expected = theirs(samples, sampling_rate=SAMPLE_RATE, return_tensors="np").input_features[0]
        assert expected.shape == (n_mels, N_FRAMES)
        # Theirs are in float64 up to the logarithm, ours in float32: 6e-6 apart on these, in a range of 2.
        np.testing.assert_allclose(features, expected[:, : features.shape[1]], rtol=0, atol=3e-5)


def test_log_mel_builds_the_filters_once_and_gives_what_new_ones_give(monkeypatch):
    from faster_whisper.feature_extractor import FeatureExtractor

    n_mels = 81  # of no model, so that nothing before has built them
    samples = [noise(n)[:, 0] for n in (0, 1, 399, 48_000)]
    expected = [FeatureExtractor(feature_size=n_mels)(one) for one in samples]
    build, built = FeatureExtractor.get_mel_filters, []

    def count(*arguments: int, n_mels: int) -> np.ndarray:
        built.append(n_mels)
        return build(*arguments, n_mels=n_mels)

    monkeypatch.setattr(FeatureExtractor, "get_mel_filters", staticmethod(count))
    for one, features in zip(samples * 2, expected * 2, strict=True):
        assert np.array_equal(log_mel(one, n_mels), features)
    assert built == [n_mels]


@pytest.mark.parametrize("n_samples", [0, 1, 50, 159, 160, 161, 199, 200, 201, 399, 400, 1_000])
def test_log_mel_of_short_audio_is_that_of_the_audio_in_silence(n_samples):
    samples = noise(n_samples)[:, 0]
    features = log_mel(samples, 80)
    in_silence = log_mel(np.pad(samples, (0, N_SAMPLES - n_samples)), 80)
    assert features.shape == (80, n_samples // HOP_LENGTH + 1)
    np.testing.assert_allclose(features, in_silence[:, : features.shape[1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_samples", [N_SAMPLES - 161, N_SAMPLES - 160, N_SAMPLES, 2 * N_SAMPLES + 77])
def test_log_mel_of_several_windows_is_that_of_all_at_once(n_samples):
    from faster_whisper.feature_extractor import FeatureExtractor

    samples = noise(n_samples)[:, 0]
    samples[N_SAMPLES // 2 :] *= 1e-3  # which are held to the loudest of all windows
    np.testing.assert_allclose(log_mel(samples, 80), FeatureExtractor(80)(samples), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_mels", [0, -80])
def test_log_mel_refuses_a_number_of_bands_below_1(n_mels):
    with pytest.raises(UsageError, match="at least 1"):
        log_mel(np.zeros(160, np.float32), n_mels)


def test_log_mel_refuses_samples_in_channels():
    with pytest.raises(AudioError, match="expected"):
        log_mel(np.zeros((2, 160), np.float32), 80)


def test_the_floor_lies_below_the_loudest_of_the_whole_recording() -> None:
    """80 dB below it, which are 2 after Whisper's scaling: in a quiet first window of two, too."""
    rng = np.random.default_rng(0)
    quiet, loud = (rng.standard_normal(n * 16_000, dtype=np.float32) for n in (31, 31))
    mel = log_mel(np.concatenate([1e-6 * quiet, 0.1 * loud]), 80)
    assert mel.max() - mel.min() == pytest.approx(2, abs=1e-6)
