"""Whisper's log-mel spectrogram, and the sizes of its window."""

from __future__ import annotations

from functools import cache
from typing import Any

from whisper_npu.audio.samples import SAMPLE_RATE, Samples
from whisper_npu.errors import AudioError, UsageError

HOP_LENGTH = 160  # samples from one mel frame to the next: 10 ms
CHUNK_SECONDS = 30  # length of Whisper's window
N_SAMPLES = CHUNK_SECONDS * SAMPLE_RATE  # 480000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 frames in a mel spectrogram input


def log_mel(samples: Samples, n_mels: int) -> Samples:
    """Whisper's log-mel spectrogram, as faster-whisper computes it.

    `samples` is (n_samples,) at 16 kHz. Returns (n_mels, n_frames) float32 with
    n_frames = n_samples // 160 + 1: the frames that overlap with `samples`, which is followed by silence.
    `samples` may have any length, including 0.

    Raises UsageError unless `n_mels` is at least 1, AudioError unless `samples` is one-dimensional.
    Source: log_mel_spectrogram in openai/whisper, whisper/audio.py.
    """
    if n_mels < 1:
        raise UsageError(
            f"n_mels is {n_mels}, must be at least 1: Whisper's models take 80, or 128 (large-v3)"
        )
    if samples.ndim != 1:
        raise AudioError(f"samples of shape {samples.shape}: expected (n_samples,); load_audio returns that")
    # The extractor appends one hop of zeros, so that its reflection at the end mirrors silence.
    features: Samples = _feature_extractor(n_mels)(samples)  # (n_mels, n_frames)
    return features


@cache
def _feature_extractor(n_mels: int) -> Any:
    """Built once, since its filters are the same for every recording. Threads may share it."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=n_mels)
