"""No recording makes us open another file or address, or run a command."""

from __future__ import annotations

import ctypes
import io
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.recordings import noise, refusal, run, write, write_container
from whisper_npu.audio import load_audio

av = pytest.importorskip("av")


class Trap:
    """A folder with what a recording may be after, a web server, and the commands that decode audio."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trap"
        self.folder.mkdir()
        self.secret = write(self.folder / "secret.wav", noise(16_000), 16_000, "WAV", "PCM_16")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/secret.wav"
        self.commands = folder / "commands"
        self.commands.mkdir()
        for name in ("ffmpeg", "avconv", "ffprobe", "gst-launch-1.0", "mpg123", "sox"):
            (self.commands / name).write_text('#!/bin/sh\n: > "$0.called"\nexit 1\n')
            (self.commands / name).chmod(0o755)
        libc = ctypes.CDLL(None, use_errno=True)
        self._opened = libc.inotify_init1(os.O_NONBLOCK)
        open_event = 0x20  # IN_OPEN
        assert libc.inotify_add_watch(self._opened, os.fsencode(self.folder), open_event) >= 0
        self.opened()

    def opened(self) -> set[str]:
        """Which files of the folder were opened since the last call, and what else was touched."""
        names = set()
        with suppress(BlockingIOError):
            while events := os.read(self._opened, 1 << 16):
                while events:
                    length = int.from_bytes(events[12:16], sys.byteorder)
                    names.add(os.fsdecode(events[16 : 16 + length].rstrip(b"\0")))
                    events = events[16 + length :]
        with suppress(BlockingIOError):
            self._server.accept()[0].close()
            names.add(self.url)
        return (names | {path.name for path in self.commands.glob("*.called")}) - {""}  # "": it was listed

    def close(self) -> None:
        os.close(self._opened)
        self._server.close()


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    if sys.platform != "linux":
        pytest.skip("inotify, which tells what was opened, is Linux's")
    with closing(Trap(tmp_path)) as trap:
        yield trap


def mov_of_another_file(path: Path, target: str) -> bytes:
    """A QuickTime movie whose sound is in `target`, by a Macintosh alias, and not in itself."""
    content = write_container(path, "mov", "pcm_s16le", noise(48_000, 2), 16_000).read_bytes()
    path.unlink()
    place = content.rindex(b"dref") + 12
    assert content[place : place + 12] == b"\0\0\0\x0curl \0\0\0\1"  # in this file
    name = target.encode() + b"\0" * (len(target) % 2)
    levels = struct.pack(">HH", 1, 1)  # one folder up, one down
    alias = bytes(10 + 1 + 27 + 12 + 1 + 63 + 16) + levels + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    moved = bytearray(content[:place] + entry + content[place + 12 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size = moved.rindex(box, 0, place) - 4
        moved[size : size + 4] = (int.from_bytes(moved[size : size + 4], "big") + len(entry) - 12).to_bytes(
            4, "big"
        )
    return bytes(moved)


def references(trap: Trap) -> dict[str, bytes]:
    """Every kind of file that holds no sound but says where some is."""
    path, url = trap.secret, trap.url
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n{}#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT9S"><Period>'
        '<AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    texts = {
        "ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
        "ffconcat-absolute": f"ffconcat version 1.0\nfile '{path}'\n",
        "ffconcat-url": f"ffconcat version 1.0\nfile '{url}'\n",
        "ffconcat-concat": "ffconcat version 1.0\nfile 'concat:secret.wav|secret.wav'\n",
        "ffconcat-subfile": "ffconcat version 1.0\nfile 'subfile,,start,0,end,32044,,:secret.wav'\n",
        "hls": playlist.format("", "secret.wav"),
        "hls-absolute": playlist.format("", f"file://{path}"),
        "hls-url": playlist.format("", url),
        "hls-key": playlist.format(f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n', "secret.wav"),
        "hls-map": playlist.format('#EXT-X-MAP:URI="secret.wav"\n', "secret.wav"),
        "m3u": f"{path}\nsecret.wav\n{url}\n",
        "pls": f"[playlist]\nFile1=secret.wav\nFile2={url}\nNumberOfEntries=2\n",
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
        "asf-reference": f"[Reference]\nRef1={url}\n",
        "smil": f'<smil><body><audio src="{url}"/><audio src="secret.wav"/></body></smil>',
        "xspf": f"<playlist><trackList><track><location>{url}</location></track></trackList></playlist>",
        "cue": 'FILE "secret.wav" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "dash": dash.format("secret.wav"),
        "dash-url": dash.format(url),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "rtsp": f"RTSPtext{url.replace('http', 'rtsp')}\n",
        "vobsub": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n",
        "sequence": "a%03d.wav\n",
        "lavfi": "amovie=secret.wav",
        "avisynth": 'WavSource("secret.wav")',
        "url": url,
        "path": str(path),
    }
    mov = {"mov": mov_of_another_file(trap.folder / "mov", "secret.wav")}
    return mov | {name: text.encode() for name, text in texts.items()}


@pytest.mark.parametrize("door", ["path", "open file", "stdin"])
def test_references_to_files_and_addresses_open_nothing(trap, door):
    extensions = ("", ".wav", ".mp3", ".mov", ".m3u8") if door == "path" else ("",)
    names = []
    for kind, content in references(trap).items():
        for extension in extensions:
            names.append(kind + extension)
            (trap.folder / names[-1]).write_bytes(content)
    (trap.folder / "a001.wav").symlink_to("secret.wav")
    (trap.folder / "vobsub.sub").symlink_to("secret.wav")
    trap.opened()
    code = """
