"""Many channels become one: their mean, as librosa has it, and how loud they were before and after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whisper_npu.audio.samples import LOUDEST, Decoded, to_mono
from whisper_npu.audio.store import Samples, peak_of


class Mixdown:
    """Blocks of samples of all channels, one after the other, become mono ones. Their peaks are kept."""

    def __init__(self, channel: int | None = None) -> None:
        """channel: the only one to take, from 1; None for the mean of all."""
        self.channel = channel
        self.peak = 0.0  # the largest absolute sample of the mono ones; 1.0 is full scale
        self._channel_peaks: list[float] = []

    @property
    def channel_peak(self) -> float:
        """The largest absolute sample of any channel."""
        return max(self._channel_peaks, default=0.0)

    def measured(self, decoded: Decoded) -> Decoded:
        """With the peaks of what was mixed for it."""
        peak = self.channel_peak
        loudest_channel = self._channel_peaks.index(peak) + 1 if self._channel_peaks else 1
        return replace(
            decoded,
            peak=self.peak,
            channel_peak=peak,
            loudest_channel=loudest_channel,
            channel=self.channel,
        )

    def add(self, samples: Samples) -> Samples:
        """samples: (n_samples,) or (n_channels, n_samples). Returns (n_samples,)."""
        channels = samples[None] if samples.ndim == 1 else samples
        missing = len(channels) - len(self._channel_peaks)  # a stream may change its channels midway
        self._channel_peaks += [0.0] * missing
        for channel, part in enumerate(channels):
            self._channel_peaks[channel] = max(self._channel_peaks[channel], peak_of(part))
        if self.channel is not None:
            mono: Samples = channels[min(self.channel, len(channels)) - 1]
        else:
            mono = to_mono(channels) if len(channels) > 1 else channels[0]
        self.peak = max(self.peak, peak_of(mono))
        return mono


def is_out_of_scale(samples: Samples) -> bool:
    """Whether they cannot be sound in -1..1: NaN, infinity, or floats far beyond full scale."""
    flat = samples.ravel()
    if np.dot(flat, flat) <= LOUDEST**2:  # quick, and true of nearly all
        return False
    return not peak_of(samples) <= LOUDEST
