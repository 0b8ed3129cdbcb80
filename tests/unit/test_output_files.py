"""Files written whole or not at all, what is checked before the work, and outputs that go to stdout."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.test_output import TWO
from whisper_npu.errors import OutputError
from whisper_npu.output import (
    FORMATS,
    check_file,
    check_writable,
    is_stream,
    output_path,
    partial_path,
    render,
    write_atomically,
)

# Names


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("talk.wav", "talk.srt"),
        ("/a/b.c/talk.final.wav", "talk.final.srt"),
        ("talk", "talk.srt"),
        (".hidden", ".hidden.srt"),
        ("talk.", "talk.srt"),
        ("-", "stdin.srt"),
        (Path("a/-"), "-.srt"),
    ],
)
def test_an_output_is_named_after_its_source(source, name):
    assert output_path(source, "srt", Path("out")) == Path("out") / name


# Files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_in_utf8_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "talk.txt"
    write_atomically(path, "Grüße\n")
    assert path.read_bytes() == "Grüße\n".encode()
    assert names(path.parent) == ["talk.txt"]


def test_half_a_surrogate_pair_does_not_cost_the_rest(tmp_path):
    write_atomically(tmp_path / "a.txt", "good \ud83d\n")
    assert (tmp_path / "a.txt").read_text() == "good ?\n"


def test_a_name_as_long_as_allowed_is_written(tmp_path):
    write_atomically(tmp_path / ("a" * 251 + ".txt"), "x")
    assert names(tmp_path) == ["a" * 251 + ".txt"]


def test_a_new_file_obeys_the_umask_and_an_old_one_keeps_its_mode(tmp_path):
    old_mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new.txt", "x")
        (tmp_path / "old.txt").touch()
        (tmp_path / "old.txt").chmod(0o666)
        write_atomically(tmp_path / "old.txt", "x")
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "old.txt").stat().st_mode) == 0o666


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.txt", tmp_path / "link.txt"
    for _ in range(2):  # a dangling link first
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        write_atomically(link, "x")
        assert link.is_symlink()
        assert target.read_text() == "x"
    assert names(tmp_path / "elsewhere") == ["real.txt"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_atomically(pipe, "x")
    reader.join()
    assert received == ["x"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("call", ["os.replace", "os.fsync"])
@pytest.mark.parametrize("existing", [None, "what was there"])
@pytest.mark.parametrize(
    ("failure", "seen"),
    [(OSError(errno.ENOSPC, "No space left on device"), OutputError), (KeyboardInterrupt(),) * 2],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call, existing, failure, seen):
    path = tmp_path / "talk.txt"
    if existing:
        path.write_text(existing)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(call, fail)
    with pytest.raises(seen if isinstance(seen, type) else type(seen)):
        write_atomically(path, "new")
    assert names(tmp_path) == (["talk.txt"] if existing else [])
    if existing:
        assert path.read_text() == existing


def test_a_full_disk_is_reported_in_one_line(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError) as caught:
        write_atomically(tmp_path / "talk.txt", "new")
    assert str(caught.value) == (
        f"{tmp_path}/talk.txt: cannot be written (No space left on device); "
        "check the folder's permissions and free space, or choose another folder"
    )


def test_a_path_that_no_file_can_have_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder", tmp_path / "a\0.txt"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_atomically(path, "x")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_writable_folder_passes_the_check_and_is_left_as_it_was(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "not" / "yet")
    assert names(tmp_path) == []


def test_the_current_folder_passes_the_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable(Path())
    check_writable(Path("not/yet"))
    assert names(tmp_path) == []


def test_an_unwritable_folder_fails_the_check(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "dangling"):
        with pytest.raises(OutputError, match="cannot be written to"):
            check_writable(folder)

    def deny(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)  # permission bits do not bind root
    with pytest.raises(OutputError, match="Permission denied"):
        check_writable(tmp_path)


def test_every_format_of_a_transcript_can_be_written(tmp_path):
    for fmt in FORMATS:
        path = output_path("talk.wav", fmt, tmp_path)
        write_atomically(path, render(replace(TWO, language="de"), fmt))
        assert path.stat().st_size > 0
    assert names(tmp_path) == sorted(f"talk.{fmt}" for fmt in FORMATS)


# Names that a file system cannot hold


def test_a_partial_transcript_says_so_in_its_name():
    assert partial_path(Path("out/talk.srt")) == Path("out/talk.partial.srt")
    assert partial_path(Path("talk.final.json")) == Path("talk.final.partial.json")


def test_a_name_that_is_too_long_is_found_before_the_work(tmp_path):
    limit = os.pathconf(tmp_path, "PC_NAME_MAX")
    fits, too_long = (output_path("é" * (limit // 2 - 3) + "a" * more, "json", tmp_path) for more in (1, 5))
    write_atomically(fits, "x")
    check_file(fits)
    with pytest.raises(OutputError, match=rf"has {limit + 3} bytes, a name in .* has at most {limit}; give"):
        check_file(too_long)
    with pytest.raises(OutputError, match="a name in"):
        check_file(tmp_path / "new" / ("a" * (limit + 1)) / "talk.srt")
    with pytest.raises(OutputError, match="a name in"):
        check_writable(tmp_path / ("a" * (limit + 1)))
    assert names(tmp_path) == [fits.name]


def test_a_path_that_is_too_long_is_found_before_the_work(tmp_path):
    limit = os.pathconf(tmp_path, "PC_PATH_MAX")
    with pytest.raises(OutputError, match=f"a path has fewer than {limit}; choose another folder"):
        check_file(tmp_path.joinpath(*["folder"] * (limit // 6)) / "talk.srt")


def test_a_place_for_a_file_passes_the_check_and_is_left_as_it_was(tmp_path):
    (tmp_path / "old.srt").write_text("old")
    for path in (tmp_path / "old.srt", tmp_path / "new.srt", tmp_path / "a" / "b" / "new.srt"):
        check_file(path)
    assert names(tmp_path) == ["old.srt"]
    assert (tmp_path / "old.srt").read_text() == "old"


def test_a_folder_in_the_way_is_found_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        check_file(tmp_path)


# Outputs to what is open already


@pytest.mark.parametrize(
    "name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr", "/dev/null"]
)
def test_several_outputs_may_go_to_a_stream(name):
    assert is_stream(Path(name))
    check_file(Path(name))


def test_one_file_holds_one_output(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert not any(is_stream(tmp_path / name) for name in ("file", "link", "loop", "absent", "a" * 300))


def test_a_link_to_stdout_is_a_stream(tmp_path, capsysbinary):
    (tmp_path / "report.json").symlink_to("/dev/stdout")
    assert is_stream(tmp_path / "report.json")
    write_atomically(tmp_path / "report.json", "x")
    assert capsysbinary.readouterr().out == b"x"
    assert names(tmp_path) == ["report.json"]


def test_an_open_file_is_continued(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.write(b"first\n")
        file.flush()
        write_atomically(Path(f"/dev/fd/{file.fileno()}"), "then\n")
        file.write(b"last\n")
    assert (tmp_path / "file").read_text() == "first\nthen\nlast\n"


def test_a_descriptor_that_is_not_open_is_an_error():
    with pytest.raises(OutputError, match="/dev/fd/999: cannot be written"):
        write_atomically(Path("/dev/fd/999"), "x")


PRINTS_AND_WRITES = """
import sys
from pathlib import Path
from whisper_npu.output import write_atomically
print("text that was printed")
write_atomically(Path(sys.argv[1]), "the report\\n")
print("more")
"""
BOTH = "text that was printed\nthe report\nmore\n"


def printed_and_written(name: str, **streams: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PRINTS_AND_WRITES, name]
    return subprocess.run(command, text=True, check=True, **streams)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_stdout_into_a_pipe(name, tmp_path):
    assert printed_and_written(name, stdout=subprocess.PIPE, cwd=tmp_path).stdout == BOTH
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_stdout_into_a_file_destroys_nothing(name, tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("what was there\n")
    with target.open("a") as file:
        printed_and_written(name, stdout=file, cwd=tmp_path)
    assert target.read_text() == "what was there\n" + BOTH
    assert names(tmp_path) == ["out.txt"]


def test_stderr_into_a_pipe():
    done = printed_and_written("/dev/stderr", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.stdout, done.stderr) == ("text that was printed\nmore\n", "the report\n")


def test_a_reader_that_left_is_told_apart_from_a_full_disk():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as file, pytest.raises(BrokenPipeError):
        write_atomically(Path(f"/dev/fd/{file.fileno()}"), "x")
