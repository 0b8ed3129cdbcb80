"""Matroska and WebM (RFC 9559; EBML, RFC 8794)."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import End, at

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if its segment states more bytes than there are; live recordings leave that open."""
    if at(file, 0, 4) != _EBML:
        return None
    head, length = _size(file, 4)
    place = 4 + head + (length or 0)
    if at(file, place, 4) != _SEGMENT:
        return End()
    head, length = _size(file, place + 4)
    return End(is_cut=length is not None and place + 4 + head + length > size)


def _size(file: BinaryIO, place: int) -> tuple[int, int | None]:
    """An element's size: of the number in bytes, and the number, which is None if it is unknown."""
    field = at(file, place, 8)
    n_bytes = 9 - field[0].bit_length() if field else 9
    if n_bytes > len(field):
        return 8, None
    largest = 2 ** (7 * n_bytes) - 1
    number = int.from_bytes(field[:n_bytes], "big") & largest
    return n_bytes, None if number in (0, largest) else number
