"""What a file states of its own length, read from its bytes: the libraries correct that without a word.

libsndfile counts the samples of a wav by the file's size if that is smaller than the header says, and stops
where the header says if it is larger; FFmpeg does the same in part. Here are the few bytes of each format
that tell what should be there. The formats: RIFF and its 64-bit kin (EBU Tech 3306, Sony Wave64), AIFF, CAF
and AU by their specifications; FLAC (RFC 9639, 8.2); Ogg (RFC 3533, 6); mp4 (ISO/IEC 14496-12, 4.2); MPEG
transport streams (ISO/IEC 13818-1, 2.4.3.2); ASF (Microsoft's specification, 3.2); AVI (AVISTREAMHEADER);
mp3's Xing and Info headers as LAME writes them.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from typing import BinaryIO

from whisper_npu.audio import ogg
from whisper_npu.audio.damage import CUT_SHORT, JOINED, LENGTH_SLACK, Damage
from whisper_npu.audio.store import temporary_folder
from whisper_npu.errors import AudioError

_SLACK = 0.1  # seconds: a size counted in bytes is exact, but for a pad byte or a header that was counted too
_MOST_CHUNKS = 1_000  # before the samples; more are no recording
_LEAST_BEHIND = 1_000  # bytes behind the stated end that may be samples; fewer are padding

# What may lie behind the samples of a wav, aiff or w64; all else there is sound.
_NAMES = (
    b"LISTINFObextfactcue smplinstPEAKJUNKjunkPAD FLLRiXMLaxmlafsp_PMXDISPplstlablnoteid3 ID3 acidcartlevl"
    b"umidchnaCHANNAMEAUTHANNOCOMTMARKAPPLAESDMIDIINST(c) RIFFFORM"
)
_CHUNKS = frozenset(_NAMES[place : place + 4] for place in range(0, len(_NAMES), 4))
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class _Sound:
    """Where the samples of an uncompressed format lie, and the field that states how many bytes they are."""

    start: int  # the place of their first byte
    stated: int | None  # bytes; None for a recorder that could not know
    field: int  # the place of the size
    form: str  # of the size, for struct
    extra: int = 0  # bytes that the size counts beside the samples

    def there(self, size: int) -> int:
        """How many bytes of them a file of `size` bytes holds."""
        return max(0, size - self.start if self.stated is None else min(self.stated, size - self.start))


def missing_end(file: BinaryIO, seconds: float) -> Damage | None:
    """What is missing behind the `seconds` that were decoded, by what the file's bytes state."""
    size = os.fstat(file.fileno()).st_size
    sound = _sound(file)
    if sound is not None and sound.stated is not None:
        there = sound.there(size)
        if there == 0:
            return None if sound.stated == 0 else Damage(0.0, None, CUT_SHORT)
        stated = seconds * sound.stated / there
        if stated > seconds + _SLACK:
            return Damage(seconds, stated, CUT_SHORT)
        behind = _at(file, sound.start + sound.stated + sound.stated % 2, 4)
        return Damage(seconds, None, JOINED) if behind in (b"RIFF", b"FORM") else None
    n_seconds, slack = _flac_seconds(file), _SLACK
    if not n_seconds:
        n_seconds = _mp3_seconds(file) or _asf_seconds(file) or _avi_seconds(file)
        slack = LENGTH_SLACK
    if n_seconds > seconds + slack:
        return Damage(seconds, n_seconds, CUT_SHORT)
    if ogg.ends_in_damage(file, size) or _ts_ends_in_a_packet(file, size):
        return Damage(seconds, None, CUT_SHORT)
    return _mp4_end(file, size, seconds)


def corrected(name: str, file: BinaryIO) -> BinaryIO | None:
    """A copy whose header states all the samples, if its own states fewer; else None.

    Raises AudioError where there is no room for it.
    """
    sound, size = _sound(file), os.fstat(file.fileno()).st_size
    if sound is None or sound.stated is None:
        return None
    end = sound.start + sound.stated
    if size - end < _LEAST_BEHIND or _is_told_apart(file, end) or _is_told_apart(file, end + 1):
        return None
    length = size - sound.start + sound.extra
    if length >= 2 ** (8 * struct.calcsize(sound.form)):
        return None
    try:
        with ExitStack() as closing:
            copy = closing.enter_context(tempfile.TemporaryFile(dir=temporary_folder()))
            file.seek(0)
            shutil.copyfileobj(file, copy, 2**20)
            copy.seek(sound.field)
            copy.write(struct.pack(sound.form, length))
            copy.flush()
            closing.pop_all()
    except OSError as error:
        raise AudioError(
            f"{name}: states fewer samples than it has, and a corrected copy cannot be kept in a temporary "
            f"file ({error}); set TMPDIR to a folder with more space"
        ) from error
    return copy


