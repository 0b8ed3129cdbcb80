"""The cache's entries: what they say of themselves, which of them are listed, and their removal."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from whisper_npu import __version__, cache
from whisper_npu.cache import About
from whisper_npu.errors import CacheError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def fill(folder: Path) -> None:
    (folder / "file").write_bytes(b"x" * 1000)


def test_an_entry_says_what_it_is_and_who_made_it(store: Path) -> None:
    folder = cache.find_or_build(store, "key", fill, About("decoder", "/models/base", "int8"))
    (entry,) = cache.entries(store)
    assert (entry.folder, entry.complete) == (folder, True)
    assert entry.about == About("decoder", "/models/base", "int8", f"whisper-npu {__version__}")
    assert entry.size == cache.size_of(folder) > 1000


def test_an_entry_without_a_description_is_listed_and_described_when_it_is_used_again(store: Path) -> None:
    folder = cache.find_or_build(store, "key", fill)
    (folder / ".about.json").unlink()
    (entry,) = cache.entries(store)
    assert (entry.about.kind, entry.about.made_by) == ("", "an earlier version")
    assert cache.find_or_build(store, "key", fill, About("decoder", "x")) == folder
    assert cache.entries(store)[0].about.kind == "decoder"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "decoder"}', "\xff"])
def test_a_description_that_cannot_be_read_is_none(store: Path, content: str) -> None:
    folder = cache.find_or_build(store, "key", fill, About("decoder"))
    (folder / ".about.json").write_text(content, "latin-1")
    assert cache.entries(store)[0].about.kind == ""
    assert cache.find(store, "key") == folder  # it is as good as before


def test_an_entry_that_lost_a_byte_is_listed_as_not_complete(store: Path) -> None:
    folder = cache.find_or_build(store, "key", fill)
    (folder / "file").write_bytes(b"x")
    assert [entry.complete for entry in cache.entries(store)] == [False]


def test_what_else_lies_in_the_cache_is_no_entry(store: Path) -> None:
    assert cache.entries(store) == ()
    (store / "npu-trials").mkdir(parents=True)
    (store / "npu-trials" / "kernel").write_text("passed")
    (store / "note.txt").write_text("mine")
    assert cache.entries(store) == ()


def test_a_removed_entry_is_gone_and_built_again(store: Path) -> None:
    folder = cache.find_or_build(store, "key", fill)
    size = cache.size_of(folder)
    assert cache.remove(folder) == size
    assert list(store.iterdir()) == []
    assert cache.find_or_build(store, "key", fill) == folder


def test_a_removal_that_fails_says_which_entry(store: Path) -> None:
    with pytest.raises(CacheError, match=str(store / "absent")):
        cache.remove(store / "absent")


def test_only_scratch_folders_of_long_ago_are_abandoned(store: Path) -> None:
    for name in (".building-old", ".building-new", "entry"):
        (store / name).mkdir(parents=True)
    long_ago = time.time() - 2 * 24 * 3600
    for name in (".building-old", "entry"):
        os.utime(store / name, (long_ago, long_ago))
    assert cache.abandoned(store) == (store / ".building-old",)


def test_a_link_adds_nothing_to_a_size(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "to nowhere").symlink_to(tmp_path / "nowhere")
    assert cache.size_of(tmp_path) == 1000
    assert cache.size_of(tmp_path, with_links=True) == 1000


def test_a_folder_of_links_has_the_size_of_what_they_lead_to(tmp_path: Path) -> None:
    for name in ("blobs", "snapshot"):
        (tmp_path / name).mkdir()
    fill(tmp_path / "blobs")
    for name in ("model", "the same"):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / "file")
    os.link(tmp_path / "blobs" / "file", tmp_path / "blobs" / "again")
    assert cache.size_of(tmp_path / "snapshot") == 0
    assert cache.size_of(tmp_path / "snapshot", with_links=True) == 1000
    assert cache.size_of(tmp_path) == 1000
    assert cache.size_of(tmp_path / "nowhere") == 0
