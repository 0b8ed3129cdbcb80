"""What libsndfile reads and few record into: NIST Sphere, Creative's voc, MATLAB 4 and 5, Atari's avr, Psion.

The layouts: NIST's speech file format; libsndfile's descriptions of the others.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from whisper_npu.audio.stated.fields import MOST_CHUNKS, Extent, at, chunks, known

_MOST_BLOCKS = 200 * MOST_CHUNKS  # of a voc: FFmpeg writes one for each of its packets
_VOC = b"Creative Voice File\x1a"
# Bytes of a number in MATLAB 4, by the second digit of its type.
_MATLAB_4 = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}


def extent(file: BinaryIO) -> Extent | None:
    head = at(file, 0, 1024)
    if head.startswith(b"NIST_1A\n"):
        return _in_nist(head)
    if head.startswith(_VOC):
        return _in_voc(file, head)
    if head[20:31] == b"samplerate\0":
        return _in_matlab_4(head)
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return _in_matlab_5(file, head)
    if head.startswith(b"2BIT") and len(head) >= 128:
        n_channels = 2 if head[12:14] != b"\0\0" else 1
        bits, n_samples = int.from_bytes(head[14:16], "big"), int.from_bytes(head[26:30], "big")
        return Extent(128, known(n_samples * n_channels * bits // 8, 32))
    if head.startswith(b"ALawSoundFile**\0"):
        return Extent(32, known(int.from_bytes(head[18:22], "big"), 32))
    return None


def _in_nist(head: bytes) -> Extent | None:
    start = head[8:16].strip()
    numbers = {
        name: int(value)
        for name, value in re.findall(
            rb"^(channel_count|sample_count|sample_n_bytes|sample_rate) -\w+ (\d{1,18})$", head, re.MULTILINE
        )
    }
    n_samples, rate = numbers.get(b"sample_count", 0), numbers.get(b"sample_rate", 0)
    if not start.isdigit() or not rate:
        return None
    n_bytes = numbers.get(b"sample_n_bytes", 1) * numbers.get(b"channel_count", 1)
    return Extent(int(start), known(n_samples * n_bytes, 32))


def _in_voc(file: BinaryIO, head: bytes) -> Extent | None:
    """Blocks of sound, one behind the other: their sum, as if it were one."""
    start = int.from_bytes(head[20:22], "little")
    place = end = start
    for _ in range(_MOST_BLOCKS):
        block = at(file, place, 4)
        length = int.from_bytes(block[1:], "little")
        if len(block) < 4 or block[0] == 0 or not length:
            return Extent(start, end - start if end > start else None)
        place += 4 + length
        end = place if block[0] in (1, 2, 9) else end
    return None


def _in_matlab_4(head: bytes) -> Extent | None:
    order = "<" if head[0] == 0 else ">"
    kind, n_rows, n_columns, _, n_name = struct.unpack(f"{order}5I", head[39:59])
    start, width = 59 + n_name, _MATLAB_4.get(kind // 10 % 10)
    return None if width is None else Extent(start, known(n_rows * n_columns * width, 32))


def _in_matlab_5(file: BinaryIO, head: bytes) -> Extent | None:
    order = "<" if head[126:128] == b"IM" else ">"
    last = None
    for kind, place, size in chunks(file, 128, f"{order}4sI", is_padded=False):
        last = Extent(place, known(size, 32)) if kind.strip(b"\0") == b"\x0e" else last
    return last
