"""aiff, caf and au whose headers lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from struct import pack

from tests.fuzz.hostile import EITHER, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, speech

_RATE = 16_000
_ALL = reads(SECONDS - 0.05, SECONDS + 0.05)
_SIZES = {"0": 0, "1": 1, "2^31-1": 2**31 - 1, "2^31": 2**31, "2^32-1": 2**32 - 1}
_RATES = {"0": 0.0, "-16000": -16e3, "NaN": math.nan, "infinite": math.inf, "1e300": 1e300, "1e-300": 1e-300}


def hostile() -> Iterator[Hostile]:
    yield from _aiff()
    yield from _caf()
    yield from _au()


def _pcm16() -> bytes:
    return (speech() * 32767).astype(">i2").tobytes()


# AIFF


def _chunk(tag: bytes, body: bytes, size: int | None = None) -> bytes:
    return tag + pack(">I", len(body) if size is None else size) + body + bytes(len(body) % 2)


def _form(*chunks: bytes, kind: bytes = b"AIFF", size: int | None = None) -> bytes:
    body = kind + b"".join(chunks)
    return b"FORM" + pack(">I", len(body) if size is None else size) + body


_16_KHZ = pack(">HQ", 16_383 + 13, 16_000 << 50)  # x87's 80 bits: exponent, significand


def _comm(
    *,
    channels: int = 1,
    frames: int = 32_000,
    bits: int = 16,
    rate: bytes = _16_KHZ,
    compression: bytes = b"",
    size: int | None = None,
) -> bytes:
    return _chunk(b"COMM", pack(">HIH", channels, frames, bits) + rate + compression, size)


def _ssnd(data: bytes, offset: int = 0, block: int = 0, size: int | None = None) -> bytes:
    return _chunk(b"SSND", pack(">II", offset, block) + data, size)


def _aiff() -> Iterator[Hostile]:
    def one(what: str, content: bytes, expected: Expected = EITHER) -> Hostile:
        return Hostile(f"aiff/{what}", "aiff", content, expected)

    data = _pcm16()
    sound = _ssnd(data)
    yield one("as it should be", _form(_comm(), sound), _ALL)
    for words, size in _SIZES.items():
        # "Frames" that exceed what is there are missing ones; fewer, or an SSND that claims less, hide some.
        yield one(f"{words} frames", _form(_comm(frames=size), sound))
        yield one(f"FORM size {words}", _form(_comm(), sound, size=size), _ALL)
        yield one(f"COMM size {words}", _form(_comm(size=size), sound))
        yield one(f"SSND size {words}", _form(_comm(), _ssnd(data, size=size)))
        yield one(f"SSND offset {words}", _form(_comm(), _ssnd(data, offset=size)))
        yield one(f"blocks of {words}", _form(_comm(), _ssnd(data, block=size)))
        yield one(f"ANNO size {words}", _form(_chunk(b"ANNO", b"a note", size), _comm(), sound))
        mark = _chunk(b"MARK", pack(">HHIB", size % 2**16, 1, size, 255))
        yield one(f"MARK says {words}", _form(_comm(), mark, sound))
    rates = {
        "0": bytes(10),
        "NaN": b"\x7f\xff" + b"\xff" * 8,
        "infinite": b"\x7f\xff\x80" + bytes(7),
        "minus 16000": bytes([_16_KHZ[0] | 0x80]) + _16_KHZ[1:],
        "2^16000": b"\x7e\x7f\x80" + bytes(7),
        "2^31": b"\x40\x1e\x80" + bytes(7),
        "2^32": b"\x40\x1f\x80" + bytes(7),
        "denormal": bytes(9) + b"\1",
        "unnormal": b"\x40\x0c" + bytes(7) + b"\1",
    }
    for words, rate in rates.items():
        yield one(f"rate {words}", _form(_comm(rate=rate), sound))
    for channels in (0, 255, 1025, 65_535):
        yield one(f"{channels} channels", _form(_comm(channels=channels), sound))
    for bits in (0, 1, 12, 33, 65_535):
        yield one(f"{bits} bits", _form(_comm(bits=bits), sound))
    for compression in (b"NONE", b"sowt", b"fl32", b"fl64", b"ima4", b"MAC3", b"GSM ", b"QDM2", b"\0\0\0\0"):
        name = compression.decode("latin-1").strip().strip("\0") or "zeros"
        for length in (0, 255):
            comm = _comm(compression=compression + bytes([length]) + b"x")
            content = _form(comm, sound, kind=b"AIFC")
            yield one(f"compression {name}, a name of {length} bytes", content)
    yield one("sound before COMM", _form(sound, _comm()))
    yield one("no COMM", _form(sound))
    yield one("no sound", _form(_comm()))
    yield one("two sounds", _form(_comm(), sound, sound))
    yield one("10,000 notes", _form(*[_chunk(b"ANNO", b"note")] * 10_000, _comm(), sound), _ALL)


# CAF


def _caf_chunk(tag: bytes, body: bytes, size: int | None = None) -> bytes:
    return tag + pack(">q", len(body) if size is None else size) + body


def _desc(
    *,
    rate: float = _RATE,
    format: bytes = b"lpcm",
    flags: int = 0,
    packet: int = 2,
    frames: int = 1,
    channels: int = 1,
    bits: int = 16,
) -> bytes:
    return _caf_chunk(b"desc", pack(">d4sIIIII", rate, format, flags, packet, frames, channels, bits))


def _caf() -> Iterator[Hostile]:
    def one(what: str, *chunks: bytes, expected: Expected = EITHER) -> Hostile:
        return Hostile(f"caf/{what}", "caf", b"caff\0\1\0\0" + b"".join(chunks), expected)

    samples = bytes(4) + _pcm16()
    data = _caf_chunk(b"data", samples)
    yield one("as it should be", _desc(), data, expected=_ALL)
    yield one("data of unknown size", _desc(), _caf_chunk(b"data", samples, -1), expected=_ALL)
    sizes = {"0": 0, "1": 1, "-2": -2, "-2^63": -(2**63), "2^31": 2**31, "2^36": 2**36, "2^63-1": 2**63 - 1}
    for words, size in sizes.items():
        expected = reads(1.9, 2.1, warned=True) if 2**31 <= size <= 2**36 else EITHER
        yield one(f"data size {words}", _desc(), _caf_chunk(b"data", samples, size), expected=expected)
        yield one(f"free size {words}", _desc(), _caf_chunk(b"free", bytes(8), size), data)
        desc = _desc()
        yield one(f"desc size {words}", desc[:4] + pack(">q", size) + desc[12:], data)
        table = pack(">qqii", size, size, 0, 0) + b"\xff" * 9
        alac = _desc(format=b"alac", packet=0, frames=4096, bits=0)
        yield one(f"pakt says {words}", alac, _caf_chunk(b"pakt", table), data)
        yield one(f"kuki size {words}", alac, _caf_chunk(b"kuki", b"\xff" * 48, size), data)
    for words, rate in _RATES.items():
        yield one(f"rate {words}", _desc(rate=rate), data)
    for words, size in _SIZES.items():
        yield one(f"{words} channels", _desc(channels=size), data)
        yield one(f"packets of {words} bytes", _desc(packet=size), data)
        yield one(f"packets of {words} frames", _desc(frames=size), data)
        yield one(f"{words} bits", _desc(bits=size), data)
        yield one(
            f"info says {words} strings", _desc(), _caf_chunk(b"info", pack(">I", size) + b"a\0b"), data
        )
        layout = pack(">III", 0, 0, size) + bytes(20)
        yield one(f"chan says {words} speakers", _desc(), _caf_chunk(b"chan", layout), data)
    for format in (b"ulaw", b"ima4", b"aac ", b"opus", b"MAC3", b".mp3", b"QDM2", b"samr", b"\0\0\0\0"):
        name = format.decode("latin-1").strip().strip("\0") or "zeros"
        yield one(f"format {name}", _desc(format=format), data)
    yield one("no desc", data)
    yield one("alac without a cookie", _desc(format=b"alac", packet=0, frames=4096), data)
    yield one("5,000 free chunks", _desc(), _caf_chunk(b"free", b"x" * 8) * 5000, data, expected=_ALL)


# AU


def _au() -> Iterator[Hostile]:
    data = _pcm16()

    def one(what: str, *fields: int, expected: Expected = EITHER) -> Hostile:
        offset, size, encoding, rate, channels = fields
        header = b".snd" + pack(">IIIII", offset, size, encoding, rate, channels) + bytes(4)
        return Hostile(f"au/{what}", "au", header + data, expected)

    yield one("as it should be", 28, len(data), 3, _RATE, 1, expected=_ALL)
    yield one("data of unknown size", 28, 2**32 - 1, 3, _RATE, 1, expected=_ALL)
    for words, size in _SIZES.items():
        yield one(f"data at {words}", size, len(data), 3, _RATE, 1)
        yield one(f"data size {words}", 28, size, 3, _RATE, 1)
        yield one(f"encoding {words}", 28, len(data), size, _RATE, 1)
        yield one(f"{words} Hz", 28, len(data), 3, size, 1)
        yield one(f"{words} channels", 28, len(data), 3, _RATE, size)
    for encoding in (2, 4, 5, 6, 7, 8, 19, 23, 24, 25, 26, 27, 28):
        yield one(f"encoding {encoding}", 28, len(data), encoding, _RATE, 1)
