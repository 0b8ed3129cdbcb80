"""RIFF and its 64-bit kin: wav, rf64 (EBU Tech 3306), w64 (Sony Wave64)."""

from __future__ import annotations

import struct
from typing import BinaryIO

from whisper_npu.audio.stated.fields import MOST_CHUNKS, Extent, SizeField, at, chunks, known, size_of

_PCM = (1, 3, 0xFFFE)  # wFormatTag: as many bytes for each sample


def extent(file: BinaryIO) -> Extent | None:
    head = at(file, 0, 40)
    match head[:4]:
        case b"RIFF" | b"RF64" | b"BW64" | b"RIFX" if head[8:12] == b"WAVE":
            return _in_riff(file, ">" if head[:4] == b"RIFX" else "<")
        case b"riff" if head[24:28] == b"wave":
            return _in_w64(file)
    return None


def parts(file: BinaryIO) -> list[tuple[int, int]]:
    """(place, bytes) of each chunk of samples of a wav: a recorder that is paused may begin another one.

    A chunk of unknown size goes on to the file's end. What is left of a block in the others is none.
    """
    if at(file, 0, 4) != b"RIFF" or at(file, 8, 4) != b"WAVE":
        return []
    found, block = [], 1
    for kind, place, size in chunks(file, 12, "<4sI"):
        if kind == b"fmt ":
            block = max(1, int.from_bytes(at(file, place + 12, 2), "little"))  # bytes of all channels
        if kind == b"data":
            if known(size, 32) is None:
                found.append((place, max(0, size_of(file) - place)))
                break
            found.append((place, size - size % block))
    return found


def _in_riff(file: BinaryIO, order: str) -> Extent | None:
    long_field = long_size = None
    tag, rate, n_samples = 1, 0, 0
    for kind, place, size in chunks(file, 12, f"{order}4sI"):
        if kind == b"ds64":
            long_field = place + 8  # behind the size of the whole file
            (long_size,) = struct.unpack(f"{order}Q", at(file, long_field, 8).ljust(8, b"\0"))
        if kind == b"fmt ":
            tag, _, rate = struct.unpack(f"{order}HHI", at(file, place, 8).ljust(8, b"\0"))
        if kind == b"fact":
            (n_samples,) = struct.unpack(f"{order}I", at(file, place, 4).ljust(4, b"\0"))
        if kind == b"data":
            # Compressed samples need not take as many bytes each: `fact` counts them.
            seconds = n_samples / rate if rate and tag not in _PCM and known(n_samples, 32) else 0.0
            if long_field is not None and size == 0xFFFFFFFF:
                field = SizeField(long_field, f"{order}Q")
                return Extent(place, known(long_size, 64), field, seconds)
            return Extent(place, known(size, 32), SizeField(place - 4, f"{order}I"), seconds)
    return None


def _in_w64(file: BinaryIO) -> Extent | None:
    place = 40
    for _ in range(MOST_CHUNKS):
        head = at(file, place, 24)
        if len(head) < 24:
            return None
        (size,) = struct.unpack("<Q", head[16:])  # with these 24 bytes
        if head[:4] == b"data":
            stated = known(size, 64)
            field = SizeField(place + 16, "<Q", extra=24)
            return Extent(place + 24, None if stated is None else max(0, stated - 24), field)
        place += max(size + 7 & ~7, 24)
    return None