import io, sys
from whisper_npu.audio import load_audio
from whisper_npu.errors import AudioError
door, *names = sys.argv[1:]
for name in names:
    source = name
    if door == "open file":
        source = open(name, "rb")
    elif door == "stdin":
        with open(name, "rb") as file:
            sys.stdin = io.TextIOWrapper(io.BytesIO(file.read()))
        source = "-"
    try:
        print(name, "gives", len(load_audio(source)), "samples")
    except AudioError:
        pass
    if door == "open file":
        source.close()
print(*{"audioread", "gi", "librosa", "mad"} & set(sys.modules))
"""
    environment = {**os.environ, "PATH": str(trap.commands)}
    done = run(code, door, *names, cwd=trap.folder, env=environment, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")
    assert trap.opened() == set(names)


def test_the_trap_catches(trap):
    """What the test above would see if FFmpeg were let loose, and if a command were run."""
    loose = {"protocol_whitelist": "file,http,tcp", "safe": "0", "enable_drefs": "1"}
    for name, target in (("ffconcat", "secret.wav"), ("ffconcat-url", trap.url), ("mov", "secret.wav")):
        path = trap.folder / name
        path.write_bytes(references(trap)[name])
        trap.opened()
        with suppress(av.FFmpegError):
            av.open(str(path), options=loose, timeout=0.5).close()
        assert trap.opened() == {name, target}
    subprocess.run(["ffmpeg"], env={"PATH": str(trap.commands)}, check=False)
    assert trap.opened() == {"ffmpeg.called"}


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.sd2", "a"])
def test_a_resource_fork_beside_a_file_is_not_opened(trap, monkeypatch, name):
    monkeypatch.chdir(trap.folder)
    (trap.folder / ".AppleDouble").mkdir()
    for fork in (f"._{name}", "._", f".AppleDouble/{name}"):
        (trap.folder / fork).write_bytes(b"\0\5\x16\7 a fork")
    path = trap.folder / name
    write(path, noise(44_100), 44_100, "MP3", "MPEG_LAYER_III")  # libsndfile looks for a fork of these first
    trap.opened()
    expected = load_audio(path)
    assert len(expected) > 15_000
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), expected)
    path.write_bytes(noise(10_000).tobytes())
    assert "is not audio" in refusal(path)
    assert trap.opened() == {name}


@pytest.mark.parametrize(
    "name",
    [
        "-",
        "concat:a|b",
        "subfile,,start,0,end,9,,:a",
        "http:",
        "pipe:0",
        "fd:0",
        "data:a",
        "a%03d",
        "a\n\\'b",
        "é",
    ],
)
def test_any_name_is_just_a_name(trap, monkeypatch, name):
    monkeypatch.chdir(trap.folder)
    sound = noise(16_000, 2)
    wav = trap.secret.rename(trap.folder / name)
    expected = load_audio(trap.folder / name)
    assert len(expected) == 16_000
    assert np.array_equal(load_audio(Path(name)), expected)
    wav.unlink()
    write_container(trap.folder / "a.mov", "mov", "pcm_s16le", sound, 16_000).rename(wav)  # for FFmpeg
    trap.opened()
    assert len(load_audio(Path(name))) == 16_000
    assert trap.opened() == {name}


@pytest.mark.parametrize(
    "form", ["{url}", "concat:{path}|{path}", "subfile,,start,0,end,9,,:{path}", "file:{path}"]
)
def test_an_address_is_no_file(trap, form):
    assert "no such file" in refusal(form.format(url=trap.url, path=trap.secret))
    assert trap.opened() == set()
