"""Tags at the end of a recording or in its middle, which decoders take for sound or for damage.

ID3v1 and its extension, ID3v2 with or without a footer, APEv1 and APEv2 with header, footer or both, Lyrics3.
The layouts: id3.org (ID3v1, ID3v2.4 section 3, Lyrics3 v2.00); wiki.hydrogenaud.io, APE tags.
"""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import at, size_of
from whisper_npu.audio.stated.mp3 import behind_id3, id3_size

# What the sound of formats begins with that may have tags.
_FRAMES = (b"\xff", b"\x0b\x77", b"\x56\xe0", b"\x7f\xfe\x80\x01")  # mp3 and aac, ac3, LATM, DTS: anywhere
_OTHERS = (b"wvpk", b"TTA1", b"MAC ", b"MP+", b"MPCK", b"fLaC", b"tBaK", b"OFR ")  # tags at the end only
_ID3V1, _ID3V1_MORE = 128, 227  # bytes
_PIECE = 2**22  # bytes that are searched at once
_LARGEST = 2**26  # bytes of a tag at the end, with its pictures
_MOST = 10_000  # places that are looked at closely
_WAVPACK_BLOCK = 2**20  # bytes: no block is longer


def between_tags(file: BinaryIO) -> list[tuple[int, int]]:
    """(place, bytes) of each piece of the file that is no tag; one piece where decoders manage alone.

    They know ID3v2 at the start, and those of mp3 know ID3v1.
    """
    size = size_of(file)
    start = behind_id3(file)
    first = _length(file, start, size)  # an APE tag
    head = at(file, start + first, 4)
    if not head.startswith((*_FRAMES, *_OTHERS)):
        return [(0, size)]
    end = _end_of_sound(file, start, size)
    tags = [(0, start + first)] if first else []
    if head.startswith(_FRAMES):
        tags += _in_the_middle(file, start + first, end)
        if not tags and end >= size - _ID3V1 and head.startswith(b"\xff"):
            return [(0, size)]
    else:
        end = _start_of_last(file, start + first, end, is_wavpack=head == b"wvpk")
    pieces, place = [], 0
    for tag, behind in (*tags, (end, size)):
        if tag > place:
            pieces.append((place, tag - place))
        place = max(place, behind)
    return pieces


def _end_of_sound(file: BinaryIO, start: int, end: int) -> int:
    """Where the tags begin that tell their size at their own end, one before the other."""
    for _ in range(_MOST):
        length = _length_before(file, end)
        if not length or end - length < start:
            break
        end -= length
    return end


def _length_before(file: BinaryIO, end: int) -> int:
    """Bytes of the tag that ends there; 0 if none does."""
    if at(file, end - _ID3V1, 3) == b"TAG":
        more = _ID3V1 + _ID3V1_MORE
        return more if at(file, end - more, 4) == b"TAG+" else _ID3V1
    footer = at(file, end - 32, 32)
    if _is_ape(footer):
        before = at(file, end - _ape_size(footer) - 32, 32)  # flags are known to promise what is not there
        return _ape_size(footer) + (32 if _is_ape(before) and _is_ape_header(before) else 0)
    if footer.endswith(b"LYRICS200") and footer[-15:-9].isdigit():
        length = int(footer[-15:-9]) + 15
        return length if at(file, end - length, 11) == b"LYRICSBEGIN" else 0
    if footer.endswith(b"LYRICSEND"):
        place = at(file, max(0, end - 5_200), min(end, 5_200)).rfind(b"LYRICSBEGIN")
        return min(end, 5_200) - place if place >= 0 else 0
    if footer[-10:-7] == b"3DI":
        return 10 + id3_size(footer[-10:])
    return 0


def _in_the_middle(file: BinaryIO, start: int, end: int) -> list[tuple[int, int]]:
    """(place, place behind it) of each."""
    found: list[tuple[int, int]] = []
    for place in _candidates(file, start, end):
        behind = found[-1][1] if found else start
        length = _length(file, place, end)
        if place < behind or not length:
            continue
        footer = at(file, place, 32)
        if footer.startswith(b"APETAGEX") and not _is_ape_header(footer):  # its tag lies before it
            found.append((max(behind, place + 32 - _ape_size(footer)), place + 32))
        else:
            found.append((place, min(end, place + length)))
    return found


def _start_of_last(file: BinaryIO, start: int, end: int, *, is_wavpack: bool) -> int:
    """Where a tag without a footer begins that reaches to `end`; `end` without one."""
    for place in _candidates(file, max(start, end - _LARGEST), end):
        if place + _length(file, place, end) != end:
            continue
        if not (is_wavpack and _is_in_wavpack_block(file, place)):
            return place
    return end


def _is_in_wavpack_block(file: BinaryIO, place: int) -> bool:
    """Blocks keep the chunks of the wav that was packed, such as its own ID3 tag."""
    first = max(0, place - _WAVPACK_BLOCK)
    before = at(file, first, place - first)
    block = before.rfind(b"wvpk")
    return block >= 0 and first + block + 8 + int.from_bytes(before[block + 4 : block + 8], "little") > place


def _candidates(file: BinaryIO, start: int, end: int) -> list[int]:
    """Where a tag may begin, or have its footer."""
    found: set[int] = set()
    for first in range(start, end, _PIECE):
        piece = at(file, first, min(_PIECE + 16, end - first))
        for telling in (b"ID3", b"APETAGEX", b"LYRICSBEGIN"):
            place = piece.find(telling)
            while place >= 0 and len(found) < _MOST:
                found.add(first + place)
                place = piece.find(telling, place + 1)
    return sorted(found)


def _length(file: BinaryIO, place: int, end: int) -> int:
    """Bytes of the tag that begins there, or of which the footer lies there; 0 if it is none."""
    head = at(file, place, 32)
    if head[:3] == b"ID3" and len(head) > 10:
        is_tag = head[3] in (2, 3, 4) and head[4] != 0xFF and not head[5] & 0x0F and max(head[6:10]) < 0x80
        return 10 + id3_size(head) if is_tag else 0
    if _is_ape(head):
        return _ape_size(head) + 32 if _is_ape_header(head) else 32
    if head.startswith(b"LYRICSBEGIN"):
        text = at(file, place, min(2**20, end - place))
        ends = [text.find(word) + len(word) for word in (b"LYRICS200", b"LYRICSEND") if word in text]
        return min(ends, default=0)
    return 0


def _is_ape(head: bytes) -> bool:
    """Whether it is the header or the footer of an APE tag."""
    is_known = head.startswith(b"APETAGEX") and head[8:12] in (b"\xd0\x07\0\0", b"\xe8\x03\0\0")
    return is_known and len(head) == 32 and not any(head[24:32]) and _ape_size(head) >= 32


def _ape_size(head: bytes) -> int:
    """Bytes of its items and of its footer."""
    return int.from_bytes(head[12:16], "little")


def _is_ape_header(head: bytes) -> bool:
    return bool(head[23] & 0x20)
