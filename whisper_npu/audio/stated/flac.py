"""FLAC (RFC 9639, 8.2)."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import End, at
from whisper_npu.audio.stated.mp3 import behind_id3


def end(file: BinaryIO, size: int) -> End | None:
    """What STREAMINFO states, unless its writer could not know it."""
    head = at(file, behind_id3(file), 26)
    if head[:4] != b"fLaC" or len(head) < 26:
        return None
    numbers = int.from_bytes(head[18:26], "big")  # 20 bits of the rate, 3 and 5 of channels and bits, 36
    rate, n_samples = numbers >> 44, numbers & 2**36 - 1
    return End(n_samples / rate if rate and n_samples != 2**36 - 1 else 0.0)
