"""What is no recording, but is named like one: texts that refer to files and addresses, archives, noise."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BytesIO
from random import Random
from struct import pack
from zipfile import ZIP_DEFLATED, ZipFile

from tests.fuzz.hostile import REFUSED, Hostile
from tests.fuzz.valid import valid_recordings

_TARGETS = ("file:///etc/passwd", "/etc/passwd", "http://127.0.0.1:9/x.ts", "x.wav", "concat:a.wav|b.wav")
_PLAYLISTS = {
    "m3u": "{0}\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{0}\n#EXT-X-ENDLIST\n",
    "m3u8 with a key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{0}"\n#EXTINF:10,\n{0}\n#EXT-X-ENDLIST\n',
    "m3u8 of m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{0}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{0}'\nduration 5\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"
    "a=control:{0}\n",
    "smil": '<smil><body><audio src="{0}"/></body></smil>',
    "asx": '<asx version="3.0"><entry><ref href="{0}"/></entry></asx>',
    "pls": "[playlist]\nFile1={0}\nNumberOfEntries=1\nVersion=2\n",
    "xspf": '<?xml version="1.0"?><playlist><trackList><track><location>{0}</location></track></trackList>'
    "</playlist>",
    "dash": '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{0}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "ram": "{0}",
    "ism": '<SmoothStreamingMedia MajorVersion="2" Duration="10"><StreamIndex Type="audio" Url="{0}"/>'
    "</SmoothStreamingMedia>",
    "ffmetadata": ";FFMETADATA1\ntitle={0}\n",
    "entities": '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "{0}">]><MPD>&a;</MPD>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{0}"/></svg>',
    "html": '<!DOCTYPE html><html><body><audio src="{0}"></audio></body></html>',
}
_TEXTS = {
    "subtitles": b"1\n00:00:00,000 --> 00:00:02,000\nHello.\n\n" * 100,
    "vtt": b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello.\n\n" * 100,
    "lyrics": b"[00:00.00]la\n[00:01.00]la\n" * 100,
    "ass": b"[Script Info]\nScriptType: v4.00+\n[Events]\nDialogue: 0,0:00:00.00,0:00:02.00,,,0,0,0,,Hello\n"
    * 20,
    "json": b'{"a": [1, 2, 3]}' * 500,
    "json, deep": b"[" * 100_000,
    "xml, deep": b"<a>" * 50_000,
    "program": b"import os\nos.system('true')\n" * 200,
    "prose": b"The quick brown fox jumps over the lazy dog. " * 500,
    "UTF-16": ("\ufeff" + "A line of text.\n" * 500).encode("utf-16-le"),
    "one line of 1 MB": b"a" * 2**20,
    "terminal art": b"\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07" * 500,
    "mail": b"From: a@example.org\nContent-Type: audio/wav\n\nUklGRg==\n" * 50,
    "git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n",
}
_MAGICS = {
    "RIFF": b"RIFF\xff\xff\xff\x7fWAVE",
    "RIFF AVI": b"RIFF\xff\xff\xff\x7fAVI LIST\xff\xff\xff\x7fhdrl",
    "RIFF CDXA": b"RIFF\xff\xff\xff\x7fCDXAfmt ",
    "FORM AIFF": b"FORM\x7f\xff\xff\xffAIFF",
    "FORM 8SVX": b"FORM\x7f\xff\xff\xff8SVXVHDR",
    "FRM8": b"FRM8" + b"\x7f" * 8 + b"DSD ",
    "caff": b"caff\0\1\0\0desc",
    "snd": b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\3",
    "fLaC": b"fLaC\0\0\0\x22",
    "OggS": b"OggS\0\2",
    "ID3": b"ID3\4\0\0\x7f\x7f\x7f\x7f",
    "mp3": b"\xff\xfb\x90\x64",
    "adts": b"\xff\xf1\x50\x80",
    "ftyp": b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42\0\0\xff\xffmoov",
    "ebml": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\1",
    "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "ts": b"\x47\x40\0\x10\0\0\xb0\x0d",
    "ps": b"\0\0\1\xba\x44\0\4\0\4\1",
    "flv": b"FLV\1\5\0\0\0\x09\0\0\0\0",
    "amr": b"#!AMR\n",
    "ac3": b"\x0b\x77",
    "dts": b"\x7f\xfe\x80\1",
    "mac": b"MAC \x96\x0f\0\0",
    "wvpk": b"wvpk\xff\xff\0\0\x10\4",
    "tta": b"TTA1\1\0\1\0\x10\0",
    "mpc": b"MPCKSH",
    "mpc 7": b"MP+\7",
    "tak": b"tBaK",
    "shorten": b"ajkg\2",
    "real": b".RMF\0\0\0\x12",
    "voc": b"Creative Voice File\x1a\x1a\0\x0a\1",
    "w64": bytes.fromhex("726966662e91cf11a5d628db04c10000"),
    "nist": b"NIST_1A\n   1024\n",
    "mat5": b"MATLAB 5.0 MAT-file" + b" " * 105 + b"\0\1IM",
    "paf": b" paf",
    "ircam": b"\x64\xa3\1\0",
    "xi": b"Extended Instrument: ",
    "htk": b"\0\0\x7d\0\0\0\2\x71\0\2\0\0",
    "sds": b"\xf0\x7e\0\1",
    "midi": b"MThd\0\0\0\6\0\1\0\2\0\x60MTrk",
    "nut": b"nut/multimedia container\0",
    "mxf": b"\6\x0e\x2b\x34\2\5\1\1\x0d\1\2\1\1\2",
    "gxf": b"\0\0\0\0\1\xbc",
    "dsf": b"DSD \x1c\0\0\0\0\0\0\0",
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "gif": b"GIF89a\xff\xff\xff\xff",
    "pdf": b"%PDF-1.7\n",
    "exe": b"MZ\x90\0\3\0\0\0",
    "elf": b"\x7fELF\2\1\1\0",
    "zip": b"PK\3\4\x14\0",
    "gzip": b"\x1f\x8b\x08\0",
    "xm": b"Extended Module: x",
    "it": b"IMPM",
    "s3m": b"\0" * 44 + b"SCRM",
    "swf": b"CWS\x0a\xff\xff\xff\x7f",
}
_SUFFIXES = ("wav", "mp3", "m4a", "flac", "ogg", "mkv")


def hostile(seed: int) -> Iterator[Hostile]:
    yield from _texts()
    yield from _files()
    yield from _noise(seed)
    yield from _joined(seed)


def _texts() -> Iterator[Hostile]:
    """Whatever they name must neither be opened nor asked for."""
    number = 0
    for kind, text in _PLAYLISTS.items():
        for target in _TARGETS:
            suffix = _SUFFIXES[number % len(_SUFFIXES)]
            number += 1
            yield Hostile(f"text/{kind} to {target}", suffix, text.format(target).encode(), REFUSED)
    for kind, content in _TEXTS.items():
        yield Hostile(f"text/{kind}", "wav", content, REFUSED)


def _files() -> Iterator[Hostile]:
    """Files of other kinds."""
    archive = BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        file.writestr("talk.wav", bytes(20 * 2**20))
    yield Hostile("file/zip of 20 MB of zeros", "wav", archive.getvalue(), REFUSED)
    yield Hostile("file/gzip of 20 MB of zeros", "wav", gzip.compress(bytes(20 * 2**20), mtime=0), REFUSED)
    wav = valid_recordings()["wav-16"].content
    yield Hostile("file/gzip of a wav", "wav", gzip.compress(wav, mtime=0), REFUSED)
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(body)) + name + body + pack(">I", zlib.crc32(name + body))
        for name, body in (
            (b"IHDR", pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(10**6), 9)),
            (b"IEND", b""),
        )
    )
    yield Hostile("file/png of 30,000 x 30,000", "wav", picture, REFUSED)
    flash = b"CWS\x0a" + pack("<I", 2**31 - 1) + zlib.compress(bytes(20 * 2**20), 9)
    yield Hostile("file/compressed flash that claims 2 GB", "m4a", flash, REFUSED)
    module = b"a song".ljust(20, b"\0") + (bytes(22) + pack(">HBBHH", 4096, 0, 64, 0, 1)) * 31
    module += bytes([128, 127]) + bytes(range(128)) + b"M.K."
    yield Hostile("file/module", "mod", module + bytes(1024) * 4 + b"\x40\xc0" * 8000)
    yield Hostile("file/module that plays one pattern for ever", "wav", module + b"\0\0\x0b\0" * 2048)
    tracks = b"MTrk" + pack(">I", 2**32 - 1) + b"\0\x90\x40\x40" * 4000
    yield Hostile("file/midi", "mid", b"MThd" + pack(">IHHH", 6, 1, 65_535, 96) + tracks, REFUSED)
    yield Hostile("file/empty", "wav", b"", REFUSED)
    yield Hostile("file/a byte", "wav", b"R", REFUSED)


def _noise(seed: int) -> Iterator[Hostile]:
    """By chance it can look like some format; mp3 has a magic of 11 bits."""
    yield Hostile("noise/zeros", "wav", bytes(200_000), REFUSED)
    for number in range(8):
        content = Random(f"{seed} noise {number}").randbytes(100_000)
        yield Hostile(f"noise/number {number}", _SUFFIXES[number % len(_SUFFIXES)], content)
    for name, magic in _MAGICS.items():
        random = Random(f"{seed} {name}")
        yield Hostile(f"noise/behind {name}", "wav", magic + random.randbytes(20_000))
        few = bytes(random.choice((0, 0, 0, 1, 2, 4, 8, 16, 127, 128, 255)) for _ in range(6000))
        yield Hostile(f"noise/small numbers behind {name}", "wav", magic + few)


def _joined(seed: int) -> Iterator[Hostile]:
    """Every recording there is, one behind the other, in some order."""
    for number in range(3):
        contents = [valid.content for valid in valid_recordings().values()]
        Random(f"{seed} joined {number}").shuffle(contents)
        yield Hostile(f"joined/all formats, order {number}", "wav", b"".join(contents))