def is_mp4_without_index(file: BinaryIO) -> bool:
    """Whether an mp4, m4a or mov has lost its index, which lies at the end of most."""
    kinds = [kind for kind, _, _ in _boxes(file)]
    return bool(kinds) and kinds[0] in (b"ftyp", b"wide", b"mdat", b"free") and b"moov" not in kinds


def _at(file: BinaryIO, place: int, n_bytes: int) -> bytes:
    try:
        return os.pread(file.fileno(), n_bytes, place) if 0 <= place < 2**63 else b""
    except OSError:  # the disk
        return b""


def _is_told_apart(file: BinaryIO, place: int) -> bool:
    """Whether what lies there is another chunk, or a tag, and so no sound."""
    found = _at(file, place, 11)
    return found[:4] in _CHUNKS or found.startswith(TAGS)


# Uncompressed formats


def _sound(file: BinaryIO) -> _Sound | None:
    """The samples of a wav, w64, aiff, caf or au; None for all else, or where a damaged header hides them."""
    head = _at(file, 0, 40)
    match head[:4]:
        case b"RIFF" | b"RF64" | b"BW64" | b"RIFX" if head[8:12] == b"WAVE":
            return _in_riff(file, ">" if head[:4] == b"RIFX" else "<")
        case b"riff" if head[24:28] == b"wave":
            return _in_w64(file)
        case b"FORM" if head[8:12] in (b"AIFF", b"AIFC"):
            return _in_aiff(file)
        case b"caff":
            return _in_caf(file)
        case b".snd" | b"dns.":
            return _in_au(head)
    return None


def _in_riff(file: BinaryIO, order: str) -> _Sound | None:
    long_field = long_size = None
    for kind, place, size in _chunks(file, 12, f"{order}4sI"):
        if kind == b"ds64":
            long_field = place + 8  # behind the size of the whole file
            (long_size,) = struct.unpack(f"{order}Q", _at(file, long_field, 8).ljust(8, b"\0"))
        if kind == b"data":
            if long_field is not None and size == 0xFFFFFFFF:
                return _Sound(place, _known(long_size, 64), long_field, f"{order}Q")
            return _Sound(place, _known(size, 32), place - 4, f"{order}I")
    return None


def _in_w64(file: BinaryIO) -> _Sound | None:
    place = 40
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, 24)
        if len(head) < 24:
            return None
        (size,) = struct.unpack("<Q", head[16:])  # with these 24 bytes
        if head[:4] == b"data":
            stated = _known(size, 64)
            return _Sound(
                place + 24, None if stated is None else max(0, stated - 24), place + 16, "<Q", extra=24
            )
        place += max(size + 7 & ~7, 24)
    return None


def _in_aiff(file: BinaryIO) -> _Sound | None:
    for kind, place, size in _chunks(file, 12, ">4sI"):
        if kind == b"SSND":  # two numbers come before the samples
            stated = _known(size, 32)
            return _Sound(place + 8, None if stated is None else max(0, stated - 8), place - 4, ">I", extra=8)
    return None


def _in_caf(file: BinaryIO) -> _Sound | None:
    for kind, place, size in _chunks(file, 8, ">4sQ", is_padded=False):
        if kind == b"data":  # a number of edits comes before the samples; -1: as long as the file
            stated = _known(size, 64)
            return _Sound(place + 4, None if stated is None else max(0, stated - 4), place - 8, ">Q", extra=4)
    return None


def _in_au(head: bytes) -> _Sound:
    order = ">" if head[:4] == b".snd" else "<"
    start, size = struct.unpack(f"{order}II", head[4:12].ljust(8, b"\0"))
    return _Sound(start, _known(size, 32), 8, f"{order}I")


