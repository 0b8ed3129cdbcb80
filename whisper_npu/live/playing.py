"""A recording that plays the microphone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from whisper_npu.audio import SAMPLE_RATE, Samples, Sound

BLOCK = SAMPLE_RATE // 10  # samples that come at a time, as from a microphone


class Playing:
    """Gives a sound's samples block by block: at their own pace, or as fast as they are taken.

    sound: read piece by piece, and the caller's to close. clock, sleep: a test has its own.
    """

    def __init__(
        self,
        sound: Sound,
        *,
        is_live: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """is_live: a block comes when its last sample would have been spoken."""
        self._sound, self.is_live = sound, is_live
        self._clock, self._sleep = clock, sleep
        self._start = clock()
        self._stopped = False

    @property
    def name(self) -> str:
        return self._sound.name

    def blocks(self) -> Iterator[Samples]:
        """(n,) float32 at 16 kHz, to the end of the sound or until `stop`."""
        self._start = self._clock()
        for first in range(0, self._sound.n_samples, BLOCK):
            block = self._sound.samples(first, first + BLOCK)
            if self.is_live:
                # Counted from the start, so that what sleeping takes too long does not add up.
                wait = self.heard_at((first + len(block)) / SAMPLE_RATE) - self._clock()
                if wait > 0:
                    self._sleep(wait)
            if self._stopped:
                return
            yield block

    def heard_at(self, seconds: float) -> float:
        """When, on the clock, the sound at `seconds` from the start was, or will be, spoken."""
        return self._start + seconds

    def stop(self) -> None:
        """`blocks` ends soon. Any thread may call it, a signal handler too."""
        self._stopped = True
