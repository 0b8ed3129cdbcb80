"""The reader of Hugging Face folders: layouts that people have, and errors that name what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.support.checkpoints import (
    Arrays,
    tiny_config,
    tiny_tensors,
    tiny_tokenizer,
    write_checkpoint,
    write_json,
    write_tensors,
    write_tiny,
)
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.encoder import ModelDimensions
from whisper_npu.errors import CheckpointError

FC1 = "model.encoder.layers.1.fc1.weight"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def failure(folder: Path, cache: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder, cache_dir=cache)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert not cache.exists() or not list(cache.iterdir())
    return message


def rewritten(folder: Path, **changes: Any) -> Path:
    """The folder with tensors replaced, or removed where the change is None. Dots in names as "__"."""
    tensors = tiny_tensors(tiny_config())
    for name, array in changes.items():
        key = name.replace("__", ".")
        if array is None:
            del tensors[key]
        else:
            tensors[key] = array
    write_tensors(folder, tensors)
    return folder


def assert_equal(ours: Any, theirs: Any) -> None:
    assert ours.dims == theirs.dims
    assert ours.encoder.keys() == theirs.encoder.keys()
    for name, array in ours.encoder.items():
        assert array.dtype == theirs.encoder[name].dtype
        assert np.array_equal(array, theirs.encoder[name])


def test_sizes_are_read_from_config_json(tmp_path: Path, cache: Path) -> None:
    checkpoint = load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=cache)
    assert checkpoint.dims == ModelDimensions(
        n_mels=128,
        n_audio_ctx=1500,
        n_audio_state=24,
        n_audio_head=3,
        n_audio_layer=2,
        n_audio_mlp=56,
    )
    assert checkpoint.source == f"Hugging Face folder {tmp_path / 'hf'}"
    assert checkpoint.name == str(tmp_path / "hf")


@pytest.mark.parametrize("shards", [2, 5])
def test_shards_hold_the_same_model(tmp_path: Path, cache: Path, shards: int) -> None:
    config = tiny_config()
    tensors = tiny_tensors(config, dtype=ml_dtypes.bfloat16)
    whole = write_checkpoint(tmp_path / "one", config, tensors)
    parts = write_checkpoint(tmp_path / "many", config, tensors, shards=shards)
    assert_equal(load_checkpoint(parts, cache_dir=cache), load_checkpoint(whole, cache_dir=cache))


@pytest.mark.parametrize("prefix", ["", "model.", "model.model."])
def test_prefixes_of_bare_and_wrapped_models(tmp_path: Path, cache: Path, prefix: str) -> None:
    config = tiny_config()
    tensors = tiny_tensors(config)
    tensors["proj_out.weight"] = 2 * tensors["model.decoder.embed_tokens.weight"]
    plain = write_checkpoint(tmp_path / "plain", config, tensors)
    outer = prefix.removesuffix("model.")
    renamed: Arrays = {
        prefix + name.removeprefix("model.") if name.startswith("model.") else outer + name: array
        for name, array in tensors.items()
    }
    folder = write_checkpoint(tmp_path / "renamed", config, renamed)
    ours, theirs = load_checkpoint(folder, cache_dir=cache), load_checkpoint(plain, cache_dir=cache)
    assert_equal(ours, theirs)
    stored = [(c.decoder_folder / "model.bin").read_bytes() for c in (ours, theirs)]
    assert stored[0] == stored[1]


def test_dtypes_may_differ_within_a_model(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf", dtype=np.float16)
    before = load_checkpoint(folder, cache_dir=cache)
    tensors = tiny_tensors(tiny_config(), dtype=np.float16)
    for name, array in tensors.items():
        if "norm" in name or name.endswith("q_proj.weight"):
            tensors[name] = array.astype(np.float32)
    write_tensors(folder, tensors)
    mixed = load_checkpoint(folder, cache_dir=cache)
    assert mixed.encoder["ln_post.weight"].dtype == np.float32
    assert mixed.encoder["conv1.weight"].dtype == np.float16
    assert all(np.array_equal(mixed.encoder[name], array) for name, array in before.encoder.items())
    assert load_checkpoint(mixed.decoder_folder).dims == before.dims


def test_a_missing_tensor_is_named_with_its_shape(tmp_path: Path, cache: Path) -> None:
    folder = rewritten(write_tiny(tmp_path / "hf"), **{FC1.replace(".", "__"): None})
    message = failure(folder, cache)
    assert "model.safetensors" in message
    assert f"tensor {FC1} is missing, expected shape (56, 24)" in message


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((24, 56), np.float32), f"tensor {FC1} has shape (24, 56), expected (56, 24)"),
        (np.zeros((56,), np.float32), f"tensor {FC1} has shape (56,), expected (56, 24)"),
        (np.zeros((56, 24), np.float64), f"tensor {FC1} has dtype F64, expected one of BF16, F16, F32"),
        (np.zeros((56, 24), np.int8), f"tensor {FC1} has dtype I8"),
        (np.full((56, 24), np.nan, np.float32), "blocks.1.mlp.0.weight of the encoder holds infinities"),
    ],
)
def test_a_wrong_tensor_is_named_with_what_was_found(
    tmp_path: Path, cache: Path, array: np.ndarray, said: str
) -> None:
    folder = rewritten(write_tiny(tmp_path / "hf"), **{FC1.replace(".", "__"): array})
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder, cache_dir=cache)
    assert said in str(caught.value)


def test_wrong_tensors_of_the_decoder_leave_no_entry(tmp_path: Path, cache: Path) -> None:
    folder = rewritten(
        write_tiny(tmp_path / "hf"), model__decoder__embed_tokens__weight=np.zeros((5, 24), np.float32)
    )
    assert "embed_tokens.weight has shape (5, 24), expected (1787, 24)" in failure(folder, cache)


def test_tensors_that_would_be_left_out_are_named(tmp_path: Path, cache: Path) -> None:
    extra = np.zeros((4, 24), np.float32)
    folder = write_tiny(tmp_path / "hf")
    rewritten(folder, model__encoder__layers__0__fc1__lora_A__weight=extra)
    assert "layers.0.fc1.lora_A.weight belongs to an adapter (PEFT): merge the adapter" in failure(
        folder, cache
    )
    # One layer fewer in config.json than in the weights.
    rewritten(folder)
    write_json(folder / "config.json", tiny_config(encoder_layers=1))
    assert "model.encoder.layers.1." in failure(folder, cache)


def test_key_biases_are_left_out(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    before = load_checkpoint(folder, cache_dir=cache)
    rewritten(folder, model__encoder__layers__0__self_attn__k_proj__bias=np.ones(24, np.float32))
    assert_equal(load_checkpoint(folder, cache_dir=cache), before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "wav2vec2"}, "model_type is 'wav2vec2'"),
        ({"activation_function": "gelu_new"}, "activation_function is 'gelu_new'"),
        ({"scale_embedding": True}, "scale_embedding is True"),
        ({"d_model": "24"}, "d_model is '24'"),
        ({"d_model": 0}, "d_model is 0"),
        ({"d_model": True}, "d_model is True"),
        ({"encoder_attention_heads": 5}, "encoder_attention_heads is 5, which does not divide d_model 24"),
        ({"decoder_attention_heads": 7}, "decoder_attention_heads is 7, which does not divide d_model 24"),
        ({"vocab_size": None}, "vocab_size is None"),
        ({"num_mel_bins": 80}, "conv1.weight has shape (24, 128, 3), expected (24, 80, 3)"),
        ({"encoder_layers": 3}, "model.encoder.layers.2.fc1.bias is missing"),
        ({"encoder_layers": 10**12}, "layers.999999999999.fc1.bias is missing"),
        ({"decoder_layers": 10**12}, "layers.999999999999.fc1.bias is missing"),
        ({"vocab_size": 10**12}, "embed_tokens.weight has shape (1787, 24)"),
    ],
)
def test_config_json_is_checked(tmp_path: Path, cache: Path, changes: dict[str, Any], said: str) -> None:
    folder = write_tiny(tmp_path / "hf")
    write_json(folder / "config.json", tiny_config(**changes))
    assert said in failure(folder, cache)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"a": "\xff"}'])
def test_json_that_is_no_object_is_named(tmp_path: Path, cache: Path, text: bytes) -> None:
    folder = write_tiny(tmp_path / "hf")
    (folder / "config.json").write_bytes(text)
    message = failure(folder, cache)
    assert "config.json: expected a JSON object" in message


def test_a_folder_without_config_json(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    (folder / "config.json").unlink()
    assert "config.json: cannot be read: No such file" in failure(folder, cache)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_truncated_safetensors(tmp_path: Path, cache: Path, keep: int) -> None:
    folder = write_tiny(tmp_path / "hf")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert "expected a safetensors file, found one that does not parse" in failure(folder, cache)


def test_a_shard_that_is_absent_is_named(tmp_path: Path, cache: Path) -> None:
    config = tiny_config()
    folder = write_checkpoint(tmp_path / "hf", config, tiny_tensors(config), shards=3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "shard model-00002-of-00003.safetensors" in failure(folder, cache)


@pytest.mark.parametrize(
    "weight_map",
    [
        {"a": "../model.safetensors"},
        {"a": "/etc/x.safetensors"},
        {"a": "..\\x.safetensors"},
        {"a": "C:x.safetensors"},
        {"a": "pytorch_model.bin"},
        {"a": 3},
        {},
        None,
        "x.safetensors",
    ],
)
def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path, cache: Path, weight_map: Any) -> None:
    folder = write_tiny(tmp_path / "hf")
    (folder / "model.safetensors").unlink()
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    assert "weight_map names" in failure(folder, cache)


def test_a_folder_without_weights_says_what_was_looked_for(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    (folder / "model.safetensors").unlink()
    assert "neither model.bin nor model.safetensors nor" in failure(folder, cache)
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    assert "save_pretrained" in failure(folder, cache)


def test_with_both_formats_ctranslate2_is_taken(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    converted = load_checkpoint(folder, cache_dir=cache).decoder_folder
    for file in converted.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    checkpoint = load_checkpoint(folder, cache_dir=tmp_path / "other")
    assert checkpoint.decoder_folder == folder
    assert checkpoint.source == f"CTranslate2 folder {folder}"
    assert not (tmp_path / "other").exists()


def test_the_normalizer_travels_with_the_decoder(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    assert load_checkpoint(folder, cache_dir=cache).normalizer is None
    write_json(folder / "normalizer.json", {"colour": "color"})
    normalizer = load_checkpoint(folder, cache_dir=cache).normalizer
    assert normalizer is not None
    assert normalizer.read_text() == '{"colour": "color"}'
    assert normalizer.parent != folder


def test_a_tokenizer_is_demanded_before_anything_is_written(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    for content in ("{}", "", "\0"):
        (folder / "tokenizer.json").write_text(content)
        assert "does not load" in failure(folder, cache)
    parts = tiny_tokenizer()
    parts["model"]["vocab"]["an"] = 0
    write_json(folder / "tokenizer.json", parts)
    assert "share the id 0" in failure(folder, cache)
    parts = tiny_tokenizer()
    parts["added_tokens"] = [t for t in parts["added_tokens"] if "startof" not in t["content"]]
    write_json(folder / "tokenizer.json", parts)
    assert "the tokenizer has no <|startoftranscript|>, <|startoflm|>, <|startofprev|>" in failure(
        folder, cache
    )
    (folder / "tokenizer.json").unlink()
    assert "lacks tokenizer.json, and vocab.json and merges.txt to build it" in failure(folder, cache)


def test_a_tokenizer_of_a_larger_model_is_refused(tmp_path: Path, cache: Path) -> None:
    folder = write_tiny(tmp_path / "hf", vocab_size=265)
    assert "token <|notimestamps|> has id 270, but the model has 265 tokens (vocab_size)" in failure(
        folder, cache
    )
