"""mp4, m4a, mov, 3gp (ISO/IEC 14496-12, 4.2): boxes, and the fragments of a recording that grew (8.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import BinaryIO

from whisper_npu.audio.stated.fields import MOST_CHUNKS, End, at
from whisper_npu.audio.stated.pauses import Pauses

_MOST_BOXES = 100 * MOST_CHUNKS  # a fragmented one has two for each second or so
_MOST_INNER = 10 * _MOST_BOXES  # boxes of all fragments
_MOST_TRIED = 20 * MOST_CHUNKS  # boxes that are looked at in search of all fragments behind damage
_FIRST = (b"ftyp", b"styp", b"wide", b"mdat", b"free", b"skip", b"moov", b"pnot")
_KNOWN = (*_FIRST, b"moof", b"sidx", b"mfra", b"uuid", b"meta", b"udta", b"emsg", b"prft")
_PIECE = 2**20  # bytes that are searched at once
_LOST = b"lost"  # what a damaged stretch is called when it is made a box; decoders skip it


class _Heads:
    """Heads of boxes, read from a file: a limited number, whatever the file holds."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.n_left = file, most

    def box(self, place: int) -> Box | None:
        """The box there; None for none, and where the number is used up."""
        self.n_left -= 1
        return _box(self.file, place) if self.n_left >= 0 else None


@dataclass(frozen=True)
class Box:
    kind: bytes
    place: int
    length: float  # infinite for one that goes on to the file's end

    @property
    def end(self) -> float:
        return self.place + self.length


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if its last box is not there as a whole."""
    found = list(boxes(file))
    if not found or found[0].kind != b"ftyp":
        return None
    is_cut = found[-1].length != inf and found[-1].end > size
    if _is_fragmented(found, file):
        is_cut = is_cut or found[-1].end < size - 8  # something that is no box follows
    return End(is_cut=is_cut)


def has_lost_index(file: BinaryIO, size: int) -> bool:
    """Whether the index, which lies at the end of most, is not there, or not as a whole."""
    found = list(boxes(file))
    if not found or found[0].kind not in _FIRST:
        return False
    return not any(box.kind == b"moov" and box.end <= size for box in found)


def boxes(file: BinaryIO, place: int = 0) -> Iterator[Box]:
    """Those that lie one behind the other from `place` on, up to one that is damaged."""
    for _ in range(_MOST_BOXES):
        box = _box(file, place)
        if box is None:
            return
        yield box
        if box.length == inf:
            return
        place += int(box.length)


@dataclass(frozen=True)
class Stretch:
    """Bytes that are to be one box: of those before a fragment that can be read."""

    place: int
    stop: int
    kind: bytes

    @property
    def head(self) -> bytes:
        return struct.pack(">I4s", self.stop - self.place, self.kind)


def damaged_stretches(file: BinaryIO, size: int) -> list[Stretch]:
    """Those of a fragmented mp4. A decoder gives up at the first one, unless it is a box that it can skip."""
    if not _is_fragmented(list(boxes(file)), file):
        return []
    found: list[Stretch] = []
    walked, tried = _Heads(file, _MOST_INNER), _Heads(file, _MOST_TRIED)
    place = 0
    while place < size and walked.n_left > 0:
        box = walked.box(place)
        if box is not None and _is_whole(walked, box, size):
            place = int(box.end) if box.length != inf else size
            continue
        following = _next_fragment(tried, place + 8)
        if following is None or following - place >= 2**32:
            break
        kind = box.kind if box is not None and box.kind == b"mdat" else _LOST
        found.append(Stretch(place, following, kind))
        place = following
    return found


@dataclass(frozen=True)
class Lost:
    """Fragments that were damaged, of a recording in which they are boxes that decoders skip."""

    at_start: float = 0.0  # seconds that those last which come before all others, about
    pauses: Pauses = field(default_factory=Pauses)  # what the time stamps of later fragments leave out


def lost(file: BinaryIO, size: int, seconds: float) -> Lost | None:
    """None for what has no fragments.

    seconds: of all that are there. Those which are lost last about as long for their bytes.
    """
    found = list(boxes(file))
    if not _is_fragmented(found, file):
        return None
    found = [box for box in found if box.kind in (b"moof", b"mdat", _LOST)]
    if not any(box.kind == _LOST for box in found):
        return Lost()
    n_there = sum(min(box.end, size) - box.place for box in found if box.kind != _LOST)
    at_start, pauses = 0.0, []
    for number, box in enumerate(found):
        if box.kind != _LOST:
            continue
        lasts = box.length * seconds / n_there if n_there else 0.0
        if number == 0:
            at_start = lasts
        if number + 1 < len(found) and not _tells_its_time(file, found[number + 1]):
            pauses.append((int(box.end), lasts))
    return Lost(at_start, Pauses(pauses))


def _tells_its_time(file: BinaryIO, moof: Box) -> bool:
    heads = _Heads(file, _MOST_INNER)
    return any(
        inner.kind == b"tfdt"
        for part in _inner(heads, moof)
        if part.kind == b"traf"
        for inner in _inner(heads, part)
    )


def _is_fragmented(found: list[Box], file: BinaryIO) -> bool:
    """Whether it is a recording that grew: its index tells of no more than its first part."""
    index = next((box for box in found if box.kind == b"moov"), None)
    return index is not None and any(box.kind == b"mvex" for box in _inner(_Heads(file, _MOST_BOXES), index))


def _box(file: BinaryIO, place: int) -> Box | None:
    head = at(file, place, 16)
    if len(head) < 8:
        return None
    length, kind = struct.unpack(">I4s", head[:8])
    if length == 1:
        length = int.from_bytes(head[8:16], "big")
    if not kind.isalnum() or 0 < length < 8:
        return None
    return Box(kind, place, inf if length == 0 else length)


def _is_whole(heads: _Heads, box: Box, size: int) -> bool:
    if box.kind == b"moof":
        return box.end <= size and _is_fragment(heads, box)
    if box.length == inf or box.end == size:
        return True
    if box.kind in _KNOWN and box.kind != b"mdat":
        return box.end < size
    behind = heads.box(int(box.end))  # where a wrong size leads, there is none
    return behind is not None and behind.kind in _KNOWN


def _inner(heads: _Heads, parent: Box) -> Iterator[Box]:
    """The boxes within one, up to one that is damaged or goes on to the file's end."""
    place = parent.place + 8
    while place < parent.end:
        box = heads.box(place)
        if box is None:
            return
        yield box
        if box.end >= parent.end:
            return
        place = int(box.end)


def _is_fragment(heads: _Heads, moof: Box) -> bool:
    """Whether the boxes within it, and within each of its tracks, take up its length."""
    found = []
    for box in _inner(heads, moof):
        found.append(box)
        if box.kind == b"traf" and not _take_up(list(_inner(heads, box)), box):
            return False
    return _take_up(found, moof)


def _take_up(found: list[Box], parent: Box) -> bool:
    """Whether boxes that lie one behind the other end where the one does that holds them."""
    return bool(found) and found[-1].end == parent.end


def _next_fragment(heads: _Heads, place: int) -> int | None:
    """Where the next one begins that can be read."""
    while (piece := at(heads.file, place, _PIECE)) and heads.n_left > 0:
        found = piece.find(b"moof", 4)
        while found >= 0 and heads.n_left > 0:
            box = heads.box(place + found - 4)
            if box is not None and box.length != inf and _is_fragment(heads, box):
                return box.place
            found = piece.find(b"moof", found + 1)
        place += len(piece) - 7 if len(piece) == _PIECE else len(piece)
    return None
