"""Copies of recordings whose header is wrong, with a header that is right: decoders believe it."""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio.copying import copied
from whisper_npu.audio.stated import TAGS, extent_of, riff
from whisper_npu.audio.stated.fields import at
from whisper_npu.audio.stated.mp4 import damaged_stretches
from whisper_npu.audio.tags import between_tags

_LEAST_BEHIND = 1_000  # bytes behind the stated end that may be samples; fewer are padding

# What may lie behind the samples of a wav, aiff or w64; all else there is sound.
_NAMES = (
    b"LISTINFObextfactcue smplinstPEAKJUNKjunkPAD FLLRiXMLaxmlafsp_PMXDISPplstlablnoteid3 ID3 acidcartlevl"
    b"umidchnaCHANNAMEAUTHANNOCOMTMARKAPPLAESDMIDIINST(c) dataRIFFFORM"
)
_CHUNKS = frozenset(_NAMES[place : place + 4] for place in range(0, len(_NAMES), 4))


@dataclass(frozen=True)
class _Change:
    place: int
    content: bytes


def corrected(
    name: str, file: BinaryIO, max_seconds: float = inf, cancelled: Event | None = None
) -> BinaryIO | None:
    """A copy with all the samples in one chunk, if they lie in several; whose header states all of them, if
    its own states fewer; of whose damaged fragments decoders find their way to the next ones; or without the
    tags that decoders take for sound or damage. None where nothing is to be corrected.

    Raises AudioError where there is no room for it, TooLongError where it has more bytes than `max_seconds`
    of such a recording, CancelledError once `cancelled` is set.
    """
    size = _size(file)
    pieces, changes = [(0, size)], _of_parts(file)
    if changes:
        (first, length), *others = riff.parts(file)
        pieces = [(0, first + length), *others]
    else:
        changes = _more_samples(file) or [
            _Change(stretch.place, stretch.head) for stretch in damaged_stretches(file, size)
        ]
    if not changes:
        pieces = between_tags(file)
        if pieces == [(0, size)]:
            return None
    with ExitStack() as closing:
        copy = closing.enter_context(
            copied(name, _Pieces(file, pieces).read, max_seconds, cancelled=cancelled)
        )
        for change in changes:
            os.pwrite(copy.fileno(), change.content, change.place)
        closing.pop_all()
    return copy


class _Pieces:
    """Parts of a file, one behind the other."""

    def __init__(self, file: BinaryIO, pieces: list[tuple[int, int]]) -> None:
        """pieces: (place, bytes)."""
        self._file, self._pieces = file, list(pieces)

    def read(self, n_bytes: int) -> bytes:
        while self._pieces:
            place, length = self._pieces[0]
            content = at(self._file, place, min(n_bytes, length))
            self._pieces[0] = place + len(content), length - len(content)
            if content:
                return content
            self._pieces.pop(0)
        return b""


def _of_parts(file: BinaryIO) -> list[_Change]:
    """The size of all samples of a wav that has them in several chunks: decoders read one of these only."""
    parts = riff.parts(file)
    n_bytes = sum(length for _, length in parts)
    if len(parts) < 2 or n_bytes >= 2**32 or any(length == 0 for _, length in parts):
        return []
    return [_Change(parts[0][0] - 4, struct.pack("<I", n_bytes))]


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _more_samples(file: BinaryIO) -> list[_Change]:
    """The size of all samples, if a smaller one is stated."""
    extent, size = extent_of(file), _size(file)
    if extent is None or extent.stated is None or extent.field is None:
        return []
    end = extent.end
    if size - end < _LEAST_BEHIND or _is_told_apart(file, end) or _is_told_apart(file, end + 1):
        return []
    length = size - extent.start + extent.field.extra
    if length >= 2 ** (8 * struct.calcsize(extent.field.form)):
        return []
    return [_Change(extent.field.place, struct.pack(extent.field.form, length))]


def _is_told_apart(file: BinaryIO, place: int) -> bool:
    """Whether what lies there is another chunk, or a tag, and so no sound."""
    found = at(file, place, 11)
    return found[:4] in _CHUNKS or found.startswith(TAGS)
