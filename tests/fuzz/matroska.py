"""mkv and webm whose elements lie. Source of the elements: RFC 8794, RFC 9559."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from struct import pack

from tests.fuzz.hostile import EITHER, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, valid_recordings

_ALL = reads(SECONDS - 0.1, SECONDS + 0.1)
_TAGS, _VOID, _ATTACHMENTS, _TRACK = b"\x12\x54\xc3\x67", b"\xec", b"\x19\x41\xa4\x69", b"\xae"
_SEGMENT, _CLUSTER, _TRACKS = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\x16\x54\xae\x6b"
_EBML = b"\x1a\x45\xdf\xa3"
_UNKNOWN = b"\x01" + b"\xff" * 7
_SIZES = {"0": 0, "1": 1, "2^31": 2**31, "2^56-2": 2**56 - 2}


def hostile() -> Iterator[Hostile]:
    if "mkv-pcm" in valid_recordings():
        yield from _mkv(valid_recordings()["mkv-pcm"].content)


def element(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """size: what it claims."""
    return name + pack(">Q", (len(body) if size is None else size) | 1 << 56) + body


def _parts(content: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The EBML header, and the segment's elements."""
    at = content.find(_SEGMENT)
    head, at = content[:at], at + 12  # the muxer writes the segment's size in 8 bytes
    elements = []
    while at < len(content):
        n_name = 9 - content[at].bit_length()
        n_size = 9 - content[at + n_name].bit_length()
        body = at + n_name + n_size
        raw = int.from_bytes(content[at + n_name : body], "big") & (1 << 7 * n_size) - 1
        size = len(content) - body if raw == (1 << 7 * n_size) - 1 else raw
        elements.append((content[at : at + n_name], content[body : body + size]))
        at = body + size
    return head, elements


