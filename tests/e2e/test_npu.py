"""Real speech on the NPU, above a fake pyxrt: nothing but who dispatches differs from the emulator."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.contracts import MATMUL_128X512
from tests.support.fake_pyxrt import FakeXrt
from tests.support.npu import opened_npu
from whisper_npu.checkpoint import Checkpoint
from whisper_npu.dtypes import F32
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

pytestmark = [pytest.mark.weights, pytest.mark.slow]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def test_the_npu_says_what_the_emulator_says(
    tiny_en: Checkpoint, speech: dict[str, F32], tmp_path: Path
) -> None:
    """Four samples one after another fill most of one window."""
    samples = np.concatenate(list(speech.values())[:4])
    fake, english = FakeXrt(), TranscribeOptions(language="en")
    with (
        opened_npu(tmp_path, fake, [MATMUL_128X512]) as npu,
        Model(tiny_en, npu, MATMUL_128X512.name) as model,
    ):
        fake.pop_counts()
        done = model.transcribe(samples, english)
    assert fake.problems() == []
    assert done.took.encoder.windows == 1
    assert fake.pop_counts().dispatches == sum(run.stats.dispatches for run in done.took.encoder.runs) > 0
    with Model(tiny_en, Emulator(), MATMUL_128X512.name) as model:
        emulated = model.transcribe(samples, english).text
    # fp32 sums in another order may tip the decoder from one comma to another, not to another word.
    assert words(done.text) == words(emulated)
    assert "more amiable woman" in done.text
