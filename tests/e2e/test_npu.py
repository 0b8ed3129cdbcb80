"""Real speech on the NPU, above a fake pyxrt: nothing but who dispatches differs from the emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.device.npu import opened_npu
from tests.fake_pyxrt import FakeXrt
from whisper_npu.checkpoint import Checkpoint
from whisper_npu.npu.bf16 import F32
from whisper_npu.npu.contract import MATMUL_128X512
from whisper_npu.npu.emulator import Emulator
from whisper_npu.transcription import Model, TranscribeOptions

pytestmark = [pytest.mark.weights, pytest.mark.slow]


def test_the_npu_says_what_the_emulator_says(
    tiny_en: Checkpoint, speech: dict[str, F32], tmp_path: Path
) -> None:
    fake, english = FakeXrt(), TranscribeOptions(language="en")
    with (
        opened_npu(tmp_path, fake, [MATMUL_128X512]) as npu,
        Model(tiny_en, npu, MATMUL_128X512.name) as model,
    ):
        fake.take_counts()
        heard = {name: model.transcribe(samples, english) for name, samples in speech.items()}
    dispatches = sum(p.dispatches for done in heard.values() for p in done.encoder.products)
    assert dispatches == fake.take_counts().dispatches > 0
    assert fake.problems() == []
    with Model(tiny_en, Emulator(), MATMUL_128X512.name) as model:
        expected = {name: model.transcribe(samples, english).text for name, samples in speech.items()}
    assert {name: done.text for name, done in heard.items()} == expected
    assert all(expected.values())