def _mkv(content: bytes) -> Iterator[Hostile]:
    def one(what: str, changed: bytes, expected: Expected = EITHER) -> Hostile:
        return Hostile(f"mkv/{what}", "mkv", changed, expected)

    head, elements = _parts(content)
    needed = [pair for pair in elements if pair[0] in (b"\x15\x49\xa9\x66", _TRACKS, _CLUSTER)]

    def built(*more: bytes, last: bytes = b"", header: bytes = head) -> bytes:
        body = b"".join([*more, *(element(*pair) for pair in needed), last])
        return header + element(_SEGMENT, body)

    yield one("without its index", built(), _ALL)
    unknown = (
        head
        + _SEGMENT
        + _UNKNOWN
        + b"".join(
            name + (_UNKNOWN if name == _CLUSTER else pack(">Q", len(body) | 1 << 56)) + body
            for name, body in needed
        )
    )
    yield one("sizes unknown", unknown, _ALL)
    for words, size in _SIZES.items():
        body = b"".join(element(*pair) for pair in needed)
        yield one(f"a segment of {words} bytes", head + element(_SEGMENT, body, size))
        for what, name in {"tracks": _TRACKS, "cluster": _CLUSTER}.items():
            lying = b"".join(element(n, b, size if n == name else None) for n, b in needed)
            yield one(f"a {what} element of {words} bytes", head + element(_SEGMENT, lying))
        yield one(f"a void of {words} bytes", built(element(_VOID, b"", size)))
        yield one(f"tags of {words} bytes", built(last=element(_TAGS, b"", size)))
    numbers = {
        "0": 0.0,
        "-16000": -16e3,
        "NaN": math.nan,
        "infinite": math.inf,
        "1e300": 1e300,
        "1e-300": 1e-300,
    }
    for what, name in {"rate": b"\xb5\x88", "length": b"\x44\x89\x88"}.items():
        for words, number in numbers.items():
            at = content.find(name) + len(name)
            if at >= len(name):
                yield one(f"{what} {words}", content[:at] + pack(">d", number) + content[at + 8 :])
    for what, name in {
        "channels": b"\x9f\x81",
        "bits": b"\x62\x64\x81",
        "track number": b"\xd7\x81",
        "track type": b"\x83\x81",
        "lacing": b"\x9c\x81",
    }.items():
        for value in (0, 2, 127, 255):
            at = content.find(name) + len(name)
            if at >= len(name):
                yield one(f"{what} {value}", content[:at] + bytes([value]) + content[at + 1 :])
    at = content.find(b"\x2a\xd7\xb1\x83")  # the clock, in nanoseconds
    for clock in (0, 1, 2**24 - 1):
        yield one(f"a clock of {clock} ns", content[: at + 4] + clock.to_bytes(3, "big") + content[at + 7 :])
    for words, n in {"0": 0, "2^31": 2**31, "2^32-1": 2**32 - 1, "2^63-1": 2**63 - 1}.items():
        channels = element(b"\xe1", element(b"\x9f", pack(">Q", n)) + element(b"\xb5", pack(">d", 16e3)))
        codec = element(b"\x86", b"A_PCM/INT/LIT") + element(b"\xd7", b"\1") + element(b"\x83", b"\2")
        track = element(_TRACKS, element(_TRACK, codec + channels))
        yield one(f"{words} channels, said in 8 bytes", built(track))
    nested = b""
    for _ in range(5000):
        nested = element(b"\x67\xc8", nested)  # SimpleTag, which may hold itself
    yield one("5,000 tags in each other", built(last=element(_TAGS, element(b"\x73\x73", nested))))
    deep = b""
    for _ in range(5000):
        deep = element(_SEGMENT, deep)
    yield one("5,000 segments in each other", head + deep)
    yield one("20,000 voids", built(element(_VOID, b"") * 20_000))
    yield one("20,000 voids in the end", built(last=element(_VOID, b"") * 20_000))
    yield one("300 tracks", built(element(_TRACKS, dict(needed)[_TRACKS] * 300)))
    yield one("500 headers", head * 500 + content[len(head) :])
    name = element(b"\x46\x6e", b"../../x.ttf\x1b[2J") + element(b"\x46\x60", b"font/ttf")
    attached = element(b"\x61\xa7", name + element(b"\x46\x5c", bytes(2**20)) + element(b"\x46\xae", b"\1"))
    yield one("1 MB attached", built(element(_ATTACHMENTS, attached)), _ALL)
    lying = element(b"\x61\xa7", name + element(b"\x46\x5c", b"", 2**40))
    yield one("1 TB attached", built(last=element(_ATTACHMENTS, lying)))
    linked = element(b"\x3e\x83\xbb", b"file:///etc/passwd") + element(b"\x3e\xb9\x23", bytes(16))
    yield one("another file linked", built(element(b"\x15\x49\xa9\x66", linked)))
    yield one("another kind", built(header=element(_EBML, element(b"\x42\x82", b"other"))))
    yield one("names of 255 bytes", built(header=element(_EBML, element(b"\x42\xf2", b"\xff"))))
    bomb = zlib.compress(bytes(20 * 2**20), 9)
    encoding = element(b"\x6d\x80", element(b"\x62\x40", element(b"\x50\x34", element(b"\x42\x54", b"\0"))))
    audio = element(
        b"\xe1", element(b"\x9f", b"\1") + element(b"\xb5", pack(">d", 16e3)) + element(b"\x62\x64", b"\x10")
    )
    codec = element(b"\x86", b"A_PCM/INT/LIT") + element(b"\xd7", b"\1") + element(b"\x83", b"\2")
    track = element(_TRACKS, element(_TRACK, codec + audio + encoding))
    cluster = element(_CLUSTER, element(b"\xe7", b"\0") + element(b"\xa3", b"\x81\0\0\x80" + bomb))
    yield one("20 MB of zeros compressed", head + element(_SEGMENT, track + cluster))
    for n in (1, 255):
        laced = element(
            _CLUSTER, element(b"\xe7", b"\0") + element(b"\xa3", b"\x81\0\0\x86" + bytes([n]) + b"\xff" * 60)
        )
        yield one(f"{n} laced frames that claim more than there is", built(last=laced))
