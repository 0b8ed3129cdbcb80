"""Paths, standard input, open files and pipes: all give the same, or one line that says why not."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tempfile
import threading
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.recordings import load_damaged, noise, refusal, run, write, write_container
from whisper_npu.audio import by_ffmpeg, load_audio
from whisper_npu.audio.source import fetch

soundfile = pytest.importorskip("soundfile")


def test_a_string_a_path_an_open_file_and_stdin_give_the_same(tmp_path, monkeypatch):
    path = write(tmp_path / "a.flac", noise(44_100, 2), 44_100, "FLAC", "PCM_16")
    expected = load_audio(path)
    assert np.array_equal(load_audio(str(path)), expected)
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), expected)
    with path.open("rb") as file:
        assert np.array_equal(load_audio(file), expected)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert np.array_equal(load_audio("-"), expected)


def test_an_mp3_from_memory_gives_the_same(tmp_path):
    path = write(tmp_path / "a.mp3", noise(44_100, 2), 44_100, "MP3", "MPEG_LAYER_III")
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), load_audio(path))


def test_a_named_pipe_is_read(tmp_path):
    path = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    samples = load_audio(pipe)
    writer.join()
    assert np.array_equal(samples, load_audio(path))


@pytest.mark.parametrize("extension", ["mp3", "raw", "gsm", "txt", ""])
def test_the_content_counts_and_not_the_extension(tmp_path, extension):
    path = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16")
    expected = load_audio(path)
    assert np.array_equal(load_audio(path.rename(tmp_path / f"a.{extension}")), expected)


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.wav")


def test_a_folder_is_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16")
    monkeypatch.setattr(os, "open", deny)  # permission bits do not bind root
    assert "may not be read" in refusal(path)


def test_a_name_that_no_file_can_have_is_refused():
    assert "null byte" in refusal("a\0b.wav")


@pytest.mark.parametrize("source", [3, None, object()], ids=["a number", "nothing", "an object"])
def test_a_source_of_another_type_is_refused(source):
    assert "give a path" in refusal(source)


def test_a_file_open_as_text_is_refused():
    assert "mode 'rb'" in refusal(io.StringIO("RIFF"))


# Open files


@pytest.fixture
def no_copy(monkeypatch, tmp_path):
    """No temporary file can be made from now on."""

    def forbid() -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    return forbid


def test_a_file_on_disk_is_not_copied_and_stays_where_it_is(tmp_path, no_copy):
    path = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    content, expected = path.read_bytes(), load_audio(path)
    with (
        path.open("rb") as buffered,
        path.open("rb", buffering=0) as raw,
        path.open("r+b") as random,
        tempfile.TemporaryFile() as nameless,
        tempfile.NamedTemporaryFile() as named,
        tempfile.SpooledTemporaryFile(max_size=10) as spooled,
    ):
        for file in (nameless, named, spooled):
            file.write(content)
            file.seek(0)
        no_copy()
        for file in (buffered, raw, random, nameless, named, spooled):
            for _ in range(2):
                assert np.array_equal(load_audio(file), expected)
                assert file.tell() == 0
            assert file.read() == content


def test_what_is_only_in_memory_is_put_back_to_where_it_was(tmp_path):
    path = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    with tempfile.SpooledTemporaryFile(max_size=10**6) as spooled:
        spooled.write(path.read_bytes())
        spooled.seek(0)
        for file in (io.BytesIO(path.read_bytes()), spooled):
            for _ in range(2):
                assert np.array_equal(load_audio(file), load_audio(path))
                assert file.tell() == 0


def test_an_open_file_is_read_from_its_position(tmp_path):
    path = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    behind = tmp_path / "behind"
    behind.write_bytes(b"a preface" + path.read_bytes())
    with behind.open("rb") as file:
        file.seek(9)
        for _ in range(2):
            assert np.array_equal(load_audio(file), load_audio(path))
            assert file.tell() == 9
        file.seek(0, io.SEEK_END)
        assert "the open file: is empty" in refusal(file)


def test_what_was_just_written_is_read(tmp_path):
    path = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    with (tmp_path / "b.wav").open("w+b", buffering=10**6) as file:
        file.write(path.read_bytes()[:-2])
        file.seek(0)
        file.read(4)
        file.seek(0, io.SEEK_END)
        file.write(path.read_bytes()[-2:])
        file.seek(0)
        assert np.array_equal(load_audio(file), load_audio(path))


def test_what_a_compressed_file_holds_is_read(tmp_path):
    path = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    packed = tmp_path / "a.wav.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with gzip.open(packed) as file:
        assert np.array_equal(load_audio(file), load_audio(path))
    assert "is not audio" in refusal(packed)


def test_the_name_of_an_open_file_decides_nothing(tmp_path):
    text = tmp_path / "a.g722"
    text.write_bytes(b"Call me Ishmael.\n" * 500)
    with text.open("rb") as file:
        assert "is not audio" in refusal(file)


def test_a_file_that_may_not_be_opened_again_is_copied(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    expected, opened = load_audio(path), os.open

    def deny(name, *rest, **options):
        if str(name).startswith("/proc/"):
            raise PermissionError(13, "Permission denied")
        return opened(name, *rest, **options)

    monkeypatch.setattr(os, "open", deny)
    with path.open("rb") as file:
        assert np.array_equal(load_audio(file), expected)
        assert file.tell() == 0


def test_a_file_that_is_open_for_writing_only_is_refused(tmp_path):
    with (tmp_path / "a.wav").open("wb", buffering=0) as raw, (tmp_path / "b.wav").open("wb") as buffered:
        for file in (raw, buffered):
            assert "the open file: cannot be read" in refusal(file)


def test_what_cannot_seek_is_read_piece_by_piece(tmp_path):
    path = write(tmp_path / "a.wav", noise(3_000_000), 16_000, "WAV", "PCM_16")
    pieces: list[int] = []

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.content = path.open("rb")

        def read(self, size: int = -1) -> bytes:
            pieces.append(size)
            return self.content.read(size)

    stream = Stream()
    with closing(stream.content):
        assert np.array_equal(load_audio(stream), load_audio(path))
    assert len(pieces) > 5
    assert 0 < max(pieces) <= 2**20
    assert min(pieces) > 0


# What never ends


class Endless(io.RawIOBase):
    """`head`, and then `piece` for ever; counts the bytes that were taken."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.head, self.piece, self.n_bytes = head, piece * 2**16, 0

    def read(self, size: int = -1) -> bytes:
        content, self.head = self.head or self.piece, b""
        self.n_bytes += len(content)
        return content


