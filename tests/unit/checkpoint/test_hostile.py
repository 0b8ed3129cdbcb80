"""Checkpoints by somebody who means harm: each is read or refused in one line, and CTranslate2 is safe."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.checkpoints import (
    read_model_bin,
    tiny_config,
    tiny_tensors,
    tiny_tokenizer,
    write_checkpoint,
    write_json,
)
from tests.support.hostile import NO_FILES, NO_OBJECTS, changed_bytes, changed_json
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.checkpoint.ctranslate2_folder import parse_model, write_model
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.errors import CheckpointError, WhisperNpuError

N_LAYER, N_HEAD, N_VOCAB = 4, 2, 1788
DEFAULT_HEADS = [[layer, head] for layer in (2, 3) for head in range(N_HEAD)]
ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hf/ and ct2/ of one small multilingual model; only to be read."""
    folder = tmp_path_factory.mktemp("sound")
    config = tiny_config(vocab_size=N_VOCAB, max_source_positions=40, decoder_layers=N_LAYER, num_mel_bins=80)
    tokenizer = tiny_tokenizer(multilingual=True)
    write_checkpoint(folder / "hf", config, tiny_tensors(config), tokenizer_json=tokenizer)
    converted = load_checkpoint(folder / "hf", cache_dir=folder / "cache").decoder_folder
    shutil.copytree(converted, folder / "ct2", ignore=shutil.ignore_patterns(".*"))
    return folder


@pytest.fixture
def ct2(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound / "ct2", tmp_path / "ct2"))


@pytest.fixture
def hf(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound / "hf", tmp_path / "hf"))


def opened(folder: Path, cache: Path) -> Path:
    """The folder that CTranslate2 is to open, after all checks."""
    checkpoint = load_checkpoint(folder, cache_dir=cache, local_files_only=True)
    whole = checkpoint.decoder_folder
    return decoder_alone(whole, int8=False, cache_folder=cache, progress=lambda _: None)


def settings_of(folder: Path, cache: Path) -> dict[str, Any]:
    return dict(json.loads((opened(folder, cache) / "config.json").read_text()))


def refused(folder: Path, cache: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        opened(folder, cache)
    assert len(str(caught.value)) < 1_000
    return str(caught.value)


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | changes)


# config.json of a CTranslate2 folder


@pytest.mark.parametrize(
    "heads",
    [
        [[11, 3], [10, 20]],
        [[-1, 0], [0, -1]],
        [[0, 2**70], [10**300, 0]],
        [[True, False], [0.0, 1.0], ["0", "1"], [0], [0, 1, 2], 0, None],
        {"0": [1, 1]},
        "all",
        None,
        [],
    ],
)
def test_heads_that_do_not_exist_are_those_of_the_last_half(ct2: Path, tmp_path: Path, heads: Any) -> None:
    change_config(ct2, alignment_heads=heads)
    assert settings_of(ct2, tmp_path / "cache")["alignment_heads"] == DEFAULT_HEADS


def test_heads_that_exist_stay_once_each(ct2: Path, tmp_path: Path) -> None:
    change_config(ct2, alignment_heads=[[0, 1], [4, 0], [0, 1], [3, 0]])
    assert settings_of(ct2, tmp_path / "cache")["alignment_heads"] == [[0, 1], [3, 0]]


def test_without_any_key_the_settings_are_those_of_a_conversion(
    ct2: Path, sound: Path, tmp_path: Path
) -> None:
    expected = json.loads((sound / "ct2" / "config.json").read_text())
    write_json(ct2 / "config.json", {})
    found = settings_of(ct2, tmp_path / "cache")
    assert found["lang_ids"] == expected["lang_ids"]
    assert found["alignment_heads"] == expected["alignment_heads"] == DEFAULT_HEADS
    assert found["suppress_ids_begin"] == expected["suppress_ids_begin"]


@pytest.mark.parametrize("key", ["suppress_ids", "suppress_ids_begin"])
def test_tokens_that_do_not_exist_are_left_out(ct2: Path, tmp_path: Path, key: str) -> None:
    change_config(ct2, **{key: [N_VOCAB - 1, N_VOCAB, -1, 2**63, 10**300, 1.0, True, "0", None, N_VOCAB - 1]})
    assert settings_of(ct2, tmp_path / "cache")[key] == [N_VOCAB - 1]


