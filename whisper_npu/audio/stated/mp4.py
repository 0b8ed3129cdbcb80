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
_MOST_INNER = 10_000  # boxes of one fragment
_FIRST = (b"ftyp", b"styp", b"wide", b"mdat", b"free", b"skip", b"moov", b"pnot")
_KNOWN = (*_FIRST, b"moof", b"sidx", b"mfra", b"uuid", b"meta", b"udta", b"emsg", b"prft")
_HOLD_BOXES = (b"moof", b"traf")
_PIECE = 2**20  # bytes that are searched at once
_LOST = b"lost"  # what a damaged stretch is called when it is made a box; decoders skip it


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


def is_fragmented(file: BinaryIO) -> bool:
    """Whether it is a recording that grew: its index tells of no more than its first part."""
    return _is_fragmented(list(boxes(file)), file)


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
    if not is_fragmented(file):
        return []
    found: list[Stretch] = []
    place = 0
    for _ in range(_MOST_BOXES):
        if place >= size:
            break
        box = _box(file, place)
        if box is not None and _is_whole(file, box, size):
            place = int(box.end) if box.length != inf else size
            continue
        following = _next_fragment(file, place + 8)
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


def lost(file: BinaryIO, size: int, seconds: float) -> Lost:
    """seconds: of all fragments that are there. Those which are lost last about as long for their bytes."""
    found = [box for box in boxes(file) if box.kind in (b"moof", b"mdat", _LOST)]
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
    return any(
        inner.kind == b"tfdt"
        for part in _inner(file, moof)
        if part.kind == b"traf"
        for inner in _inner(file, part)
    )


def _is_fragmented(found: list[Box], file: BinaryIO) -> bool:
    index = next((box for box in found if box.kind == b"moov"), None)
    return index is not None and any(box.kind == b"mvex" for box in _inner(file, index))


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


def _is_whole(file: BinaryIO, box: Box, size: int) -> bool:
    if box.kind == b"moof":
        return box.end <= size and _fits(file, box)
    if box.length == inf or box.end == size:
        return True
    if box.kind in _KNOWN and box.kind != b"mdat":
        return box.end < size
    behind = _box(file, int(box.end))  # where a wrong size leads, there is none
    return behind is not None and behind.kind in _KNOWN


def _inner(file: BinaryIO, parent: Box) -> Iterator[Box]:
    place = parent.place + 8
    for _ in range(_MOST_INNER):
        box = _box(file, place)
        if place >= parent.end or box is None:
            return
        yield box
        place = int(min(box.end, parent.end))


def _fits(file: BinaryIO, parent: Box) -> bool:
    """Whether the boxes within one take up its length."""
    place = parent.place + 8
    for box in _inner(file, parent):
        if box.end > parent.end or (box.kind in _HOLD_BOXES and not _fits(file, box)):
            return False
        place = int(box.end)
    return parent.place + 8 < place == parent.end


def _next_fragment(file: BinaryIO, place: int) -> int | None:
    """Where the next one begins that can be read."""
    while piece := at(file, place, _PIECE):
        found = piece.find(b"moof", 4)
        while found >= 0:
            box = _box(file, place + found - 4)
            if box is not None and _fits(file, box):
                return box.place
            found = piece.find(b"moof", found + 1)
        place += len(piece) - 7 if len(piece) == _PIECE else len(piece)
    return None
