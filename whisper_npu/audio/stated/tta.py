"""True Audio: samples, and the size of each frame."""

from __future__ import annotations

import struct
from typing import BinaryIO

from whisper_npu.audio.stated.fields import End, at
from whisper_npu.audio.stated.mp3 import behind_id3

_HEAD = 22  # bytes


def end(file: BinaryIO, size: int) -> End | None:
    """What header and seek table state."""
    place = behind_id3(file)
    head = at(file, place, _HEAD)
    if head[:4] != b"TTA1" or len(head) < _HEAD:
        return None
    rate, n_samples = struct.unpack("<2I", head[10:18])
    frame = rate * 256 // 245  # samples
    if not frame:
        return End()
    n_frames = -(-n_samples // frame)
    table = at(file, place + _HEAD, 4 * n_frames)
    if len(table) < 4 * n_frames:
        return End(n_samples / rate, is_cut=True)
    behind = place + _HEAD + len(table) + 4 + sum(struct.unpack(f"<{n_frames}I", table))
    return End(n_samples / rate, is_cut=behind > size)
