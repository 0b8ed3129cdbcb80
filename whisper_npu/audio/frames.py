"""Where frames of mp3 or AAC begin in the midst of other bytes: several of a kind, one behind the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LEAST = 8  # frames; fewer may be chance
LONGEST = _LEAST * 2_900  # bytes of so many mp3 frames, about

# Kilobits per second of layer III and II (ISO/IEC 11172-3, 2.4.2.3; 13818-3, 2.4.2.3), by the index from 1.
_MPEG_1 = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
}
_MPEG_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)
_MP3_SYNC = re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", re.DOTALL)
_AAC_SYNC = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]", re.DOTALL)


def mp3_starts(content: bytes) -> Iterator[int]:
    """Places in `content` where frames of mp3 or mp2 begin and go on."""
    for found in _MP3_SYNC.finditer(content):
        place, same = found.start(), None
        for _ in range(_LEAST):
            head = content[place : place + 4]
            size = _mp3_size(head)
            if not size or same not in (None, (head[1], head[2] & 0x0C)):
                break
            same = head[1], head[2] & 0x0C
            place += size
        else:
            yield found.start()


def aac_starts(content: bytes) -> Iterator[int]:
    """The same of AAC with ADTS heads (ISO/IEC 13818-7, 6.2)."""
    for found in _AAC_SYNC.finditer(content):
        place, same = found.start(), None
        for _ in range(_LEAST):
            head = content[place : place + 7]
            if len(head) < 7 or same not in (None, head[:3]) or head[2] >> 2 & 15 > 12:
                break
            same = head[:3]
            size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
            if size <= 7:
                break
            place += size
        else:
            yield found.start()


def _mp3_size(head: bytes) -> int:
    """Bytes of the frame; 0 for none."""
    if len(head) < 4 or not _MP3_SYNC.match(head):
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3  # version 3 is MPEG 1, 2 MPEG 2, 0 MPEG 2.5
    bits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if not 1 <= bits <= 14 or rate == 3:
        return 0
    kilobits = (_MPEG_1[layer] if version == 3 else _MPEG_2)[bits - 1]
    rate = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bytes_per_kilobit = 72_000 if layer == 1 and version != 3 else 144_000
    return bytes_per_kilobit * kilobits // rate + padding
