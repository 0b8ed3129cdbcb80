"""Where in a file another recording begins that was joined to the first one, as by `cat`.

Decoders stop there, or take it for damage. A recording is recognised by its first bytes, which are too many
to occur by chance in the sound of another. It counts only where the one before it may end, by what that one
states: tags and other chunks of a recording may hold the head of another, or all of it. Chained Ogg streams
(RFC 3533, 4) are joined recordings, too.
"""

from __future__ import annotations

from functools import cached_property
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio.damage import check_cancelled
from whisper_npu.audio.frames import LONGEST, aac_starts, mp3_starts
from whisper_npu.audio.stated import asf, behind_id3, id3_size, mp4, ogg
from whisper_npu.audio.stated.fields import MOST_CHUNKS, at, chunks, known, size_of

_BOS = b"OggS\0\x02"  # an Ogg page that begins a stream
_AIFF = (b"AIFF", b"AIFC")
# Bytes that may tell, and how many of the recording come before them; `_is_start` looks closer.
_TELLING = (
    (b"WAVE", 8),
    (b"AIFF", 8),
    (b"AIFC", 8),
    (b"ftyp", 4),
    (b"caff\0\x01\0\0desc", 0),
    (b"fLaC\0\0\0\x22", 0),
    (b"TTA1\x01\0", 0),
    (b"FLV\x01", 0),
    (b"wvpk", 0),
    (b"ID3", 0),
    (asf.HEADER, 0),
    (_BOS, 0),
)
_FIRST = 40  # bytes by which a recording is recognised
_PIECE = 2**22  # bytes that are searched at once
_MOST = 1_000  # recordings in one file
_PACKET = 188  # bytes, of a transport stream
_MP3, _AAC = 1, 2


def starts(name: str, file: BinaryIO, cancelled: Event | None = None) -> tuple[int, ...]:
    """The places of the recordings behind the first one, in their order; none for most files.

    Raises CancelledError.
    """
    size = size_of(file)
    head = at(file, 0, _PACKET + 1)
    is_broadcast = head[:1] == head[_PACKET:] == b"G"
    if not is_broadcast and not _may_be_followed(head[:_FIRST]):
        return ()
    found: list[int] = []
    before = _Before(name, file, 0, cancelled)
    first = before.earliest
    while first < size:
        check_cancelled(name, cancelled)
        piece = at(file, first, _PIECE + LONGEST)
        places = {
            first + place - offset
            for telling, offset in _TELLING
            for place in _all(piece[: _PIECE + _FIRST], telling)
            if place < _PIECE
        }
        if is_broadcast:  # behind a whole packet of it
            places = {place for place in places if place % _PACKET == 0}
        frames = _frames(before, piece, first)
        for place in sorted(places | frames):
            if len(found) < _MOST and (place in frames or before.may_be_followed(place)):
                found.append(place)
                before = _Before(name, file, place, cancelled)
                frames = _frames(before, piece, first)
        if not piece:  # the disk
            break
        first = max(first + _PIECE, before.earliest)
    return tuple(found)


def _frames(before: _Before, piece: bytes, first: int) -> set[int]:
    """Where in a piece of the file, which begins at `first`, mp3 or AAC begins behind a recording of another
    kind.
    """
    behind = max(0.0, before.frames_from - first)
    if behind >= len(piece):
        return set()
    starts_of = [find for kind, find in ((_MP3, mp3_starts), (_AAC, aac_starts)) if kind != before.kind]
    found = (next(find(piece[int(behind) :]), _PIECE) + int(behind) for find in starts_of)
    return {first + place for place in found if place < _PIECE}


def _all(content: bytes, part: bytes) -> list[int]:
    places, place = [], content.find(part)
    while place >= 0:
        places.append(place)
        place = content.find(part, place + 1)
    return places


