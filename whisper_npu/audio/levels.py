"""How loud a recording is from one quarter of a second to the next, whatever clicks and offset are in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PART = 400  # samples at 16 kHz: 25 ms
N_PARTS = 10
LEVEL_STEP = PART * N_PARTS  # samples of one level: a quarter of a second
_RANK = 2  # of the parts, from the loudest: two are left out. A click is in two at the most
_SLOPE = np.arange(PART) - (PART - 1) / 2
_SLOPE /= np.linalg.norm(_SLOPE)
_AT_ONCE = 100 * LEVEL_STEP


class Levels:
    """Of samples that are added block by block."""

    def __init__(self) -> None:
        self._done: list[npt.NDArray[np.float32]] = []
        self._rest = np.empty(0, np.float32)  # less than a step
        self.offset = 0.0  # the largest magnitude that the samples' mean has for a quarter of a second
        self.swing = 0.0  # the largest magnitude of a sample without the offset

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        """samples: (n_samples,) at 16 kHz."""
        if len(self._rest) + len(samples) < LEVEL_STEP:
            self._rest = np.concatenate([self._rest, samples])
            return
        n_first = -len(self._rest) % LEVEL_STEP
        if n_first:
            self._measure(np.concatenate([self._rest, samples[:n_first]]))
        n_whole = n_first + (len(samples) - n_first) // LEVEL_STEP * LEVEL_STEP
        for first in range(n_first, n_whole, _AT_ONCE):
            self._measure(samples[first : min(first + _AT_ONCE, n_whole)])
        self._rest = samples[n_whole:].copy()

    def add_silence(self, n_samples: int) -> None:
        """As many zeros, at once."""
        to_a_step = min(n_samples, -len(self._rest) % LEVEL_STEP)
        self.add(np.zeros(to_a_step, np.float32))
        n_steps, n_left = divmod(n_samples - to_a_step, LEVEL_STEP)
        self._done.append(np.zeros(n_steps, np.float32))
        self.add(np.zeros(n_left, np.float32))

    def values(self) -> npt.NDArray[np.float32]:
        """The root of the mean square without the offset, for each `LEVEL_STEP`: (n_steps,) float32."""
        if len(self._rest):
            self._measure(np.pad(self._rest, (0, LEVEL_STEP - len(self._rest)), mode="edge"))
            self._rest = self._rest[:0]
        self._done = [np.concatenate([np.empty(0, np.float32), *self._done])]
        return self._done[0]

    def _measure(self, samples: npt.NDArray[np.float32]) -> None:
        parts = samples.reshape(-1, N_PARTS, PART).astype(np.float64)
        means = parts.mean(axis=2, keepdims=True)
        offsets = np.median(means, axis=1, keepdims=True)
        self.offset = max(self.offset, float(np.abs(offsets).max()))
        self.swing = max(self.swing, float(np.abs(parts - offsets).max()))
        parts -= means
        slopes = parts @ _SLOPE  # of an offset that drifts
        squares = (np.einsum("spi,spi->sp", parts, parts) - slopes**2) / PART
        ranked = np.partition(squares, N_PARTS - 1 - _RANK, axis=1)[:, N_PARTS - 1 - _RANK]
        self._done.append(np.sqrt(np.maximum(ranked, 0)).astype(np.float32))
