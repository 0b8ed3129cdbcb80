"""Samples: mixed down to mono, checked, and resampled to 16 kHz block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt

from whisper_npu.audio.damage import LIBRARY_ERRORS, Damage, Damages, Film
from whisper_npu.audio.store import Samples, Store
from whisper_npu.errors import AudioError, CancelledError, one_line, quoted

SAMPLE_RATE = 16_000  # samples per second of Whisper's input
MIN_SAMPLE_RATE = 1_000  # Hz; a lower rate means a damaged header, and upsampling would fill the memory
MAX_SAMPLE_RATE = 768_000  # Hz, of the fastest converters; a higher one is a damaged header, slow to resample
LOUDEST = 64.0  # of floats; beyond it they are whole numbers that nobody has scaled
MAX_CHANNELS = 64  # an array with more is probably (n_samples, n_channels), transposed
# Of whole numbers as wav files hold them: the value of silence, and how far the loudest sample is from it.
_MIDDLE_AND_SCALE = {"int16": (0, 2**15), "int32": (0, 2**31), "uint8": (128, 2**7)}
BLOCK = 2**19  # samples, of all channels, to decode or resample in one call: a few hundredths of a second


@dataclass(frozen=True)
class Alone:
    """Seconds in which one channel is heard instead of the mean of all."""

    start: float
    end: float  # infinite for all of a recording
    channel: int  # from 1

    def __str__(self) -> str:
        """How a warning ends."""
        heard = f": channel {self.channel} alone is heard"
        return heard if math.isinf(self.end) else f" from {self.start:.2f} s to {self.end:.2f} s{heard}"


@dataclass(frozen=True)
class Decoded:
    """What a library made of a recording."""

    samples: Store  # at 16 kHz
    seconds: float  # how much of the recording was decoded
    damage: tuple[Damage, ...] = ()  # in the order of time
    has_failed: bool = False  # the library stopped at what it cannot decode
    may_go_on: bool = False  # it may have stopped before the recording's end
    alone: tuple[Alone, ...] = ()  # where one channel is heard, since all cancel each other out
    track: int = 1  # which of the audio tracks it is, from 1
    n_tracks: int = 1  # how many audio tracks the file has
    film: Film | None = None  # what its container states, as FFmpeg reads it

    def followed_by(self, other: Decoded) -> Decoded:
        """Both as one; the other's samples are added to this one's, and let go."""
        with other.samples as samples:
            for first in range(0, samples.n_samples, BLOCK):
                self.samples.add(samples.samples(first, first + BLOCK))
        start = self.samples.n_samples / SAMPLE_RATE - other.seconds
        damages = Damages()
        for part in (*self.damage, *(part.later(start) for part in other.damage)):
            damages.add(part.start, part.end, part.what)
        return replace(
            self,
            seconds=self.seconds + other.seconds,
            damage=tuple(damages.found),
            alone=(*_until(self.alone, start), *_until(other.alone, other.seconds, start)),
        )


def _until(alone: tuple[Alone, ...], end: float, later: float = 0.0) -> tuple[Alone, ...]:
    """The same in a recording that others follow and, `later` seconds long, precede."""
    return tuple(Alone(part.start + later, min(part.end, end) + later, part.channel) for part in alone)


class Resampling:
    """Mono samples at `rate` Hz, given piece by piece, become those at 16 kHz that librosa.resample makes.

    Only one block of what was given is held; what becomes of it goes into a store. Raises AudioError for a
    senseless rate.
    """

    def __init__(self, name: str, rate: int, cancelled: Event | None = None) -> None:
        """cancelled: once it is set, the next block raises CancelledError."""
        check_rate(name, rate)
        self._name, self.rate, self._cancelled = name, int(rate), cancelled
        self._block = np.empty(BLOCK, np.float32)
        self._n_block = 0  # samples in it
        self._n_resampled = 0  # samples at `rate` before the block
        self._done = Store(name)
        self._stream: Any = None

    @property
    def seconds(self) -> float:
        """How much was given."""
        return (self._n_resampled + self._n_block) / self.rate

    def add(self, mono: Samples) -> None:
        """mono: (n_samples,), any number."""
        n_added = 0
        while n_added < len(mono):
            if self._n_block == len(self._block):
                self._resample_block(last=False)
            part = mono[n_added : n_added + len(self._block) - self._n_block]
            self._block[self._n_block : self._n_block + len(part)] = part
            self._n_block += len(part)
            n_added += len(part)

    def add_silence(self, seconds: float) -> None:
        """Of any length: only a block on either side is resampled."""
        n_samples = round(seconds * self.rate)
        n_before = min(n_samples, len(self._block))  # of what is resampled: the sound before rings on
        n_skipped = max(0, n_samples - 2 * len(self._block))
        self.add(np.zeros(n_before, np.float32))
        if n_skipped:
            # What follows is resampled anew, from where a sample at `rate` is one at 16 kHz, too.
            n_until = self._n_resampled + self._n_block + n_skipped
            n_skipped = max(0, n_skipped - n_until % (self.rate // math.gcd(self.rate, SAMPLE_RATE)))
        if n_skipped:
            self._skip(n_skipped)
        self.add(np.zeros(n_samples - n_before - n_skipped, np.float32))

    def _skip(self, n_samples: int) -> None:
        """Silence between silences."""
        if self._n_block:
            self._resample_block(last=True)
        self._done.set_length(self._n_samples)
        self._stream = None  # the next block begins anew
        self._n_resampled += n_samples
        self._done.set_length(self._n_samples)

    def finish(self) -> Store:
        """ceil(n_samples * 16000 / rate) of all that was given. To be called once."""
        if self._n_block:
            self._resample_block(last=True)
        self._done.set_length(self._n_samples)  # soxr's last sample may be missing
        return self._done

    @property
    def _n_samples(self) -> int:
        """At 16 kHz, of the blocks so far."""
        return math.ceil(self._n_resampled * (float(SAMPLE_RATE) / self.rate))

    def _resample_block(self, *, last: bool) -> None:
        if self._cancelled is not None and self._cancelled.is_set():
            raise CancelledError(f"{self._name}: cancelled after {self.seconds:.1f} s were read")
        block = self._block[: self._n_block]
        self._n_resampled += self._n_block
        resampled = block if self.rate == SAMPLE_RATE else self._by_soxr(block, last=last)
        self._done.add(resampled[: self._n_samples - self._done.n_samples])
        self._n_block = 0

    def _by_soxr(self, block: Samples, *, last: bool) -> Samples:
        import soxr

        try:
            if self._stream is None:
                self._stream = soxr.ResampleStream(
                    self.rate, SAMPLE_RATE, 1, dtype="float32", quality="soxr_hq"
                )
            resampled: Samples = self._stream.resample_chunk(block, last)
        except LIBRARY_ERRORS as error:
            raise AudioError(
                f"{self._name}: cannot be resampled from {self.rate} Hz ({error}); "
                "convert it: ffmpeg -i FILE -ar 16000 converted.wav"
            ) from error
        return resampled


def to_mono(samples: Samples) -> Samples:
    """(n_samples,) or (n_channels, n_samples) -> (n_samples,): the channels' mean, as librosa.to_mono."""
    if samples.ndim == 1:
        return samples
    mono: Samples = np.mean(samples, axis=0)
    return mono


