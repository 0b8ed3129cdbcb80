"""flac and ogg whose headers lie."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack, unpack

from tests.fuzz.hostile import EITHER, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, valid_recordings

_ALL = reads(SECONDS - 0.1, SECONDS + 0.1)


def hostile() -> Iterator[Hostile]:
    yield from _flac()
    yield from _ogg()


def _block(kind: int, body: bytes, *, last: bool = False, size: int | None = None) -> bytes:
    return bytes([kind | 0x80 * last]) + (len(body) if size is None else size).to_bytes(3, "big") + body


def _flac() -> Iterator[Hostile]:
    content = valid_recordings()["flac"].content
    info = content[8:42]  # behind "fLaC" and the block's header
    at, last = 4, False  # where the frames begin
    while not last:
        last = bool(content[at] & 0x80)
        at += 4 + int.from_bytes(content[at + 1 : at + 4], "big")
    frames = content[at:]

    def one(what: str, *blocks: bytes, expected: Expected = EITHER) -> Hostile:
        return Hostile(f"flac/{what}", "flac", b"fLaC" + b"".join(blocks) + frames, expected)

    def with_field(rate: int = 16_000, channels: int = 1, bits: int = 16, total: int = 32_000) -> bytes:
        packed = rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | total
        return info[:10] + packed.to_bytes(8, "big") + info[18:]

    end = _block(1, b"", last=True)  # padding
    yield one("as it should be", _block(0, info), end, expected=_ALL)
    for words, total in {"1": 1, "unknown": 0, "2^31": 2**31, "2^36-1": 2**36 - 1, "31999": 31_999}.items():
        expected = reads(1.9, 2.1, warned=total == 2**31)
        yield one(f"{words} samples", _block(0, with_field(total=total)), end, expected=expected)
    for rate in (0, 1, 655_350, 2**20 - 1):
        yield one(f"{rate} Hz", _block(0, with_field(rate=rate)), end)
    for channels, bits in ((8, 16), (1, 4), (1, 32), (1, 1), (8, 32)):
        what = f"{channels} channels of {bits} bits"
        yield one(what, _block(0, with_field(channels=channels, bits=bits)), end)
    for smallest, largest in ((0, 0), (65_535, 65_535), (65_535, 1), (16, 16)):
        header = pack(">HH", smallest, largest) + info[4:]
        yield one(f"blocks of {smallest} to {largest}", _block(0, header), end)
    yield one("another checksum", _block(0, info[:18] + bytes(range(16))), end)
    yield one("no STREAMINFO", end)
    yield one("two STREAMINFOs", _block(0, info), _block(0, with_field(rate=48_000)), end)
    yield one("no last block", _block(0, info), _block(1, bytes(8)))
    yield one("5,000 paddings", _block(0, info), *[_block(1, bytes(16))] * 5000, end, expected=_ALL)
    for kind, name in ((1, "padding"), (2, "application"), (3, "seek table"), (4, "tags"), (6, "picture")):
        for size in (0, 1, 2**24 - 1):
            yield one(f"{name} of {size} bytes", _block(0, info), _block(kind, b"x" * 40, size=size), end)
    for words, n in {"2^32-1": 2**32 - 1, "2^24": 2**24}.items():
        tags = pack("<I", 4) + b"none" + pack("<I", n) + pack("<I", n) + b"TITLE=x"
        yield one(f"{words} tags", _block(0, info), _block(4, tags), end)
        picture = pack(">II", 3, n) + b"image/png" + pack(">I", n) + bytes(20) + pack(">I", n)
        yield one(f"a picture of {words} bytes", _block(0, info), _block(6, picture), end)
    escapes = pack("<II", 0, 1) + pack("<I", 20) + b"TITLE=\x1b[2J\n\r\x07\xff\xfe\0abc"
    yield one("a title with terminal escapes", _block(0, info), _block(4, escapes), end, expected=_ALL)
    yield one("1 MB of picture", _block(0, info), _block(6, bytes(2**20)), end)
    seek_table = _block(3, pack(">QQH", 2**63, 2**63, 65_535) * 1000)
    yield one("seek points behind the end", _block(0, info), seek_table, end, expected=_ALL)
    tag = b"ID3\4\0\0\0\0\x07\x76" + bytes(1014)
    yield Hostile("flac/behind an ID3 tag", "flac", tag + content, _ALL)


# Ogg


def _pages(content: bytes) -> list[bytes]:
    """Source: RFC 3533, section 6."""
    pages, at = [], 0
    while at < len(content):
        n_segments = content[at + 26]
        size = 27 + n_segments + sum(content[at + 27 : at + 27 + n_segments])
        pages.append(content[at : at + size])
        at += size
    return pages


_POLYNOMIAL = 0x104C11DB7  # of CRC-32; neither reflected nor inverted


def _remainder(byte: int) -> int:
    register = byte << 24
    for _ in range(8):
        register = register << 1 ^ (_POLYNOMIAL if register & 0x80000000 else 0)
    return register


_REMAINDERS = [_remainder(byte) for byte in range(256)]


def _checksum(page: bytes) -> int:
    register = 0
    for byte in page:
        register = (register << 8 & 0xFFFFFFFF) ^ _REMAINDERS[register >> 24 ^ byte]
    return register


def _with(page: bytes, at: int, value: bytes) -> bytes:
    """Changed, its checksum right."""
    page = page[:at] + value + page[at + len(value) :]
    page = page[:22] + bytes(4) + page[26:]
    return page[:22] + pack("<I", _checksum(page)) + page[26:]


def _ogg() -> Iterator[Hostile]:
    for name in ("ogg-opus", "ogg-vorbis", "ogg-flac"):
        if name not in valid_recordings():
            continue
        valid = valid_recordings()[name]
        head, tags, *sound = _pages(valid.content)

        def one(
            what: str,
            pages: list[bytes],
            expected: Expected = EITHER,
            name: str = name,
            suffix: str = valid.suffix,
        ) -> Hostile:
            return Hostile(f"{name}/{what}", suffix, b"".join(pages), expected)

        half = len(sound) // 2
        for granule in (0, 1, 2**31, 2**63 - 1, -1, -(2**63)):
            last = _with(sound[-1], 6, pack("<q", granule))
            yield one(f"the last page ends at {granule}", [head, tags, *sound[:-1], last], reads(1.0))
            first = _with(sound[0], 6, pack("<q", granule))
            yield one(f"the first page ends at {granule}", [head, tags, first, *sound[1:]])
        yield one("wrong checksums", [p[:22] + b"\1\2\3\4" + p[26:] for p in (head, tags, *sound)])
        yield one(
            "one wrong checksum", [head, tags, *sound[:-2], sound[-2][:-1] + b"\xff", sound[-1]], reads(1.0)
        )
        yield one("a page missing", [head, tags, *sound[:half], *sound[half + 1 :]], reads(1.0))
        yield one("headers only", [head, tags])
        yield one("the first header only", [head])
        yield one("no headers", sound)
        yield one("headers 1,000 times", [head, tags] * 1000 + sound)
        yield one("a page 1,000 times", [head, tags, *sound[:1] * 1000, *sound])
        yield one("its end in the middle", [head, tags, *(_with(p, 5, b"\4") for p in sound[:1]), *sound[1:]])
        others = [_with(page, 14, pack("<I", 7)) for page in (head, tags, *sound)]
        yield one(
            "two streams in turn",
            [p for pair in zip((head, tags, *sound), others, strict=True) for p in pair],
        )
        yield one("two streams, one behind the other", [head, tags, *sound, *others], reads(3.5, 4.5))
        size = unpack("<B", head[26:27])[0]
        for at in range(27 + size + 8, len(head)):
            yield one(f"byte {at} of the header is ff", [_with(head, at, b"\xff"), tags, *sound])
        marks = {b"OpusTags": 8, b"\x03vorbis": 7}
        for mark, length in marks.items():
            if (found := tags.find(mark)) >= 0:
                huge = _with(tags, found + length, pack("<I", 2**32 - 1))
                yield one("tags of 4 GB", [head, huge, *sound])
