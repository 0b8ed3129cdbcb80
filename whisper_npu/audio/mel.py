"""Whisper's log-mel spectrogram, and the sizes of its window."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from whisper_npu.audio.samples import SAMPLE_RATE, Samples
from whisper_npu.errors import AudioError, UsageError

HOP_LENGTH = 160  # samples from one mel frame to the next: 10 ms
CHUNK_SECONDS = 30  # length of Whisper's window
N_SAMPLES = CHUNK_SECONDS * SAMPLE_RATE  # 480000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 frames in a mel spectrogram input
N_FFT = 400  # samples of a frame: 25 ms


def log_mel(samples: Samples, n_mels: int, on_window: Callable[[], None] | None = None) -> Samples:
    """Whisper's log-mel spectrogram, as faster-whisper computes it.

    `samples` is (n_samples,) at 16 kHz. Returns (n_mels, n_frames) float32 with
    n_frames = n_samples // 160 + 1: the frames that overlap with `samples`, which is followed by silence.
    `samples` may have any length, including 0. The frames are transformed window by window: all at once would
    take 2.6 GB for an hour (MEASURED), whose log-mel has 115 MB. on_window is called before each; what it
    raises ends the work.

    Raises UsageError unless `n_mels` is at least 1, AudioError unless `samples` is one-dimensional.
    Source: log_mel_spectrogram in openai/whisper, whisper/audio.py.
    """
    if n_mels < 1:
        raise UsageError(
            f"n_mels is {n_mels}, must be at least 1: Whisper's models take 80, or 128 (large-v3)"
        )
    if samples.ndim != 1:
        raise AudioError(f"samples of shape {samples.shape}: expected (n_samples,); load_audio returns that")
    extractor = _feature_extractor(n_mels)
    samples = samples.astype(np.float32, copy=False)
    hann = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    n_frames = len(samples) // HOP_LENGTH + 1
    mel = np.empty((n_mels, n_frames), np.float32)
    # The last window takes the rest too: BLAS may round the product of a few frames differently.
    edges = [*range(0, max(n_frames - N_FRAMES, 0) + 1, N_FRAMES), n_frames]
    for first, end in pairwise(edges):
        if on_window is not None:
            on_window()
        part = _around(samples, first, end)
        stft = extractor.stft(part, N_FFT, HOP_LENGTH, window=hann, center=False, return_complex=True)
        mel[:, first:end] = extractor.mel_filters @ np.abs(stft.astype(np.complex64)) ** 2
    np.log10(np.maximum(mel, 1e-10, out=mel), out=mel)
    np.maximum(mel, mel.max() - 8, out=mel)
    mel += 4
    mel /= 4
    return mel


def _around(samples: Samples, first: int, end: int) -> Samples:
    """The samples under the frames from `first` to before `end`, whose middles are at multiples of a hop.

    Before the recording comes its reflection, behind it silence.
    """
    start, stop = first * HOP_LENGTH - N_FFT // 2, (end - 1) * HOP_LENGTH + N_FFT // 2
    part = samples[max(start, 0) : stop]
    if start < 0:
        reflection = samples[1 : 1 - start][::-1]
        part = np.concatenate([np.zeros(-start - len(reflection), np.float32), reflection, part])
    return np.pad(part, (0, stop - start - len(part)))


@cache
def _feature_extractor(n_mels: int) -> Any:
    """Built once, since its filters are the same for every recording. Threads may share it."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=n_mels)
