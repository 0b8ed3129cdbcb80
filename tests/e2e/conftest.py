"""Real speech, and real weights loaded once for all tests that only read them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.support.weights import require_weights
from whisper_npu.audio import load_audio
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.dtypes import F32

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="session")
def said() -> dict[str, str]:
    """What is said in each sample: file name to text."""
    with (SAMPLES / "expected.tsv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["text"] for row in csv.DictReader(file, delimiter="\t")}


@pytest.fixture(scope="session")
def speech(said: dict[str, str]) -> dict[str, F32]:
    """The samples: file name to (n_samples,) float32."""
    return {name: load_audio(SAMPLES / name) for name in said}


@pytest.fixture(scope="session")
def long_speech(speech: dict[str, F32]) -> F32:
    """45 s: two windows and more, with pauses of a second."""
    pause = np.zeros(16_000, np.float32)
    clips = [part for clip in list(speech.values()) * 2 for part in (clip, pause)]
    return np.concatenate(clips)[: 45 * 16_000]


@pytest.fixture(scope="session", params=["tiny.en", "base"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return load_checkpoint(require_weights(request.param))


@pytest.fixture(scope="session")
def tiny_en() -> Checkpoint:
    return load_checkpoint(require_weights("tiny.en"))


@pytest.fixture(scope="session")
def base() -> Checkpoint:
    return load_checkpoint(require_weights("base"))