def _may_be_followed(head: bytes) -> bool:
    """Not the containers of films, which may hold whole files as attachments."""
    return (
        head[8:12] in (b"WAVE", *_AIFF)
        or head[4:8] == b"ftyp"
        or head.startswith((b"fLaC", b"OggS", b"caff", b"TTA1", b"FLV\x01", b"wvpk", b"ID3", asf.HEADER))
        or _is_sync(head)
    )


def _is_sync(head: bytes) -> bool:
    """Whether a frame of mp3 or aac begins there."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] != 0xFF


def _is_start(head: bytes) -> bool:
    """Whether a recording begins with these bytes, or a tag in front of one."""
    if len(head) < _FIRST:
        return False
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        return head[8:12] == b"WAVE" and _is_name(head[12:16])
    if head[:4] == b"FORM":
        return head[8:12] in _AIFF and _is_name(head[12:16])
    if head[4:8] == b"ftyp":
        return head[:3] == bytes(3) and 16 <= head[3] <= 128 and _is_name(head[8:12])
    if head.startswith(b"FLV\x01"):
        return head[4] in (1, 4, 5) and head[5:9] == b"\0\0\0\x09"
    if head.startswith(b"wvpk"):
        return _begins_wavpack(head)
    if head.startswith(b"ID3"):
        return head[3] in (2, 3, 4) and max(head[6:10]) < 128
    return head.startswith((b"caff\0\x01\0\0desc", b"fLaC\0\0\0\x22", b"TTA1\x01\0", asf.HEADER, _BOS))


def _begins_wavpack(block: bytes) -> bool:
    """Whether it is the first block of the first samples, by WavPack's header (version 5, 2.0)."""
    n_before, n_samples = int.from_bytes(block[16:20], "little") + (block[10] << 32), block[20:24]
    is_initial = block[25] & 8  # of those that hold the channels of the same samples
    return n_before == 0 and any(n_samples) and bool(is_initial)


def _is_name(part: bytes) -> bool:
    """Of a chunk."""
    return part.isascii() and part.decode("ascii").isprintable() and len(part) == 4


