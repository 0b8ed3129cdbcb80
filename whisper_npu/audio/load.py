"""From a recording to float32 mono samples at 16 kHz.

The samples are those of `librosa.load(path, sr=16000, mono=True)`. Importing librosa takes seconds, so they
come from the libraries that librosa itself uses: soundfile decodes, soxr resamples. PyAV decodes the
containers that soundfile does not know, such as m4a, mp4, webm and mkv. librosa's last resort, audioread, is
not used: it runs commands such as ffmpeg, which open whatever file or address a recording names.
"""

from __future__ import annotations

import os
from math import inf
from threading import Event
from typing import BinaryIO

from whisper_npu.audio import by_ffmpeg, by_libsndfile
from whisper_npu.audio.damage import LENGTH_SLACK
from whisper_npu.audio.header import tracks_in
from whisper_npu.audio.samples import (
    SAMPLE_RATE,
    Decoded,
    array_to_mono,
    as_array,
    resample,
)
from whisper_npu.audio.sound import Sound
from whisper_npu.audio.source import AudioSource, fetch, name_of
from whisper_npu.audio.store import InMemory, Samples
from whisper_npu.audio.tracks import check_track_number, no_such_track
from whisper_npu.errors import AudioError


def load_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    audio_track: int | None = None,
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
    samples at 16 kHz, 230 MB for an hour, whatever its rate. `open_audio` takes less, whatever the length.

    Returns (n_samples,) float32, 16 kHz; empty for a valid file without samples. An array that is
    already like this is returned itself. For wav, flac, ogg and mp3 these are the samples of
    `librosa.load(path, sr=16000, mono=True)`, bit for bit. One exception: if libsndfile, and with it
    librosa, stops early in an mp3 or ogg (no length in the header, several files joined into one), PyAV
    decodes all of it.

    Nothing else is opened and no command is run, whatever the source contains: playlists and other references
    to files or addresses are not audio.

    A wav, mp3, ogg or other stream is used as far as it goes, whatever its header says: recorders that write
    into a pipe cannot know the length. A flac, mp4, mkv or webm that ends before its stated length is an
    error.

    Raises AudioError where the source is missing, empty, not audio, damaged, too long for the memory, or
    holds NaN or infinity, and where it has no such track; TooLongError for a file longer than `max_seconds`;
    CancelledError once another thread sets `cancelled`.
    """
    with open_audio(
        source,
        sampling_rate=sampling_rate,
        audio_track=audio_track,
        max_seconds=max_seconds,
        cancelled=cancelled,
    ) as sound:
        try:
            return sound.samples(0, sound.n_samples)
        except MemoryError as error:
            raise _does_not_fit(sound.name) from error


def open_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    audio_track: int | None = None,
    max_seconds: float = inf,
    cancelled: Event | None = None,
) -> Sound:
    """As `load_audio`, but the samples of a long recording lie on disk, and are read piece by piece.

    Returns a context manager. A recording of any length takes little memory: see `Store`.
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
            rate = SAMPLE_RATE if sampling_rate is None else sampling_rate
            return Sound(name, InMemory(resample(name, mono, rate)))
        with fetch(name, source) as file:
            return Sound(name, _decode(name, file, audio_track or 1, max_seconds, cancelled).samples)
    except MemoryError as error:
        raise _does_not_fit(name) from error


def _does_not_fit(name: str) -> AudioError:
    return AudioError(
        f"{name}: does not fit into the memory; close other programs, or cut it into parts: "
        "ffmpeg -i FILE -f segment -segment_time 3600 part%03d.wav"
    )


def audio_formats() -> str:
    """What `load_audio` reads and by which libraries, in words.

    Raises ImportError or OSError where these do not load.
    """
    return f"{by_libsndfile.formats()}; {by_ffmpeg.formats()}"


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
        whole = by_ffmpeg.decode(name, file, 1, max_seconds, cancelled)
        if whole is not None and whole.seconds > decoded.seconds + LENGTH_SLACK:
            return whole
    return decoded
