"""AVI, with Microsoft's AVISTREAMHEADER, and OpenDML's further RIFFs."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from whisper_npu.audio.damage import LENGTH_SLACK
from whisper_npu.audio.stated.fields import HEAD, End, at, chunks, known
from whisper_npu.audio.stated.pauses import Pauses

_MOST_PIECES = 2_000_000  # of sound and picture: 9 hours of a film


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


def pauses(file: BinaryIO, stream: int) -> Pauses:
    """Those of a stream, from 0. None in another format.

    Pieces that are empty stand for time without sound; those whose head is damaged are lost.
    """
    if not _is_avi(file):
        return Pauses()
    head, place = at(file, 0, HEAD), 0
    for _ in range(stream + 1):
        place = head.find(b"strh", place + 1)
        if place < 0 or len(head) < place + 8 + 48:
            return Pauses()
    scale, rate = struct.unpack("<2I", head[place + 28 : place + 36])
    (bytes_of_a_sample,) = struct.unpack("<I", head[place + 52 : place + 56])
    if not rate:
        return Pauses()
    name, last = b"%02dwb" % stream, 0
    found = []
    for kind, place, size in islice(_pieces(file), _MOST_PIECES):
        last = place + size
        if kind == name and not size and not bytes_of_a_sample:
            found.append((place, scale / rate))
    for place, size in _indexed(file, name):
        if place > last and at(file, place - 8, 8) != name + size.to_bytes(4, "little"):
            found.append((place, (size / bytes_of_a_sample if bytes_of_a_sample else 1) * scale / rate))
    return Pauses(found)


def _indexed(file: BinaryIO, name: bytes) -> Iterator[tuple[int, int]]:
    """(place, size) of each piece of a stream, by the index behind all pieces."""
    movi = 0
    for kind, place, size in chunks(file, 12, "<4sI"):
        if kind == b"LIST" and at(file, place, 4) == b"movi":
            movi = place
        if kind == b"idx1":
            base = None
            for entry in range(place, place + min(size, 16 * _MOST_PIECES), 16):
                found = at(file, entry, 16)
                if len(found) < 16:
                    return
                kind, _, offset, length = struct.unpack("<4s3I", found)
                if base is None:  # offsets count from the list, or from the start of the file
                    base = movi if offset < movi else 0
                if kind == name:
                    yield base + offset + 8, length
            return


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
    """All chunks of sound and picture, and the lists of them: (name, place, size)."""
    n_bytes = os.fstat(file.fileno()).st_size
    for _, place, length in _riffs(file):
        end = min(place + length, n_bytes)
        for kind, inner, size in chunks(file, place + 4, "<4sI"):
            if kind == b"LIST" and at(file, inner, 4) == b"movi":
                yield from _in_list(file, inner + 4, min(inner + size, end))
            if inner + size >= end:
                break


def _in_list(file: BinaryIO, place: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    while place < stop:
        head = at(file, place, 8)
        if len(head) < 8 or not head[:4].isalnum():
            return
        size = int.from_bytes(head[4:], "little")
        yield head[:4], place + 8, size
        # What is in a list is read together.
        place += 12 if head[:4] == b"LIST" else 8 + size + size % 2
