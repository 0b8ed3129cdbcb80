"""The drop-ins for faster-whisper with real weights: one program, written for faster-whisper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faster_whisper
import pytest
from faster_whisper.transcribe import Segment, Word
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import OfflineModeIsEnabled

from tests.e2e.conftest import SAMPLES
from tests.support.doc_examples import examples
from tests.support.hub_cache import put_in_hub_cache
from tests.support.weights import require_weights
from whisper_npu.audio import load_audio
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.compat import attach
from whisper_npu.errors import UsageError

pytestmark = [pytest.mark.weights, pytest.mark.slow]

PROGRAM = """
from faster_whisper import BatchedInferencePipeline
from {package} import WhisperModel

model = WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=2)
segments, info = model.transcribe(recording, word_timestamps=True, beam_size=1)
one_by_one = list(segments)
segments, _ = BatchedInferencePipeline(model=model).transcribe(recording, batch_size=2, beam_size=1)
in_batches = list(segments)
"""


def run(program: str, **given: Any) -> SimpleNamespace:
    exec(compile(program, "program.py", "exec"), given)
    return SimpleNamespace(**given)


def test_a_program_that_changes_one_import(tiny_en: Checkpoint) -> None:
    given = {"folder": str(tiny_en.decoder_folder), "recording": str(SAMPLES / "sns-0930.wav")}
    theirs = run(PROGRAM.format(package="faster_whisper"), **given)
    ours = run(PROGRAM.format(package="whisper_npu"), **given)
    for expected, found in ((theirs.one_by_one, ours.one_by_one), (theirs.in_batches, ours.in_batches)):
        assert [segment.text for segment in found] == [segment.text for segment in expected]
        assert {type(segment) for segment in found} == {Segment}
    words = [[word for segment in of.one_by_one for word in segment.words] for of in (theirs, ours)]
    assert {type(word) for word in words[1]} == {Word}
    for expected, found in zip(*words, strict=True):
        assert found.word == expected.word
        assert found.start == pytest.approx(expected.start, abs=0.1)
        assert found.end == pytest.approx(expected.end, abs=0.1)
        assert found.probability == pytest.approx(expected.probability, abs=0.1)
    assert (ours.info.language, ours.info.duration) == (theirs.info.language, theirs.info.duration)
    ours.model.close()


def test_an_encoder_that_is_attached_and_detached(tiny_en: Checkpoint) -> None:
    model = faster_whisper.WhisperModel(str(tiny_en.decoder_folder), device="cpu", compute_type="int8")
    recording = str(SAMPLES / "sns-0930.wav")

    def said() -> list[tuple[str, float]]:
        segments, _ = model.transcribe(recording, beam_size=1)
        return [(segment.text, segment.avg_logprob) for segment in segments]

    own = said()
    with attach(model, "tiny.en") as attached, attached.recording() as recorded:
        ours = said()
    assert recorded.stats.dispatches > 0
    assert [text for text, _ in ours] == [text for text, _ in own]
    assert ours != own  # another encoder
    assert said() == own


def test_a_checkpoint_of_the_same_sizes_is_tried(tiny_en: Checkpoint, tmp_path: Path) -> None:
    """The weights of one layer in the place of another's."""
    altered = tmp_path / "altered"
    shutil.copytree(tiny_en.decoder_folder, altered)
    weights = altered / "model.bin"
    content = bytearray(weights.read_bytes())
    first, second = (content.index(f"encoder/layer_{number}/ffn/linear_0".encode()) for number in (1, 2))
    content[first : first + 15], content[second : second + 15] = b"encoder/layer_2", b"encoder/layer_1"
    weights.write_bytes(content)
    model = faster_whisper.WhisperModel(str(tiny_en.decoder_folder), device="cpu", compute_type="int8")
    with pytest.raises(UsageError, match="is not the model's: on one window"):
        attach(model, altered)


def test_languages_are_detected_as_by_faster_whisper(base: Checkpoint) -> None:
    import whisper_npu

    audio = load_audio(SAMPLES / "sns-0930.wav")
    real = faster_whisper.WhisperModel(str(base.decoder_folder), device="cpu", compute_type="float32")
    with whisper_npu.WhisperModel("base", compute_type="float32") as model:
        language, probability, _ = model.detect_language(audio=audio)
        expected = real.detect_language(audio=audio)
        assert language == expected[0] == "en"
        assert probability == pytest.approx(expected[1], abs=0.02)


@pytest.fixture(scope="module")
def hub_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    cache = tmp_path_factory.mktemp("hub")
    folder = load_checkpoint(require_weights("tiny.en")).decoder_folder
    put_in_hub_cache(cache, HUB_IDS["tiny.en"], folder)
    yield cache
    shutil.rmtree(cache)


@pytest.mark.parametrize("number", range(4))
def test_the_examples_of_the_documentation(
    number: int,
    hub_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: dict[str, str],
) -> None:
    every = examples("drop-ins.md", "faster-whisper")
    assert len(every) == 4

    def offline(*_: Any, **__: Any) -> None:
        raise OfflineModeIsEnabled

    monkeypatch.setattr(HfApi, "model_info", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub_cache))
    monkeypatch.chdir(tmp_path)
    shutil.copy(SAMPLES / "sns-0930.wav", "talk.wav")
    run(every[number])
    assert said["sns-0930.wav"] in capsys.readouterr().out.lower()