ALIGNED = """
import sys
import ctranslate2, numpy as np
whisper = ctranslate2.models.Whisper(sys.argv[1], device="cpu", compute_type="float32")
view = ctranslate2.StorageView.from_array(np.ones((1, 40, 24), np.float32))
print(len(whisper.align(view, [262, 263, 267], [[1, 2, 3]], [80], median_filter_width=7)))
prompt = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>"]
whisper.generate(view, [prompt], beam_size=2, max_length=12, suppress_tokens=[-1], return_no_speech_prob=True)
print(len(whisper.detect_language(view)))
"""


def test_ctranslate2_survives_what_it_is_given(ct2: Path, tmp_path: Path) -> None:
    """In a process of its own: with the file as it was, this one would be killed."""
    change_config(ct2, alignment_heads=[[11, 3], [10, 20]], suppress_ids=[10**6], lang_ids=[10**6])
    command = [sys.executable, "-c", ALIGNED, str(opened(ct2, tmp_path / "cache"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["1", "1"]), done.stderr


def test_a_token_that_is_no_language_is_never_detected(ct2: Path, tmp_path: Path) -> None:
    languages = json.loads((ct2 / "config.json").read_text())["lang_ids"]
    for listed, kept in (([0, languages[1], 7], [languages[1]]), ([0, 7], languages)):
        change_config(ct2, lang_ids=listed)
        assert settings_of(ct2, tmp_path / "cache")["lang_ids"] == kept


def test_the_rest_of_preprocessor_config_is_not_believed(ct2: Path, tmp_path: Path) -> None:
    write_json(ct2 / "preprocessor_config.json", {"feature_size": 80, "n_fft": 10**12, "hop_length": 0})
    found = json.loads((opened(ct2, tmp_path / "cache") / "preprocessor_config.json").read_text())
    assert found == {"feature_size": 80}


# The other files of a CTranslate2 folder


def test_a_vocabulary_of_another_size_is_refused(ct2: Path, tmp_path: Path) -> None:
    tokens = json.loads((ct2 / "vocabulary.json").read_text())
    for wrong in (tokens[:-1], [*tokens, "<|more|>"], []):
        write_json(ct2 / "vocabulary.json", wrong)
        assert f"{len(wrong)} tokens, but model.bin has {N_VOCAB}" in refused(ct2, tmp_path / "cache")
    for wrong in ([*tokens[:-1], 7], {"0": "a"}):
        write_json(ct2 / "vocabulary.json", wrong)
        assert "expected a" in refused(ct2, tmp_path / "cache")


def test_a_vocabulary_in_text_is_read(ct2: Path, tmp_path: Path) -> None:
    tokens = json.loads((ct2 / "vocabulary.json").read_text())
    before = settings_of(ct2, tmp_path / "cache")
    (ct2 / "vocabulary.json").unlink()
    (ct2 / "vocabulary.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    assert settings_of(ct2, tmp_path / "cache") == before
    assert json.loads((opened(ct2, tmp_path / "cache") / "vocabulary.json").read_text()) == tokens
    (ct2 / "vocabulary.txt").write_bytes(b"\xff\n" * N_VOCAB)
    assert "expected UTF-8" in refused(ct2, tmp_path / "cache")


def test_special_tokens_at_other_places_than_the_tokenizers_are_refused(ct2: Path, tmp_path: Path) -> None:
    tokens = json.loads((ct2 / "vocabulary.json").read_text())
    write_json(ct2 / "vocabulary.json", tokens[::-1])
    assert "in tokenizer.json, where vocabulary.json has" in refused(ct2, tmp_path / "cache")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(ct2: Path, tmp_path: Path) -> None:
    parts = json.loads((ct2 / "tokenizer.json").read_text())
    parts["model"]["vocab"]["beyond"] = N_VOCAB
    write_json(ct2 / "tokenizer.json", parts)
    assert f"token beyond has id {N_VOCAB}, but the model has {N_VOCAB}" in refused(ct2, tmp_path / "cache")


@pytest.mark.parametrize("content", NO_OBJECTS.values(), ids=NO_OBJECTS)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "preprocessor_config.json"])
def test_what_is_no_object_is_refused(ct2: Path, tmp_path: Path, name: str, content: bytes) -> None:
    (ct2 / name).write_bytes(content)
    refused(ct2, tmp_path / "cache")


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocabulary.json", "model.bin"])
def test_what_is_no_file_is_refused_at_once(
    ct2: Path, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (ct2 / name).unlink()
    make(ct2 / name)
    refused(ct2, tmp_path / "cache")


# model.bin's decoder


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    arrays = read_model_bin(folder / "model.bin")
    arrays = {name: np.array(array) for name, array in arrays.items()}
    change(arrays)
    write_model(folder / "model.bin", 3, arrays.items(), {})


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("decoder/num_heads", np.int16(0)),
        ("decoder/num_heads", np.int16(-1)),
        ("decoder/num_heads", np.int16(7)),
        ("decoder/num_heads", np.float32(2)),
        ("decoder/num_heads", np.ones(3, np.int16)),
        ("decoder/alignment_layer", np.int16(99)),
        ("decoder/alignment_heads", np.int16(99)),
        ("decoder/multi_query_attention", np.int8(1)),
        ("decoder/layer_0/self_attention/linear_0/weight", np.ones((24, 24), np.float32)),
        ("decoder/layer_0/self_attention/linear_0/weight", np.ones((72, 24), np.int8)),
        ("decoder/layer_3/attention/linear_1/bias", np.ones(24, np.float32)),
        ("decoder/layer_norm/gamma", np.ones(24, np.int8)),
        ("decoder/embeddings/weight", np.ones((2, 24), np.float32)),
        ("decoder/projection/weight", np.ones((2, 24), np.float32)),
        ("decoder/position_encodings/encodings", np.ones((448, 8), np.float32)),
        ("decoder/layer_0/self_attention/relative_position_keys", np.ones((9, 9), np.float32)),
        ("decoder/layer_9/ffn/linear_0/weight", np.ones((1, 1), np.float32)),
    ],
)
def test_a_decoder_that_is_not_whispers_is_refused(ct2: Path, tmp_path: Path, name: str, array: Any) -> None:
    def change(arrays: dict[str, Any]) -> None:
        arrays[name] = np.asarray(array)

    rewritten(ct2, change)
    assert "model.bin" in refused(ct2, tmp_path / "cache")