@pytest.fixture
def known_early(monkeypatch):
    """A recording is recognised by its first 4 MB, so that tests are quick."""
    monkeypatch.setattr("whisper_npu.audio.copying._KNOWN_BY", 2**22)


def test_zeros_without_end_are_given_up_at_once():
    source = Endless(b"", bytes(16))
    assert "it begins with 1048576 bytes of zeros" in refusal(source)
    assert source.n_bytes <= 2**21
    if os.path.exists("/dev/zero"):
        assert "/dev/zero: is not audio" in refusal("/dev/zero")


def test_text_without_end_is_given_up_early(known_early):
    source = Endless(b"", b"y\n")
    assert "its first 4 MB are none" in refusal(source)
    assert source.n_bytes <= 2**23


def test_a_recording_without_end_is_read_no_further_than_is_wanted(tmp_path, known_early):
    header = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16").read_bytes()[:44]
    header = header[:40] + b"\xff" * 4
    source = Endless(header, b"\1\2" * 8)
    assert "lasts longer than 200 s" in refusal(source, max_seconds=200)  # 6.4 MB
    assert source.n_bytes < 2**23


def test_no_more_is_copied_than_half_of_the_room(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**22))
    assert "half of what is free in" in refusal(Endless(b"RIFF", b"abc"))