def as_array(source: object) -> npt.NDArray[Any] | None:
    """An array, or what can be seen as one, such as a PyTorch tensor; None for all else.

    Raises AudioError for what says that it can and cannot, such as a tensor on a GPU.
    """
    if isinstance(source, np.ma.MaskedArray):
        raise AudioError("the array is masked: fill in what the mask leaves out, such as array.filled(0)")
    is_of_numbers = isinstance(source, memoryview) and source.format not in ("B", "b", "c")
    if not is_of_numbers and not hasattr(source, "__array__"):
        return None
    try:
        return np.asarray(source)
    except Exception as error:  # whatever another library raises
        raise AudioError(
            f"cannot make an array of {type(source).__name__} ({one_line(error)}); "
            "give a NumPy array, such as tensor.detach().cpu().numpy()"
        ) from error


def channels_of(array: npt.NDArray[Any]) -> Samples:
    """(n_samples,), (n_channels, n_samples) or (n_samples, n_channels) -> one of the first two, in -1..1."""
    if array.ndim not in (1, 2):
        raise AudioError(
            f"the array has shape {array.shape}; expected (n_samples,) or (n_channels, n_samples): reshape it"
        )
    if array.ndim == 2:
        n, m = array.shape
        if n > m > 0 or (n == 0 and m <= MAX_CHANNELS):  # as soundfile gives them
            array = array.T
        if not 1 <= len(array) <= MAX_CHANNELS:
            raise AudioError(
                f"the array has shape {array.shape}, so {len(array)} channels, outside 1..{MAX_CHANNELS}; "
                "expected (n_channels, n_samples) or (n_samples, n_channels): reshape it"
            )
    return _as_floats(array)


def _as_floats(array: npt.NDArray[Any]) -> Samples:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 that is too large becomes infinity
            samples: Samples = array.astype(np.float32, copy=False)
        return samples
    if array.dtype.name not in _MIDDLE_AND_SCALE:
        known = ", ".join(map(str, _MIDDLE_AND_SCALE))
        raise AudioError(
            f"the array holds {array.dtype}; expected floats in -1..1, or one of {known}: scale it, "
            "such as array.astype(np.float32) / 32768 for samples of 16 bits"
        )
    middle, scale = _MIDDLE_AND_SCALE[array.dtype.name]
    samples = array.astype(np.float32)
    samples -= np.float32(middle)
    samples *= np.float32(1 / scale)
    return samples


def resample(name: str, mono: Samples, rate: int) -> Samples:
    """An array at 16 kHz: itself if it is. Raises AudioError for a senseless rate."""
    check_rate(name, rate)
    if rate == SAMPLE_RATE:
        return mono
    resampling = Resampling(name, rate)
    resampling.add(mono)
    with resampling.finish() as done:
        return done.samples(0, done.n_samples)


def check_rate(name: str, rate: Any) -> None:
    is_whole = isinstance(rate, Real) and not isinstance(rate, bool) and rate == rate // 1
    if not is_whole or not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {quoted(rate)}; correct it to a whole number from {MIN_SAMPLE_RATE} to "
            f"{MAX_SAMPLE_RATE} Hz"
        )
