"""Numbers and chunks in a file's header."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from whisper_npu.audio.damage import EXACT_SLACK

MOST_CHUNKS = 1_000  # before the samples; more are no recording
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_FILLING = b"\0 \t\r\n"
HEAD = 2**16  # bytes in which the headers of films lie


@dataclass(frozen=True)
class SizeField:
    """Where the size of the samples is written."""

    place: int
    form: str  # of the number, for struct
    extra: int = 0  # bytes that it counts beside the samples


@dataclass(frozen=True)
class Extent:
    """Where samples lie, and how many bytes of them are stated."""

    start: int  # the place of their first byte
    stated: int | None  # bytes; None for a recorder that could not know
    field: SizeField | None = None  # None: not to be corrected
    seconds: float = 0.0  # what all of them last; 0: in proportion to their bytes

    def there(self, size: int) -> int:
        """How many bytes of them a file of `size` bytes holds."""
        return max(0, size - self.start if self.stated is None else min(self.stated, size - self.start))

    @property
    def end(self) -> int:
        """The place behind their last byte, as stated."""
        return self.start + (self.stated or 0)


@dataclass(frozen=True)
class End:
    """What a compressed format states of the end of its sound."""

    seconds: float = 0.0  # of the sound, or of the film; 0: it does not say
    slack: float = EXACT_SLACK  # seconds by which that may differ from the real length
    is_of_film: bool = False  # the seconds are those of all streams together
    is_cut: bool = False  # the file is shorter than it states, in bytes


def size_of(file: BinaryIO) -> int:
    """Bytes of the file."""
    return os.fstat(file.fileno()).st_size


def at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    """Up to so many bytes of the file; its position stays."""
    try:
        return os.pread(file.fileno(), n_bytes, place) if 0 <= place < 2**63 else b""
    except OSError:  # the disk
        return b""


def is_no_sound(content: bytes) -> bool:
    """Whether what lies behind the last frame is none of one: zeros, white space, or a tag."""
    rest = content.lstrip(_FILLING)
    return not rest or rest.startswith(TAGS)


def chunks(
    file: BinaryIO, place: int, form: str, *, is_padded: bool = True, most: int = MOST_CHUNKS
) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of what it holds, size) of each chunk from `place` on. form: of name and size."""
    length = struct.calcsize(form)
    for _ in range(most):
        head = at(file, place, length)
        if len(head) < length:
            return
        kind, size = struct.unpack(form, head)
        place += length
        yield kind, place, size
        place += size + (size % 2 if is_padded else 0)


def known(size: int | None, n_bits: int) -> int | None:
    """A stated size, but None for what recorders write that cannot know it.

    Those write 0, or about the largest number with or without a sign: sox, for one, 0x7FFFF000.
    """
    if size is None or size == 0:
        return None
    near = 2**16
    is_largest = any(limit - near <= size <= limit for limit in (2 ** (n_bits - 1), 2**n_bits))
    return None if is_largest else size
