"""Where in a sound that goes on somebody speaks, and what is said from one pause to the next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from whisper_npu.audio import SAMPLE_RATE, Samples
from whisper_npu.live.options import LiveOptions
from whisper_npu.live.voice import STEP
from whisper_npu.transcription.options import TranscribeOptions

# Seconds of silence that are kept around speech, as far as there are any: compared with others for tiny.en
# and base, on few recordings.
_BEFORE, _BEHIND = 0.2, 0.4
_SHORTEST = 4  # steps that are surely speech, an eighth of a second: a click has fewer
_HYSTERESIS = 0.15  # speech goes on until its probability is so much lower than that with which it begins
_SMOOTH = 5  # steps, over whose mean speech without a pause is quietest
_SEARCHED = 8.0  # seconds before its end, in which it is cut; half of it at most


@dataclass(frozen=True)
class Utterance:
    """What was said from one pause to the next, with a little of the silence around it."""

    id: int  # counted from 0
    start: int  # sample of the session, at which `samples` begins
    samples: Samples  # (n,) float32 at 16 kHz
    speech: tuple[int, int]  # samples of the session: where speech begins, and behind its end

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def until(self, sample: int) -> Utterance:
        """Without what lies behind that sample of the session."""
        speech = self.speech[0], min(self.speech[1], sample)
        return replace(self, samples=self.samples[: sample - self.start], speech=speech)


class Cutter:
    """Cuts the sound into utterances, which do not overlap.

    It keeps the one that is spoken, in silence less than a second of sound.
    """

    def __init__(self, live: LiveOptions, options: TranscribeOptions) -> None:
        self._begins = options.vad_threshold
        goes_on = options.vad_neg_threshold
        if goes_on is None:
            goes_on = max(self._begins - _HYSTERESIS, 0.01)
        self._goes_on = min(goes_on, self._begins)  # what is enough to begin is enough to go on
        self._shortest = max(_SHORTEST, steps_in(options.vad_min_speech_duration_ms / 1000))
        self._behind = steps_in(_BEHIND)
        self._pause, self._longest = steps_in(live.pause), steps_in(live.longest)
        self._searched = min(steps_in(_SEARCHED), self._longest // 2)
        self.n_steps = 0  # that were heard
        self._n_utterances = 0
        self._silence: deque[Samples] = deque(maxlen=steps_in(_BEFORE))  # before what comes next
        self._steps: list[Samples] = []  # what may be an utterance, with the silence before it
        self._probabilities: list[float] = []  # of each of these steps
        self._first = self._last = 0  # of these steps the first and the last one with speech

    def hear(self, step: Samples, probability: float) -> Utterance | None:
        """The next step of sound: (STEP,) float32. Gives the utterance that ends with it.

        probability: that there is speech in the step.
        """
        self.n_steps += 1
        if not self._steps:
            if probability < self._begins:
                self._silence.append(step)
                return None
            self._steps = list(self._silence)
            self._probabilities = [0.0] * len(self._steps)
            self._silence.clear()
            self._first = self._last = len(self._steps)
        self._steps.append(step)
        self._probabilities.append(probability)
        now = len(self._steps) - 1
        if probability >= self._begins or (probability >= self._goes_on and self._last == now - 1):
            self._last = now
        if now - self._last >= self._pause:
            return self._cut(len(self._steps))
        if len(self._steps) >= self._longest:
            return self._cut(self._quietest())
        return None

    def end(self) -> Utterance | None:
        """Nothing more comes: what is open ends here."""
        return self._cut(len(self._steps)) if self._steps else None

    @property
    def open(self) -> Utterance | None:
        """What is being said, so far; None in silence, and as long as it may be a noise."""
        n = len(self._steps)
        return self._utterance(n) if self._is_speech(n) else None

    @property
    def n_steps_spoken(self) -> int:
        """Since what is open began, as long as it goes on; 0 in silence, in pauses, and for a noise."""
        n = len(self._steps)
        goes_on = self._last == n - 1 and self._is_speech(n)
        return n - self._first if goes_on else 0

    def _cut(self, n: int) -> Utterance | None:
        """What is open ends before its step n, or earlier, if there is much silence before that.

        What follows is silence, or the beginning of the next. None for a noise.
        """
        n = min(n, self._last + 1 + self._behind) if self._last < n else n
        done = self._utterance(n) if self._is_speech(n) else None
        self._n_utterances += done is not None
        steps, probabilities = self._steps[n:], self._probabilities[n:]
        if self._last < n:
            self._silence.extend(steps if done else self._steps)
            self._steps, self._probabilities = [], []
            self._first = self._last = 0
        else:
            self._steps, self._probabilities = steps, probabilities
            self._first = next(i for i, p in enumerate(probabilities) if p >= self._goes_on)
            self._last -= n
        return done

    def _is_speech(self, n: int) -> bool:
        return sum(p >= self._begins for p in self._probabilities[:n]) >= self._shortest

    def _utterance(self, n: int) -> Utterance:
        start = self.n_steps - len(self._steps)
        last = min(self._last, n - 1)
        return Utterance(
            self._n_utterances,
            start * STEP,
            np.concatenate(self._steps[:n]),
            ((start + self._first) * STEP, (start + last + 1) * STEP),
        )

    def _quietest(self) -> int:
        """Before which step to cut speech that does not pause."""
        smooth = np.convolve(self._probabilities, np.ones(_SMOOTH) / _SMOOTH, mode="same")
        first = len(self._steps) - self._searched
        return first + int(np.argmin(smooth[first:-_SMOOTH]))


def steps_in(seconds: float) -> int:
    """As many as come closest, 1 at least."""
    return max(1, round(seconds * SAMPLE_RATE / STEP))
