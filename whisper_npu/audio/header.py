"""What a file says of itself: its audio tracks and its length, without decoding it."""

from __future__ import annotations

import os
from typing import BinaryIO

from whisper_npu.audio import by_ffmpeg, by_libsndfile
from whisper_npu.audio.source import fetch, name_of, only_once
from whisper_npu.audio.tracks import AudioHeader, AudioTrack

_NOTHING = AudioHeader((), None)


def audio_header(source: str | os.PathLike[str] | BinaryIO) -> AudioHeader:
    """Both what `audio_tracks` and what `audio_seconds` say, at one look into the file.

    Raises AudioError where a file is missing or cannot be read.
    """
    if only_once(source):
        return _NOTHING
    name = name_of(source)
    with fetch(name, source) as file:
        header = by_ffmpeg.header(file)
        seconds = by_libsndfile.seconds(name, file)
    return AudioHeader(header.tracks or _one_track(seconds), seconds or header.seconds)


def audio_tracks(source: str | os.PathLike[str] | BinaryIO) -> tuple[AudioTrack, ...]:
    """The audio tracks of a file, from its header; one without a name for a format that has one track only.

    `source` is a path or an open binary file, which stays where it is if it can seek. Empty for "-" and for a
    pipe, which could not be read again, and for what is not audio.

    Raises AudioError where a file is missing or cannot be read.
    """
    if only_once(source):
        return ()
    name = name_of(source)
    with fetch(name, source) as file:
        return tracks_in(name, file)


def audio_seconds(source: str | os.PathLike[str] | BinaryIO) -> float | None:
    """How long a recording is by its header, or by what FFmpeg estimates from its size; nothing is decoded.

    `source` is a path or an open binary file, which stays where it is if it can seek. None where that does
    not tell, for "-" and for a pipe, which could not be read again, and for what cannot be read: `load_audio`
    says why.
    """
    if only_once(source):
        return None
    name = name_of(source)
    try:
        with fetch(name, source) as file:
            return by_libsndfile.seconds(name, file) or by_ffmpeg.header(file).seconds
    except Exception:  # whatever is wrong with it
        return None


def tracks_in(name: str, file: BinaryIO) -> tuple[AudioTrack, ...]:
    """The audio tracks; none if the file is not audio."""
    return by_ffmpeg.header(file).tracks or _one_track(by_libsndfile.seconds(name, file))


def _one_track(seconds: float | None) -> tuple[AudioTrack, ...]:
    """What libsndfile can read is one track. seconds: by libsndfile."""
    return () if seconds is None else (AudioTrack(1, "", ""),)
