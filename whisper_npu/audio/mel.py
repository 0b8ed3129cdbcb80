"""Whisper's log-mel spectrogram, and the sizes of its window."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from whisper_npu.audio.samples import SAMPLE_RATE
from whisper_npu.audio.store import InMemory, Samples, SampleSource
from whisper_npu.errors import AudioError, UsageError

HOP_LENGTH = 160  # samples from one mel frame to the next: 10 ms
CHUNK_SECONDS = 30  # length of Whisper's window
N_SAMPLES = CHUNK_SECONDS * SAMPLE_RATE  # 480000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 frames in a mel spectrogram input
N_FFT = 400  # samples of a frame: 25 ms
WINDOWS_KEPT = 2  # a slice may begin in one and end in the next


def ignore_window() -> None:
    """The default: nobody follows."""


def log_mel(samples: Samples, n_mels: int) -> Samples:
    """Whisper's log-mel spectrogram, as faster-whisper computes it.

    `samples` is (n_samples,) at 16 kHz. Returns (n_mels, n_frames) float32 with
    n_frames = n_samples // 160 + 1: the frames that overlap with `samples`, which is followed by silence.
    `samples` may have any length, including 0. `LogMel` gives the same frames without holding them all: those
    of an hour take 115 MB.

    Raises UsageError unless `n_mels` is at least 1, AudioError unless `samples` is one-dimensional, and for
    samples so loud that their power overflows.
    Source: log_mel_spectrogram in openai/whisper, whisper/audio.py.
    """
    if samples.ndim != 1:
        raise AudioError(f"samples of shape {samples.shape}: expected (n_samples,); load_audio returns that")
    source = InMemory(samples.astype(np.float32, copy=False))
    return LogMel(source, n_mels, n_kept=None)[:, :]


class LogMel:
    """The log-mel spectrogram of a source, (n_mels, n_frames) float32, of which slices are computed.

    Every frame depends on the loudest one, which is looked for first, in all of the source.
    """

    def __init__(
        self,
        source: SampleSource,
        n_mels: int,
        on_window: Callable[[], None] = ignore_window,
        n_kept: int | None = WINDOWS_KEPT,
    ) -> None:
        """on_window: called before each window is transformed; what it raises ends the work.

        n_kept: how many windows are kept for later; None for all, so that none is transformed again.
        """
        if n_mels < 1:
            raise UsageError(
                f"n_mels is {n_mels}, must be at least 1: Whisper's models take 80, or 128 (large-v3)"
            )
        self._source, self._on_window = source, on_window
        self._extractor = _feature_extractor(n_mels)
        self._hann = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
        n_frames = source.n_samples // HOP_LENGTH + 1
        # The last window takes the rest too: BLAS may round the product of a few frames differently.
        self._edges = [*range(0, max(n_frames - N_FRAMES, 0) + 1, N_FRAMES), n_frames]
        # No lru_cache: it would hold this object, and this object it, until garbage is collected.
        self._kept: dict[int, Samples] = {}  # by their numbers, the oldest first
        self._n_kept = n_kept
        self.shape = n_mels, n_frames
        self._loudest = max(float(self._window(i).max()) for i in range(len(self._edges) - 1))

    def __getitem__(self, key: tuple[Any, slice]) -> Samples:
        """[:, start:stop] or [..., start:stop] -> (n_mels, stop - start) float32."""
        every, frames = key
        assert every in (..., slice(None))
        start, stop, step = frames.indices(self.shape[1])
        assert step == 1
        mel = np.empty((self.shape[0], max(0, stop - start)), np.float32)
        for i, (first, end) in enumerate(pairwise(self._edges)):
            low, high = max(start, first), min(stop, end)
            if low < high:
                mel[:, low - start : high - start] = self._window(i)[:, low - first : high - first]
        np.maximum(mel, np.float32(self._loudest) - 8, out=mel)
        mel += 4
        mel /= 4
        return mel

    def _window(self, i: int) -> Samples:
        """Window i, as `_transformed` gives it."""
        if i not in self._kept:
            while self._n_kept is not None and len(self._kept) >= self._n_kept:
                del self._kept[next(iter(self._kept))]
            self._kept[i] = self._transformed(i)
        return self._kept[i]

    def _transformed(self, i: int) -> Samples:
        """Window i: (n_mels, n_frames) float32, log10 of the power, at least -10."""
        self._on_window()
        first, end = self._edges[i : i + 2]
        part = _around(self._source, first, end)
        # What is too loud is an error below, and no warning here.
        with np.errstate(over="ignore", invalid="ignore"):
            stft = self._extractor.stft(
                part, N_FFT, HOP_LENGTH, window=self._hann, center=False, return_complex=True
            )
            mel = self._extractor.mel_filters @ np.abs(stft.astype(np.complex64)) ** 2
        np.log10(np.maximum(mel, 1e-10, out=mel), out=mel)
        if not np.isfinite(mel).all():
            raise AudioError(
                f"the samples from {first * HOP_LENGTH / SAMPLE_RATE:g} s on are too loud for a spectrogram: "
                f"up to {np.abs(part).max():g}; expected floats in -1..1: scale them"
            )
        return mel  # type: ignore[no-any-return]


def _around(source: SampleSource, first: int, end: int) -> Samples:
    """The samples under the frames from `first` to before `end`, whose middles are at multiples of a hop.

    Before the recording comes its reflection, behind it silence.
    """
    start, stop = first * HOP_LENGTH - N_FFT // 2, (end - 1) * HOP_LENGTH + N_FFT // 2
    part = source.samples(max(start, 0), stop)
    if start < 0:
        reflection = source.samples(1, 1 - start)[::-1]
        part = np.concatenate([np.zeros(-start - len(reflection), np.float32), reflection, part])
    return np.pad(part, (0, stop - start - len(part)))


@cache
def _feature_extractor(n_mels: int) -> Any:
    """Built once, since its filters are the same for every recording. Threads may share it."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=n_mels)
