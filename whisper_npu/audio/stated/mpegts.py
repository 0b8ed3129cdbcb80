"""MPEG transport streams (ISO/IEC 13818-1, 2.4.3.2)."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import End, at, is_no_sound


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if its last packet is not there as a whole."""
    if any(at(file, place, 1) != b"G" for place in range(0, 5 * 188, 188)):
        return None
    return End(is_cut=not is_no_sound(at(file, size - size % 188, size % 188)))
