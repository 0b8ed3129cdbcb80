"""mp4, m4a and mov whose boxes lie. Source of the fields: ISO/IEC 14496-12."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import pack

from tests.fuzz.hostile import EITHER, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, valid_recordings

_ALL = reads(SECONDS - 0.1, SECONDS + 0.3)
_SIZES = {"0": 0, "1": 1, "7": 7, "2^31-1": 2**31 - 1, "2^32-1": 2**32 - 1}

# (what it says, box, bytes behind its name, how many bytes): version, flags, and then
_FIELDS = (
    ("the film's clock", b"mvhd", 12, 4),
    ("the film's length", b"mvhd", 16, 4),
    ("the track's number", b"tkhd", 12, 4),
    ("the track's length", b"tkhd", 20, 4),
    ("the track's clock", b"mdhd", 12, 4),
    ("the sound's length", b"mdhd", 16, 4),
    ("how many descriptions", b"stsd", 4, 4),
    ("the description's size", b"stsd", 8, 4),
    ("the codec's version and vendor", b"mp4a", 8, 4),
    ("the channels and bits", b"mp4a", 16, 4),
    ("the rate", b"mp4a", 24, 4),
    ("the size of the codec's setup", b"esds", 4, 4),
    ("how many times", b"stts", 4, 4),
    ("how many samples have one time", b"stts", 8, 4),
    ("how long each sample lasts", b"stts", 12, 4),
    ("how many chunks", b"stsc", 4, 4),
    ("which chunk is first", b"stsc", 8, 4),
    ("how many samples in a chunk", b"stsc", 12, 4),
    ("the size of every sample", b"stsz", 4, 4),
    ("how many samples", b"stsz", 8, 4),
    ("the size of the first sample", b"stsz", 12, 4),
    ("how many offsets", b"stco", 4, 4),
    ("the first offset", b"stco", 8, 4),
    ("how many edits", b"elst", 4, 4),
    ("the first edit's length", b"elst", 8, 4),
    ("the first edit's start", b"elst", 12, 4),
    ("the first edit's speed", b"elst", 16, 4),
)
_FRAGMENT_FIELDS = (
    ("the fragment's track", b"tfhd", 4, 4),
    ("the fragment's time", b"tfdt", 4, 8),
    ("how many samples", b"trun", 4, 4),
    ("the fragment's offset", b"trun", 8, 4),
    ("the first sample's length", b"trun", 12, 4),
    ("the default size", b"trex", 16, 4),
    ("the default length", b"trex", 12, 4),
)


def hostile() -> Iterator[Hostile]:
    valid = valid_recordings()
    if "m4a-faststart" in valid:
        yield from _m4a(valid["m4a-faststart"].content)
    if "mp4-fragments" in valid:
        yield from _lies("mp4-fragments", valid["mp4-fragments"].content, _FRAGMENT_FIELDS)


def box(name: bytes, body: bytes = b"", size: int | None = None) -> bytes:
    """size: what it claims."""
    return pack(">I", 8 + len(body) if size is None else size) + name + body


def _lies(kind: str, content: bytes, fields: tuple[tuple[str, bytes, int, int], ...]) -> Iterator[Hostile]:
    for what, name, offset, length in fields:
        at = content.find(name) + 4 + offset
        if at < 4 + offset:
            continue
        for words, value in _SIZES.items():
            value = value if length == 4 else value << 31
            changed = content[:at] + value.to_bytes(length, "big") + content[at + length :]
            yield Hostile(f"{kind}/{what}: {words}", "m4a", changed)
    for name in (
        b"ftyp",
        b"moov",
        b"mvhd",
        b"trak",
        b"mdia",
        b"minf",
        b"stbl",
        b"stsd",
        b"mdat",
        b"udta",
        b"moof",
    ):
        at = content.find(name) - 4
        if at < 0:
            continue
        for words, value in _SIZES.items():
            changed = content[:at] + pack(">I", value) + content[at + 4 :]
            yield Hostile(f"{kind}/{name.decode()} of {words} bytes", "m4a", changed)


def _m4a(content: bytes) -> Iterator[Hostile]:
    def one(what: str, changed: bytes, expected: Expected = EITHER, suffix: str = "m4a") -> Hostile:
        return Hostile(f"m4a/{what}", suffix, changed, expected)

    yield from _lies("m4a", content, _FIELDS)
    at = content.find(b"moov") - 4
    size = int.from_bytes(content[at : at + 4], "big")
    before, moov, after = content[:at], content[at : at + size], content[at + size :]
    yield one("without moov", before + after)
    yield one("moov only", before + moov)
    yield one("moov 200 times", before + moov * 200 + after)
    trak_at = moov.find(b"trak") - 4
    trak_size = int.from_bytes(moov[trak_at : trak_at + 4], "big")
    trak = moov[trak_at : trak_at + trak_size]
    yield one(
        "100 tracks",
        before + box(b"moov", moov[8:trak_at] + trak * 100 + moov[trak_at + trak_size :]) + after,
    )
    yield one("20,000 free boxes behind it", content + box(b"free") * 20_000, _ALL)
    yield one("20,000 boxes before it", box(b"free") * 20_000 + content)
    nested = b""
    for _ in range(5000):
        nested = box(b"moov", nested)
    yield one("5,000 boxes in each other", content + nested)
    yield one("5,000 boxes in each other, before it", before + nested + moov + after)
    bottomless = b"".join(box(b"udta", b"", 2**31 - 1) for _ in range(5000))
    yield one("5,000 boxes that claim 2 GB", before + box(b"moov", bottomless) + after)
    yield one("a box of 2^63-1 bytes", content + pack(">I4sQ", 1, b"free", 2**63 - 1))
    yield one("a box of 2^64-8 bytes", before + pack(">I4sQ", 1, b"free", 2**64 - 8) + moov + after)
    bomb = zlib.compress(bytes(20 * 2**20), 9)
    for claimed in (0, 20 * 2**20, 2**31 - 1, 2**32 - 1):
        cmov = box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", pack(">I", claimed) + bomb))
        yield one(
            f"compressed boxes that claim {claimed} bytes", before + box(b"moov", cmov) + after, suffix="mov"
        )
    for url in (b"file:///etc/passwd\0", b"http://127.0.0.1:9/x\0", b"/dev/zero\0"):
        for kind in (b"url ", b"alis"):
            dref = box(b"dref", pack(">II", 0, 1) + box(kind, bytes(4) + url))
            old = moov.find(b"dref") - 4
            old_size = int.from_bytes(moov[old : old + 4], "big")
            changed = moov[:old] + dref[:4] + moov[old + 4 : old + old_size] + moov[old + old_size :]
            changed = changed[:old] + dref + changed[old + old_size :]
            yield one(
                f"its sound in {kind.decode().strip()} {url[:9].decode()}",
                before + changed + after,
                suffix="mov",
            )
        rdrf = box(b"rdrf", bytes(4) + b"url " + pack(">I", len(url)) + url)
        reference = box(b"moov", box(b"rmra", box(b"rmda", rdrf)))
        yield one(f"a reference movie to {url[:9].decode()}", box(b"ftyp", b"qt  ") + reference, suffix="mov")
    cover = box(b"covr", box(b"data", pack(">II", 13, 0) + bytes(2**20)))
    ilst = box(b"udta", box(b"meta", bytes(4) + box(b"ilst", cover)))
    yield one("1 MB of cover behind it", content + box(b"moov", ilst))
    yield one("a codec that is unknown", content.replace(b"mp4a", b"\0\1\2\3"))
    yield one("an encrypted codec", content.replace(b"mp4a", b"enca"))
    yield one("a video", content.replace(b"soun", b"vide"))
    yield one("subtitles", content.replace(b"soun", b"text"))
    for codec in (
        b"alac",
        b"Opus",
        b"fLaC",
        b"samr",
        b".mp3",
        b"QDM2",
        b"twos",
        b"ac-3",
        b"dtsc",
        b"mlpa",
        b"ima4",
    ):
        yield one(f"called {codec.decode()}", content.replace(b"mp4a", codec))
