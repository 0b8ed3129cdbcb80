"""MP3: the Xing and Info headers as LAME writes them, and ID3v2 tags."""

from __future__ import annotations

from typing import BinaryIO

from whisper_npu.audio.damage import LENGTH_SLACK
from whisper_npu.audio.stated.fields import MOST_CHUNKS, End, at

_FRAMES, _BYTES = 1, 2  # flags: which numbers the header has


def end(file: BinaryIO, size: int) -> End | None:
    """What a Xing or Info header states."""
    place = behind_id3(file)
    frame = at(file, place, 4 + 32 + 16)
    if len(frame) < 52 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # a sync, layer III
        return None
    version, rate_index, is_mono = frame[1] >> 3 & 3, frame[2] >> 2 & 3, frame[3] >> 6 == 3
    if version == 1 or rate_index == 3:
        return None
    is_mpeg1 = version == 3
    rate = (44_100, 48_000, 32_000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    side = (17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17)  # bytes of side information
    header = frame[4 + side : 4 + side + 16]
    if header[:4] not in (b"Xing", b"Info"):
        return None
    n_frames = int.from_bytes(header[8:12], "big") if header[7] & _FRAMES else 0
    n_bytes = (
        int.from_bytes(header[12:16], "big") if header[7] & (_FRAMES | _BYTES) == _FRAMES | _BYTES else 0
    )
    is_cut = n_bytes != 0xFFFFFFFF and place + n_bytes > size
    seconds = n_frames * (1152 if is_mpeg1 else 576) / rate if n_frames != 0xFFFFFFFF else 0.0
    # What an encoder adds at both ends, two or three frames, counts as well.
    return End(seconds, LENGTH_SLACK, is_cut=is_cut)


def behind_id3(file: BinaryIO, place: int = 0) -> int:
    """Where the sound begins behind the ID3v2 tags at `place`."""
    for _ in range(MOST_CHUNKS):
        head = at(file, place, 10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        place += 10 + id3_size(head)
    return place


def id3_size(head: bytes) -> int:
    """How many bytes of an ID3v2 tag come behind its head of 10 bytes."""
    size = 0
    for byte in head[6:10]:  # 7 bits of each
        size = size << 7 | byte & 0x7F
    has_footer = head[3:4] == b"\x04" and head[5] & 0x10  # ID3v2.4, 3.4
    return size + 10 if has_footer else size
