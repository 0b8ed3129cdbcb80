"""What `whisper-npu models ...` prints, returns and removes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.support.checkpoints import write_tiny
from tests.support.hub_cache import nothing_downloaded, put_in_hub_cache
from tests.support.terminal import terminal
from whisper_npu import cache as stored
from whisper_npu.apps.cli.model_commands import (
    download_models,
    human_size,
    list_models,
    print_path,
    prune_cache,
    remove_models,
    verify_models,
)
from whisper_npu.apps.cli.values import Size
from whisper_npu.cache import About, find_or_build
from whisper_npu.checkpoint import known_models, load_checkpoint
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.errors import CheckpointError, UnknownModelError, UsageError
from whisper_npu.screen import WIDTH

SMALL = HUB_IDS["small"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHISPER_NPU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return nothing_downloaded(monkeypatch, tmp_path / "hub")


@pytest.fixture
def ct2(tmp_path: Path) -> Path:
    return load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=tmp_path / "converted").decoder_folder


@pytest.fixture
def small(hub_folder: Path, cache: Path, ct2: Path) -> Path:
    """The model small, downloaded, with a decoder in the cache; its snapshot."""
    snapshot = put_in_hub_cache(hub_folder, SMALL, ct2)
    decoder_alone(snapshot, int8=True, cache_folder=cache, progress=lambda _line: None)
    return snapshot


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


def show(*, everything: bool = False, model_dir: Path | None = None) -> None:
    list_models(everything=everything, as_json=False, model_dir=model_dir)


def take_away(*names: str, everything: bool = False, dry_run: bool = False) -> None:
    remove_models(names, everything=everything, dry_run=dry_run)


# list


def test_an_empty_machine_is_told_how_to_get_a_model(hub_folder: Path, printed: Callable[[], str]) -> None:
    show()
    assert "No model is here. whisper-npu models download base gets one." in printed()


def test_the_list_has_model_size_source_and_folders(
    small: Path, cache: Path, hub_folder: Path, printed: Callable[[], str]
) -> None:
    show()
    lines = printed().splitlines()
    assert lines[0] == "small"
    assert lines[1].endswith(f"B  hub {SMALL}")
    assert lines[2].endswith("B  decoder, int8")
    assert {line.split("  in ")[-1] for line in lines[-2:]} == {str(cache), str(hub_folder)}


def test_what_no_model_owns_is_one_line_for_all_alike(
    hub_folder: Path, cache: Path, printed: Callable[[], str]
) -> None:
    for key in ("a", "b", "c"):
        (find_or_build(cache, key, lambda folder: None) / ".about.json").unlink()
    show()
    lines = printed().splitlines()
    assert lines[lines.index("others") + 1].endswith(
        "B  not described (made by an earlier version): 3 folders"
    )


def test_a_damaged_entry_is_marked(small: Path, cache: Path, printed: Callable[[], str]) -> None:
    (model,) = cache.glob("*/model.bin")
    model.write_bytes(b"")
    show()
    assert "decoder, int8, DAMAGED" in printed()


def test_with_all_it_names_what_the_hub_has(small: Path, printed: Callable[[], str]) -> None:
    show(everything=True)
    available = printed().partition("On the hub, with about the size of the download:\n")[2]
    assert [line.split()[2].rstrip(",") for line in available.splitlines()] == list(known_models())
    assert "~488 MB  small, here\n" in available
    assert "~3.1 GB  large, the same as large-v3\n" in available


def test_the_list_fits_80_columns(small: Path, tmp_path: Path, printed: Callable[[], str]) -> None:
    show(everything=True)
    assert (
        max(map(len, (line for line in printed().splitlines() if str(tmp_path) not in line))) <= WIDTH == 80
    )


@pytest.mark.parametrize("columns", [45, 60])
def test_the_list_fits_a_narrow_terminal(
    columns: int, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with terminal(columns) as tty:
        monkeypatch.setattr("sys.stdout", tty.stream)
        show(everything=True)
        lines = [line for line in tty.lines if str(tmp_path) not in line]
    assert max(map(len, lines)) <= columns
    assert "On the hub" in "\n".join(lines)


def test_the_list_as_json_is_one_document(small: Path, cache: Path, printed: Callable[[], str]) -> None:
    list_models(everything=True, as_json=True)
    document = json.loads(printed())
    assert document["cache"] == str(cache)
    (model,) = document["models"]
    assert (model["name"], model["source"]) == ("small", f"hub {SMALL}")
    download, decoder = model["parts"]
    assert (download["kind"], decoder["kind"]) == ("hub", "decoder")
    assert Path(decoder["folder"]).parent == cache
    assert model["bytes"] == download["bytes"] + decoder["bytes"]
    assert sum(document["bytes_in_folders"].values()) == model["bytes"]
    assert [entry["name"] for entry in document["available"]] == list(known_models())
    assert document["available"][0]["approximate_bytes"] == 78_000_000
    list_models(everything=False, as_json=True)
    assert "available" not in json.loads(printed())


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (59_212_501, "59.2 MB"), (3_087_000_000, "3.1 GB")],
)
def test_sizes_are_written_as_people_write_them(size: int, said: str) -> None:
    assert human_size(size) == said


# download


def test_a_download_prepares_what_a_transcription_needs(
    hub_folder: Path, cache: Path, ct2: Path, printed: Callable[[], str]
) -> None:
    snapshot = put_in_hub_cache(hub_folder, SMALL, ct2)
    assert download_models(["Small"]) == 0
    (line,) = printed().splitlines()
    assert line.startswith("small: ")
    assert f"from hub {SMALL} in {snapshot}, and " in line
    assert line.endswith(f"made from it in {cache}")
    (decoder,) = cache.glob("*/model.bin")
    before = decoder.stat().st_mtime_ns
    assert download_models(["small"]) == 0
    assert decoder.stat().st_mtime_ns == before


def test_a_download_that_fails_is_named_and_the_others_go_on(
    hub_folder: Path, ct2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in_hub_cache(hub_folder, SMALL, ct2)
    assert download_models(["bsae", "medium", "small"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("small: ")
    errors = [line for line in captured.err.splitlines() if line.startswith("whisper-npu: error: ")]
    assert len(errors) == 2
    assert "did you mean base" in errors[0]
    assert "model 'medium' is not in the local cache" in errors[1]


def test_one_download_that_fails_is_the_error_itself(hub_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="not in the local cache"):
        download_models(["small"])


# path


def test_the_path_stands_alone_on_stdout(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_path("small")
    assert capsys.readouterr() == (f"{small}\n", "")


def test_a_model_that_is_not_here_has_no_path(hub_folder: Path, printed: Callable[[], str]) -> None:
    with pytest.raises(CheckpointError, match="whisper-npu models download small"):
        print_path("small")
    assert printed() == ""


def test_the_path_is_that_of_model_dir_first(
    small: Path, ct2: Path, tmp_path: Path, printed: Callable[[], str]
) -> None:
    own = shutil.copytree(ct2, tmp_path / "models" / "small")
    print_path("small", model_dir=tmp_path / "models")
    assert printed() == f"{own}\n"


# verify


def test_sound_models_are_ok(small: Path, printed: Callable[[], str]) -> None:
    for names in ([], ["small"], [SMALL]):
        assert verify_models(names) == 0
        assert [line.split()[:2] for line in printed().splitlines() if line[0] != " "] == [
            ["small:", "ok:"]
        ] * 2


def test_a_damaged_model_fails_with_the_remedy(small: Path, printed: Callable[[], str]) -> None:
    file = (small / "tokenizer.json").resolve()
    file.write_bytes(file.read_bytes() + b" ")
    assert verify_models([]) == 1
    text = " ".join(printed().split())
    assert f"small: DAMAGED: hub {SMALL}: other content than expected: tokenizer.json" in text
    assert "remedy: whisper-npu models remove small, then whisper-npu models download small" in text
    assert text.endswith("1 damaged.")


def test_verifying_what_is_not_here(hub_folder: Path, printed: Callable[[], str]) -> None:
    assert verify_models([]) == 0
    assert printed() == "No model is here.\n"
    with pytest.raises(CheckpointError, match="not on this machine"):
        verify_models(["small"])


# remove


def test_a_model_is_removed_with_all_that_was_made_from_it(
    small: Path, cache: Path, hub_folder: Path, printed: Callable[[], str]
) -> None:
    paths = [*cache.rglob("*"), *hub_folder.rglob("*")]
    size = sum(path.stat().st_size for path in paths if path.is_file() and not path.is_symlink())
    take_away("small", dry_run=True)
    assert printed() == f"small: would free {human_size(size)}\n"
    assert small.is_dir()
    take_away("small")
    assert printed() == f"small: freed {human_size(size)}\n"
    assert not small.exists()
    assert list(cache.iterdir()) == []


def test_a_removal_wants_to_know_of_what(small: Path) -> None:
    with pytest.raises(UsageError, match="name the models to remove, or give --all"):
        take_away()
    with pytest.raises(UsageError):
        take_away("small", everything=True)
    with pytest.raises(UnknownModelError, match="did you mean small"):
        take_away("small", "smal")
    assert small.is_dir()


def test_the_others_and_everything(small: Path, cache: Path, printed: Callable[[], str]) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_bytes(b"x")

    find_or_build(cache, "old", build)
    (cache / "npu-trials").mkdir()
    take_away("others")
    assert not (cache / "old").exists()
    assert small.is_dir()
    find_or_build(cache, "old", build)
    take_away(everything=True)
    assert [path.name for path in cache.iterdir()] == ["npu-trials"]  # which kernels ran is no model
    assert "in all" in printed().splitlines()[-1]


def test_the_users_own_folder_stays_and_it_says_so(
    hub_folder: Path, cache: Path, ct2: Path, tmp_path: Path, printed: Callable[[], str]
) -> None:
    own = shutil.copytree(ct2, tmp_path / "models" / "small")
    decoder_alone(own, int8=True, cache_folder=cache, progress=lambda _line: None)
    remove_models(["small"], everything=False, dry_run=False, model_dir=tmp_path / "models")
    assert f"folder {own} stays: it is your own folder" in printed()
    assert own.is_dir()
    assert list(cache.iterdir()) == []


# prune


def an_entry(cache: Path, model: Path, key: str, used: float) -> Path:
    model.mkdir(exist_ok=True)

    def fill(folder: Path) -> None:
        (folder / "file").write_bytes(bytes(10_000))

    folder = find_or_build(cache, key, fill, About("decoder", str(model), key))
    os.utime(folder, (used, used))
    return folder


def test_prune_removes_what_belongs_to_no_model(
    tmp_path: Path, cache: Path, hub_folder: Path, printed: Callable[[], str]
) -> None:
    orphan = an_entry(cache, tmp_path / "gone", "orphan", 2.0)
    (tmp_path / "gone").rmdir()
    used = an_entry(cache, tmp_path / "model", "used", 1.0)
    prune_cache(max_size=None, dry_run=True)
    assert "others: would free 10." in printed()
    assert orphan.exists()
    prune_cache(max_size=None, dry_run=False)
    assert "freed 10." in printed()
    assert list(cache.iterdir()) == [used]


def test_prune_removes_what_was_used_least_recently_until_it_fits(
    tmp_path: Path, cache: Path, hub_folder: Path, printed: Callable[[], str]
) -> None:
    for key, used in (("middle", 2.0), ("latest", 3.0), ("first", 1.0)):
        an_entry(cache, tmp_path / "model", key, used)
    an_entry(cache, tmp_path / "model", "first", 4.0)  # used again
    prune_cache(max_size=25_000, dry_run=False)
    assert {path.name for path in cache.iterdir()} == {"latest", "first"}
    assert stored.find(cache, "latest") is not None
    prune_cache(max_size=0, dry_run=False)
    assert list(cache.iterdir()) == []
    assert "0 B in" in printed()


@pytest.mark.parametrize(
    ("typed", "size"),
    [("0", 0), ("2G", 2 * 10**9), ("1.5M", 1_500_000), ("10 kB", 10_000), ("3T", 3 * 10**12)],
)
def test_sizes_are_read_as_they_are_shown(typed: str, size: int) -> None:
    assert Size().convert(typed, None, None) == size


@pytest.mark.parametrize("typed", ["", "-1", "much", "2X", "1e3", "9" * 5000])
def test_what_is_no_size_is_refused(typed: str) -> None:
    with pytest.raises(click.BadParameter, match="must be a size such as 500M or 2G"):
        Size().convert(typed, None, None)
