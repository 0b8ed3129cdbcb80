"""The genuine openai-whisper with tiny.en, whose encoder is ours: the same texts and times of words.

Audio is given as arrays: its load_audio calls the command ffmpeg, which may be absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.compat.conftest import SAMPLES
from tests.compat.real_models import torch
from tests.support.doc_examples import examples
from whisper_npu.compat import attach
from whisper_npu.errors import UsageError

whisper = pytest.importorskip("whisper", reason="needs openai-whisper: make test-torch")

# It leaves the file with its vocabulary open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

Recordings = list[NDArray[np.float32]]
WORD_SECONDS = 0.1  # two encoders may place a word so far apart: five steps of the alignment


@pytest.fixture(scope="module")
def model(openai: Path) -> Any:
    return whisper.load_model(str(openai))


@pytest.mark.weights
def test_a_recording_longer_than_a_window(model: Any, recordings: Recordings) -> None:
    long = np.concatenate([*recordings[1:], recordings[0], recordings[0]])
    assert len(long) > 30 * 16000

    def segments() -> list[tuple[Any, ...]]:
        found = model.transcribe(long, fp16=False)["segments"]
        return [(one["start"], one["end"], one["text"]) for one in found]

    expected = segments()
    with attach(model, device="emulator") as attached, attached.recording() as recording:
        assert segments() == expected
    assert recording.stats.dispatches > 0
    assert "have been made amiable himself" in "".join(text for *_, text in expected)


@pytest.mark.weights
def test_words_have_the_same_times(model: Any, recordings: Recordings) -> None:
    def words() -> list[dict[str, Any]]:
        found = model.transcribe(recordings[4], fp16=False, word_timestamps=True)["segments"]
        return [word for segment in found for word in segment["words"]]

    expected = words()
    with attach(model, device="emulator"):
        found = words()
    assert [word["word"] for word in found] == [word["word"] for word in expected]
    times = [[(word["start"], word["end"]) for word in one] for one in (found, expected)]
    assert np.abs(np.subtract(*times)).max() <= WORD_SECONDS
    assert len(expected) == 8


@pytest.mark.weights
def test_decode_of_one_window_and_of_several(model: Any, recordings: Recordings) -> None:
    mels = torch.stack(
        [whisper.log_mel_spectrogram(whisper.pad_or_trim(samples)) for samples in recordings[1:3]]
    )  # (2, n_mels, 3000)
    options = whisper.DecodingOptions(fp16=False, language="en", without_timestamps=True, sample_len=6)
    expected = [found.text for found in model.decode(mels, options)]
    with attach(model, device="emulator"):
        assert [found.text for found in model.decode(mels, options)] == expected
        assert model.decode(mels[0], options).text == expected[0]


def test_the_language_is_detected_by_our_features() -> None:
    torch.manual_seed(0)
    sizes = whisper.model.ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1)
    model = whisper.model.Whisper(sizes)
    torch.nn.init.normal_(model.decoder.positional_embedding)
    mels = torch.randn(2, 80, 3000)
    _, expected = model.detect_language(mels)
    with attach(model, device="emulator") as attached, attached.recording() as recording:
        _, both = model.detect_language(mels)
        _, one = model.detect_language(mels[1])
    assert recording.stats.dispatches > 0
    assert both != expected
    for found, languages in zip((*both, one), (*expected, expected[1]), strict=True):
        assert found == pytest.approx(languages, rel=0.05, abs=1e-4)


def test_half_precision_as_on_a_gpu() -> None:
    """decode() there gives the encoder a float16 mel, and checks the dtype of what comes back."""
    model = whisper.model.Whisper(whisper.model.ModelDimensions(80, 50, 64, 1, 1, 100, 20, 64, 1, 1))
    with attach(model, device="emulator"), torch.no_grad():
        assert model.embed_audio(torch.zeros(1, 80, 100, dtype=torch.float16)).dtype == torch.float16


def test_a_part_of_a_model_is_refused() -> None:
    model = whisper.model.Whisper(whisper.model.ModelDimensions(80, 50, 64, 1, 1, 100, 20, 64, 1, 1))
    with pytest.raises(UsageError, match="AudioEncoder"):
        attach(model.encoder)


@pytest.mark.weights
@pytest.mark.parametrize("example", examples("drop-ins.md", "openai-whisper"))
def test_the_documentations_examples(
    example: str,
    openai: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "talk.wav").write_bytes(SAMPLES[0].read_bytes())
    monkeypatch.chdir(tmp_path)
    assert '"tiny.en"' in example
    exec(example.replace('"tiny.en"', repr(str(openai))), {})
    assert "had then leisure to consider" in capsys.readouterr().out
