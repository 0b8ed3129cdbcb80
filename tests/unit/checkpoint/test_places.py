"""The user's own folder of models, models without a network, and names as people write them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import write_tiny
from tests.support.hub_cache import nothing_downloaded, put_in_hub_cache
from whisper_npu.checkpoint import load_checkpoint, resolve
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.checkpoint.places import Places
from whisper_npu.errors import CheckpointError, UnknownModelError, UsageError
from whisper_npu.released import released_dimensions

SMALL = HUB_IDS["small"]


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing was downloaded, nothing is installed, and whoever asks the hub fails the test."""
    return nothing_downloaded(monkeypatch, tmp_path / "hub")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def ct2(tmp_path: Path) -> Path:
    return load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=tmp_path / "converted").decoder_folder


@pytest.mark.parametrize("called", ["small", "faster-whisper-small"])
def test_a_folder_named_like_the_model_comes_first(
    ct2: Path, tmp_path: Path, cache: Path, empty_hub_cache: Path, called: str
) -> None:
    put_in_hub_cache(empty_hub_cache, SMALL, ct2)
    own = Path(shutil.copytree(ct2, tmp_path / "models" / called))
    for asked in ("small", "Small", SMALL):
        if called == "small" and asked == SMALL:
            continue  # a repository is not known by the model's name
        found = load_checkpoint(asked, cache_dir=cache, model_dir=tmp_path / "models")
        assert found.decoder_folder == own
        assert found.source == f"folder {own}"
    assert load_checkpoint("small", cache_dir=cache).source == f"hub {SMALL}"


def test_the_layout_of_the_hubs_cache_is_read_in_model_dir(ct2: Path, tmp_path: Path, cache: Path) -> None:
    snapshot = put_in_hub_cache(tmp_path / "models", SMALL, ct2)
    for asked in ("small", SMALL):
        found = load_checkpoint(asked, cache_dir=cache, model_dir=tmp_path / "models")
        assert (found.decoder_folder, found.source) == (snapshot, f"hub {SMALL}")


def test_a_folder_of_that_name_without_a_model_is_passed_over(
    ct2: Path, tmp_path: Path, cache: Path, empty_hub_cache: Path
) -> None:
    put_in_hub_cache(empty_hub_cache, SMALL, ct2)
    (tmp_path / "models" / "small").mkdir(parents=True)
    found = load_checkpoint("small", cache_dir=cache, model_dir=tmp_path / "models")
    assert found.source == f"hub {SMALL}"


def test_downloads_go_to_model_dir(
    ct2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Path | None]] = []

    def download(repository: str, _progress: Any, folder: Path | None = None) -> Path:
        asked.append((repository, folder))
        assert folder is not None
        return put_in_hub_cache(folder, repository, ct2)

    monkeypatch.setattr(resolve.hub, "download", download)
    for _ in range(2):  # the second finds what the first left
        load_checkpoint("small", cache_dir=cache, model_dir=tmp_path / "new")
    assert asked == [(SMALL, tmp_path / "new")]


def test_model_dir_may_begin_with_the_home_folder(
    ct2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own = shutil.copytree(ct2, tmp_path / "models" / "base")
    assert load_checkpoint("base", cache_dir=cache, model_dir=Path("~/models")).decoder_folder == own


def test_a_model_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        Places.of(tmp_path, tmp_path / "file")


@pytest.mark.parametrize("asked", ["small", "org/name"])
def test_without_network_the_hub_is_not_asked(asked: str, cache: Path, ct2: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(asked, cache_dir=cache, model_dir=tmp_path / "models", local_files_only=True)
    text = str(caught.value)
    assert f"model {asked!r} is " in text
    assert "nothing may be downloaded here" in text  # not: the hub could not be reached
    assert f"not in {tmp_path / 'models'}, not in the local cache" in text
    assert f"whisper-npu models download {asked}" in text
    put_in_hub_cache(tmp_path / "models", HUB_IDS.get(asked, asked), ct2)
    load_checkpoint(asked, cache_dir=cache, model_dir=tmp_path / "models", local_files_only=True)


def test_openais_own_file_in_model_dir_is_mentioned(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "small.pt").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint("small", cache_dir=cache, model_dir=tmp_path, local_files_only=True)
    assert f"not in {tmp_path} (small.pt there is openai/whisper's, which is not read)" in str(caught.value)


@pytest.mark.parametrize("typed", ["Small", "SMALL", "sMaLL"])
def test_a_name_in_any_case_is_that_model(
    typed: str, ct2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, empty_hub_cache: Path
) -> None:
    put_in_hub_cache(empty_hub_cache, SMALL, ct2)
    assert load_checkpoint(typed, cache_dir=cache).name == "small"
    # A folder that is called so comes first: who has one means it.
    shutil.copytree(ct2, tmp_path / typed)
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint(typed, cache_dir=cache).source.startswith("CTranslate2 folder")


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("bsae", "base"),
        ("tiny.e", "tiny.en"),
        ("smal", "small"),
        ("whisper-small", "small"),
        ("faster-whisper-tiny.en", "tiny.en"),
        ("large_v3_turbo", "large-v3-turbo"),
        ("medum", "medium"),
        ("xyz", None),
        ("best", None),
        ("huge", None),
        ("fast", None),
        ("gpt-4o", None),
        ("nova-2", None),
    ],
)
def test_a_hint_stands_only_where_a_name_is_near(typed: str, near: str | None) -> None:
    with pytest.raises(UnknownModelError) as caught:
        load_checkpoint(typed)
    text = str(caught.value)
    assert ("did you mean" in text) == (near is not None)
    assert near is None or near == text.partition("did you mean ")[2].partition("?")[0].split(" or ")[0]


def test_a_model_of_unknown_sizes_has_the_same_hint() -> None:
    with pytest.raises(UnknownModelError, match="did you mean base"):
        released_dimensions("bsae")
    with pytest.raises(UnknownModelError) as caught:
        released_dimensions("xyz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "format_", "name"),
    [
        ("base.pt", "openai/whisper's format", "base"),
        ("/models/large-v3-turbo.pt", "openai/whisper's format", "large-v3-turbo"),
        ("mine.pth", "openai/whisper's format", None),
        ("ggml-base.en.bin", "whisper.cpp's format", "base.en"),
        ("models/ggml-large-v3-q5_0.bin", "whisper.cpp's format", "large-v3"),
        ("whisper-tiny.gguf", "whisper.cpp's format", "tiny"),
        ("GGML-SMALL.BIN", "whisper.cpp's format", "small"),
    ],
)
def test_files_of_other_programs_are_told_from_folders(
    typed: str, format_: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for present in (False, True):
        if present and not typed.startswith("/"):
            Path(typed).parent.mkdir(exist_ok=True)
            Path(typed).write_bytes(b"")
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(typed)
        text = str(caught.value)
        assert f"model {typed!r} is in {format_}" in text
        assert (f"use the name {name} for that model" in text) == (name is not None)
        assert "org/name" in text


def test_a_folder_may_be_called_like_such_a_file(
    ct2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ct2, tmp_path / "base.pt")
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("base.pt", cache_dir=cache).source == "CTranslate2 folder base.pt"
