"""AVI, with Microsoft's AVISTREAMHEADER, and OpenDML's further RIFFs."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from whisper_npu.audio.damage import LENGTH_SLACK
from whisper_npu.audio.stated.fields import HEAD, End, at, chunks, known, size_of

_MOST_HOLES = 8  # at most one for each RIFF
_MOST_PIECES = 2_000_000  # of sound and picture: 9 hours of a film
_LATEST_START = 3_600.0  # seconds; FFmpeg, too, takes more for damage
_HOLE = b""  # the name of bytes between pieces that are none


def end(file: BinaryIO, size: int) -> End | None:
    """What the header of the first audio stream states."""
    if not _is_avi(file):
        return None
    last = 0
    for _, place, length in _riffs(file):
        if known(length, 32) is None:  # the header was not completed
            return End()
        last = place + length
    head = at(file, 0, HEAD)
    place = head.find(b"auds") - 8
    seconds = 0.0
    if place >= 0 and head[place : place + 4] == b"strh" and len(head) >= place + 44:
        scale, rate, _, length = struct.unpack("<4I", head[place + 28 : place + 44])
        seconds = length * scale / rate if rate and length < 0x7FFF0000 else 0.0
    return End(seconds, LENGTH_SLACK, is_cut=last > size)


class When(NamedTuple):
    """What the pieces before a place say of it."""

    seconds: float  # by the header's steps
    without_sound: float  # of these, those of pieces that are empty or lost
    n_lost: int  # pieces that the index places, and that are not there


class Pieces:
    """Those of an audio stream: by them, not by FFmpeg's time stamps, is known when there is no sound.

    FFmpeg takes a piece for as many steps as its size has blocks of the header's nBlockAlign, and an empty
    one for none. By Microsoft's description each is one step, unless the stream has samples of one size.
    """

    def __init__(self, step: float, bytes_of_a_sample: int, start: float = 0.0) -> None:
        """All in seconds but the bytes.

        step: of a sample, or of a piece where bytes_of_a_sample is 0; start: when the first piece begins.
        """
        self._step, self._bytes_of_a_sample = step, bytes_of_a_sample
        self._places, self._n_lost = array("q"), array("q")
        self._seconds, self._without_sound = array("d", [start]), array("d", [start])

    def add(self, place: int, size: int, *, is_lost: bool = False) -> None:
        """In the order of time."""
        seconds = self._step * (size / self._bytes_of_a_sample if self._bytes_of_a_sample else 1)
        self._places.append(max(place, self._places[-1]) if self._places else place)
        self._n_lost.append((self._n_lost[-1] if self._n_lost else 0) + is_lost)
        self._seconds.append(self._seconds[-1] + seconds)
        self._without_sound.append(self._without_sound[-1] + (0.0 if size and not is_lost else seconds))

    def at(self, place: int) -> When:
        """place: in the file, of what a piece holds."""
        index = bisect_right(self._places, place) - 1
        if index < 0:
            return When(self._seconds[0], self._without_sound[0], 0)
        seconds = self._seconds[index]
        if self._bytes_of_a_sample:
            within = (place - self._places[index]) / self._bytes_of_a_sample * self._step
            seconds = min(seconds + within, self._seconds[index + 1])
        return When(seconds, self._without_sound[index], self._n_lost[index])


def pieces(file: BinaryIO, stream: int) -> Pieces | None:
    """Those of a stream, from 0. None in another format, and where the header does not tell."""
    if not _is_avi(file):
        return None
    head, place = at(file, 0, HEAD), 0
    for _ in range(stream + 1):
        place = head.find(b"strh", place + 1)
        if place < 0 or len(head) < place + 8 + 48:
            return None
    scale, rate, start = struct.unpack("<3I", head[place + 28 : place + 40])
    (bytes_of_a_sample,) = struct.unpack("<I", head[place + 52 : place + 56])
    if not rate:
        return None
    first = start * scale / rate
    found = Pieces(scale / rate, bytes_of_a_sample, first if first <= _LATEST_START else 0.0)
    name, n_holes = b"%02dwb" % stream, 0
    for kind, place, size in islice(_pieces(file), _MOST_PIECES):
        if kind == name:
            found.add(place, size)
        elif kind == _HOLE and n_holes < _MOST_HOLES:
            n_holes += 1
            _add_behind_hole(file, found, name, place, place + size)
    return found


def _add_behind_hole(file: BinaryIO, found: Pieces, name: bytes, start: int, stop: int) -> None:
    """Pieces by the index: those that are still there, and those that are lost."""
    n_bytes = size_of(file)
    n_removed = max(0, max(place + length for _, place, length in _riffs(file)) - n_bytes)
    for place, size in _indexed(file, name, stop - n_removed):
        if not start <= place < stop:
            continue
        head = name + size.to_bytes(4, "little")
        places = [there for there in (place, place - n_removed) if at(file, there - 8, 8) == head]
        found.add(places[0] if places else start, size, is_lost=not places)


def _indexed(file: BinaryIO, name: bytes, stop: int) -> Iterator[tuple[int, int]]:
    """(place, size) of each piece of a stream, by the index that follows a list of pieces."""
    kind, size = struct.unpack("<4sI", at(file, stop, 8).ljust(8, b"\0"))
    movi = next((place for _, place, _ in chunks(file, 12, "<4sI") if at(file, place, 4) == b"movi"), 0)
    if kind != b"idx1":
        return
    content = at(file, stop + 8, min(size, 16 * _MOST_PIECES))
    base = None
    for kind, _, offset, length in struct.iter_unpack("<4s3I", content[: len(content) // 16 * 16]):
        if base is None:  # offsets count from the list, or from the start of the file
            base = movi if offset < movi else 0
        if kind == name:
            yield base + offset + 8, length


def _is_avi(file: BinaryIO) -> bool:
    head = at(file, 0, 12)
    return head[:4] == b"RIFF" and head[8:] == b"AVI "


def _riffs(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Those one behind the other."""
    for kind, place, length in chunks(file, 0, "<4sI"):
        if kind != b"RIFF":
            return
        yield kind, place, length


def _pieces(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """All chunks of sound and picture, the lists of them, and holes between them: (name, place, size)."""
    n_bytes = size_of(file)
    for _, place, length in _riffs(file):
        end = min(place + length, n_bytes)
        for kind, inner, size in chunks(file, place + 4, "<4sI"):
            if kind == b"LIST" and at(file, inner, 4) == b"movi":
                yield from _in_list(file, inner + 4, inner + size, end)
            if inner + size >= end:
                break


def _in_list(file: BinaryIO, place: int, stop: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """stop: where the list says that it ends; end: where its RIFF does, or the file."""
    while place < min(stop, end):
        head = at(file, place, 8)
        size = int.from_bytes(head[4:], "little")
        if len(head) < 8 or not head[:4].isalnum() or (head[:4] != b"LIST" and place + 8 + size > stop):
            yield _HOLE, place, stop - place
            return
        yield head[:4], place + 8, size
        # What is in a list is read together.
        place += 12 if head[:4] == b"LIST" else 8 + size + size % 2
