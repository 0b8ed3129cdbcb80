"""Apple's Core Audio Format."""

from __future__ import annotations

import struct
from typing import BinaryIO

from whisper_npu.audio.stated.fields import Extent, SizeField, at, chunks, known


def extent(file: BinaryIO) -> Extent | None:
    if at(file, 0, 4) != b"caff":
        return None
    found, rate, bytes_per_packet, seconds = None, 0.0, 1, 0.0
    for kind, place, size in chunks(file, 8, ">4sQ", is_padded=False):
        if kind == b"desc":
            rate, _, _, bytes_per_packet = struct.unpack(">d4sII", at(file, place, 20).ljust(20, b"\0"))
        if kind == b"pakt":  # the valid samples, behind the number of packets
            (n_samples,) = struct.unpack(">q", at(file, place + 8, 8).ljust(8, b"\0"))
            seconds = n_samples / rate if rate > 0 and n_samples > 0 else 0.0
        if kind == b"data":  # a number of edits comes before the samples; -1: as long as the file
            stated = known(size, 64)
            field = SizeField(place - 8, ">Q", extra=4)
            found = Extent(place + 4, None if stated is None else max(0, stated - 4), field)
    if found is not None and bytes_per_packet == 0:  # packets of several sizes
        return Extent(found.start, found.stated, found.field, seconds)
    return found
