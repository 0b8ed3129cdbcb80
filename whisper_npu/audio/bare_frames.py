"""Frames that follow one another without time stamps: how many bytes between and within them are lost.

FFmpeg looks for the next frame behind a damaged one, and says nothing of the bytes it skips. They show as
a gap between the places of two packets; or the places are counted on as if nothing had been skipped; or they
lie in one packet with the frame before them.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from whisper_npu.audio.containers import BARE_FRAMES, FRAMED_CODECS, HOLD_BARE_FRAMES
from whisper_npu.audio.stated import TAGS, id3_size
from whisper_npu.audio.stated.fields import at

_COUNTED_ON = ("aac",)  # formats whose packets' places FFmpeg counts on
_HEAD = 24  # bytes by which such a packet is found again
_REACH = 2**24  # bytes in which it is searched
_PIECE = 2**16  # bytes that are read at once for that


def are_bare(container: str, codec: str) -> bool:
    """Both by FFmpeg's names."""
    return container in BARE_FRAMES or (container in HOLD_BARE_FRAMES and codec.startswith(FRAMED_CODECS))


class BareFrames:
    """The packets of one stream, in their order."""

    def __init__(self, file: BinaryIO, container: str, codec: Any) -> None:
        """container: FFmpeg's name; codec: PyAV's context."""
        self._file, self._codec = file, codec
        self._are_counted_on = container in _COUNTED_ON
        self._skipped = 0  # bytes by which counted places are too small
        self._end: int | None = None  # place in the file behind the last packet
        self._step: int | None = None  # bytes between any two packets of this format
        self._n_decoded, self._n_bytes = 0, 0

    def forget_place(self) -> None:
        """What comes next may lie anywhere, as behind a tag."""
        self._end = None

    def lost_before(self, packet: Any) -> int:
        """Bytes of frames between the packet before and this one."""
        if packet.pos is None:
            return 0
        start, place = self._end, self._place(packet)
        size = int(packet.size)
        self._end = place + size
        if start is None:
            return 0
        if self._step is None:
            self._step = max(0, place - start)
        if place <= start + self._step:
            return 0
        lost = max(0, place - self._behind_tags(start) - self._step)
        return lost * size // (size + self._step)  # the same share of it is frames

    def lost_within(self, packet: Any) -> int:
        """Bytes behind the frame that was decoded from a packet.

        Only DTS's decoder takes the first frame of a packet and leaves the rest. The frames of its core are
        of one size; those with extensions are not, so that nothing can be said of them.
        """
        usual = self._n_bytes // self._n_decoded if self._n_decoded else packet.size
        if self._codec.name == "dca" and self._codec.profile == "DTS" and packet.size > 1.5 * usual:
            return int(packet.size - usual)
        self._n_decoded += 1
        self._n_bytes += packet.size
        return 0

    def _place(self, packet: Any) -> int:
        place = int(packet.pos) + self._skipped
        if not self._are_counted_on:
            return place
        head = bytes(memoryview(packet)[:_HEAD])
        if at(self._file, place, len(head)) == head:
            return place
        for first in range(place, place + _REACH, _PIECE):
            piece = at(self._file, first, _PIECE + _HEAD)
            found = piece.find(head)
            if found >= 0:
                self._skipped += first + found - place
                return first + found
            if len(piece) <= _HEAD:
                break
        return place

    def _behind_tags(self, place: int) -> int:
        """Tags are no sound, as in mp3s or radio's segments that were joined."""
        while (head := at(self._file, place, 11)).startswith(TAGS):
            if not head.startswith(b"ID3"):
                return self._end or place
            place += 10 + id3_size(head)
        return place