class _Before:
    """A recording that begins at a place, and where another one may follow it."""

    def __init__(self, name: str, file: BinaryIO, place: int, cancelled: Event | None) -> None:
        self._name, self._file, self._cancelled = name, file, cancelled
        self._size = size_of(file)
        start = behind_id3(file, place)
        head = at(file, start, _FIRST)
        self._is_frames = head[:3] == b"ID3" or _is_sync(head)
        self.kind = (_MP3 if head[1] & 6 else _AAC) if _is_sync(head) else None
        self._start, self._head = start, head
        self._page: int | None = None  # of Ogg: the one that is to be looked at next
        if head[:4] == b"OggS":
            self._page = self._behind_first_pages(start)
            self.earliest = self._page
        else:
            self.earliest = max(start, place) + 1 if self._is_frames else self._earliest(start, head)

    @cached_property
    def frames_from(self) -> float:
        """The place from which on frames are none of its own: it may hold mp3 itself."""
        start, head = self._start, self._head
        if head[8:12] == b"WAVE" or head[8:12] in _AIFF:
            length = int.from_bytes(head[4:8], "big" if head[:1] == b"F" else "little")
            return start + 8 + length if known(length, 32) else inf
        if head[4:8] == b"ftyp":
            ends = [box.end for box in self._boxes if box.end <= self._size]
            return max(ends, default=inf)
        return inf if head.startswith((b"caff", asf.HEADER)) else start + 1

    def may_be_followed(self, place: int) -> bool:
        """Whether another recording begins at `place`. To be asked for one place after the other."""
        if place < self.earliest:
            return False
        head = at(self._file, place, _FIRST)
        if not _is_start(head) or (self._page is not None and self._is_in_page(place)):
            return False
        if head[:3] != b"ID3":
            return True
        behind = place + 10 + id3_size(head)
        if not _is_sync(at(self._file, behind, 2)):
            return False
        if self._is_frames:  # FFmpeg reads on in mp3 and aac; what the tag holds is no other recording
            self.earliest = behind
        return not self._is_frames

    def _earliest(self, start: int, head: bytes) -> int:
        """The first place at which it may end."""
        if head[8:12] == b"WAVE" or head[8:12] in _AIFF:
            return self._behind_samples(start, head)
        if head[4:8] == b"ftyp":
            return self._behind_boxes(start)
        if head[:4] == b"fLaC":
            return self._behind_metadata(start)
        if head[:4] == b"caff":
            return self._behind_chunks(start + 8, ">4sq", b"data", is_padded=False)
        if head.startswith(asf.HEADER):
            end = start + int.from_bytes(head[16:24], "little")  # of its header, which may hold pictures
            return end if end <= self._size else start + 30
        return start + 13

    def _behind_samples(self, start: int, head: bytes) -> int:
        """Of wav and aiff: behind all of it, if its size is right, or else behind its samples."""
        order = ">" if head[:4] in (b"FORM", b"RIFX") else "<"
        field = head[20:28] if head[:4] in (b"RF64", b"BW64") else head[4:8]
        end = start + 8 + int.from_bytes(field, "big" if order == ">" else "little")
        for place in (end, end + end % 2):
            if place == self._size or _is_start(at(self._file, place, _FIRST)):
                return place
        sound = b"SSND" if head[:4] == b"FORM" else b"data"
        return self._behind_chunks(start + 12, f"{order}4sI", sound, is_padded=True)

    def _behind_chunks(self, first: int, form: str, sound: bytes, *, is_padded: bool) -> int:
        """Behind the samples, if what they state leads anywhere, or else behind the first of them."""
        for kind, start, length in chunks(self._file, first, form, is_padded=is_padded):
            if kind == sound:
                end = start + length + (length % 2 if is_padded else 0)
                following = at(self._file, end, _FIRST)
                is_end = end == self._size or _is_name(following[:4]) or _is_start(following)
                return end if length > 0 and is_end else start + 1
        return first

    @cached_property
    def _boxes(self) -> list[mp4.Box]:
        return list(mp4.boxes(self._file, self._start))

    def _behind_boxes(self, start: int) -> int:
        last = start
        for box in self._boxes:
            if box.kind == b"ftyp" and box.place > start:
                return box.place
            last = box.place
            if box.end > self._size:
                return last + 8
            end = int(box.end)
            if end == self._size or _is_start(at(self._file, end, _FIRST)):
                return end
        return last + 8

    def _behind_metadata(self, start: int) -> int:
        """Of FLAC: `flac --keep-foreign-metadata` puts the head of a wav or aiff there."""
        place = start + 4
        for _ in range(MOST_CHUNKS):
            head = at(self._file, place, 4)
            if len(head) < 4:
                break
            place += 4 + int.from_bytes(head[1:], "big")
            if head[0] & 0x80:
                if place == self._size or _is_sync(at(self._file, place, 2)):
                    return place
                break
        return start + 42

    def _behind_first_pages(self, place: int) -> int:
        """Streams begin together, as in a film."""
        for _ in range(MOST_CHUNKS):
            head = at(self._file, place, ogg.LONGEST_HEAD)
            if len(head) < 27 or not head.startswith(_BOS):
                return place
            place += ogg.page_length(head)
        return self._size

    def _is_in_page(self, place: int) -> bool:
        """Whether a page that another one follows, or the file's end, holds that place."""
        assert self._page is not None
        head = at(self._file, self._page, ogg.LONGEST_HEAD)
        while self._page < place and len(head) >= 27 and head.startswith(b"OggS"):
            check_cancelled(self._name, self._cancelled)
            end = self._page + ogg.page_length(head)
            following = at(self._file, end, ogg.LONGEST_HEAD)
            if end > place:
                return end == self._size or following.startswith(b"OggS")
            self._page, head = end, following
        return False