def test_a_pipe_without_a_writer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("whisper_npu.audio.source._WRITER_SECONDS", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert f"{pipe}: is a pipe into which nothing was written for 0.2 s" in refusal(pipe)


def test_a_pipe_whose_writer_is_slow_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("whisper_npu.audio.source._WRITER_SECONDS", 1.0)
    content = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    is_open = threading.Event()

    def feed() -> None:
        with pipe.open("wb") as file:
            is_open.wait(1.5)
            file.write(content)

    writer = threading.Thread(target=feed)
    writer.start()
    samples = load_audio(pipe)
    writer.join()
    assert np.array_equal(samples, load_audio(tmp_path / "a.wav"))


def test_a_terminal_as_a_path_is_refused():
    terminal, other = os.openpty()
    try:
        assert "is a terminal" in refusal(os.ttyname(other))
    finally:
        os.close(terminal)
        os.close(other)


def test_a_file_that_shrinks_while_it_is_read_gives_what_is_left(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(2_000_000), 16_000, "WAV", "PCM_16")
    read = soundfile.SoundFile.read

    def shrink(*arguments: object, **options: object) -> object:
        os.truncate(path, 100_044)
        return read(*arguments, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", shrink)
    samples, found = load_damaged(path)
    assert 0 < len(samples) < 2_000_000
    assert found


# What is refused


def test_a_terminal_as_stdin_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert "is a terminal" in refusal("-")


@pytest.mark.parametrize("stdin", [None, io.StringIO("RIFF")], ids=["closed", "text"])
def test_a_stdin_that_gives_no_bytes_is_refused(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert refusal("-").endswith("send audio into it: whisper-npu ... - < talk.wav")


def test_a_closed_source_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16")
    with path.open("rb") as file:
        pass
    assert "the open file: cannot be read" in refusal(file)
    with path.open() as text:
        pass
    monkeypatch.setattr(sys, "stdin", text)
    assert "standard input is closed" in refusal("-")


def test_a_stdin_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    folder = os.open(tmp_path, os.O_RDONLY)
    with closing(SimpleNamespace(close=lambda: os.close(folder))):
        buffer = SimpleNamespace(read=lambda size: os.read(folder, size))
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=buffer))
        assert "standard input: cannot be read (Is a directory)" in refusal("-")


def test_a_pipe_that_does_not_block_and_is_empty_is_refused(monkeypatch):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "wb"), open(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert "standard input gives NoneType, not bytes" in refusal("-")


def test_no_room_for_what_is_not_a_file_is_refused(tmp_path, no_copy):
    path = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16")
    no_copy()
    assert "set TMPDIR" in refusal(io.BytesIO(path.read_bytes()))
    assert len(load_audio(path)) == 10


def test_an_empty_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.touch()
    assert f"{path}: is empty" in refusal(path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert "standard input: is empty" in refusal("-")


def test_a_process_without_stdin_refuses_it_in_one_line():
    code = """
import sys
from whisper_npu.audio import load_audio
try:
    load_audio("-")
except Exception as error:
    print(repr(error))
"""
    done = run(f"import os, sys; os.close(0); os.execv(sys.executable, [sys.executable, '-c', {code!r}])")
    assert done.stdout.startswith("AudioError('standard input is closed; ")


def test_what_is_copied_is_what_was_given_also_behind_the_look_at_its_beginning(tmp_path, monkeypatch):
    """Where FFmpeg ends in the copy depends on what it finds there."""
    look = by_ffmpeg.header

    def header(file):
        found = look(file)
        os.lseek(file.fileno(), 1_000, os.SEEK_SET)
        return found

    monkeypatch.setattr(by_ffmpeg, "header", header)
    monkeypatch.setattr("whisper_npu.audio.copying._KNOWN_BY", 2**20 + 1)
    path = write_container(tmp_path / "a.mkv", "matroska", "pcm_s16le", noise(16 * 48_000, 2), 48_000)
    content = path.read_bytes()
    assert len(content) > 2 * 2**20
    with fetch("a", io.BytesIO(content)) as copy:
        copy.seek(0)
        assert copy.read() == content
