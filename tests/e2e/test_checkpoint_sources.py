"""Real weights: the same model from a weights package and from a Hugging Face folder is the same model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import read_model_bin, write_hf_folder
from tests.support.weights import require_weights
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.encoder import ModelDimensions, encoder_shapes
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.transcript import Transcript

pytestmark = pytest.mark.weights

SAMPLES = Path(__file__).parents[2] / "samples"
DIMENSIONS = {
    "tiny.en": ModelDimensions(80, 1500, 384, 6, 4, 1536),
    "base": ModelDimensions(80, 1500, 512, 8, 6, 2048),
}


class Pair:
    """One model from both formats."""

    def __init__(self, name: str, tmp_path: Path) -> None:
        self.name = name
        self.cache = tmp_path / "cache"
        self.ct2: Checkpoint = load_checkpoint(require_weights(name), cache_dir=self.cache)
        english = name == "tiny.en"  # one model as it is saved today, the other as it once was
        self.folder = write_hf_folder(
            self.ct2.decoder_folder,
            tmp_path / "hf",
            shards=1 if english else 3,
            tokenizer="json" if english else "vocab",
        )
        self.hf: Checkpoint = load_checkpoint(self.folder, cache_dir=self.cache)


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(request.param, tmp_path_factory.mktemp("sources"))


def test_the_package_is_where_the_name_leads(pair: Pair) -> None:
    assert pair.ct2.name == pair.name
    assert pair.ct2.source.startswith("weights package")
    assert pair.ct2.dims == DIMENSIONS[pair.name]
    assert {array.dtype for array in pair.ct2.encoder.values()} == {np.dtype(np.float16)}
    assert {name: array.shape for name, array in pair.ct2.encoder.items()} == encoder_shapes(pair.ct2.dims)


def test_both_formats_give_the_same_bits(pair: Pair) -> None:
    assert pair.hf.dims == pair.ct2.dims
    assert pair.hf.encoder.keys() == pair.ct2.encoder.keys()
    for name, array in pair.ct2.encoder.items():
        assert pair.hf.encoder[name].dtype == array.dtype
        assert pair.hf.encoder[name].tobytes() == array.tobytes()


def test_the_conversion_gives_back_the_original_folder(pair: Pair) -> None:
    original, converted = (read_model_bin(c.decoder_folder / "model.bin") for c in (pair.ct2, pair.hf))
    # Switches for a kind of attention that Whisper does not have, and that older converters do not write.
    newer = {"decoder/alibi_use_positive_positions", "decoder/scale_alibi"}
    assert converted.keys() - newer == original.keys() - newer
    for name in original:
        assert converted[name].tobytes() == original[name].tobytes()
    text = (pair.hf.decoder_folder / "vocabulary.json").read_text("utf-8")
    assert json.loads(text) == vocabulary(pair.ct2.decoder_folder)
    one, other = (json.loads((c.decoder_folder / "config.json").read_text()) for c in (pair.ct2, pair.hf))
    if pair.name == "tiny.en":  # an English-only model has no use for its language tokens
        del one["lang_ids"], other["lang_ids"]
    assert one == other


def vocabulary(folder: Path) -> list[str]:
    if (folder / "vocabulary.txt").is_file():
        return (folder / "vocabulary.txt").read_text("utf-8").split("\n")[:-1]
    loaded: list[str] = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    return loaded


CLIP = SAMPLES / "sns-0930.wav"
# For base, which is multilingual, the language is detected first.
OPTIONS = TranscribeOptions(beam_size=1, temperature=(0.0,), word_timestamps=True)


@dataclass(frozen=True)
class Heard:
    """Language, its probability, and every segment with its words and their times."""

    transcript: Transcript
    compute_type: str


def heard(checkpoint: Checkpoint) -> Heard:
    with Model(checkpoint, Emulator()) as model:
        return Heard(model.transcribe(CLIP, OPTIONS).transcript, model.compute_type)


@pytest.fixture(scope="module")
def expected(pair: Pair) -> Heard:
    return heard(pair.ct2)


def test_both_formats_give_the_same_transcript(pair: Pair, expected: Heard) -> None:
    assert heard(pair.hf) == expected
    words = [word for segment in expected.transcript.segments for word in segment.words or ()]
    assert expected.transcript.language == "en"
    assert len(words) >= 3
    assert all(0 <= word.start <= word.end for word in words)


def test_a_damaged_copy_of_the_package_is_made_again(pair: Pair) -> None:
    model = pair.ct2.decoder_folder / "model.bin"
    content = model.read_bytes()
    model.write_bytes(content[:-1])
    assert load_checkpoint(pair.name, cache_dir=pair.cache).decoder_folder == pair.ct2.decoder_folder
    assert model.read_bytes() == content


def test_a_model_loads_its_decoder_alone_and_hears_the_same(
    pair: Pair, expected: Heard, tmp_path: Path
) -> None:
    steps: list[str] = []
    for _ in range(2):
        with load_model(pair.folder, device="emulator", cache_dir=tmp_path, progress=steps.append) as model:
            assert Heard(model.transcribe(CLIP, OPTIONS).transcript, model.compute_type) == expected
    assert sum("decoder of" in step for step in steps) == 1
