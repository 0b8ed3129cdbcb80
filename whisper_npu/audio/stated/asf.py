"""Microsoft's ASF: wma and wmv (its specification, 3.2)."""

from __future__ import annotations

import struct
from typing import BinaryIO

from whisper_npu.audio.damage import LENGTH_SLACK
from whisper_npu.audio.stated.fields import HEAD, End, at

HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1


def end(file: BinaryIO, size: int) -> End | None:
    """What the File Properties state, but of a broadcast. The length is that of sound and picture."""
    if at(file, 0, 16) != HEADER:
        return None
    head = at(file, 0, HEAD)
    place = head.find(_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return End()
    (n_bytes,) = struct.unpack("<Q", head[place + 40 : place + 48])
    duration, _, preroll, flags = struct.unpack("<QQQI", head[place + 64 : place + 92])
    if flags & _BROADCAST:
        return End()
    seconds = max(0.0, duration / 1e7 - preroll / 1e3)
    return End(seconds, LENGTH_SLACK, is_cut=n_bytes > size, is_of_film=True)
