"""What killed processes left beside the outputs goes; what a living one owns stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from whisper_npu.output import write_atomically
from whisper_npu.owned import clear_left_behind, owned_file, owned_folder

ROOT = Path(__file__).parents[2]
A_DAY_AND_MORE = 25 * 3600


def in_a_process(code: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("where", ["replace", "fsync"])
def test_what_a_killed_process_left_goes_with_the_next_write(where: str, tmp_path: Path) -> None:
    with in_a_process(
        "import os, signal; from pathlib import Path; from whisper_npu.output import write_atomically\n"
        f"os.{where} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomically(Path('talk.srt'), 'half')",
        tmp_path,
    ) as killed:
        assert killed.wait(60) == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.endswith(".tmp")
    write_atomically(tmp_path / "other.srt", "whole")
    assert names(tmp_path) == ["other.srt"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    writer = in_a_process(
        "import time; from pathlib import Path; from whisper_npu.owned import owned_file\n"
        "path, descriptor = owned_file(Path('talk.srt')); print(path, flush=True); time.sleep(600)",
        tmp_path,
    )
    with writer:
        assert writer.stdout is not None
        owned = writer.stdout.readline().decode().strip()
        old = time.time() - A_DAY_AND_MORE  # a suspended machine's process lives on
        os.utime(tmp_path / owned, (old, old))
        clear_left_behind(tmp_path)
        assert names(tmp_path) == [owned]
        writer.kill()
        writer.wait()
        clear_left_behind(tmp_path)
        assert names(tmp_path) == []


def test_a_file_of_this_process_stays_until_it_is_closed(tmp_path: Path) -> None:
    path, descriptor = owned_file(tmp_path / "talk.srt")
    clear_left_behind(tmp_path)
    assert path.exists()
    os.close(descriptor)
    clear_left_behind(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("name", [".0123456789abcdef.tmp", ".0123456789abcdef.fedcba98.tmp"])
def test_a_file_of_another_machine_goes_once_it_is_old(name: str, tmp_path: Path) -> None:
    """Its locks may not be seen here."""
    (tmp_path / name).touch()
    clear_left_behind(tmp_path)
    assert names(tmp_path) == [name]
    old = time.time() - A_DAY_AND_MORE
    os.utime(tmp_path / name, (old, old))
    clear_left_behind(tmp_path)
    assert names(tmp_path) == []


def test_a_file_system_without_locks_leaves_the_files_their_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("whisper_npu.owned.fcntl.flock", unsupported)
    path, descriptor = owned_file(tmp_path / "talk.srt")
    os.close(descriptor)
    clear_left_behind(tmp_path)
    assert path.exists()
    old = time.time() - A_DAY_AND_MORE
    os.utime(path, (old, old))
    clear_left_behind(tmp_path)
    assert not path.exists()


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    old = time.time() - A_DAY_AND_MORE
    target = tmp_path / "kept"
    target.touch()
    (tmp_path / ".0123456789abcdef.aaaaaaaa.tmp").symlink_to(target)
    (tmp_path / "talk.tmp").touch()
    (tmp_path / ".0123456789ABCDEF.tmp").touch()
    os.mkfifo(tmp_path / ".0123456789abcde0.tmp")
    before = names(tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (old, old), follow_symlinks=False)
    clear_left_behind(tmp_path)
    assert names(tmp_path) == before
    clear_left_behind(tmp_path / "nowhere")
    clear_left_behind(target)


def test_a_file_that_was_taken_for_left_behind_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process removes it in the moment before it is locked."""
    import fcntl

    flock, removed = fcntl.flock, []

    def late(file: int, how: int) -> None:
        if not removed:
            (path,) = tmp_path.iterdir()
            path.unlink()
            removed.append(path)
        flock(file, how)

    monkeypatch.setattr("whisper_npu.owned.fcntl.flock", late)
    path, descriptor = owned_file(tmp_path / "talk.srt")
    os.close(descriptor)
    assert removed
    assert names(tmp_path) == [path.name]


def test_what_somebody_else_named_stays(tmp_path: Path) -> None:
    mine = [".building-notes", ".packing-list.txt", ".fetching-a.tmp", ".notes.tmp", "talk.tmp", ".0123.tmp"]
    long_ago = time.time() - A_DAY_AND_MORE
    for name in mine:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (long_ago, long_ago))
    clear_left_behind(tmp_path)
    with owned_folder(tmp_path):
        pass
    assert names(tmp_path) == sorted(mine)


@pytest.mark.parametrize("key", ["", "key"])
def test_a_folder_is_removed_afterwards_and_by_the_next_one_where_its_process_is_killed(
    key: str, tmp_path: Path
) -> None:
    with in_a_process(
        "import os, signal; from pathlib import Path; from whisper_npu.owned import owned_folder\n"
        f"with owned_folder(Path(), {key!r}) as folder:\n"
        "    (folder / 'file').touch(); os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    ) as killed:
        assert killed.wait(60) == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "file").exists()
    with owned_folder(tmp_path, "another") as folder, owned_folder(tmp_path) as second:
        assert set(tmp_path.iterdir()) == {folder, second}
    assert names(tmp_path) == []


def test_a_file_system_without_locks_gives_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("whisper_npu.owned.fcntl.flock", unsupported)
    with owned_folder(tmp_path, "key") as first, owned_folder(tmp_path, "key") as second:
        assert set(tmp_path.iterdir()) == {first, second}
    assert names(tmp_path) == []


@pytest.mark.parametrize("leads_somewhere", [True, False])
def test_a_link_in_the_place_of_a_folder_is_not_followed(leads_somewhere: bool, tmp_path: Path) -> None:
    """In a cache for several users anybody may have put it there."""
    place, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    place.mkdir()
    if leads_somewhere:
        elsewhere.mkdir()
        (elsewhere / "precious").touch()
    with owned_folder(place, "key") as folder:
        name = folder.name
    (place / name).symlink_to(elsewhere)
    with owned_folder(place, "key") as folder:
        assert not folder.is_symlink()
        (folder / "a").touch()
    assert names(place) == [name]
    assert (elsewhere / "precious").exists() == leads_somewhere
