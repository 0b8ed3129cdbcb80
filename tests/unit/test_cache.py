"""The cache's entries: what they say of themselves, which of them are listed, and their removal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from whisper_npu import __version__, cache, owned
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


KILLED_WHILE_IT_BUILDS = """
import os, sys
from pathlib import Path
from whisper_npu import cache

def build(folder):
    (folder / "file").write_bytes(b"half")
    print("building", flush=True)
    sys.stdin.read()

cache.find_or_build(Path(sys.argv[1]), sys.argv[2], build)
"""


def builder(store: Path, key: str) -> subprocess.Popen[str]:
    """A process that is in the middle of building an entry, until it is killed or its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_WHILE_IT_BUILDS, str(store), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()


@pytest.mark.parametrize("next_key", ["key", "another"])
def test_what_a_killed_process_left_is_gone_after_the_next_start(store: Path, next_key: str) -> None:
    killed(builder(store, "key"))
    assert len(list(store.iterdir())) == 1
    folder = cache.find_or_build(store, next_key, fill)
    assert list(store.iterdir()) == [folder]
    assert (folder / "file").read_bytes() == b"x" * 1000


def test_it_is_gone_too_where_the_next_start_finds_all_that_it_needs(store: Path) -> None:
    folder = cache.find_or_build(store, "there", fill)
    killed(builder(store, "key"))
    assert cache.find_or_build(store, "there", fill) == folder
    assert list(store.iterdir()) == [folder]


def test_what_a_living_process_builds_stays_and_who_needs_it_waits(store: Path) -> None:
    process = builder(store, "key")
    before = list(store.iterdir())
    other = cache.find_or_build(store, "another", fill)
    assert set(store.iterdir()) == {*before, other}
    with ThreadPoolExecutor(1) as pool, process:
        waits = pool.submit(cache.find_or_build, store, "key", fill)
        assert process.stdin is not None
        process.stdin.close()
        assert (waits.result() / "file").read_bytes() == b"half"  # the first one's


def test_who_waits_for_a_process_that_is_killed_builds_it(store: Path) -> None:
    process = builder(store, "key")
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(cache.find_or_build, store, "key", fill)
        killed(process)
        folder = waits.result()
    assert (folder / "file").read_bytes() == b"x" * 1000
    assert list(store.iterdir()) == [folder]


def test_nobody_waits_for_ever(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned, "_PATIENCE", 0.0)
    process = builder(store, "key")
    folder = cache.find_or_build(store, "key", fill)
    assert (folder / "file").read_bytes() == b"x" * 1000
    killed(process)


def test_an_entry_of_what_has_changed_since_gives_way_to_the_new_one(store: Path) -> None:
    def about(kind: str, identity: str) -> About:
        return About(kind, "/models/base", identity=identity)

    cache.find_or_build(store, "old", fill, about("decoder", "as it was"))
    cache.find_or_build(store, "same", fill, about("decoder", "as it is"))
    cache.find_or_build(store, "other kind", fill, about("encoder", "as it was"))
    cache.find_or_build(store, "other model", fill, About("decoder", "/models/tiny", identity="as it was"))
    cache.find_or_build(store, "new", fill, about("decoder", "as it is"))
    assert {path.name for path in store.iterdir()} == {"same", "new", "other kind", "other model"}


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


@pytest.mark.parametrize("kind", [".building", ".fetching", ".packing"])
def test_a_folder_of_an_earlier_version_goes_when_it_is_empty_or_old(kind: str, tmp_path: Path) -> None:
    for name in (f"{kind}-old", f"{kind}-new", f"{kind}-empty", "entry"):
        (tmp_path / name).mkdir()
    for name in (f"{kind}-old", f"{kind}-new"):
        (tmp_path / name / "file").touch()
    long_ago = time.time() - 2 * 24 * 3600
    for name in (f"{kind}-old", "entry"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    cache.clear_scratch(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f"{kind}-new", "entry"]
