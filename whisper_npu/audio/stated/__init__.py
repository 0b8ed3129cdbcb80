"""What a file states of its own end, read from its bytes: the libraries correct that without a word.

libsndfile counts the samples of a wav by the file's size if that is smaller than the header says, and stops
where the header says if it is larger; FFmpeg does the same in part. Here are the few bytes of each format
that tell what should be there: a module for each family of formats, with a function `extent` where samples
lie in the file as they are, or `end` where they are compressed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from whisper_npu.audio.damage import CUT_SHORT, EXACT_SLACK, Damage, Film
from whisper_npu.audio.stated import (
    asf,
    au,
    avi,
    caf,
    flac,
    flv,
    gxf,
    iff,
    matroska,
    mp3,
    mp4,
    mpegts,
    ogg,
    rare,
    real,
    riff,
    tta,
)
from whisper_npu.audio.stated.fields import TAGS, End, Extent, is_no_sound, size_of
from whisper_npu.audio.stated.mp3 import behind_id3, id3_size

__all__ = [
    "TAGS",
    "asf",
    "avi",
    "behind_id3",
    "extent_of",
    "gxf",
    "has_lost_index",
    "id3_size",
    "is_no_sound",
    "missing_end",
    "mp4",
    "ogg",
]

_EXTENTS: tuple[Callable[[BinaryIO], Extent | None], ...] = (
    riff.extent,
    iff.extent,
    caf.extent,
    au.extent,
    rare.extent,
)
_ENDS: tuple[Callable[[BinaryIO, int], End | None], ...] = (
    flac.end,
    mp3.end,
    asf.end,
    avi.end,
    ogg.end,
    mpegts.end,
    mp4.end,
    matroska.end,
    flv.end,
    real.end,
    gxf.end,
    tta.end,
)


def missing_end(file: BinaryIO, seconds: float, film: Film | None = None) -> Damage | None:
    """What is missing behind the `seconds` that were decoded, by what the file's bytes state.

    film: what FFmpeg reads of its container.
    """
    size = size_of(file)
    extent = extent_of(file)
    if extent is not None and extent.stated is not None:
        return _behind_samples(file, size, extent, extent.stated, seconds)
    end = next((end for end in (family(file, size) for family in _ENDS) if end is not None), End())
    stated, reached, slack = end.seconds, seconds, end.slack
    if end.is_of_film and film is not None:
        reached = max(film.reached, seconds)
    if not stated and film is not None:
        stated, reached, slack = film.seconds, max(film.reached, seconds), film.slack
    if end.is_cut:
        slack = min(slack, EXACT_SLACK)
    if stated > reached + slack:
        return Damage(seconds, stated, CUT_SHORT)
    return Damage(seconds, None, CUT_SHORT) if end.is_cut and not stated else None


def extent_of(file: BinaryIO) -> Extent | None:
    """The samples of a format without compression, or of a wav or caf; None for all else.

    None, too, where a damaged header hides them.
    """
    return next((extent for extent in (family(file) for family in _EXTENTS) if extent is not None), None)


def has_lost_index(file: BinaryIO) -> bool:
    """Whether an mp4, m4a or mov has lost its index, which lies at the end of most, or a part of it."""
    return mp4.has_lost_index(file, size_of(file))


def _behind_samples(file: BinaryIO, size: int, extent: Extent, stated: int, seconds: float) -> Damage | None:
    there = extent.there(size)
    if there == 0:
        return Damage(0.0, None, CUT_SHORT) if stated else None
    if there < stated:
        by_bytes = seconds * stated / there
        end = extent.seconds if seconds < extent.seconds < 2 * by_bytes else by_bytes
        if end > seconds + EXACT_SLACK:
            return Damage(seconds, end, CUT_SHORT)
    return None
