"""From a recording to float32 mono samples at 16 kHz.

The samples are those of `librosa.load(path, sr=16000, mono=True)`. Importing librosa takes seconds, so they
come from the libraries that librosa itself uses: soundfile decodes, soxr resamples. PyAV decodes the
containers that soundfile does not know, such as m4a, mp4, webm and mkv. librosa's last resort, audioread, is
not used: it runs commands such as ffmpeg, which open whatever file or address a recording names.
"""

from __future__ import annotations

import os
import warnings
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio import by_ffmpeg, by_libsndfile
from whisper_npu.audio.damage import LENGTH_SLACK, SALVAGE
from whisper_npu.audio.header import tracks_in
from whisper_npu.audio.samples import (
    SAMPLE_RATE,
    Decoded,
    Samples,
    array_to_mono,
    as_array,
    resample,
)
from whisper_npu.audio.source import AudioSource, fetch, name_of
from whisper_npu.audio.tracks import check_track_number, no_such_track
from whisper_npu.errors import AudioError, AudioWarning


def load_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    audio_track: int | None = None,
    strict: bool = False,
    max_seconds: float = inf,
    cancelled: Event | None = None,
) -> Samples:
    """Decode, mix down to mono, and resample to 16 kHz.

    `source` is a path, "-" for standard input, an open binary file, the bytes of a file, or an array at
    `sampling_rate` Hz (16000 if None). An open file is read from its position on, and stays there if it can
    seek. `sampling_rate` is for arrays only. A file's format is recognised by its content.

    An array has shape (n_samples,), (n_channels, n_samples) or (n_samples, n_channels): of two axes the
    shorter one is the channels. It holds floats in -1..1, or a little beyond, or int16, int32 or uint8
    as wav files do. What has `__array__`, such as a PyTorch tensor on the CPU, is an array too.

    `audio_track` chooses among the audio tracks of a file, counted from 1 as mpv's --aid does, whatever other
    streams lie between them. None is the first, even if the file marks another one as its default.

    A file is decoded no further than `max_seconds`, and resampled meanwhile: it takes as much memory as its
    samples at 16 kHz, 230 MB for an hour, and up to 1/8 more before its length is known, whatever its rate.

    Returns (n_samples,) float32, 16 kHz; empty for a valid file without samples. An array that is
    already like this is returned itself. For wav, flac, ogg and mp3 these are the samples of
    `librosa.load(path, sr=16000, mono=True)`, bit for bit. One exception: if libsndfile, and with it
    librosa, stops early in an mp3 or ogg (no length in the header, several files joined into one), PyAV
    decodes all of it.

    Nothing else is opened and no command is run, whatever the source contains: playlists and other references
    to files or addresses are not audio.

    One rule for all formats: what a decoder can read is read whole. Where seconds are missing (the header
    states a length that is not there) or do not decode, an AudioWarning names them, and silence stands for
    what is lost in the middle, so that later times are right; with `strict` that is an AudioError instead. A
    length that a recorder could not know (0, 0xFFFFFFFF, none) states nothing, and neither does one that is
    too small. Where nothing at all decodes, it is an AudioError.

    Raises AudioError where the source is missing, empty, not audio, too long for the memory, or holds NaN or
    infinity, where it has no such track, and with `strict` where it is damaged; TooLongError for a file longer
    than `max_seconds`; CancelledError once another thread sets `cancelled`.
    """
    if audio_track is not None:
        check_track_number(audio_track)
    array = as_array(source)
    if array is not None and audio_track is not None:
        raise AudioError(f"audio_track={audio_track} is for files; an array is one track: leave it out")
    if array is None and sampling_rate is not None:
        raise AudioError(
            f"sampling_rate={sampling_rate!r} is for arrays; a file states its own: leave it out"
        )
    name = name_of(source)
    try:
        if array is not None:
            mono = array_to_mono(array)
            return resample(name, mono, SAMPLE_RATE if sampling_rate is None else sampling_rate)
        with fetch(name, source) as file:
            decoded = decode(
                name, file, audio_track, strict=strict, max_seconds=max_seconds, cancelled=cancelled
            )
    except MemoryError as error:
        raise AudioError(
            f"{name}: does not fit into the memory; close other programs, or cut it into parts: "
            "ffmpeg -i FILE -f segment -segment_time 3600 part%03d.wav"
        ) from error
    for warning in decoded.warnings:
        warnings.warn(f"{name}: {warning}", AudioWarning, stacklevel=2)
    return decoded.samples


def audio_formats() -> str:
    """What `load_audio` reads and by which libraries, in words.

    Raises ImportError or OSError where these do not load.
    """
    return f"{by_libsndfile.formats()}; {by_ffmpeg.formats()}"


def decode(
    name: str,
    file: BinaryIO,
    audio_track: int | None,
    *,
    strict: bool,
    max_seconds: float,
    cancelled: Event | None,
) -> Decoded:
    """What `load_audio` tells of a file that `fetch` opened, before anybody is warned. Errors as there."""
    decoded = _decode(name, file, audio_track or 1, max_seconds, cancelled)
    if strict and decoded.damage:
        raise AudioError(f"{name}: {decoded.damage[0]} (strict); {SALVAGE}")
    return decoded


def _decode(name: str, file: BinaryIO, track: int, max_seconds: float, cancelled: Event | None) -> Decoded:
    """The samples of a track."""
    if os.fstat(file.fileno()).st_size == 0:
        raise AudioError(f"{name}: is empty (0 bytes); record or copy it again")
    if track == 1:
        decoded = _decode_first_track(name, file, max_seconds, cancelled)
    else:  # libsndfile knows one track only
        tracks = tracks_in(file)
        if tracks and track > len(tracks):
            raise no_such_track(name, track, tracks)
        decoded = by_ffmpeg.decode(name, file, track, max_seconds, cancelled)
    if decoded is None:
        raise AudioError(
            f"{name}: is not audio, or too damaged to read; "
            "check what it is, copy it again, or convert it: ffmpeg -i FILE converted.wav"
        )
    return decoded


def _decode_first_track(
    name: str, file: BinaryIO, max_seconds: float, cancelled: Event | None
) -> Decoded | None:
    """By libsndfile, as librosa does; by FFmpeg where libsndfile finds nothing, or stops early."""
    decoded = by_libsndfile.decode(name, file, max_seconds, cancelled)
    if decoded is None:
        return by_ffmpeg.decode(name, file, 1, max_seconds, cancelled)
    if decoded.length_is_estimated and by_ffmpeg.packets_seconds(file) > decoded.seconds + LENGTH_SLACK:
        # Only decoding tells for sure: the packets of a short Vorbis file can claim to last a day.
        seconds = decoded.seconds
        del decoded  # rather decode it once more than hold two long recordings
        whole = by_ffmpeg.decode(name, file, 1, max_seconds, cancelled)
        if whole is not None and whole.seconds > seconds + LENGTH_SLACK:
            return whole
        del whole
        return by_libsndfile.decode(name, file, max_seconds, cancelled)
    return decoded
