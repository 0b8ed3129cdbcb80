"""Frames of a stream whose rate and channels may change, to mono samples at the rate of its first frame."""

from __future__ import annotations

from math import inf
from threading import Event
from typing import Any

import numpy as np

from whisper_npu.audio.damage import too_long
from whisper_npu.audio.mixdown import Mixdown
from whisper_npu.audio.samples import BLOCK, Resampling
from whisper_npu.audio.store import Samples, Store


class AtFirstRate:
    """Takes frames one after the other, and silence between them."""

    def __init__(
        self, name: str, mixdown: Mixdown, max_seconds: float = inf, cancelled: Event | None = None
    ) -> None:
        self._name, self._mixdown, self._max_seconds, self._cancelled = name, mixdown, max_seconds, cancelled
        self._resampling: Resampling | None = None
        self._rate = 0  # of the last frame
        self._other: Any = None  # from `_rate` to the first one, where they differ

    @property
    def seconds(self) -> float:
        """How much was given."""
        return 0.0 if self._resampling is None else self._resampling.seconds

    def add(self, samples: Samples, rate: int) -> None:
        """samples: (n_channels, n_samples) in -1..1. Raises TooLongError."""
        import soxr

        if self._resampling is None:
            self._resampling = Resampling(self._name, rate, self._cancelled)
            self._rate = rate
        if rate != self._rate:
            self._end_other()
            if rate != self._resampling.rate:
                self._other = soxr.ResampleStream(rate, self._resampling.rate, 1, dtype="float32")
            self._rate = rate
        mono = self._mixdown.add(samples)
        self._resampling.add(mono if self._other is None else self._other.resample_chunk(mono))
        self._check_length(self.seconds)

    def add_silence(self, seconds: float, rate: int) -> None:
        """rate: of the frame behind it. Raises TooLongError before any of it is added."""
        self._check_length(self.seconds + seconds)
        n_samples = round(seconds * rate)
        silence = np.zeros(min(n_samples, BLOCK), np.float32)
        for first in range(0, n_samples, BLOCK):
            self.add(silence[None, : n_samples - first], rate)

    def finish(self) -> Store:
        """All of it at 16 kHz. To be called once."""
        if self._resampling is None:
            return Store(self._name)
        self._end_other()
        return self._resampling.finish()

    def _end_other(self) -> None:
        if self._other is not None and self._resampling is not None:
            self._resampling.add(self._other.resample_chunk(np.empty(0, np.float32), last=True))
        self._other = None

    def _check_length(self, seconds: float) -> None:
        if seconds > self._max_seconds:
            raise too_long(self._name, self._max_seconds)
