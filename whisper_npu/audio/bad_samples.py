"""Single samples that are no sound: NaN, infinite, or floats far beyond full scale. A few are damage."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from whisper_npu.audio.damage import MOST, NEIGHBOURS, Damage
from whisper_npu.audio.samples import LOUDEST
from whisper_npu.audio.store import Samples, peak_of
from whisper_npu.errors import AudioError

# Sound in -1..1 has next to no samples from here to LOUDEST. Sound of another scale has many, and random
# bytes, taken as floats, have 4 for 100 that are bad.
_LOUD = 2.0
_LOUD_SHARES = 0.25, 0.01  # of the number of bad samples, and of those that sound


@dataclass
class _Place:
    start: float  # seconds
    end: float
    n_samples: int


class BadSamples:
    """Silences them, and keeps in mind where they are and how many."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        # Counted in all channels: those that are bad, from _LOUD to LOUDEST, and neither bad nor 0.
        self._n_bad = self._n_loud = self._n_sounding = 0
        self._loudest = 0.0  # the largest magnitude that is a number

    def silenced(self, samples: Samples, start: float, rate: int) -> Samples:
        """The samples themselves, or a copy with zeros for bad ones.

        samples: (n_samples,) or (n_channels, n_samples); start: their place in seconds.
        """
        if peak_of(samples) <= _LOUD:
            self._n_sounding += int(np.count_nonzero(samples))
            return samples
        magnitudes = np.abs(samples)
        is_good = magnitudes <= LOUDEST
        self._loudest = max(self._loudest, float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0)))
        self._n_bad += int(np.count_nonzero(~is_good))
        self._n_loud += int(np.count_nonzero(is_good & (magnitudes > _LOUD)))
        self._n_sounding += int(np.count_nonzero(is_good & (magnitudes > 0)))
        if is_good.all():
            return samples
        bad = np.flatnonzero(~is_good if is_good.ndim == 1 else ~is_good.all(axis=0))
        for near in np.split(bad, np.flatnonzero(np.diff(bad) > NEIGHBOURS * rate) + 1):
            first, last = (start + float(place / rate) for place in near[[0, -1]])
            self._add(_Place(first, last + 1 / rate, len(near)))
        return np.where(is_good, samples, np.float32(0))

    def _add(self, place: _Place) -> None:
        last = self._places[-1] if self._places else None
        if last is None or (place.start > last.end + NEIGHBOURS and len(self._places) < MOST):
            self._places.append(place)
            return
        last.end = place.end
        last.n_samples += place.n_samples

    def damage(self, name: str) -> tuple[Damage, ...]:
        """In the order of time. Raises AudioError for samples most of which are bad, or of another scale."""
        if not self._n_bad:
            return ()
        enough = _LOUD_SHARES[0] * self._n_bad, _LOUD_SHARES[1] * self._n_sounding
        if self._n_bad < self._n_sounding and self._n_loud <= max(enough):
            return tuple(map(_damage, self._places))
        n_samples = "1 sample" if self._n_bad == 1 else f"{self._n_bad} samples"
        place = f"{n_samples}, from {self._places[0].start:.3f} s on,"
        if self._loudest > LOUDEST:
            raise AudioError(
                f"{name}: has {place} far beyond full scale, up to {self._loudest:g}; "
                "expected floats in -1..1: scale them, such as x / 32768 for samples of 16 bits"
            )
        raise AudioError(
            f"{name}: has {place} that are NaN or infinite; "
            "export it again, or replace such samples with np.nan_to_num"
        )


def _damage(place: _Place) -> Damage:
    is_one = place.n_samples == 1
    hold = "hold 1 sample that is" if is_one else f"hold {place.n_samples} samples that are"
    start, end = floor(place.start * 100) / 100, ceil(place.end * 100) / 100
    kinds = "no sound (NaN, infinite or far beyond full scale)"
    return Damage(start, end, f"{hold} {kinds}: silence stands for {'it' if is_one else 'them'}")
