"""Somebody who speaks: sentences of samples/ with pauses between them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from whisper_npu.audio import SAMPLE_RATE, Samples, load_audio

_CLIPS = sorted((Path(__file__).parents[2] / "samples").glob("*.wav"))


@cache
def sentence(number: int) -> Samples:
    """One that was said without a pause of 0.3 s: (n_samples,) float32."""
    return load_audio(_CLIPS[number])


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def spoken(*numbers: int, pause: float = 1.0) -> Samples:
    """These sentences, with a pause before, between and after them."""
    parts = [silence(pause)]
    for number in numbers:
        parts += [sentence(number), silence(pause)]
    return np.concatenate(parts)
