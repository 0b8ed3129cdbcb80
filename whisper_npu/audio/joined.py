"""Where in a file another recording begins that was joined to the first one, as by `cat`.

Decoders stop there, or take it for damage. A recording is recognised by its first bytes, which are too many
to occur by chance in the sound of another. Chained Ogg streams (RFC 3533, 4) are joined recordings, too.
"""

from __future__ import annotations

import os
from threading import Event
from typing import BinaryIO

from whisper_npu.audio.damage import check_cancelled
from whisper_npu.audio.stated import id3_size

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_OGG = b"OggS\0\x02"  # a page that begins a stream
# Bytes that may tell, and how many of the recording come before them; `_begins` looks closer.
_TELLING = (
    (b"WAVE", 8),
    (b"AIFF", 8),
    (b"AIFC", 8),
    (b"ftyp", 4),
    (b"caff\0\x01\0\0desc", 0),
    (b"fLaC\0\0\0\x22", 0),
    (b"TTA1\x01\0", 0),
    (b"FLV\x01", 0),
    (b"ID3", 0),
    (_ASF, 0),
    (_OGG, 0),
)
_FIRST = 40  # bytes by which the first recording is recognised
_PIECE = 2**22  # bytes that are searched at once
_MOST = 1_000  # recordings in one file


def starts(name: str, file: BinaryIO, cancelled: Event | None = None) -> tuple[int, ...]:
    """The places of the recordings behind the first one, in their order; none for most files.

    Raises CancelledError.
    """
    size, n = os.fstat(file.fileno()).st_size, file.fileno()
    if not _may_be_followed(os.pread(n, _FIRST, 0)):
        return ()
    found: list[int] = []
    for first in range(0, size, _PIECE):
        check_cancelled(name, cancelled)
        piece = os.pread(n, _PIECE + _FIRST, first)
        places = {
            first + place - before
            for telling, before in _TELLING
            for place in _all(piece, telling)
            if place < _PIECE
        }
        for place in sorted(places):
            last = found[-1] if found else 0
            if place > last and _begins(file, place, last) and len(found) < _MOST:
                found.append(place)
    return tuple(found)


def _all(content: bytes, part: bytes) -> list[int]:
    places, place = [], content.find(part)
    while place >= 0:
        places.append(place)
        place = content.find(part, place + 1)
    return places


def _may_be_followed(head: bytes) -> bool:
    """Not the containers of films, which may hold whole files as attachments."""
    return (
        head[8:12] in (b"WAVE", b"AIFF", b"AIFC")
        or head[4:8] == b"ftyp"
        or head.startswith((b"fLaC", b"OggS", b"caff", b"TTA1", b"FLV\x01", b"ID3", _ASF))
        or _is_sync(head)
    )


def _is_sync(head: bytes) -> bool:
    """Whether a frame of mp3 or aac begins there."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] != 0xFF


def _begins(file: BinaryIO, place: int, last: int) -> bool:
    """Whether the telling bytes at `place` begin a recording; the one before it begins at `last`."""
    n = file.fileno()
    head, before = os.pread(n, _FIRST, place), os.pread(n, _FIRST, last)
    if len(head) < _FIRST:
        return False
    if head[:3] == b"ID3":
        # Tags in mp3 and aac are no reason to part them: FFmpeg reads on.
        if before.startswith(b"ID3") or _is_sync(before) or head[3] not in (2, 3, 4) or max(head[6:10]) > 127:
            return False
        return _is_sync(os.pread(n, 2, place + 10 + id3_size(head)))
    if before.startswith(b"ID3") and place <= last + 10 + id3_size(before):
        return False  # the first recording's own start, behind its tag
    if before.startswith(b"OggS") and head.startswith(b"fLaC"):
        return False  # the head of FLAC in Ogg
    if before.startswith(b"OggS") and head.startswith(b"OggS"):
        return not _follows_a_start(file, place, last)
    if head[4:8] == b"ftyp":
        return head[:3] == bytes(3) and 16 <= head[3] <= 128
    if head.startswith(b"FLV"):
        return head[4] in (1, 4, 5) and head[5:9] == b"\0\0\0\x09"
    if head[8:12] == b"WAVE":
        return head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX")
    return head[8:12] not in (b"AIFF", b"AIFC") or head[:4] == b"FORM"


def _follows_a_start(file: BinaryIO, place: int, last: int) -> bool:
    """Whether an Ogg page at `place` belongs to the streams that begin together at `last`, as in a film."""
    while last < place:
        head = os.pread(file.fileno(), 27 + 255, last)
        if not head.startswith(_OGG):
            return False
        last += 27 + head[26] + sum(head[27 : 27 + head[26]])
    return last == place