def test_a_decoder_that_lacks_a_variable_is_refused(ct2: Path, tmp_path: Path) -> None:
    rewritten(ct2, lambda arrays: arrays.pop("decoder/layer_2/attention/linear_0/bias"))
    assert "decoder/layer_2/attention/linear_0/bias is missing" in refused(ct2, tmp_path / "cache")


def test_the_sound_ones_are_read(ct2: Path, hf: Path, tmp_path: Path) -> None:
    for folder in (ct2, hf):
        ctranslate2.models.Whisper(str(opened(folder, tmp_path / "cache")), device="cpu")


# Hugging Face folders


@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_what_is_no_file_in_a_hugging_face_folder_is_refused_at_once(
    hf: Path, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    (hf / name).unlink()
    make(hf / name)
    refused(hf, tmp_path / "cache")


@pytest.mark.parametrize(
    "shard",
    [
        "x" * 5000 + ".safetensors",
        "../model.safetensors",
        "/etc/model.safetensors",
        "a\0.safetensors",
        "\ud800.safetensors",
        "..safetensors/../x.safetensors",
        "model.bin",
        "",
        7,
        None,
        ["a"],
    ],
)
def test_a_shard_with_a_name_that_no_model_has_is_refused(hf: Path, tmp_path: Path, shard: Any) -> None:
    (hf / "model.safetensors").rename(tmp_path / "model.safetensors")
    write_json(hf / "model.safetensors.index.json", {"weight_map": {"encoder.conv1.weight": shard}})
    assert "expected a .safetensors file in the same folder" in refused(hf, tmp_path / "cache")


@pytest.mark.parametrize("prefix", ["base_model.model.", "module.", "model.", "module.base_model.model."])
@pytest.mark.parametrize("bare", [False, True])
def test_what_wraps_a_model_is_taken_off(sound: Path, tmp_path: Path, prefix: str, bare: bool) -> None:
    config = json.loads((sound / "hf/config.json").read_text())
    tensors = tiny_tensors(config)
    wrapped = {f"{prefix}{name.removeprefix('model.') if bare else name}": a for name, a in tensors.items()}
    tokenizer = tiny_tokenizer(multilingual=True)
    folder = write_checkpoint(tmp_path / "wrapped", config, wrapped, tokenizer_json=tokenizer)
    found = (opened(folder, tmp_path / "cache") / "model.bin").read_bytes()
    assert found == (opened(sound / "hf", tmp_path / "cache") / "model.bin").read_bytes()


def test_an_adapter_is_to_be_merged_first(hf: Path, tmp_path: Path) -> None:
    (hf / "model.safetensors").rename(hf / "adapter_model.safetensors")
    write_json(hf / "adapter_config.json", {"peft_type": "LORA"})
    message = refused(hf, tmp_path / "cache")
    assert "merge the adapter into the model" in message
    assert "merge_and_unload" in message


def test_a_model_with_adapters_in_it_is_to_be_merged_first(sound: Path, tmp_path: Path) -> None:
    config = json.loads((sound / "hf/config.json").read_text())
    tensors = {f"base_model.model.{name}": array for name, array in tiny_tensors(config).items()}
    weight = "base_model.model.model.encoder.layers.0.self_attn.q_proj"
    tensors[f"{weight}.base_layer.weight"] = tensors.pop(f"{weight}.weight")
    tensors[f"{weight}.lora_A.default.weight"] = np.ones((2, 24), np.float32)
    folder = write_checkpoint(tmp_path / "adapted", config, tensors)
    assert "merge the adapter into the model" in refused(folder, tmp_path / "cache")


def test_pickles_are_not_opened(hf: Path, tmp_path: Path) -> None:
    (hf / "model.safetensors").unlink()
    (hf / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert "can run code when it is opened (pickle) and is never read" in refused(hf, tmp_path / "cache")


# Whatever else


def read_or_refused(folder: Path, cache: Path) -> None:
    with suppress(WhisperNpuError):
        opened(folder, cache)


CT2_JSON = ["config.json", "vocabulary.json", "tokenizer.json", "preprocessor_config.json"]
HF_JSON = ["config.json", "tokenizer.json", "generation_config.json", "model.safetensors.index.json"]


def values(folder: Path) -> dict[str, Any]:
    return {
        name: json.loads((folder / name).read_text())
        if (folder / name).is_file()
        else {"weight_map": {"a": "b"}}
        for name in {*CT2_JSON, *HF_JSON}
    }


@pytest.mark.fuzz
@ANY
@given(data=st.data(), name=st.sampled_from(CT2_JSON))
def test_any_change_of_a_ctranslate2_folders_json(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(sound / "ct2", folder / "ct2")
    (folder / "ct2" / name).write_bytes(data.draw(changed_json(values(sound / "ct2")[name])))
    read_or_refused(folder / "ct2", folder / "cache")
    shutil.rmtree(folder)


@pytest.mark.fuzz
@ANY
@given(data=st.data(), name=st.sampled_from(HF_JSON))
def test_any_change_of_a_hugging_face_folders_json(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(sound / "hf", folder / "hf")
    if "index" in name:
        (folder / "hf/model.safetensors").unlink()
    (folder / "hf" / name).write_bytes(data.draw(changed_json(values(sound / "hf")[name])))
    read_or_refused(folder / "hf", folder / "cache")
    shutil.rmtree(folder)


@pytest.mark.fuzz
@ANY
@given(data=st.data())
def test_any_change_of_the_weights(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    kind, name = data.draw(st.sampled_from([("ct2", "model.bin"), ("hf", "model.safetensors")]))
    shutil.copytree(sound / kind, folder / kind)
    content = (sound / kind / name).read_bytes()
    (folder / kind / name).write_bytes(data.draw(changed_bytes(content, 4_000)))
    with np.errstate(all="ignore"):
        read_or_refused(folder / kind, folder / "cache")
    shutil.rmtree(folder)


@pytest.mark.fuzz
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_model_bin(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.bin"
    file.write_bytes(content)
    with pytest.raises(CheckpointError):
        parse_model(file)
