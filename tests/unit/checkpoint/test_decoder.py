"""The decoder kept apart: it decodes as the whole model does, to the bit, and is written when it must be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from tests.support.checkpoints import (
    read_model_bin,
    tiny_config,
    tiny_tensors,
    tiny_tokenizer,
    write_checkpoint,
    write_tiny,
)
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.checkpoint.decoder import decoder_alone

N_CTX, N_STATE, N_MELS = 40, 24, 16


def ignore(step: str) -> None:
    """Progress that no test asks for."""


def alone(whole: Path, cache: Path, *, int8: bool) -> Path:
    return decoder_alone(whole, int8=int8, cache_folder=cache, progress=ignore)


def whole_folder(tmp_path: Path, dtype: Any = np.float32) -> Path:
    """A CTranslate2 folder of a small multilingual model with three encoder layers."""
    tokenizer = tiny_tokenizer(multilingual=True)
    config = tiny_config(
        max_source_positions=N_CTX,
        max_target_positions=32,
        num_mel_bins=N_MELS,
        encoder_layers=3,
        vocab_size=len(tokenizer["model"]["vocab"]) + 11 + 1501,
    )
    tensors = tiny_tensors(config, dtype=dtype)
    tensors["model.decoder.layers.0.fc1.weight"][0] = 0  # a row without a largest weight
    # CTranslate2 stores equal arrays once, here under a name of the encoder's that is left out.
    tensors["model.decoder.layers.0.fc2.bias"] = tensors["model.encoder.layers.1.fc2.bias"]
    hf = write_checkpoint(tmp_path / "hf", config, tensors, tokenizer_json=tokenizer)
    return load_checkpoint(hf, cache_dir=tmp_path / "converted").decoder_folder


def said(folder: Path, compute_type: str) -> list[object]:
    """All that a decoder says of one encoder output: text with scores, language, alignment."""
    whisper = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type=compute_type)
    positions = np.random.default_rng(0).standard_normal((1, N_CTX, N_STATE), dtype=np.float32)
    view = ctranslate2.StorageView.from_array(positions)
    prompt = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>"]
    found = whisper.generate(
        view, [prompt], beam_size=3, max_length=24, return_scores=True, return_no_speech_prob=True
    )[0]
    start = read_ids(folder, prompt)
    aligned = whisper.align(view, start, [[5, 6, 7]], N_CTX)[0]
    return [
        found.sequences_ids,
        found.scores,
        found.no_speech_prob,
        whisper.detect_language(view),
        aligned.alignments,
        aligned.text_token_probs,
        (whisper.n_mels, whisper.is_multilingual),
    ]


def read_ids(folder: Path, tokens: list[str]) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.token_to_id(token) for token in tokens]


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_it_says_what_the_whole_model_says(tmp_path: Path, compute_type: str, dtype: Any) -> None:
    if compute_type not in ctranslate2.get_supported_compute_types("cpu"):
        pytest.skip(f"this CPU does not compute in {compute_type}")
    whole = whole_folder(tmp_path, dtype)
    apart = alone(whole, tmp_path / "cache", int8=compute_type == "int8")
    assert apart != whole
    assert said(apart, compute_type) == said(whole, compute_type)


def test_weights_for_int8_are_stored_in_int8_and_the_encoder_is_not(tmp_path: Path) -> None:
    whole = whole_folder(tmp_path)
    before = read_model_bin(whole / "model.bin")
    after = read_model_bin(alone(whole, tmp_path / "cache", int8=True) / "model.bin")
    weights = {n for n, a in after.items() if n.endswith("weight") and a.ndim == 2}
    assert {after[name].dtype for name in weights} == {np.dtype(np.int8)}
    for name in weights - {"decoder/projection/weight"}:  # which is the embedding
        scale = after[f"{name}_scale"]
        np.testing.assert_allclose(after[name] / scale[:, None], before[name], atol=0.51 / scale.min())
    others = set(after) - weights - {f"{name}_scale" for name in weights}
    for name in others:
        np.testing.assert_array_equal(after[name], before[name])
    left_out = set(before) - set(after)
    assert left_out == {n for n in before if n.startswith(("encoder/layer_1/", "encoder/layer_2/"))}
    assert left_out


def test_without_int8_every_weight_stays_as_it_is(tmp_path: Path) -> None:
    whole = whole_folder(tmp_path, np.float16)
    before = read_model_bin(whole / "model.bin")
    after = read_model_bin(alone(whole, tmp_path / "cache", int8=False) / "model.bin")
    assert all(a.tobytes() == before[name].tobytes() for name, a in after.items())


def test_it_is_written_once_and_anew_when_the_model_changes(tmp_path: Path) -> None:
    whole = whole_folder(tmp_path)
    cache = tmp_path / "cache"
    steps: list[str] = []
    first = decoder_alone(whole, int8=True, cache_folder=cache, progress=steps.append)
    assert decoder_alone(whole, int8=True, cache_folder=cache, progress=steps.append) == first
    assert steps == [f"storing the decoder of {whole} separately, once"]
    assert alone(whole, cache, int8=False) != first
    for name in ("model.bin", "tokenizer.json"):
        file = whole / name
        times = file.stat()
        file.write_bytes(file.read_bytes())
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
        changed = alone(whole, cache, int8=True)
        assert changed != first
        first = changed


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(tmp_path: Path) -> None:
    whole = whole_folder(tmp_path)
    (tmp_path / "file").touch()
    steps: list[str] = []
    found = decoder_alone(whole, int8=True, cache_folder=tmp_path / "file/below", progress=steps.append)
    assert (found / "model.bin").samefile(whole / "model.bin")
    assert said(found, "int8") == said(whole, "int8")
    assert "cannot be written" in steps[-1]
    assert "WHISPER_NPU_CACHE" in steps[-1]


def test_what_faster_whisper_needs_is_beside_it(tmp_path: Path) -> None:
    whole = load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=tmp_path / "converted").decoder_folder
    apart = alone(whole, tmp_path / "cache", int8=True)
    names = {"config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json"}
    assert names <= {file.name for file in apart.iterdir()}
    for name in names:
        assert json.loads((apart / name).read_bytes()) == json.loads((whole / name).read_bytes())
