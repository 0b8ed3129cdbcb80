"""RealMedia: chunks that state their size."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import MOST_CHUNKS, End, at, known


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if a chunk is not there as a whole."""
    if at(file, 0, 4) != b".RMF":
        return None
    place = 0
    for _ in range(MOST_CHUNKS):
        if place >= size:
            return End(is_cut=place > size)
        head = at(file, place, 8)
        length = known(int.from_bytes(head[4:], "big"), 32)
        if len(head) < 8 or length is None or length < 8 or not head[:4].strip(b".").isalnum():
            return End()
        place += length
    return End()
