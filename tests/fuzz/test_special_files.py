"""Paths that are no plain files: folders, links, pipes, devices; and names that would disturb a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.fuzz.readers import Reader
from tests.fuzz.valid import valid_recordings

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with Reader(tmp_path_factory.mktemp("reader")) as reader:
        yield reader


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _links_in_a_circle(path: Path) -> None:
    other = path.with_name("other.wav")
    path.symlink_to(other)
    other.symlink_to(path)


def _unreadable(path: Path) -> None:
    """Root may read it all the same; then it is empty."""
    path.touch(mode=0)


_REFUSED: dict[str, Callable[[Path], None]] = {
    "a folder": lambda path: path.mkdir(),
    "a link to itself": _link_to_itself,
    "links in a circle": _links_in_a_circle,
    "a link to nowhere": lambda path: path.symlink_to("nowhere.wav"),
    "a link to a folder": lambda path: path.symlink_to(path.parent),
    "a link to /dev/null": lambda path: path.symlink_to(os.devnull),
    "a link to /proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
    "a link to /proc/self/status": lambda path: path.symlink_to("/proc/self/status"),
    "empty": lambda path: path.touch(),
    "unreadable": _unreadable,
    "missing": lambda _: None,
}


@pytest.mark.parametrize("what", _REFUSED)
def test_one_line_says_what_it_is(what: str, reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    _REFUSED[what](path)
    outcome = reader.read(path)
    assert outcome.fault is None
    assert outcome.line is not None
    assert outcome.line.startswith(f"{path}: ")


def test_a_device_that_never_ends_is_given_up(reader: Reader) -> None:
    """The reader process may keep 1 GB on the disk."""
    outcome = reader.read(Path("/dev/zero"))
    assert outcome.fault is None
    assert (outcome.line or "").startswith("/dev/zero: ")


def test_a_named_pipe_is_read_to_its_end(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=[valid_recordings()["wav-16"].content])
    writer.start()
    outcome = reader.read(path)
    writer.join()
    assert outcome.fault is None
    assert outcome.seconds == 2.0


_NAMES = (
    b"\x1b[31mred\x1b[0m.wav",
    b"\x1b]0;title\x07.wav",
    b"two\nlines\r.wav",
    b"caf\xe9 \xff\xfe.wav",
    "right to left \u202egpj.wav".encode(),
    "\u2028\u2029\x85.wav".encode(),
    b"-.wav",
    b"--help.wav",
    b"%s%n{0}.wav",
    b"~.wav",
    b"concat:a|b.wav",
    b"http:.wav",
    b"a" * 251 + b".wav",
)


@pytest.mark.parametrize("is_audio", [True, False])
@pytest.mark.parametrize("name", _NAMES, ids=ascii)
def test_names_never_disturb_a_terminal(
    name: bytes, is_audio: bool, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(valid_recordings()["wav-16"].content if is_audio else b"no sound")
    outcome = reader.read(path)
    assert outcome.fault is None  # the reader looks at every line
    assert (outcome.seconds, outcome.line is None) == ((2.0, True) if is_audio else (None, False))
