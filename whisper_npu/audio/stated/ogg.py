"""Pages of Ogg (RFC 3533, 6): which are damaged, by their checksums. Decoders skip these without a word."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from whisper_npu.audio.stated.fields import MOST_CHUNKS, End, at, is_no_sound, size_of

_MAGIC = b"OggS"
LONGEST_HEAD = 27 + 255  # bytes before what a page holds: its head and its table
_LONGEST = LONGEST_HEAD + 255 * 255  # bytes of a page
_REACH = 2**20  # bytes in which the first page of sound lies, but for very large pictures in tags
_MOST_FALSE = 300  # places that look like pages and are none; a checksum of each is made
_NOWHERE = (0, 2**64 - 1)  # granule positions of headers, and of pages in which no packet ends
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def page_length(head: bytes) -> int:
    """Bytes of a page, by its table. head: its first `LONGEST_HEAD` bytes."""
    return 27 + head[26] + sum(head[27 : 27 + head[26]])


def is_silent(file: BinaryIO) -> bool:
    """Whether it is nothing but whole pages with headers: a link of a chain without sound, as encoders write
    it for no samples. Decoders refuse some of these.
    """
    size, place = size_of(file), 0
    for _ in range(MOST_CHUNKS):
        head = at(file, place, LONGEST_HEAD)
        if len(head) < 27 or head[:5] != b"OggS\0" or int.from_bytes(head[6:14], "little") not in _NOWHERE:
            break
        place += page_length(head)
    return 0 < place == size


def lacks_its_start(file: BinaryIO) -> bool:
    """Whether bytes that are no whole page come before the first whole page of sound.

    False for another format, and for a recording of a broadcast: it begins later, but with a whole page.
    """
    content = at(file, 0, _REACH)
    if not content.startswith(_MAGIC):
        return False
    place, n_false = 0, 0
    while 0 <= place < len(content) - _LONGEST or (place >= 0 and len(content) < _REACH):
        length = _length(content, place)
        if not length or not _is_whole(content[place : place + length]):
            n_false += 1
            if n_false == _MOST_FALSE:
                return True
            place = content.find(_MAGIC, place + 1)
            continue
        if int.from_bytes(content[place + 6 : place + 14], "little") not in _NOWHERE:
            return n_false > 0
        place += length
    return False


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if its last page is damaged, or not there as a whole."""
    if at(file, 0, 4) != _MAGIC:
        return None
    return End(is_cut=_ends_in_damage(file, size))


def _ends_in_damage(file: BinaryIO, size: int) -> bool:
    end = at(file, max(0, size - 2 * _LONGEST), 2 * _LONGEST)
    place, n_false = end.find(_MAGIC), 0
    while place >= 0:
        length = _length(end, place)
        if not length or not _is_whole(end[place : place + length]):
            following, n_false = end.find(_MAGIC, place + 1), n_false + 1
            if following < 0 or n_false == _MOST_FALSE:
                return True
            place = following
            continue
        place += length
        if place == len(end):
            return False
        if end[place : place + 4] != _MAGIC:  # zeros that a recorder left, a tag, or a damaged page
            behind = end.find(_MAGIC, place)
            if behind < 0:
                return not is_no_sound(end[place:])
            place = behind
    return True


def _length(content: bytes, place: int) -> int:
    """Of the page there, by its table; 0 for none."""
    head = content[place : place + 27]
    if len(head) < 27 or head[:4] != _MAGIC:
        return 0
    return page_length(content[place : place + LONGEST_HEAD])


def _is_whole(page: bytes) -> bool:
    """By its checksum, which is zlib's with the bits of each byte, and of the sum, in the other order."""
    if len(page) < 27 or _length(page, 0) != len(page):
        return False
    content = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2) == int.from_bytes(page[22:26], "little")
