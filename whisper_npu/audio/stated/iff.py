"""IFF: aiff, aifc, 8svx and 16sv."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import Extent, SizeField, at, chunks, known


def extent(file: BinaryIO) -> Extent | None:
    head = at(file, 0, 12)
    if head[:4] != b"FORM" or head[8:] not in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return None
    for kind, place, size in chunks(file, 12, ">4sI"):
        stated = known(size, 32)
        if kind == b"SSND":  # two numbers come before the samples
            field = SizeField(place - 4, ">I", extra=8)
            return Extent(place + 8, None if stated is None else max(0, stated - 8), field)
        if kind == b"BODY":
            return Extent(place, stated)
    return None
