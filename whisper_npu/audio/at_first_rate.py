"""Frames of a stream whose rate and channels may change, to mono samples at the rate of its first frame."""

from __future__ import annotations

from math import inf
from threading import Event
from typing import Any

import numpy as np

from whisper_npu.audio.damage import LIBRARY_ERRORS, too_long
from whisper_npu.audio.mixdown import Mixdown
from whisper_npu.audio.samples import Resampling, check_rate
from whisper_npu.audio.store import Samples, Store
from whisper_npu.errors import AudioError

_WAITING = 2**15  # samples of each channel: 0.7 s at 44.1 kHz


class AtFirstRate:
    """Takes frames one after the other, and silence between them."""

    def __init__(
        self, name: str, mixdown: Mixdown, max_seconds: float = inf, cancelled: Event | None = None
    ) -> None:
        self._name, self._mixdown, self._max_seconds, self._cancelled = name, mixdown, max_seconds, cancelled
        self._resampling: Resampling | None = None
        self._rate = 0  # of the frames that wait
        self._waiting: list[Samples] = []  # frames of one shape: mixed and resampled many at once, for speed
        self._n_waiting = 0  # samples of each channel
        self._other: Any = None  # from `_rate` to the first one, where they differ

    @property
    def seconds(self) -> float:
        """How much was given."""
        if self._resampling is None:
            return 0.0
        return self._resampling.seconds + (self._n_waiting / self._rate if self._n_waiting else 0.0)

    def add(self, samples: Samples, rate: int) -> None:
        """samples: (n_channels, n_samples) in -1..1. Raises TooLongError."""
        if self._resampling is None:
            self._resampling = Resampling(self._name, rate, self._cancelled)
            self._rate = rate
        if self._waiting and (rate != self._rate or len(samples) != len(self._waiting[0])):
            self._pass_on()
        if rate != self._rate:
            self._change_rate(rate)
        self._waiting.append(samples)
        self._n_waiting += samples.shape[1]
        if self._n_waiting >= _WAITING:
            self._pass_on()
            self._check_length(self.seconds)

    def add_silence(self, seconds: float, rate: int) -> None:
        """rate: of the frame behind it. Raises TooLongError before any of it is added."""
        self._check_length(self.seconds + seconds)
        if self._resampling is None:
            self._resampling = Resampling(self._name, rate, self._cancelled)
            self._rate = rate
        self._pass_on()
        self._resampling.add_silence(seconds)

    def finish(self) -> Store:
        """All of it at 16 kHz. To be called once. Raises TooLongError."""
        if self._resampling is None:
            return Store(self._name)
        self._pass_on()
        self._end_other()
        self._check_length(self.seconds)
        return self._resampling.finish()

    def _pass_on(self) -> None:
        if not self._waiting or self._resampling is None:
            return
        mono = self._mixdown.add(np.concatenate(self._waiting, axis=1), self._resampling.seconds, self._rate)
        self._waiting, self._n_waiting = [], 0
        self._resampling.add(mono if self._other is None else self._at_first_rate(mono))

    def _at_first_rate(self, mono: Samples, *, last: bool = False) -> Samples:
        try:
            resampled: Samples = self._other.resample_chunk(mono, last)
        except LIBRARY_ERRORS as error:
            raise AudioError(
                f"{self._name}: changes its sample rate to {self._rate} Hz, which cannot be resampled; "
                "convert it: ffmpeg -i FILE -ar 16000 converted.wav"
            ) from error
        return resampled

    def _change_rate(self, rate: int) -> None:
        import soxr

        self._end_other()
        if self._resampling is not None and rate != self._resampling.rate:
            check_rate(self._name, rate)
            self._other = soxr.ResampleStream(rate, self._resampling.rate, 1, dtype="float32")
        self._rate = rate

    def _end_other(self) -> None:
        if self._other is not None and self._resampling is not None:
            self._resampling.add(self._at_first_rate(np.empty(0, np.float32), last=True))
        self._other = None

    def _check_length(self, seconds: float) -> None:
        if seconds > self._max_seconds:
            raise too_long(self._name, self._max_seconds)
