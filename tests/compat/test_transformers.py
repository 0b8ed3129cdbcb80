"""The genuine transformers with tiny.en, whose encoder is ours: the same texts and times of words."""

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
from whisper_npu.errors import CheckpointError, FeaturesError, UsageError

transformers = pytest.importorskip("transformers")

Recordings = list[NDArray[np.float32]]
WORD_SECONDS = 0.1  # two encoders may place a word so far apart: five steps of the alignment
ASR = "automatic-speech-recognition"


@pytest.fixture(scope="module")
def transcriber(hugging_face: Path) -> Any:
    return transformers.pipeline(ASR, model=str(hugging_face))


@pytest.fixture(scope="module")
def processor(hugging_face: Path) -> Any:
    return transformers.WhisperProcessor.from_pretrained(hugging_face)


def small_config(**changed: Any) -> Any:
    sizes = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1}
    sizes |= {"decoder_attention_heads": 1, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    return transformers.WhisperConfig(**sizes, max_source_positions=50, **changed)


@pytest.mark.weights
def test_a_pipeline_says_the_same_in_batches(transcriber: Any, recordings: Recordings) -> None:
    def texts() -> list[str]:
        return [found["text"] for found in transcriber(recordings[:2], batch_size=2)]

    expected = texts()
    assert "had then leisure to consider" in expected[0]
    with attach(transcriber, device="emulator") as attached, attached.recording() as recording:
        assert texts() == expected
    assert recording.stats.dispatches > 0


@pytest.mark.weights
def test_words_have_the_same_times(transcriber: Any, recordings: Recordings) -> None:
    def words() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = transcriber(recordings[4].copy(), return_timestamps="word")["chunks"]
        return found

    expected = words()
    with attach(transcriber, device="emulator"):
        found = words()
    assert [word["text"] for word in found] == [word["text"] for word in expected]
    times = [[word["timestamp"] for word in one] for one in (found, expected)]
    assert np.abs(np.subtract(*times)).max() <= WORD_SECONDS
    assert len(expected) == 8


@pytest.mark.weights
def test_a_recording_longer_than_a_window(transcriber: Any, processor: Any, recordings: Recordings) -> None:
    long = np.concatenate([*recordings[1:], recordings[0], recordings[0]])
    assert len(long) > 30 * 16000
    inputs = processor(
        long, sampling_rate=16000, return_tensors="pt", truncation=False, return_attention_mask=True
    )

    def tokens() -> Any:
        return transcriber.model.generate(**inputs, return_timestamps=True, max_new_tokens=12)

    expected = tokens()
    with attach(transcriber.model, device="emulator") as attached:
        with attached.recording() as of_one:
            transcriber.model.get_encoder()(inputs.input_features[..., :3000])
        with attached.recording() as recording:
            assert torch.equal(tokens(), expected)
    assert recording.stats.dispatches >= 2 * of_one.stats.dispatches > 0


def test_a_saved_model_is_as_it_was(tmp_path: Path) -> None:
    model = transformers.WhisperForConditionalGeneration(small_config())
    with attach(model, device="emulator"):
        model.save_pretrained(tmp_path)
    saved = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path).state_dict()
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items())


def test_what_the_encoder_returns() -> None:
    model = transformers.WhisperModel(small_config()).eval()
    mel = torch.zeros(1, 80, 100)
    with attach(model, device="emulator"), torch.no_grad():
        found = model.encoder(mel, attention_mask=torch.ones(1, 100), output_attentions=True)
        assert isinstance(found, transformers.modeling_outputs.BaseModelOutput)
        assert found.attentions is None
        assert found.hidden_states is None
        (alone,) = model.encoder(mel, return_dict=False)
        assert torch.equal(alone, found.last_hidden_state)
        whole = model(mel, decoder_input_ids=torch.tensor([[1]]), output_attentions=True)
        assert torch.equal(whole.encoder_last_hidden_state, alone)
        positional = model.encoder(mel, None, None, False, False, True)  # as transformers 4 has them
        assert torch.equal(positional.last_hidden_state, alone)


def test_hidden_states_are_refused() -> None:
    model = transformers.WhisperModel(small_config()).eval()
    mel = torch.zeros(1, 80, 100)
    with attach(model, device="emulator"), torch.no_grad():
        with pytest.raises(UsageError, match=r"output_hidden_states.*last hidden state only"):
            model.encoder(mel, output_hidden_states=True)
        model.config.output_hidden_states = True
        with pytest.raises(UsageError, match="output_hidden_states"):
            model.encoder(mel)
        assert model.encoder(mel, output_hidden_states=False).hidden_states is None


def test_features_of_another_dtype_than_the_models_are_refused() -> None:
    """As the package's own encoder does, but within autocast."""
    model = transformers.WhisperModel(small_config()).eval().to(torch.bfloat16)
    mel = torch.zeros(1, 80, 100)
    with attach(model, device="emulator"), torch.no_grad():
        with pytest.raises(FeaturesError, match=r"is torch.float32, the model is torch.bfloat16: .*\.to"):
            model.encoder(mel)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.encoder(mel).last_hidden_state.shape == (1, 50, 64)


def test_heads_of_other_tasks() -> None:
    kind = transformers.WhisperForAudioClassification
    with pytest.raises(UsageError, match="use_weighted_layer_sum needs the output of every layer"):
        attach(kind(small_config(use_weighted_layer_sum=True)))
    model = kind(small_config()).eval()
    with attach(model, device="emulator") as attached, attached.recording() as recording, torch.no_grad():
        model(torch.zeros(1, 80, 100))
    assert recording.stats.dispatches > 0


def test_other_architectures_are_refused() -> None:
    config = transformers.Wav2Vec2Config(
        num_hidden_layers=1, hidden_size=32, intermediate_size=32, num_attention_heads=2
    )
    with pytest.raises(UsageError, match=r"Wav2Vec2Model, must be"):
        attach(transformers.Wav2Vec2Model(config))
    with pytest.raises(CheckpointError, match="activation_function is 'relu'"):
        attach(transformers.WhisperModel(small_config(activation_function="relu")))


@pytest.mark.weights
@pytest.mark.parametrize("example", examples("drop-ins.md", "Hugging Face transformers"))
def test_the_documentations_examples(
    example: str,
    hugging_face: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "talk.wav").write_bytes(SAMPLES[0].read_bytes())
    monkeypatch.chdir(tmp_path)
    assert "openai/whisper-tiny.en" in example
    exec(example.replace("openai/whisper-tiny.en", str(hugging_face)), {})
    assert "had then leisure to consider" in capsys.readouterr().out
