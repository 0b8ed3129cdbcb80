"""Storage: files that are whole or not there, in a folder of this machine and in stores."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.archive.storage import Storage, StorageError, TargetFullError
from whisper_npu.errors import MissingPackageError, OutputError, UsageError
from whisper_npu.owned import owned_file

from .conftest import NoCredentialsError

PLACES = ["local", "memory", "moody"]


@pytest.fixture(params=PLACES)
def storage(request, tmp_path, memory, moody) -> Storage:
    return Storage(
        {"local": str(tmp_path / "out"), "memory": "memory://out/x", "moody": "moody://out/x"}[request.param]
    )


# A path and a store are the same


def test_what_is_written_is_read(storage):
    storage.check()
    assert storage.names() == []
    storage.write("a.txt", "é日\n\r\n\ud800")
    storage.write("talks/mon day/b.txt", "")
    assert storage.read("a.txt") == "é日\n\r\n?"
    assert storage.read("talks/mon day/b.txt") == ""
    assert storage.names() == ["a.txt", "talks/mon day/b.txt"]
    assert storage.names("talks") == ["mon day/b.txt"]
    assert storage.exists("a.txt")
    assert not storage.exists("b.txt")


def test_what_is_written_again_takes_the_place(storage):
    storage.write("a/b.txt", "long " * 1000)
    storage.write("a/b.txt", "short")
    assert storage.read("a/b.txt") == "short"
    assert storage.names() == ["a/b.txt"]


def test_what_is_not_there_is_none(storage):
    assert storage.read("a.txt") is None
    assert storage.names("a") == []
    storage.remove("a/b.txt")
    if storage.folder is not None:
        storage.write("a", "")
        assert storage.read("a/b.txt") is None


def test_removing_leaves_no_empty_folders(storage):
    storage.write("a/b/c.txt", "c")
    storage.write("a/d.txt", "d")
    storage.remove("a/b/c.txt")
    assert storage.names() == ["a/d.txt"]
    storage.remove("a/d.txt")
    assert storage.names() == []
    if storage.folder is not None:
        assert list(storage.folder.iterdir()) == []


def test_lines_need_not_fit_in_memory_and_come_whole(storage):
    storage.write_lines("r.jsonl", (f"line {number}" for number in range(3)))
    assert storage.read("r.jsonl") == "line 0\nline 1\nline 2\n"

    def broken():
        yield "new"
        raise RuntimeError("no more")

    with pytest.raises(StorageError, match="no more"):
        storage.write_lines("r.jsonl", broken())
    assert storage.read("r.jsonl") == "line 0\nline 1\nline 2\n"
    assert storage.names() == ["r.jsonl"]


def test_a_file_is_created_once(storage):
    assert storage.create("archive.json", "first")
    assert not storage.create("archive.json", "second")
    assert storage.read("archive.json") == "first"
    assert storage.names() == ["archive.json"]


def test_many_are_read_in_order(storage):
    names = [f"d/{number}.json" for number in range(150)]
    for name in names[::-1]:
        storage.write(name, name)
    assert list(storage.read_all([*names, "none"])) == [*names, None]


def test_only_the_url_crosses_to_other_processes(storage):
    storage.write("a.txt", "a")
    other = pickle.loads(pickle.dumps(storage))
    assert other.url == storage.url
    assert other.read("a.txt") == "a"


def test_what_is_no_utf_8_is_none_of_ours(memory, tmp_path):
    memory.pipe_file("/out/a.txt", b"\xff")
    (tmp_path / "a.txt").write_bytes(b"\xff")
    assert Storage("memory://out").read("a.txt") is None
    assert Storage(str(tmp_path)).read("a.txt") is None


def test_what_is_too_large_is_none_of_ours(monkeypatch, memory, tmp_path):
    monkeypatch.setattr("whisper_npu.apps.archive.storage.MAX_JSON", 10)
    memory.pipe_file("/out/a.txt", b"x" * 11)
    (tmp_path / "a.txt").write_bytes(b"x" * 11)
    assert Storage("memory://out").read("a.txt") is None
    assert Storage(str(tmp_path)).read("a.txt") is None


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=20
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_name_will_do(tmp_path_factory, parts):
    if {".", ".."} & set(parts):
        return
    name = "/".join([*parts, "[x]*?.txt"])
    for place in (str(tmp_path_factory.mktemp("out")), "memory://any", "moody://any"):
        storage = Storage(place)
        storage.write(name, name)
        assert storage.read(name) == name
        assert storage.names() == [name]
        storage.remove(name)
        assert storage.names() == []


# Folders of this machine


def test_a_path_becomes_absolute_as_another_process_works_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage("out").url == f"{tmp_path}/out"
    assert Storage(f"file://{tmp_path}/out").url == f"{tmp_path}/out"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Storage("~/out").url == f"{tmp_path}/out"


def test_checking_leaves_nothing_behind(tmp_path):
    Storage(str(tmp_path)).check()
    Storage(str(tmp_path / "new/deep")).check()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="out: cannot be written to"):
        Storage(str(tmp_path / "out")).check()
    with pytest.raises(StorageError, match=r"a\.txt: cannot be written"):
        Storage(str(tmp_path / "out")).write("a.txt", "")


CODES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("call", ["fsync", "replace", "open", "mkdir"])
def test_a_disk_that_fails_keeps_what_was_there(tmp_path, monkeypatch, code, call):
    storage = Storage(str(tmp_path))
    storage.write("a.txt", "before")

    def failing(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(StorageError) as caught:
        storage.write("new/b.txt" if call == "mkdir" else "a.txt", "after")
    monkeypatch.undo()
    assert isinstance(caught.value, TargetFullError) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert caught.value.strerror == os.strerror(code)
    assert os.strerror(code) in str(caught.value)
    assert str(caught.value).isprintable()
    assert storage.read("a.txt") == "before"
    assert storage.names() == ["a.txt"]
    crossed = pickle.loads(pickle.dumps(caught.value))
    assert (type(crossed), str(crossed), crossed.strerror) == (
        type(caught.value),
        str(caught.value),
        caught.value.strerror,
    )


def test_a_full_disk_is_found_before_the_work(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetFullError, match=r"No space left on device.*; make room in"):
        Storage(str(tmp_path)).check()
    assert list(tmp_path.iterdir()) == []


def test_appending_fails_whole(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    assert storage.append("r.jsonl", "one\n")
    write, n_calls = os.write, 0

    def half(descriptor, data):
        nonlocal n_calls
        n_calls += 1
        if n_calls > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(TargetFullError):
        storage.append("r.jsonl", "two, which is long\n")
    monkeypatch.undo()
    assert storage.read("r.jsonl") == "one\n"
    assert storage.append("r.jsonl", "three\n")
    assert storage.read("r.jsonl") == "one\nthree\n"


def test_new_files_have_the_mode_that_the_umask_says(tmp_path):
    old = os.umask(0o027)
    try:
        Storage(str(tmp_path)).write("a.txt", "")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_what_a_killed_process_left_is_cleared_and_no_more(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from whisper_npu.owned import owned_file; "
        "owned_file(Path(sys.argv[1]) / 'x'); os._exit(9)"
    )
    (tmp_path / "deep").mkdir()
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "deep")], check=False)
    alive, descriptor = owned_file(tmp_path / "deep" / "y")
    (tmp_path / "deep" / "mine.tmp").write_text("")
    storage = Storage(str(tmp_path))
    assert len(storage.names()) == 3
    storage.clear_left_behind(storage.names())
    os.close(descriptor)
    assert storage.names() == sorted([f"deep/{alive.name}", "deep/mine.tmp"])


def test_folders_of_others_may_be_closed_but_not_ours(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    for name in ("a.txt", "lost+found/x", "done/a.json"):
        storage.write(name, "")
    scandir = os.scandir

    def closed(path):
        if os.path.basename(path) in shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    shut = ["lost+found"]
    assert storage.names() == ["a.txt", "done/a.json"]
    shut = ["done"]
    with pytest.raises(StorageError, match="Permission denied"):
        storage.names()


def test_a_lock_is_held_by_one(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write("archive.json", "{}")
    held = storage.lock("archive.json")
    assert held is not None
    with pytest.raises(BlockingIOError):
        storage.lock("archive.json")
    os.close(held)
    again = storage.lock("archive.json")
    assert again is not None
    os.close(again)


# Stores


@pytest.mark.parametrize("call", ["pipe_file", "rm_file", "open", "info"])
@pytest.mark.parametrize(
    "error", [NoCredentialsError("Unable to locate credentials"), TimeoutError("timed out")]
)
def test_every_error_of_a_store_becomes_one_line(moody, call, error):
    storage = Storage("moody://me:secret@out/x")
    storage.write("a.txt", "a")
    moody.fails[call] = error
    doing = {
        "pipe_file": storage.check,
        "rm_file": lambda: storage.remove("a.txt"),
        "open": lambda: storage.read("a.txt"),
        "info": lambda: storage.create("a.txt", ""),
    }[call]
    with pytest.raises(StorageError) as caught:
        doing()
    told = str(caught.value)
    assert str(error) in told
    assert told.startswith("moody://me@out/x")
    assert told.endswith("; check the URL, the network, and the credentials of the store")
    assert "secret" not in told
    assert told.isprintable()


@pytest.mark.parametrize(
    "said", ["XMinioStorageFull: Storage backend has reached its minimum", "QuotaExceeded"]
)
def test_a_store_that_is_full_says_so(moody, said):
    storage = Storage("moody://out/x")
    moody.fails["pipe_file"] = OSError(said)
    with pytest.raises(TargetFullError, match="make room in moody://out/x and start again"):
        storage.write("a.txt", "a")


def test_a_store_without_whole_objects_gets_a_file_under_another_name_first(moody):
    storage = Storage("moody://out/x")
    storage.write("a.txt", "before")
    moody.fails["half"] = OSError(errno.EPIPE, "broken pipe")
    with pytest.raises(StorageError):
        storage.write("a.txt", "after, and much longer")
    moody.fails.clear()
    assert storage.read("a.txt") == "before"
    assert storage.names() == ["a.txt"]


def test_a_store_that_does_not_replace_is_served(moody, monkeypatch):
    def strict(self, path1, path2, **kwargs):
        if self.exists(path2):
            raise FileExistsError(path2)
        self.cp_file(path1, path2)
        self.rm_file(path1)

    monkeypatch.setattr(moody, "mv", strict, raising=False)
    storage = Storage("moody://out/x")
    storage.write("a.txt", "one")
    storage.write("a.txt", "two")
    assert storage.read("a.txt") == "two"
    assert storage.names() == ["a.txt"]


def test_a_store_that_cannot_be_opened_here_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingPackageError, match="pip install s3fs"):
        Storage("s3://bucket/out")
    with pytest.raises(UsageError, match="Protocol not known: foo"):
        Storage("foo://bucket/out")


def test_a_store_with_wrong_options_says_so():
    with pytest.raises(StorageError, match="github://x/y: cannot be opened"):
        Storage("github://x/y", {"nonsense": object()})


def test_names_below_it_are_told_apart(tmp_path):
    here, there = Storage(str(tmp_path / "out")), Storage("memory://b/out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert here.name_of(f"{tmp_path}/out/a/b.wav") == "a/b.wav"
    assert here.name_of(f"{tmp_path}/link/b.wav") == "b.wav"
    assert here.name_of(f"{tmp_path}/outer/b.wav") is None
    assert here.name_of("memory://b/out/a.wav") is None
    assert there.name_of("memory://b/out/a.wav") == "a.wav"
    assert there.name_of("/b/out/a.wav") is None
