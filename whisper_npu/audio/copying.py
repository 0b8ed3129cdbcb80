"""What cannot seek, such as standard input, becomes a file in which decoders can, but no endless one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio import by_ffmpeg, by_libsndfile
from whisper_npu.audio.damage import check_cancelled, too_long
from whisper_npu.audio.stated import has_lost_index
from whisper_npu.audio.store import roomy_folder
from whisper_npu.errors import AudioError

PIECE = 2**20  # bytes that are copied at once
# Bytes by which a recording is recognised, or it is none. Pictures and fonts may come before the sound.
_KNOWN_BY = 2**26
# Bytes of a second: the most that a film needs (16 Mbit/s). What has no compression states its own need.
_OF_A_FILM = 2 * 10**6


def copied(
    name: str,
    read: Callable[[int], bytes],
    max_seconds: float = inf,
    first: bytes = b"",
    cancelled: Event | None = None,
) -> BinaryIO:
    """`first` and all that `read` gives, in a file that disappears when it is closed.

    What never ends is not copied for ever. It is given up where its first megabyte is zeros, as of /dev/zero;
    where 64 of them are no recording; where it has more bytes than `max_seconds` of such a recording; and
    where it takes more than half of the room on the disk.

    Raises AudioError for all that, TooLongError for what is too long, CancelledError once `cancelled` is set,
    and what `read` raises.
    """
    folder = roomy_folder() or tempfile.gettempdir()
    try:
        with ExitStack() as closing:
            file = closing.enter_context(tempfile.TemporaryFile(dir=folder))
            room = shutil.disk_usage(folder).free // 2
            n_bytes, n_zeros, most = 0, 0, inf
            piece = first or read(PIECE)
            while piece:
                check_cancelled(name, cancelled)
                if n_bytes < PIECE:
                    n_zeros += piece.count(0)
                    if PIECE <= n_bytes + len(piece) == n_zeros:
                        raise AudioError(f"{name}: is not audio: it begins with {n_zeros} bytes of zeros")
                if n_bytes < _KNOWN_BY <= n_bytes + len(piece):
                    file.flush()
                    most = max_seconds * _bytes_per_second(name, file)
                    os.lseek(file.fileno(), n_bytes, os.SEEK_SET)  # FFmpeg has read elsewhere
                n_bytes += len(piece)
                if n_bytes > most:
                    raise too_long(name, max_seconds)
                if n_bytes > room:
                    raise AudioError(
                        f"{name}: has more than {room / 1e9:.1f} GB, half of what is free in "
                        f"{folder}; set TMPDIR to a folder with more space, or give a file"
                    )
                file.write(piece)
                piece = read(PIECE)
            file.flush()  # libsndfile opens it a second time
            closing.pop_all()
    except OSError as error:
        raise AudioError(
            f"{name}: cannot be kept in a temporary file ({error}); set TMPDIR to a folder with more space"
        ) from error
    return file


def part_of(name: str, file: BinaryIO, start: int, end: int, cancelled: Event | None = None) -> BinaryIO:
    """A copy of the bytes from `start` to before `end`. Raises AudioError, as `copied`."""
    place = start

    def read(size: int) -> bytes:
        nonlocal place
        piece = os.pread(file.fileno(), min(size, end - place), place)
        place += len(piece)
        return piece

    return copied(name, read, cancelled=cancelled)


def _bytes_per_second(name: str, file: BinaryIO) -> float:
    """At the most, of a recording of which `file` is the beginning."""
    rate = by_libsndfile.bytes_per_second(file)
    if rate is not None:
        return rate
    if not by_ffmpeg.header(file).tracks and not has_lost_index(file):
        raise AudioError(
            f"{name}: is not audio, or too damaged to read: its first {_KNOWN_BY // 2**20} MB are none"
        )
    return _OF_A_FILM
