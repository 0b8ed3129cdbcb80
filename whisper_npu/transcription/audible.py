"""What Whisper and the voice check hear of a recording: quiet speech louder, and no constant offset.

Whisper's log-mel ends 80 dB below the loudest frame of a recording, and at a floor of its own. Silero VAD,
the voice check, misses what is quieter than -40 dB. So speech is lost that is quiet, or has something loud
beside it: another speaker, a click, an offset (DC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from whisper_npu.audio import SAMPLE_RATE, Samples, SampleSource, Sound
from whisper_npu.audio.levels import LEVEL_STEP, PART
from whisper_npu.audio.sound import OFFSET
from whisper_npu.transcription.options import WHOLE_RECORDING
from whisper_npu.transcription.speech import Cut, Part, parts_with_speech, voice_check
from whisper_npu.transcription.stages import no_question

# Levels as `Levels` has them, which are roughly half of the loud samples' magnitude.
TOO_QUIET = 0.003  # a recording that is never louder becomes louder as a whole
LOUD_ENOUGH = 0.05
QUIET = 0.01  # of the loudest level (-40 dB): below it speech is lost beside what is loud
_LEAST = 1e-8  # below it there is nothing
_SHORTEST = 2 * SAMPLE_RATE // LEVEL_STEP  # steps that are quiet; a pause between words is shorter
_AROUND = 5 * SAMPLE_RATE // LEVEL_STEP  # steps before and behind one that decide how much louder it becomes
_LONG_SILENCE = 10 * SAMPLE_RATE // LEVEL_STEP  # steps without any sound that are left out
_STEP_SECONDS = LEVEL_STEP / SAMPLE_RATE
_MARGIN = 0.25  # seconds of it that stay before and behind sound
_EDGE = SAMPLE_RATE // 20  # samples in which a part becomes louder


class Audible:
    """A recording as a source in which all speech is loud enough. The rest is as it was."""

    def __init__(self, sound: Sound, go_on: Callable[[], None] = no_question) -> None:
        """go_on: asked again and again; raises where the work is to end."""
        self._sound = sound
        self.n_samples = sound.n_samples
        self._raising = _Raising(sound)
        self._factor = self._raising.for_all
        self._louder: list[Part] = []  # quiet speech, as far as it is known
        # It does not hold this object, which would go only when garbage is collected, with all samples.
        self._search = _quiet_speech(self._raising, go_on)
        self._known = 0  # samples from the start, of which it is

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32."""
        while self._known < stop:
            part, self._known = next(self._search, (None, self.n_samples + stop))
            if part is not None:
                self._louder.append(part)
        samples = self._plain(start, stop)
        for part in self._louder:
            low, high = max(start, part.start), min(stop, part.stop, self.n_samples)
            if low < high:
                places = np.arange(low, high)
                share = np.clip(np.minimum(places - part.start, part.stop - places) / _EDGE, 0, 1)
                samples = samples.copy()
                now = samples[low - start : high - start]
                now += share.astype(np.float32) * (self._raising.samples(low, high) - now)
        return samples

    def _plain(self, start: int, stop: int) -> Samples:
        has_offset = self._sound.offset * self._factor > OFFSET
        samples = (without_offset if has_offset else _as_they_are)(self._sound, start, stop)
        return samples if self._factor == 1 else _louder(samples, self._factor)

    def clips_with_sound(self) -> tuple[float, ...]:
        """Without long times of digital silence: start, end, start, ... in s; the last one may have no end.

        Whisper says of speech behind such a silence that it begins with the window, and loses its end.
        """
        levels = self._sound.levels
        if not levels.any():
            return WHOLE_RECORDING
        runs = [(first, end) for first, end in _runs_of(levels <= _LEAST) if end - first >= _LONG_SILENCE]
        begins = [end * _STEP_SECONDS - _MARGIN for _, end in runs if end < len(levels)]
        ends = [first * _STEP_SECONDS + _MARGIN for first, _ in runs if first > 0]
        if not runs or runs[0][0] > 0:
            begins.insert(0, 0.0)
        clips = chain.from_iterable(zip_longest(begins, ends))
        return tuple(seconds for seconds in clips if seconds is not None)


