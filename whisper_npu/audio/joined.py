"""Where in a file another recording begins that was joined to the first one, as by `cat`.

Decoders stop there, or take it for damage. A recording is recognised by its first bytes, which are too many
to occur by chance in the sound of another; mp3 and AAC without a tag by several frames. Chained Ogg streams
(RFC 3533, 4) are joined recordings, too.
"""

from __future__ import annotations

import os
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio.damage import check_cancelled
from whisper_npu.audio.frames import LONGEST, aac_starts, mp3_starts
from whisper_npu.audio.stated import id3_size, mp4
from whisper_npu.audio.stated.fields import known

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML = b"\x1a\x45\xdf\xa3"
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
    (b"wvpk", 0),
    (_EBML, 0),
    (b"ID3", 0),
    (_ASF, 0),
    (_OGG, 0),
)
_FIRST = 40  # bytes by which the first recording is recognised
_PIECE = 2**22  # bytes that are searched at once
_MOST = 1_000  # recordings in one file
_PACKET = 188  # bytes, of a transport stream
_MP3, _AAC = 1, 2


def starts(name: str, file: BinaryIO, cancelled: Event | None = None) -> tuple[int, ...]:
    """The places of the recordings behind the first one, in their order; none for most files.

    Raises CancelledError.
    """
    size, n = os.fstat(file.fileno()).st_size, file.fileno()
    head = os.pread(n, _PACKET + 1, 0)
    is_broadcast = head[:1] == head[_PACKET:] == b"G"
    if not is_broadcast and not _may_be_followed(head):
        return ()
    found: list[int] = []
    for first in range(0, size, _PIECE):
        check_cancelled(name, cancelled)
        piece = os.pread(n, _PIECE + LONGEST, first)
        if not any(memoryview(piece)[::4096]) and piece == bytes(len(piece)):
            continue
        places = {
            first + place - before
            for telling, before in _TELLING
            for place in _all(piece[: _PIECE + _FIRST], telling)
            if place < _PIECE
        }
        if is_broadcast:  # behind a whole packet of it
            places = {place for place in places if place % _PACKET == 0}
        frames = _frames(file, found[-1] if found else 0, size, piece, first)
        for place in sorted(places | frames):
            last = found[-1] if found else 0
            if place > last and len(found) < _MOST and (place in frames or _begins(file, place, last)):
                found.append(place)
                frames = _frames(file, place, size, piece, first)
    return tuple(found)


def _frames(file: BinaryIO, last: int, size: int, piece: bytes, first: int) -> set[int]:
    """Where in a piece of the file, from `first` on, mp3 or AAC begins behind a recording of another kind.

    last: where that begins.
    """
    places: set[int] = set()
    least = _own_end(file, last, size)
    if least >= first + len(piece):
        return places
    kind = _sync_of(file, last)
    behind = max(0, int(least) - first)
    for of_kind, starts_of in ((_MP3, mp3_starts), (_AAC, aac_starts)):
        if kind != of_kind:
            place = next(starts_of(piece[behind:]), None)
            if place is not None and behind + place < _PIECE:
                places.add(first + behind + place)
    return places


def _own_end(file: BinaryIO, last: int, size: int) -> float:
    """From where on frames are none of the recording that begins at `last`: it may hold mp3 itself."""
    head = os.pread(file.fileno(), 16, last)
    if head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        length = int.from_bytes(head[4:8], "big" if head[:1] == b"F" else "little")
        return last + 8 + length if known(length, 32) else inf
    if head[4:8] == b"ftyp":
        ends = [box.end for box in mp4.boxes(file) if box.end <= size] if last == 0 else []
        return max(ends, default=inf)
    if head.startswith((b"caff", _ASF)):
        return inf
    return last + 1


def _sync_of(file: BinaryIO, place: int) -> int | None:
    """Whether mp3 or AAC begins there, behind a tag if there is one."""
    head = os.pread(file.fileno(), 10, place)
    if head.startswith(b"ID3"):
        head = os.pread(file.fileno(), 10, place + 10 + id3_size(head))
    if not _is_sync(head):
        return None
    return _MP3 if head[1] & 6 else _AAC


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
        or head.startswith((b"fLaC", b"OggS", b"caff", b"TTA1", b"FLV\x01", b"wvpk", b"ID3", _ASF))
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
    if head.startswith(_EBML):
        return b"matroska" in head or b"webm" in head
    if head.startswith(b"wvpk"):
        return _begins_wavpack(head)
    if head.startswith(b"FLV"):
        return head[4] in (1, 4, 5) and head[5:9] == b"\0\0\0\x09"
    if head[8:12] == b"WAVE":
        return head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX")
    return head[8:12] not in (b"AIFF", b"AIFC") or head[:4] == b"FORM"


def _begins_wavpack(block: bytes) -> bool:
    """Whether it is the first block of the first samples, by WavPack's header (version 5, 2.0)."""
    n_before, n_samples = int.from_bytes(block[16:20], "little") + (block[10] << 32), block[20:24]
    is_initial = block[25] & 8  # of those that hold the channels of the same samples
    return n_before == 0 and any(n_samples) and bool(is_initial)


def _follows_a_start(file: BinaryIO, place: int, last: int) -> bool:
    """Whether an Ogg page at `place` belongs to the streams that begin together at `last`, as in a film."""
    while last < place:
        head = os.pread(file.fileno(), 27 + 255, last)
        if not head.startswith(_OGG):
            return False
        last += 27 + head[26] + sum(head[27 : 27 + head[26]])
    return last == place
