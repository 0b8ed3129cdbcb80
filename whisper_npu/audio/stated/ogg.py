"""Ogg (RFC 3533, 6)."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import End, at

_LONGEST = 27 + 255 + 255 * 255  # bytes of a page


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if its last page is not there as a whole."""
    if at(file, 0, 4) != b"OggS":
        return None
    tail = at(file, max(0, size - _LONGEST), _LONGEST)
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or page[:4] != b"OggS":
        return End(is_cut=page[:4] == b"OggS")
    table = page[27 : 27 + page[26]]
    # The first bytes of another page may be behind it.
    return End(is_cut=len(page) != 27 + page[26] + sum(table))
