"""Sun's and DEC's au."""

from __future__ import annotations

import struct
from typing import BinaryIO

from whisper_npu.audio.stated.fields import Extent, SizeField, at, known


def extent(file: BinaryIO) -> Extent | None:
    head = at(file, 0, 12)
    if head[:4] not in (b".snd", b"dns."):
        return None
    order = ">" if head[:4] == b".snd" else "<"
    start, size = struct.unpack(f"{order}II", head[4:12].ljust(8, b"\0"))
    return Extent(start, known(size, 32), SizeField(8, f"{order}I"))
