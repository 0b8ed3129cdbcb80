"""wav, rf64 and w64 whose headers lie, and samples that no recorder makes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from struct import pack

import numpy as np
import soundfile

from tests.fuzz.hostile import EITHER, REFUSED, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, speech, valid_recordings

_RATE = 16_000
_ALL = reads(SECONDS - 0.05, SECONDS + 0.05)
SIZES_32 = {
    "0": 0,
    "1": 1,
    "1 GB": 2**30,
    "2^31-1": 2**31 - 1,
    "2^31": 2**31,
    "4 GB less 16": 2**32 - 16,
    "2^32-1": 2**32 - 1,
}
_UNKNOWN = (
    "0",
    "2^31-1",
    "2^31",
    "4 GB less 16",
    "2^32-1",
)  # what recorders write that cannot know the length


def chunk(tag: bytes, body: bytes, size: int | None = None) -> bytes:
    """size: what it claims."""
    return tag + pack("<I", len(body) if size is None else size) + body + bytes(len(body) % 2)


def form(*chunks: bytes, size: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + pack("<I", len(body) if size is None else size) + body


def fmt(
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = _RATE,
    bits: int = 16,
    block_align: int | None = None,
    extra: bytes = b"",
    size: int | None = None,
) -> bytes:
    align = channels * bits // 8 % 2**16 if block_align is None else block_align
    body = pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits) + extra
    return chunk(b"fmt ", body, size)


def pcm16() -> bytes:
    return (speech() * 32767).astype("<i2").tobytes()


def _wav(what: str, content: bytes, expected: Expected = EITHER, *, n_zeros: int = 0) -> Hostile:
    return Hostile(f"wav/{what}", "wav", content, expected, n_zeros)


def hostile() -> Iterator[Hostile]:
    yield from _sizes()
    yield from _fmt()
    yield from _chunks()
    yield from _samples()
    yield from _large_files()
    yield from _rf64()
    yield from _w64()


def _sizes() -> Iterator[Hostile]:
    data = pcm16()
    for words, size in SIZES_32.items():
        expected = _ALL if words in _UNKNOWN else reads(1.9, 2.1, warned=True) if size > len(data) else EITHER
        yield _wav(f"data size {words}", form(fmt(), chunk(b"data", data, size)), expected)
        yield _wav(f"RIFF size {words}", form(fmt(), chunk(b"data", data), size=size), _ALL)
        yield _wav(f"fmt size {words}", form(fmt(size=size), chunk(b"data", data)))
        yield _wav(f"LIST size {words}", form(chunk(b"LIST", b"INFO", size), fmt(), chunk(b"data", data)))
        lists = chunk(b"LIST", b"INFOINAM" + pack("<I", size) + b"a title")
        yield _wav(f"INAM size {words}", form(fmt(), lists, chunk(b"data", data)))
        fact = chunk(b"fact", pack("<I", size))
        yield _wav(f"fact says {words} samples", form(fmt(tag=3, bits=32), fact, chunk(b"data", data)))
        cue = chunk(b"cue ", pack("<I", size) + bytes(24))
        yield _wav(f"cue says {words} points", form(fmt(), cue, chunk(b"data", data)), _ALL)
        loops = chunk(b"smpl", bytes(28) + pack("<II", size, size))
        yield _wav(f"smpl says {words} loops", form(fmt(), loops, chunk(b"data", data)), _ALL)
    yield _wav(
        "odd data size, no padding", form(fmt(), b"data" + pack("<I", 64_001) + data + b"\0" + b"LIST")
    )
    yield _wav("header only", form(fmt(), chunk(b"data", b"")))
    yield _wav("header only, data size 4 GB", form(fmt(), chunk(b"data", b"", 2**32 - 16)))
    yield _wav("one sample", form(fmt(), chunk(b"data", b"\1\0")), reads(0, 0.001))
    yield _wav("half a sample", form(fmt(), chunk(b"data", b"\1")))


def _fmt() -> Iterator[Hostile]:
    data = chunk(b"data", pcm16())
    for channels in (0, 3, 255, 256, 1024, 1025, 65_535):
        yield _wav(f"{channels} channels", form(fmt(channels=channels), data))
        yield _wav(f"{channels} channels, floats", form(fmt(tag=3, channels=channels, bits=32), data))
    for rate in (0, 1, 999, 10_000_001, 2**31 - 1, 2**31, 2**32 - 1):
        yield _wav(f"{rate} Hz", form(fmt(rate=rate), data), REFUSED)
    for rate in (1000, 7999, 192_001, 9_999_991):
        yield _wav(f"{rate} Hz", form(fmt(rate=rate), data))
    for bits in (0, 1, 7, 12, 20, 33, 64, 255, 65_535):
        yield _wav(f"{bits} bits", form(fmt(bits=bits), data))
    for align in (0, 1, 3, 65_535):
        yield _wav(f"blocks of {align} bytes", form(fmt(block_align=align), data))
    tags = (0, 2, 3, 6, 7, 0x11, 0x20, 0x31, 0x42, 0x45, 0x50, 0x55, 0x64, 0x69, 0xFF, 0x161, 0x2000, 0x674F)
    for tag in (*tags, 0xA106, 0xF1AC, 0xFFFE, 0xFFFF):
        yield _wav(f"samples of format {tag:#x}", form(fmt(tag=tag), data))
        extra = pack("<HHHH", 6, 65_535, 65_535, 65_535)
        yield _wav(f"blocks of format {tag:#x}", form(fmt(tag=tag, bits=4, block_align=2, extra=extra), data))
    guid = bytes.fromhex("0000001000800000aa00389b71")
    for words, (valid_bits, mask, subformat) in {
        "valid bits 65535": (65_535, 0, 1),
        "valid bits 0": (0, 0, 1),
        "every speaker": (16, 2**32 - 1, 1),
        "unknown subformat": (16, 4, 0x4321),
    }.items():
        extra = pack("<HHIH", 22, valid_bits, mask, subformat) + guid
        yield _wav(f"extensible, {words}", form(fmt(tag=0xFFFE, extra=extra), data))


def _chunks() -> Iterator[Hostile]:
    data = chunk(b"data", pcm16())
    yield _wav("no fmt", form(data))
    yield _wav("fmt behind the data", form(data, fmt()))
    yield _wav("two fmts", form(fmt(), fmt(rate=8000, channels=2), data))
    yield _wav("two data chunks", form(fmt(), data, data), reads(1.9))
    yield _wav("500 fmts", form(*[fmt()] * 500, data))
    yield _wav("20,000 chunks", form(fmt(), *[chunk(b"LIST", b"INFO")] * 20_000, data), _ALL)
    yield _wav("20,000 unknown chunks", form(fmt(), *[chunk(b"\0\1\2\3", b"")] * 20_000, data))
    nested = b""
    for _ in range(3000):
        nested = chunk(b"LIST", b"INFO" + nested)
    yield _wav("3,000 lists in each other", form(fmt(), nested, data), _ALL)
    yield _wav("1 MB of text in bext", form(fmt(), chunk(b"bext", b"x" * 2**20), data), _ALL)
    yield _wav("1 MB of zeros in JUNK", form(chunk(b"JUNK", bytes(2**20)), fmt(), data), _ALL)
    art = b"ID3\4\0\0" + b"\x7f" * 4 + b"APIC" + bytes(1000)
    yield _wav("id3 chunk with a picture of 2 GB", form(fmt(), chunk(b"id3 ", art), data), _ALL)
    escapes = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"\x1b]0;title\x07\x1b[2J\n\r\0x"))
    yield _wav("title with terminal escapes", form(fmt(), escapes, data), _ALL)
    yield _wav("data in data", form(fmt(), chunk(b"data", form(fmt(), data))))
    yield _wav("another magic", form(fmt(), data, magic=b"RIFF"[::-1]))
    mp3 = valid_recordings().get("mp3-cbr")
    if mp3 is not None:
        extra = pack("<HHIHHH", 12, 1, 2, 1152, 1, 1393)
        mp3_fmt = fmt(tag=0x55, bits=0, block_align=1, extra=extra)
        yield _wav("mp3 inside", form(mp3_fmt, chunk(b"data", mp3.content)), reads(1.8))
        yield _wav("mp3 inside, cut", form(mp3_fmt, chunk(b"data", mp3.content[:4000])), reads(0.7))
        yield _wav("mp3 inside, called PCM", form(fmt(), chunk(b"data", mp3.content)), reads(0.2))


def _samples() -> Iterator[Hostile]:
    """A few that are no sound are damage; a recording that holds nothing else is refused."""
    loud = {"1e30": 1e30, "3.4e38": 3.4e38, "32768": 32_768.0}
    for words, value in {**loud, "NaN": np.nan, "infinite": np.inf, "minus infinite": -np.inf}.items():
        some, bad = speech().copy(), np.full_like(speech(), value)
        some[::7] = value
        yield _wav(f"all samples {words}", _floats(bad), REFUSED)
        yield _wav(f"some samples {words}", _floats(some), reads(2, 2, warned=True))
    yield _wav("all samples denormal", _floats(np.full_like(speech(), 1e-44)), _ALL)
    double = speech().astype(np.float64)
    double[100] = 1e300
    yield _wav("a double sample of 1e300", _floats(double), reads(2, 2, warned=True))
    last = _floats(np.append(speech(), np.float32(np.nan)))
    yield _wav("NaN in the last sample", last, reads(2, 2.1, warned=True))
    silence = np.zeros(2 * _RATE, np.float32)
    yield _wav("silence", _floats(silence), _ALL)
    yield _wav("opposite phases", _floats(np.stack([speech(), -speech()], axis=1)), _ALL)
    yield _wav("full scale, every other sample", _floats(np.where(np.arange(32_000) % 2, 1.0, -1.0)), _ALL)


def _floats(samples: np.ndarray) -> bytes:
    file = BytesIO()
    subtype = "DOUBLE" if samples.dtype == np.float64 else "FLOAT"
    soundfile.write(file, samples, _RATE, subtype, format="WAV")
    content = bytearray(file.getvalue())
    dated = content.find(b"PEAK")
    content[dated + 12 : dated + 16] = bytes(4)  # the time of writing
    return bytes(content)


def _large_files() -> Iterator[Hostile]:
    """With holes, so that they take no disk."""
    data = b"data" + pack("<I", 3 * 2**30) + pcm16()
    yield _wav("3 GB of zeros", form(fmt()) + data, n_zeros=3 * 2**30)
    yield _wav("3 GB of zeros, no size", form(fmt()) + b"data" + bytes(4), n_zeros=3 * 2**30)
    yield _wav("nothing but 3 GB of zeros", b"", REFUSED, n_zeros=3 * 2**30)
    for name in ("mp3-cbr", "flac", "ogg-vorbis", "m4a-faststart", "mkv-pcm", "aac", "ts-aac"):
        if name in valid_recordings():
            valid = valid_recordings()[name]
            yield Hostile(f"{name}/32 MB of zeros behind it", valid.suffix, valid.content, n_zeros=2**25)


def _rf64() -> Iterator[Hostile]:
    data = pcm16()
    sizes = {"0": 0, "2^31": 2**31, "2^36-1": 2**36 - 1, "2^63-1": 2**63 - 1, "2^64-1": 2**64 - 1}
    for magic in (b"RF64", b"BW64"):
        name = magic.decode().lower()
        for words, size in sizes.items():
            ds64 = chunk(b"ds64", pack("<QQQI", size, size, size, 0))
            content = form(ds64, fmt(), chunk(b"data", data, 2**32 - 1), size=2**32 - 1, magic=magic)
            yield Hostile(f"{name}/sizes {words}", "wav", content)
        ds64 = chunk(b"ds64", pack("<QQQI", 64_100, 64_000, 32_000, 2**32 - 1))
        content = form(ds64, fmt(), chunk(b"data", data, 2**32 - 1), size=2**32 - 1, magic=magic)
        yield Hostile(f"{name}/table of 2^32-1 rows", "wav", content)
        content = form(fmt(), chunk(b"data", data, 2**32 - 1), size=2**32 - 1, magic=magic)
        yield Hostile(f"{name}/no ds64", "wav", content)


def _w64() -> Iterator[Hostile]:
    valid = valid_recordings()["w64"]
    for words, size in {
        "0": 0,
        "23": 23,
        "2^36-1": 2**36 - 1,
        "2^63-1": 2**63 - 1,
        "2^64-1": 2**64 - 1,
    }.items():
        for tag in (b"riff", b"fmt ", b"data"):
            at = valid.content.find(tag) + 16  # a GUID, then the size
            content = valid.content[:at] + pack("<Q", size) + valid.content[at + 8 :]
            yield Hostile(f"w64/{tag.decode().strip()} size {words}", "w64", content)
