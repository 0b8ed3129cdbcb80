"""mp3, aac and transport streams whose headers lie."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

from tests.fuzz.hostile import EITHER, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, valid_recordings

_ALL = reads(SECONDS - 0.2, SECONDS + 0.3)


def hostile() -> Iterator[Hostile]:
    valid = valid_recordings()
    if "mp3-cbr" in valid and "mp3-vbr" in valid:
        yield from _mp3(valid["mp3-cbr"].content, valid["mp3-vbr"].content)
    if "aac" in valid:
        yield from _aac(valid["aac"].content)
    if "amr" in valid:
        yield from _amr(valid["amr"].content)
    if "ts-aac" in valid:
        yield from _ts(valid["ts-aac"].content)


def id3(body: bytes, *, claimed: int | None = None, version: int = 4, flags: int = 0) -> bytes:
    """An ID3v2 tag. claimed: the size that it states, in 28 bits."""
    size = len(body) if claimed is None else claimed
    return b"ID3" + bytes([version, 0, flags, *(size >> shift & 0x7F for shift in (21, 14, 7, 0))]) + body


def id3_frame(name: bytes, body: bytes, *, claimed: int | None = None) -> bytes:
    size = len(body) if claimed is None else claimed
    return name + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(2) + body


def _mp3(plain: bytes, tagged: bytes) -> Iterator[Hostile]:
    def one(what: str, content: bytes, expected: Expected = EITHER) -> Hostile:
        return Hostile(f"mp3/{what}", "mp3", content, expected)

    tag = id3(id3_frame(b"TIT2", b"\3A title"))
    yield one("behind a tag", tag + plain, _ALL)
    yield one("two with tags, joined", tag + plain + tag + plain, reads(3.8, 4.4))
    yield one("two with Xing headers and tags, joined", tagged + tagged, reads(3.8, 4.4))
    yield one("20 joined", (tag + plain) * 20, reads(39, 44))
    yield one("of two rates, joined", plain + tagged, reads(3.8, 4.4))
    yield one("1,000 tags before it", tag * 1000 + plain, reads(1.8))
    yield one("a tag of 256 MB claimed", id3(b"", claimed=2**28 - 1) + plain)
    yield one("a tag of 50 MB claimed", id3(b"", claimed=50 * 2**20) + plain)
    yield one("a tag that claims nothing", id3(bytes(1000), claimed=0) + plain)
    picture = b"\0image/png\0\3\0"
    yield one("1 MB of picture", id3(id3_frame(b"APIC", picture + bytes(2**20))) + plain, _ALL)
    yield one("a picture of 256 MB claimed", id3(id3_frame(b"APIC", picture, claimed=2**28 - 1)) + plain)
    yield one("10,000 frames in its tag", id3(id3_frame(b"TXXX", b"\3a\0b") * 10_000) + plain, _ALL)
    yield one("a compressed tag", id3(b"x" * 99, flags=0xF0) + plain)
    yield one("a tag of version 255", id3(b"x" * 99, version=255) + plain)
    escapes = id3(id3_frame(b"TIT2", b"\3\x1b]0;x\x07\x1b[2J\n\r\xff\xfe") * 2)
    yield one("a title with terminal escapes", escapes + plain, _ALL)
    chapter = b"a\0" + pack(">IIII", 0, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    yield one("500 chapters", id3(id3_frame(b"CHAP", chapter) * 500) + plain, _ALL)
    yield one("tags only", tag * 50)
    yield one("an old tag behind it", plain + b"TAG" + b"x" * 125, _ALL)
    ape = b"APETAGEX" + pack("<IIII", 2000, 2**32 - 1, 2**32 - 1, 0) + bytes(8)
    yield one("an APE tag of 4 GB claimed", plain + ape)
    at = max(tagged.find(b"Xing"), tagged.find(b"Info"))
    for words, n in {"0": 0, "1": 1, "2^31": 2**31, "2^32-1": 2**32 - 1}.items():
        content = tagged[: at + 8] + pack(">II", n, n) + tagged[at + 16 :]
        yield one(f"its header says {words} frames", content, reads(1.7, 2.4))
    lame = tagged.find(b"LA", at + 100)  # "LAME", or "Lavf" and "Lavc", and 21 bytes on how much to leave out
    for cut in (b"\xff\xff\xff", b"\0\0\0"):
        where = (lame if lame >= 0 else at + 120) + 21
        yield one(
            f"its header leaves out {cut.hex()}", tagged[:where] + cut + tagged[where + 3 :], reads(1.4, 2.6)
        )
    yield one("nothing but headers", plain[:4] * 20_000)
    yield one("headers of no bit rate", (plain[:2] + bytes([plain[2] & 0x0F]) + plain[3:4]) * 2000 + plain)
    yield one("sync words", b"\xff\xfb" * 50_000)
    yield one("ff", b"\xff" * 100_000)
    yield one(
        "every header in 100,000 bytes", b"".join(pack(">I", 0xFFE00000 + 37 * n) for n in range(25_000))
    )
    yield one("half a frame", plain[:90])


def _aac(plain: bytes) -> Iterator[Hostile]:
    def one(what: str, content: bytes, expected: Expected = EITHER) -> Hostile:
        return Hostile(f"aac/{what}", "aac", content, expected)

    frames, at = [], 0
    while at < len(plain):
        size = (plain[at + 3] & 3) << 11 | plain[at + 4] << 3 | plain[at + 5] >> 5
        frames.append(plain[at : at + size])
        at += size

    def sized(frame: bytes, size: int) -> bytes:
        fields = bytes([frame[3] & 0xFC | size >> 11, size >> 3 & 0xFF, frame[5] & 0x1F | (size & 7) << 5])
        return frame[:3] + fields + frame[6:]

    half = len(frames) // 2
    for size in (0, 6, 7, 8191):
        yield one(f"frames of {size} bytes", b"".join(sized(frame, size) for frame in frames))
        damaged = [*frames[:half], sized(frames[half], size), *frames[half + 1 :]]
        yield one(f"one frame of {size} bytes", b"".join(damaged))
    for index in (0, 12, 13, 15):
        other = [bytes([*f[:2], f[2] & 0xC3 | index << 2]) + f[3:] for f in frames]
        yield one(f"rate {index}", b"".join(other))
        yield one(f"rate {index} in the middle", b"".join([*frames[:half], *other[half:]]))
    for channels in (0, 7):
        fields = [
            bytes([*f[:2], f[2] & 0xFE | channels >> 2, f[3] & 0x3F | (channels & 3) << 6]) + f[4:]
            for f in frames
        ]
        yield one(f"channels {channels}", b"".join(fields))
    yield one("20 joined", plain * 20, reads(38, 45))
    yield one("behind a tag", id3(bytes(1000)) + plain, _ALL)
    yield one("nothing but headers", plain[:7] * 10_000)


def _amr(plain: bytes) -> Iterator[Hostile]:
    magic, frames = plain[:6], plain[6:]
    yield Hostile("amr/its magic only", "amr", magic)
    yield Hostile("amr/another frame type", "amr", magic + b"\x7c" + frames[1:])
    yield Hostile("amr/frames of no data", "amr", magic + b"\x7c" * 20_000)
    yield Hostile("amr/called wide band", "amr", b"#!AMR-WB\n" + frames)
    yield Hostile("amr/called many channels", "amr", b"#!AMR_MC1.0\n" + pack(">I", 2**32 - 1) + frames)


def _ts(plain: bytes) -> Iterator[Hostile]:
    def one(what: str, packets: list[bytes], expected: Expected = EITHER) -> Hostile:
        return Hostile(f"ts/{what}", "ts", b"".join(packets), expected)

    packets = [plain[at : at + 188] for at in range(0, len(plain), 188)]

    def pid(packet: bytes) -> int:
        return (packet[1] & 0x1F) << 8 | packet[2]

    tables = [packet for packet in packets if pid(packet) in (0, 17, 4096)]
    sound = [packet for packet in packets if pid(packet) not in (0, 17, 4096)]
    yield one("no tables", sound)
    yield one("tables only", tables)
    yield one("tables behind it", sound + tables)
    yield one("packets in reverse", packets[::-1])
    yield one("every packet twice", [packet for packet in packets for _ in range(2)])
    yield one("a packet missing", packets[: len(packets) // 2] + packets[len(packets) // 2 + 1 :], reads(1.5))
    yield one(
        "another program each packet", [p[:1] + pack(">H", n % 8192) + p[3:] for n, p in enumerate(packets)]
    )
    yield one("scrambled", [packet[:3] + bytes([packet[3] | 0xC0]) + packet[4:] for packet in packets])
    yield one("errors marked", [packet[:1] + bytes([packet[1] | 0x80]) + packet[2:] for packet in packets])
    yield one("fields as long as packets", [packet[:3] + b"\x3f\xff" + packet[5:] for packet in packets])
    yield one("of 192 bytes", [bytes(4) + packet for packet in packets], _ALL)
    yield one("of 204 bytes", [packet + bytes(16) for packet in packets], _ALL)
    yield one("20 joined", packets * 20)
    yield one("empty packets", [b"\x47\x1f\xff\x10" + b"\xff" * 184] * 2000)
