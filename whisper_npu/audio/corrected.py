"""Copies of recordings whose header is wrong, with a header that is right: decoders believe it."""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio import by_libsndfile
from whisper_npu.audio.copying import PIECE, copied
from whisper_npu.audio.damage import too_long
from whisper_npu.audio.stated import TAGS, extent_of, flac, mp3, riff
from whisper_npu.audio.stated.fields import at, size_of
from whisper_npu.audio.stated.mp4 import damaged_stretches
from whisper_npu.audio.tags import between_tags

_SURELY_SHORT = 2**26  # bytes that are copied in any case: a part of them may be no samples
_LEAST_BEHIND = 1_000  # bytes behind the stated end that may be samples; fewer are padding

_MANY_ZEROS = 2**22  # bytes behind the last frame
_FEW_ZEROS = 2**10  # that stand for them: these tell that something may be missing

# What may lie behind the samples of a wav, aiff, w64 or caf; all else there is sound, but for chunks of other
# names that lead to the file's end.
_NAMES = (
    b"LISTINFObextfactcue smplinstPEAKJUNKjunkPAD FLLRiXMLaxmlafsp_PMXDISPplstlablnoteid3 ID3 acidcartlevl"
    b"umidchnaCHANNAMEAUTHANNOCOMTMARKAPPLAESDMIDIINST(c) dataRIFFFORM"
    b"paktkukichanstrgmarkregninstmidiovvwpeakedctinfouuidfree"
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
    tags that decoders take for sound or damage, or the zeros behind FLAC, mp3 or AAC, all of which decoders
    would hold in memory, looking for one more frame. None where nothing is to be corrected.

    Raises AudioError where there is no room for it, TooLongError where it has more bytes than `max_seconds`
    of such a recording, CancelledError once `cancelled` is set.
    """
    size = size_of(file)
    end = _before_zeros(file, size)
    if end < size:
        return copied(name, _Pieces(file, [(0, end)]).read, max_seconds, cancelled=cancelled)
    pieces, changes = [(0, size)], []
    parts = _parts(file)
    if parts and (n_bytes := sum(length for _, length in parts)) < 2**32:
        (first, length), *others = parts
        pieces = [(0, first + length), *others]
        changes = [_Change(first - 4, struct.pack("<I", n_bytes))]
    else:
        changes = _more_samples(file) or [
            _Change(stretch.place, stretch.head) for stretch in damaged_stretches(file, size)
        ]
    if not changes:
        pieces = between_tags(file)
        if pieces == [(0, size)]:
            return None
    n_bytes, rate = sum(length for _, length in pieces), by_libsndfile.bytes_per_second(file)
    if rate is not None and n_bytes > max(max_seconds * rate, _SURELY_SHORT):
        raise too_long(name, max_seconds)  # before gigabytes are copied
    with ExitStack() as closing:
        copy = closing.enter_context(
            copied(name, _Pieces(file, pieces).read, max_seconds, cancelled=cancelled)
        )
        for change in changes:
            os.pwrite(copy.fileno(), change.content, change.place)
        closing.pop_all()
    return copy


def _before_zeros(file: BinaryIO, size: int) -> int:
    """Where many zeros begin that end a file of bare frames; its size where there are none."""
    head = at(file, mp3.behind_id3(file), 4)
    if not head.startswith(b"fLaC") and not (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return size
    end = size
    while end > 0:
        piece = at(file, max(0, end - PIECE), min(PIECE, end))
        kept = len(piece.rstrip(b"\0"))
        end -= len(piece) - kept
        if kept or not piece:
            break
    if size - end < _MANY_ZEROS:
        return size
    stated = flac.end(file, size) or mp3.end(file, size)
    return end if stated is not None and stated.seconds else end + _FEW_ZEROS


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


def _parts(file: BinaryIO) -> list[tuple[int, int]]:
    """The chunks of samples of a wav that has several: decoders read one of these only. Else none."""
    parts = riff.parts(file)
    if len(parts) < 2:
        return []
    # A chunk of size 0 is empty where another chunk follows it; else its size is unknown.
    return [(place, length) for place, length in parts if length and not _is_told_apart(file, place)]


def _more_samples(file: BinaryIO) -> list[_Change]:
    """The size of all samples, if a smaller one is stated."""
    extent, size = extent_of(file), size_of(file)
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
    return found[:4] in _CHUNKS or found.startswith(TAGS) or _is_the_last_chunk(file, place)


def _is_the_last_chunk(file: BinaryIO, place: int) -> bool:
    """Whether a name and a size lie there that lead to the file's end, as of wav, aiff and caf."""
    name, end = at(file, place, 4), size_of(file)
    sizes = (("<I", 4), (">I", 4), (">Q", 8))
    return (
        name.isascii()
        and name.isalnum()
        and any(
            end - 1 <= place + 4 + n + struct.unpack(form, content)[0] <= end + 1
            for form, n in sizes
            if len(content := at(file, place + 4, n)) == n
        )
    )
