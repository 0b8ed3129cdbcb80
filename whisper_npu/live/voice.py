"""How likely somebody speaks, from one step of the sound to the next, by Silero VAD.

Silero VAD misses what is quieter than -40 dB, and a constant offset (DC) disturbs it. So it hears quiet sound
louder, and all of it without an offset: what `transcription/audible.py` does where the whole recording is
known. Here only what came before is. Whisper hears the sound itself.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np

from whisper_npu.audio import SAMPLE_RATE, Samples
from whisper_npu.transcription.audible import LOUD_ENOUGH
from whisper_npu.transcription.libraries import faster_whisper

STEP = 512  # samples at 16 kHz, for which Silero VAD tells one probability
_CONTEXT = 64  # samples before a step that it hears with it
_STATE = (1, 1, 128)  # of each of its two memories, float32
_FAINTEST = 1e-6  # a level (-120 dB), below which there is no sound to be made louder
_AT_ONCE = 8  # steps, a quarter of a second, whose third loudest is their level: a click is in two at most
# Steps that decide how much louder the next one becomes: a second. With 5 s a second speaker who is 26 dB
# quieter was heard in 84 % of the steps with speech, half a second after the first one; with 1 s in 99 %, and
# noise was not taken for speech more often (MEASURED: clips of samples/, white and brown noise).
_REMEMBERED = SAMPLE_RATE // STEP


class Voice:
    """Listens to one person or place: each step is heard as what follows those before."""

    def __init__(self) -> None:
        self._silero = faster_whisper.vad.get_vad_model().session
        self._h = np.zeros(_STATE, np.float32)
        self._c = np.zeros(_STATE, np.float32)
        self._before = np.zeros(_CONTEXT, np.float32)
        self._leveller = _Leveller()

    def probability(self, step: Samples) -> float:
        """That there is speech in it, from 0 to 1. step: (STEP,) float32, finite."""
        heard = self._leveller.levelled(step)
        given = {"input": np.concatenate([self._before, heard])[None], "h": self._h, "c": self._c}
        probabilities, self._h, self._c = self._silero.run(None, given)
        self._before = heard[-_CONTEXT:]
        return float(probabilities.reshape(-1)[0])


class _Leveller:
    """Takes the offset away, and makes quiet sound louder."""

    def __init__(self) -> None:
        self._means: deque[float] = deque(maxlen=3)
        self._offset: float | None = None  # at the end of the last step
        self._latest: deque[float] = deque(maxlen=_AT_ONCE)  # the level of each step
        self._levels: deque[float] = deque(maxlen=_REMEMBERED)  # without clicks

    def levelled(self, step: Samples) -> Samples:
        self._means.append(float(step.mean(dtype=np.float64)))
        offset = median(self._means)  # a click does not move it
        before = offset if self._offset is None else self._offset
        plain = step - np.linspace(before, offset, len(step), dtype=np.float32)
        self._offset = offset
        self._latest.append(float(np.sqrt(np.mean(np.square(plain, dtype=np.float64)))))
        self._levels.append(sorted(self._latest)[-min(3, len(self._latest))])
        loudest, peak = max(self._levels), float(np.abs(plain).max())
        if not _FAINTEST < loudest < LOUD_ENOUGH:
            return plain
        louder: Samples = plain * np.float32(min(LOUD_ENOUGH / loudest, max(1.0, 1 / max(peak, _FAINTEST))))
        return louder
