"""What a file says of itself: its audio tracks and its length, without decoding it."""

from __future__ import annotations

import os
from typing import BinaryIO

from whisper_npu.audio import by_ffmpeg, by_libsndfile
from whisper_npu.audio.source import fetch, name_of, only_once
from whisper_npu.audio.tracks import AudioTrack
from whisper_npu.errors import AudioError


def audio_tracks(source: str | os.PathLike[str] | BinaryIO) -> tuple[AudioTrack, ...]:
    """The audio tracks of a file, from its header; one without a name for a format that has one track only.

    `source` is a path or an open binary file, which is read to its end. Empty for "-" and for a pipe, which
    could not be read again, and for what is not audio.

    Raises AudioError where a file is missing or cannot be read.
    """
    if only_once(source):
        return ()
    with fetch(name_of(source), source) as file:
        return tracks_in(file)


def audio_seconds(source: str | os.PathLike[str] | BinaryIO) -> float | None:
    """How long a recording is by its header, or by what FFmpeg estimates from its size; nothing is decoded.

    `source` is a path or an open binary file, which is read to its end. None where that does not tell, for
    "-" and for a pipe, which could not be read again, and for what cannot be read: `load_audio` says why.
    """
    if only_once(source):
        return None
    try:
        file = fetch(name_of(source), source)
    except AudioError:
        return None
    with file:
        return by_libsndfile.seconds(file) or by_ffmpeg.seconds(file)


def tracks_in(file: BinaryIO) -> tuple[AudioTrack, ...]:
    """The audio tracks; none if the file is not audio."""
    tracks = by_ffmpeg.tracks(file)
    if not tracks and by_libsndfile.seconds(file) is not None:
        return (AudioTrack(1, "", ""),)
    return tracks
