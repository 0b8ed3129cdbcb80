"""Many channels become one: their mean, as librosa has it; one of them where they cancel each other out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from whisper_npu.audio.bad_samples import BadSamples
from whisper_npu.audio.damage import Damage
from whisper_npu.audio.samples import LOUDEST, Alone, to_mono
from whisper_npu.audio.store import Samples, peak_of

_HOP = 0.05  # seconds that are judged at once
# Of the power that the mean of unrelated channels would have (-30 dB): what is left of channels that cancel
# each other out. A lossy codec leaves more than nothing. One channel alone leaves all of that power.
_CANCELLED = 1e-3
_SILENT = 1e-8  # of the loudest hop's power (-80 dB): codecs may leave anything in what nobody hears
_SHORTEST = 0.25  # seconds that cancel out; a shorter time may be chance


class Mixdown:
    """Blocks of samples of all channels, one after the other, become mono ones.

    Where channels cancel each other out is known at the end: `alone`. Given to another mixdown, one channel
    is heard there, without a click where that begins and ends.
    """

    def __init__(self, alone: Sequence[Alone] = ()) -> None:
        """alone: where one channel only is to be taken, in the order of time."""
        self._alone, self._ends = alone, [one.end for one in alone]
        self._bad = BadSamples()
        self._stretches: list[_Stretch] = []
        self._open: _Stretch | None = None  # the last one, if it may go on
        self._loudest = 0.0  # power of the loudest channel in the loudest hop
        self._loudest_mono = 0.0  # power of the mean in its loudest hop

    def add(self, samples: Samples, start: float, rate: int) -> Samples:
        """samples: (n_samples,) or (n_channels, n_samples); start: their place in seconds.

        Returns (n_samples,). Bad samples are 0.
        """
        samples = self._bad.silenced(samples, start, rate)
        if samples.ndim == 1 or len(samples) == 1:
            return samples if samples.ndim == 1 else samples[0]
        mono = to_mono(samples)
        if self._alone:
            self._blend(mono, samples, start, rate)
        else:
            self._judge(mono, samples, start, rate)
        return mono

    @property
    def alone(self) -> tuple[Alone, ...]:
        """Where channels cancel each other out, and which one is to be heard there, in the order of time."""
        if self._alone:
            return tuple(self._alone)
        found = [one for one in self._stretches if one.power > _SILENT * self._loudest]
        found = [one for one in found if one.cancelled_seconds >= _SHORTEST]
        if found and self._loudest_mono < _CANCELLED * self._loudest:
            return (Alone(0.0, inf, max(found, key=lambda one: one.power).channel),)
        return tuple(Alone(max(0.0, one.start - _HOP), one.end + _HOP, one.channel) for one in found)

    def damage(self, name: str) -> tuple[Damage, ...]:
        """Of single samples, in the order of time. Raises AudioError where most of them are bad."""
        return self._bad.damage(name)

    def _judge(self, mono: Samples, channels: Samples, start: float, rate: int) -> None:
        n_hop = max(1, round(_HOP * rate))
        firsts = np.arange(0, len(mono), n_hop)
        n_samples = np.diff(firsts, append=len(mono))
        powers = np.stack([_sums_of_squares(channel, firsts) for channel in channels]) / n_samples
        mono_powers = _sums_of_squares(mono, firsts) / n_samples
        loudest = powers.max(axis=0)
        unrelated = powers.sum(axis=0) / len(channels) ** 2  # power of their mean, if they were
        is_cancelled = (mono_powers <= _CANCELLED * unrelated) & (loudest > _SILENT * self._loudest)
        self._loudest = max(self._loudest, float(loudest.max(initial=0.0)))
        self._loudest_mono = max(self._loudest_mono, float(mono_powers.max(initial=0.0)))
        if not is_cancelled.any() and self._open is None:
            return
        for i, first in enumerate(firsts):
            if is_cancelled[i]:
                seconds = float(n_samples[i] / rate)
                self._stretch(len(channels)).add(start + float(first / rate), seconds, powers[:, i])
            elif self._open is not None and mono_powers[i] > _CANCELLED * self._open.power:
                self._open = None  # the mean is heard again

    def _stretch(self, n_channels: int) -> _Stretch:
        """The open one, or a new one."""
        if self._open is None or len(self._open.energies) != n_channels:
            self._open = _Stretch(np.zeros(n_channels))
            self._stretches.append(self._open)
        return self._open

    def _blend(self, mono: Samples, channels: Samples, start: float, rate: int) -> None:
        """Put one channel in the place of the mean, in place, where it is to be heard alone."""
        end = start + len(mono) / rate
        for number in range(bisect_right(self._ends, start), len(self._alone)):
            one = self._alone[number]
            if one.start >= end:
                break
            channel = channels[min(one.channel, len(channels)) - 1]
            if one.end == inf:
                mono[:] = channel
                continue
            first = max(0, round((one.start - start) * rate))
            last = min(len(mono), round((one.end - start) * rate))
            seconds = start + np.arange(first, last) / rate
            from_edge = one.end - seconds
            if one.start > 0:
                from_edge = np.minimum(from_edge, seconds - one.start)
            share = np.clip(from_edge / _HOP, 0, 1).astype(np.float32)
            mono[first:last] += share * (channel[first:last] - mono[first:last])


@dataclass
class _Stretch:
    """A time in which channels cancel each other out, but for pauses."""

    energies: npt.NDArray[np.float64]  # of each channel
    start: float = inf  # seconds
    end: float = 0.0
    cancelled_seconds: float = 0.0
    power: float = 0.0  # of the loudest channel in the loudest hop

    def add(self, start: float, seconds: float, powers: npt.NDArray[np.float64]) -> None:
        self.start, self.end = min(self.start, start), start + seconds
        self.cancelled_seconds += seconds
        self.power = max(self.power, float(powers.max()))
        self.energies += powers * seconds

    @property
    def channel(self) -> int:
        """The loudest one, from 1."""
        return int(self.energies.argmax()) + 1


def _sums_of_squares(samples: Samples, firsts: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Of the parts that begin at `firsts`."""
    return np.add.reduceat(np.square(samples, dtype=np.float64), firsts)


def is_out_of_scale(samples: Samples) -> bool:
    """Whether they cannot be sound in -1..1: NaN, infinity, or floats far beyond full scale."""
    flat = samples.ravel()
    if np.dot(flat, flat) <= LOUDEST**2:  # quick, and true of nearly all
        return False
    return not peak_of(samples) <= LOUDEST
