"""A Hugging Face folder as a CTranslate2 folder: once, atomically, and complete for faster-whisper."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import (
    read_model_bin,
    tiny_config,
    tiny_tensors,
    tiny_tokenizer,
    write_checkpoint,
    write_json,
    write_tiny,
)
from whisper_npu import cache
from whisper_npu.checkpoint import convert, load_checkpoint
from whisper_npu.errors import CacheError, CheckpointError
from whisper_npu.home import cache_folder

MULTILINGUAL = {"vocab_size": 1788}  # one token more: the empty one


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def entries(store: Path) -> list[str]:
    """Everything in the cache folder, hidden leftovers included."""
    return sorted(path.name for path in store.iterdir()) if store.exists() else []


def settings_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return loaded


def vocabulary_of(folder: Path) -> list[str]:
    loaded: list[str] = json.loads((folder / "vocabulary.json").read_text())
    return loaded


def write(
    out: Path, *, multilingual: bool = False, generation: dict[str, Any] | None = None, **changes: Any
) -> Path:
    config = tiny_config(**((MULTILINGUAL if multilingual else {}) | changes))
    return write_checkpoint(
        out,
        config,
        tiny_tensors(config),
        tokenizer_json=tiny_tokenizer(multilingual=multilingual),
        generation=generation,
    )


# The cache


def test_a_second_load_reuses_the_entry(tmp_path: Path, store: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    said: list[str] = []
    first = load_checkpoint(folder, cache_dir=store, progress=said.append).decoder_folder
    assert said == [f"converting {folder} for the decoder, once"]
    before = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    second = load_checkpoint(folder, cache_dir=store, progress=said.append).decoder_folder
    assert second == first
    assert {path.name: path.stat().st_mtime_ns for path in second.iterdir()} == before
    assert len(said) == 1
    assert entries(store) == [first.name]


def test_a_moved_folder_is_the_same_checkpoint(tmp_path: Path, store: Path) -> None:
    first = load_checkpoint(write_tiny(tmp_path / "a"), cache_dir=store)
    second = load_checkpoint(write_tiny(tmp_path / "b"), cache_dir=store)
    assert first.decoder_folder == second.decoder_folder


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    times = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_one_byte_apart_is_another_entry(tmp_path: Path, store: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    weights = folder / "model.safetensors"
    first = load_checkpoint(folder, cache_dir=store)
    before = weights.stat()
    flip_last_byte(weights)
    after = weights.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    second = load_checkpoint(folder, cache_dir=store)
    assert first.decoder_folder != second.decoder_folder
    assert entries(store) == [second.decoder_folder.name]  # nobody needs the other one any more


@pytest.mark.parametrize("name", [name for name in convert.SMALL_FILES if name != "config.json"])
def test_every_file_that_goes_in_is_part_of_the_key(tmp_path: Path, store: Path, name: str) -> None:
    folder = write_tiny(tmp_path / "hf")
    keys = []
    parts = tiny_tokenizer()
    for version in ("1", "2"):
        content = parts | {"version": "1.0"} if name == "tokenizer.json" else {f"{version}": 1}
        (folder / name).write_text(json.dumps(content) + " " * int(version))
        keys.append(load_checkpoint(folder, cache_dir=store).decoder_folder)
    assert keys[0] != keys[1]


def test_shards_are_part_of_the_key(tmp_path: Path, store: Path) -> None:
    config = tiny_config()
    folders = [
        write_checkpoint(tmp_path / f"{shards}", config, tiny_tensors(config), shards=shards)
        for shards in (1, 2, 3)
    ]
    found = [load_checkpoint(folder, cache_dir=store).decoder_folder for folder in folders]
    assert len(set(found)) == 3
    shard = folders[2] / "model-00003-of-00003.safetensors"
    flip_last_byte(shard)
    assert load_checkpoint(folders[2], cache_dir=store).decoder_folder not in found


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, CheckpointError, MemoryError])
def test_an_interrupted_conversion_leaves_nothing(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    folder = write_tiny(tmp_path / "hf")
    written: list[Path] = []

    def interrupted(_source: Path, _n_mels: int, out: Path) -> None:
        written.extend(out.iterdir())
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(convert, "_write_preprocessor_config", interrupted)
        with pytest.raises(interruption):
            load_checkpoint(folder, cache_dir=store)
    assert "model.bin" in {path.name for path in written}
    assert entries(store) == []
    assert load_checkpoint(folder, cache_dir=store).decoder_folder.is_dir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-1]),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / ".sizes.json").unlink(),
        lambda folder: (folder / ".sizes.json").write_text("[]"),
        lambda folder: (folder / ".sizes.json").write_text("{"),
    ],
)
def test_a_damaged_entry_is_built_anew(tmp_path: Path, store: Path, damage: Callable[[Path], Any]) -> None:
    folder = write_tiny(tmp_path / "hf")
    converted = load_checkpoint(folder, cache_dir=store).decoder_folder
    whole = {path.name: path.read_bytes() for path in converted.iterdir()}
    damage(converted)
    assert load_checkpoint(folder, cache_dir=store).decoder_folder == converted
    assert {path.name: path.read_bytes() for path in converted.iterdir()} == whole
    assert entries(store) == [converted.name]


def test_of_two_builds_at_once_the_first_wins_where_files_cannot_be_locked(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    def build(content: str, inside: Callable[[], Any]) -> Callable[[Path], None]:
        def fill(out: Path) -> None:
            inside()
            (out / "file").write_text(content)

        return fill

    def faster() -> Path:
        return cache.find_or_build(store, "key", build("first", lambda: None))

    folder = cache.find_or_build(store, "key", build("second", faster))
    assert (folder / "file").read_text() == "first"
    assert entries(store) == ["key"]


def test_a_rename_that_loses_the_race_takes_the_winners_entry(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def late(source: Path, target: Path) -> Path:
        # Between the last look and the rename, another process put its own in place.
        target.mkdir()
        (target / "file").write_text("other")
        (target / ".sizes.json").write_text('{"file": 5}')
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", late)
    folder = cache.find_or_build(store, "key", lambda out: (out / "file").write_text("mine") and None)
    assert (folder / "file").read_text() == "other"


def test_a_cache_that_cannot_be_written_is_named_and_the_run_goes_on(tmp_path: Path, store: Path) -> None:
    folder = write_tiny(tmp_path / "hf")
    (tmp_path / "file").write_text("")
    said: list[str] = []
    found = load_checkpoint(folder, cache_dir=tmp_path / "file", progress=said.append).decoder_folder
    assert f"for this run only, which the next start does again: cache folder {tmp_path / 'file'}" in said[-1]
    assert "WHISPER_NPU_CACHE" in said[-1]
    kept = load_checkpoint(folder, cache_dir=store).decoder_folder
    for file in found.iterdir():
        assert file.read_bytes() == (kept / file.name).read_bytes()


def test_where_neither_cache_nor_temporary_folder_can_be_written_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny(tmp_path / "hf")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="WHISPER_NPU_CACHE") as caught:
        load_checkpoint(folder, cache_dir=tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WHISPER_NPU_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder(None) == tmp_path / ".cache" / "whisper-npu"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(None) == tmp_path / "xdg" / "whisper-npu"
    monkeypatch.setenv("WHISPER_NPU_CACHE", "~/own")
    assert cache_folder(None) == tmp_path / "own"
    assert cache_folder(Path("~/chosen")) == tmp_path / "chosen"


# The folder


def test_every_array_of_the_decoder_is_where_ctranslate2_wants_it(tmp_path: Path, store: Path) -> None:
    config = tiny_config(decoder_layers=2)
    tensors = tiny_tensors(config, dtype=np.float16)
    tensors["proj_out.weight"] = tensors["model.decoder.embed_tokens.weight"] + np.float16(1)
    folder = write_checkpoint(tmp_path / "hf", config, tensors)
    stored = read_model_bin(load_checkpoint(folder, cache_dir=store).decoder_folder / "model.bin")

    def check(theirs: str, *ours: str) -> None:
        expected = np.concatenate([tensors[f"model.decoder.{name}"] for name in ours])
        assert stored[f"decoder/{theirs}"].dtype == np.float16
        assert np.array_equal(stored[f"decoder/{theirs}"], expected)

    check("embeddings/weight", "embed_tokens.weight")
    check("position_encodings/encodings", "embed_positions.weight")
    check("layer_norm/gamma", "layer_norm.weight")
    assert np.array_equal(stored["decoder/projection/weight"], tensors["proj_out.weight"])
    assert stored["decoder/num_heads"] == 2
    assert stored["encoder/num_heads"] == 3
    assert stored["decoder/scale_embeddings"] == 0
    zeros = np.zeros(24, np.float16)
    for i in range(2):
        here, there = f"layer_{i}", f"layers.{i}"
        for attention, name in (("self_attention", "self_attn"), ("attention", "encoder_attn")):
            p = f"{there}.{name}"
            check(f"{here}/{attention}/layer_norm/beta", f"{p}_layer_norm.bias")
            tensors[f"model.decoder.{p}.k_proj.bias"] = zeros
        own, cross = f"{there}.self_attn", f"{there}.encoder_attn"
        for part in ("weight", "bias"):
            check(f"{here}/self_attention/linear_0/{part}", *(f"{own}.{x}_proj.{part}" for x in "qkv"))
            check(f"{here}/self_attention/linear_1/{part}", f"{own}.out_proj.{part}")
            check(f"{here}/attention/linear_0/{part}", f"{cross}.q_proj.{part}")
            check(f"{here}/attention/linear_1/{part}", *(f"{cross}.{x}_proj.{part}" for x in "kv"))
            check(f"{here}/attention/linear_2/{part}", f"{cross}.out_proj.{part}")
            check(f"{here}/ffn/linear_0/{part}", f"{there}.fc1.{part}")
            check(f"{here}/ffn/linear_1/{part}", f"{there}.fc2.{part}")
        check(f"{here}/ffn/layer_norm/gamma", f"{there}.final_layer_norm.weight")


@pytest.mark.parametrize("multilingual", [False, True])
@pytest.mark.parametrize("files", ["json", "vocab"])
def test_faster_whisper_opens_the_folder_and_transcribes(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, multilingual: bool, files: Any
) -> None:
    import faster_whisper

    def no_hub(*_args: Any, **_keywords: Any) -> Any:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(faster_whisper.transcribe, "download_model", no_hub)
    monkeypatch.setattr(faster_whisper.transcribe.tokenizers.Tokenizer, "from_pretrained", no_hub)
    config = tiny_config(**(MULTILINGUAL if multilingual else {}))
    folder = write_checkpoint(
        tmp_path / "hf",
        config,
        tiny_tensors(config),
        tokenizer_json=tiny_tokenizer(multilingual=multilingual),
        tokenizer=files,
    )
    checkpoint = load_checkpoint(folder, cache_dir=store)
    model = faster_whisper.WhisperModel(str(checkpoint.decoder_folder), device="cpu", compute_type="float32")
    assert model.model.is_multilingual is multilingual
    assert model.feature_extractor.mel_filters.shape[0] == 128
    audio = np.random.default_rng(0).standard_normal(16000, dtype=np.float32) / 10
    segments, info = model.transcribe(
        audio, beam_size=1, temperature=0, max_new_tokens=4, no_speech_threshold=None, word_timestamps=True
    )
    list(segments)
    assert info.language in (("en", "de", "haw") if multilingual else ("en",))


@pytest.mark.parametrize("multilingual", [False, True])
def test_slow_tokenizer_files_give_the_fast_tokenizer(
    tmp_path: Path, store: Path, multilingual: bool
) -> None:
    from tokenizers import Tokenizer

    parts = tiny_tokenizer(multilingual=multilingual)
    config = tiny_config(**(MULTILINGUAL if multilingual else {}))
    tensors = tiny_tensors(config)
    fast = write_checkpoint(tmp_path / "fast", config, tensors, tokenizer_json=parts)
    slow = write_checkpoint(tmp_path / "slow", config, tensors, tokenizer_json=parts, tokenizer="vocab")
    folders = [load_checkpoint(folder, cache_dir=store).decoder_folder for folder in (fast, slow)]
    assert vocabulary_of(folders[0]) == vocabulary_of(folders[1])
    one, other = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in folders)
    text = " the then, an Ärger — 12 <|notimestamps|>\n the"
    assert one.encode(text).ids == other.encode(text).ids
    assert (
        one.decode(one.encode(text).ids)
        == other.decode(one.encode(text).ids)
        == text.replace("<|notimestamps|>", "")
    )


def test_added_tokens_are_read_from_tokenizer_config_too(tmp_path: Path, store: Path) -> None:
    config = tiny_config()
    folder = write_checkpoint(tmp_path / "hf", config, tiny_tensors(config), tokenizer="vocab")
    before = vocabulary_of(load_checkpoint(folder, cache_dir=store).decoder_folder)
    added = json.loads((folder / "added_tokens.json").read_text())
    (folder / "added_tokens.json").unlink()
    decoder = {str(number): {"content": token} for token, number in added.items()}
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": decoder})
    assert vocabulary_of(load_checkpoint(folder, cache_dir=store).decoder_folder) == before

    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": {"x": 1}})
    with pytest.raises(CheckpointError, match="not pairs of token and id"):
        load_checkpoint(folder, cache_dir=store)
    decoder["5000"] = {"content": "<|far|>"}
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": decoder})
    with pytest.raises(CheckpointError, match=r"'<\|far\|>' has id 5000"):
        load_checkpoint(folder, cache_dir=store)


@pytest.mark.parametrize("n_vocab", [285, 1770, 1772, 1850])
def test_the_vocabulary_names_every_row_once(tmp_path: Path, store: Path, n_vocab: int) -> None:
    folder = write_tiny(tmp_path / "hf", vocab_size=n_vocab)
    tokens = vocabulary_of(load_checkpoint(folder, cache_dir=store).decoder_folder)
    assert len(tokens) == len(set(tokens)) == n_vocab
    known = tiny_tokenizer()
    ids = known["model"]["vocab"] | {t["content"]: t["id"] for t in known["added_tokens"]}
    assert all(tokens[number] == token for token, number in ids.items())
    first = tokens.index("<|notimestamps|>") + 1
    assert first == 271
    assert tokens[first] == "<|0.00|>"
    if n_vocab >= first + 1501:
        assert tokens[first + 1500] == "<|30.00|>"
    assert all(token.startswith("<|unused") for token in tokens[first + 1501 :])


def test_timestamps_in_the_tokenizer_keep_their_names(tmp_path: Path, store: Path) -> None:
    parts = tiny_tokenizer()
    flags = parts["added_tokens"][0]
    parts["added_tokens"] += [
        flags | {"id": 271 + i, "content": f"<|{i * 0.02:.2f}|>"} for i in range(1501)
    ] + [flags | {"id": 1772, "content": "<|speaker|>"}]
    config = tiny_config(vocab_size=1780)
    folder = write_checkpoint(tmp_path / "hf", config, tiny_tensors(config), tokenizer_json=parts)
    tokens = vocabulary_of(load_checkpoint(folder, cache_dir=store).decoder_folder)
    assert len(tokens) == len(set(tokens)) == 1780
    assert tokens[271:1774] == [
        *(f"<|{i * 0.02:.2f}|>" for i in range(1501)),
        "<|speaker|>",
        "<|unused1773|>",
    ]


# config.json


def test_settings_come_from_generation_config(tmp_path: Path, store: Path) -> None:
    generation = {
        "is_multilingual": True,
        "alignment_heads": [[0, 1], [7, 0], [0, 9]],
        "suppress_tokens": [5, 6],
        "begin_suppress_tokens": [7],
        "lang_to_id": {"<|en|>": 263, "<|de|>": 264},
    }
    folder = write(
        tmp_path / "hf",
        multilingual=True,
        generation=generation,
        suppress_tokens=[1],
        begin_suppress_tokens=[2],
    )
    assert settings_of(load_checkpoint(folder, cache_dir=store).decoder_folder) == {
        "alignment_heads": [[0, 1]],  # the two others are not this decoder's
        "lang_ids": [263, 264],
        "suppress_ids": [5, 6],
        "suppress_ids_begin": [7],
    }


def test_settings_come_from_config_without_generation_config(tmp_path: Path, store: Path) -> None:
    folder = write(
        tmp_path / "hf", multilingual=True, suppress_tokens=[1, 99999, -1], begin_suppress_tokens=[2]
    )
    converted = load_checkpoint(folder, cache_dir=store).decoder_folder
    tokens = vocabulary_of(converted)
    assert settings_of(converted) == {
        "alignment_heads": [[0, 0], [0, 1]],
        "lang_ids": [tokens.index(f"<|{language}|>") for language in ("en", "de", "haw")],
        "suppress_ids": [1],
        "suppress_ids_begin": [2],
    }


def test_settings_that_nothing_names_come_from_the_tokens(tmp_path: Path, store: Path) -> None:
    folder = write(
        tmp_path / "hf", generation={"suppress_tokens": None, "alignment_heads": None}, decoder_layers=3
    )
    converted = load_checkpoint(folder, cache_dir=store).decoder_folder
    tokens = vocabulary_of(converted)
    found = settings_of(converted)
    assert found["suppress_ids"] == []
    assert found["suppress_ids_begin"] == [tokens.index("Ġ"), tokens.index("<|endoftext|>")]
    assert found["alignment_heads"] == [[1, 0], [1, 1], [2, 0], [2, 1]]


def test_whether_it_is_multilingual_follows_the_checkpoints_word(tmp_path: Path, store: Path) -> None:
    import ctranslate2

    for name, multilingual, word, expected in (
        ("plain", False, None, False),
        ("plain word", False, False, False),
        ("multi", True, None, True),
        ("multi word", True, True, True),
        ("multi tokenizer of an English model", True, False, False),
    ):
        generation = {} if word is None else {"is_multilingual": word}
        folder = write(tmp_path / name, multilingual=multilingual, generation=generation)
        converted = load_checkpoint(folder, cache_dir=store).decoder_folder
        assert ctranslate2.models.Whisper(str(converted)).is_multilingual is expected
    folder = write(tmp_path / "english tokenizer", generation={"is_multilingual": True})
    with pytest.raises(CheckpointError, match="English-only model's"):
        load_checkpoint(folder, cache_dir=store)


@pytest.mark.parametrize(
    ("preprocessor", "expected"),
    [
        (None, {"feature_size": 128}),
        ({"feature_size": 128, "hop_length": 160}, {"feature_size": 128, "hop_length": 160}),
        ({"feature_size": 80, "hop_length": 160}, {"feature_size": 128}),
        ({"hop_length": 160}, {"feature_size": 128}),
    ],
)
def test_the_preprocessor_config_agrees_with_the_weights(
    tmp_path: Path, store: Path, preprocessor: dict[str, int] | None, expected: dict[str, int]
) -> None:
    folder = write_tiny(tmp_path / "hf")
    if preprocessor is not None:
        write_json(folder / "preprocessor_config.json", preprocessor)
    converted = load_checkpoint(folder, cache_dir=store).decoder_folder
    assert json.loads((converted / "preprocessor_config.json").read_text()) == expected