class _Raising:
    """A recording in which each step is as loud as its surroundings let it be."""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self.n_samples = sound.n_samples
        self._loudest = float(sound.levels.max(initial=0.0))
        is_quiet = _LEAST < self._loudest < TOO_QUIET
        self.for_all = np.float32(LOUD_ENOUGH / self._loudest if is_quiet else 1)  # a factor for all of it

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32."""
        samples = without_offset(self._sound, start, stop)
        first, last = start // LEVEL_STEP, stop // LEVEL_STEP + 1
        middles = (np.arange(max(0, first - 1), last + 1) + 0.5) * LEVEL_STEP
        factors = self.factors[max(0, first - 1) : last + 1]
        factor = np.interp(np.arange(start, start + len(samples)), middles[: len(factors)], factors)
        return _louder(samples, factor.astype(np.float32))

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """The first, and the one behind the last, step of each time that is quiet for long."""
        levels = self._sound.levels
        shortest = min(_SHORTEST, len(levels))
        quiet = _runs_of(levels < QUIET * self._loudest)
        return [(first, end) for first, end in quiet if end - first >= shortest]

    @cached_property
    def factors(self) -> npt.NDArray[np.float32]:
        """By which each step would become loud enough, one by one; 1 where it is."""
        enough = min(float(self.for_all) * self._loudest, LOUD_ENOUGH)
        factors = np.ones(len(self._sound.levels), np.float32)
        for first, end in self.runs:
            around = np.pad(self._sound.levels[first:end], _AROUND)
            loudest = sliding_window_view(around, 2 * _AROUND + 1).max(axis=1)
            np.divide(enough, loudest, out=factors[first:end], where=loudest > _LEAST)
        return factors


def _quiet_speech(raising: _Raising, go_on: Callable[[], None]) -> Iterator[tuple[Part | None, int]]:
    """Parts with it, and how many samples from the start are then searched."""
    for first, end in raising.runs:
        run = Part(first * LEVEL_STEP, min(end * LEVEL_STEP, raising.n_samples))
        yield None, run.start
        if (raising.factors[first:end] != 1).any():
            for part in parts_with_speech(Cut(raising, [run]), voice_check(), go_on):
                found = Part(run.start + part.start, run.start + part.stop)
                yield found, found.stop


def _runs_of(chosen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first, and the one behind the last, of each run of those that are chosen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _louder(samples: Samples, factor: Samples | np.float32) -> Samples:
    """A click does not become louder than full scale."""
    louder: Samples = np.clip(samples * factor, -1, 1)
    return louder


def _as_they_are(source: SampleSource, start: int, stop: int) -> Samples:
    return source.samples(start, stop)


def without_offset(source: SampleSource, start: int, stop: int) -> Samples:
    """The samples from `start` to before `stop` without what changes more slowly than 20 times a second.

    That is the mean of each `PART`, or of the one before or behind it if there is a click in it; straight
    lines lead from one to the next.
    """
    start, stop = max(0, start), min(stop, source.n_samples)
    first = max(0, start // PART - 2) * PART
    samples = source.samples(first, (stop // PART + 3) * PART)
    if start >= stop:
        return samples[:0]
    edges = np.arange(0, len(samples), PART)
    means = np.add.reduceat(samples, edges, dtype=np.float64) / np.diff(edges, append=len(samples))
    offsets = np.median(sliding_window_view(np.pad(means, 1, mode="edge"), 3), axis=1)
    wanted = np.arange(start - first, stop - first)
    offset = np.interp(wanted, edges + PART / 2, offsets).astype(np.float32)
    return samples[start - first : stop - first] - offset