def _chunks(
    file: BinaryIO, place: int, form: str, *, is_padded: bool = True
) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of what it holds, size) of each chunk from `place` on."""
    length = struct.calcsize(form)
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, length)
        if len(head) < length:
            return
        kind, size = struct.unpack(form, head)
        place += length
        yield kind, place, size
        place += size + (size % 2 if is_padded else 0)


def _known(size: int | None, n_bits: int) -> int | None:
    """A stated size, but None for what recorders write that cannot know it.

    Those write 0, or about the largest number with or without a sign: sox, for one, 0x7FFFF000.
    """
    if size is None or size == 0:
        return None
    near = 2**16
    is_largest = any(limit - near <= size <= limit for limit in (2 ** (n_bits - 1), 2**n_bits))
    return None if is_largest else size


# Compressed formats


def _flac_seconds(file: BinaryIO) -> float:
    """What STREAMINFO states; 0 for another format, and where the header leaves it open."""
    place = _behind_id3(file)
    head = _at(file, place, 26)
    if head[:4] != b"fLaC" or len(head) < 26:
        return 0.0
    numbers = int.from_bytes(head[18:26], "big")  # 20 bits of the rate, 3 and 5 of channels and bits, 36
    rate, n_samples = numbers >> 44, numbers & 2**36 - 1
    return n_samples / rate if rate and n_samples != 2**36 - 1 else 0.0


def _mp3_seconds(file: BinaryIO) -> float:
    """What a Xing or Info header states; 0 for another format, and without such a header."""
    frame = _at(file, _behind_id3(file), 4 + 32 + 12)
    if len(frame) < 48 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # a sync, layer III
        return 0.0
    version, rate_index, is_mono = frame[1] >> 3 & 3, frame[2] >> 2 & 3, frame[3] >> 6 == 3
    if version == 1 or rate_index == 3:
        return 0.0
    is_mpeg1 = version == 3
    rate = (44_100, 48_000, 32_000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    place = (
        4 + (17 if is_mono else 32) if is_mpeg1 else 4 + (9 if is_mono else 17)
    )  # behind the side information
    header = frame[place : place + 12]
    if header[:4] not in (b"Xing", b"Info") or not header[7] & 1:
        return 0.0
    n_frames = int.from_bytes(header[8:12], "big")
    return n_frames * (1152 if is_mpeg1 else 576) / rate if n_frames != 0xFFFFFFFF else 0.0


def _asf_seconds(file: BinaryIO) -> float:
    """What the File Properties of a wma or wmv state; 0 for another format, and of a broadcast."""
    head = _at(file, 0, _HEAD) if _at(file, 0, 16) == _ASF else b""
    place = head.find(_ASF_PROPERTIES)
    if place < 0 or len(head) < place + 92:
        return 0.0
    duration, _, preroll, flags = struct.unpack("<QQQI", head[place + 64 : place + 92])
    return 0.0 if flags & 1 else max(0.0, duration / 1e7 - preroll / 1e3)


def _avi_seconds(file: BinaryIO) -> float:
    """What the header of an avi's first audio stream states; 0 for another format."""
    head = _at(file, 0, _HEAD) if _at(file, 8, 4) == b"AVI " else b""
    place = head.find(b"auds") - 8
    if place < 0 or head[place : place + 4] != b"strh" or len(head) < place + 44:
        return 0.0
    scale, rate, _, length = struct.unpack("<4I", head[place + 28 : place + 44])
    return length * scale / rate if rate and length < 0x7FFF0000 else 0.0


_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_HEAD = 2**16  # bytes in which these headers lie


def _behind_id3(file: BinaryIO) -> int:
    """Where the sound begins behind the ID3v2 tags at the start."""
    place = 0
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, 10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        place += 10 + id3_size(head)
    return place


def id3_size(head: bytes) -> int:
    """How many bytes of an ID3v2 tag come behind its head of 10 bytes."""
    size = 0
    for byte in head[6:10]:  # 7 bits of each
        size = size << 7 | byte & 0x7F
    return size


def _ts_ends_in_a_packet(file: BinaryIO, size: int) -> bool:
    """Whether the last packet of an MPEG transport stream is not there as a whole."""
    return size % 188 > 0 and all(_at(file, place, 1) == b"G" for place in range(0, 5 * 188, 188))


def _mp4_end(file: BinaryIO, size: int, seconds: float) -> Damage | None:
    """An mp4 whose last box is not there as a whole, or that another one follows."""
    boxes = list(_boxes(file))
    if not boxes or boxes[0][0] != b"ftyp":
        return None
    if any(kind == b"ftyp" for kind, _, _ in boxes[1:]):
        return Damage(seconds, None, JOINED)
    _, place, length = boxes[-1]
    return Damage(seconds, None, CUT_SHORT) if length != inf and place + length > size else None


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, float]]:
    """(kind, place, length) of each box of an mp4 or mov; infinite for one that goes on to the file's end."""
    place = 0
    for _ in range(100 * _MOST_CHUNKS):  # a fragmented one has two for each second or so
        head = _at(file, place, 16)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head[:8])
        if not kind.isalnum():
            return
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        yield kind, place, inf if length == 0 else length
        if length < 8:
            return
        place += length
