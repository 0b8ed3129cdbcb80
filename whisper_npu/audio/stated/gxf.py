"""GXF (SMPTE 360M, 4.2): packets, the last of which ends the stream."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.stated.fields import End, at

_MAGIC = b"\0\0\0\0\x01"  # a packet; its type, its size and this follow:
_MAGIC_END = b"\xe1\xe2"
_LAST = _MAGIC + b"\xfb\0\0\0\x10\0\0\0\0" + _MAGIC_END  # the packet that ends the stream
_REACH = 2**10  # bytes at the end of the file in which that lies


def end(file: BinaryIO, size: int) -> End | None:
    """Cut if the packet that ends the stream is not there."""
    head = at(file, 0, 16)
    if not head.startswith(_MAGIC) or not head.endswith(_MAGIC_END):
        return None
    return End(is_cut=not ends(file, size))


def ends(file: BinaryIO, size: int) -> bool:
    """Whether the packet is there that ends the stream."""
    return _LAST in at(file, max(0, size - _REACH), _REACH)
