"""Flash's flv (Adobe's specification, E.5): the size that its metadata states."""

from __future__ import annotations

import struct
from typing import BinaryIO

from whisper_npu.audio.stated.fields import HEAD, End, at

_NUMBER = b"\0"


def end(file: BinaryIO, size: int) -> End | None:
    if at(file, 0, 3) != b"FLV":
        return None
    head, name = at(file, 0, HEAD), b"\x00\x08filesize" + _NUMBER
    place = head.find(name) + len(name)
    if place < len(name) or len(head) < place + 8:
        return End()
    (n_bytes,) = struct.unpack(">d", head[place : place + 8])
    return End(is_cut=n_bytes > size)
