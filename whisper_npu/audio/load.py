"""From a recording to float32 mono samples at 16 kHz.

The samples are those of `librosa.load(path, sr=16000, mono=True)`. Importing librosa takes seconds, so they
come from the libraries that librosa itself uses: soundfile decodes, soxr resamples. PyAV decodes the
containers that soundfile does not know, such as m4a, mp4, webm and mkv. librosa's last resort, audioread, is
not used: it runs commands such as ffmpeg, which open whatever file or address a recording names.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf
from threading import Event
from typing import Any, BinaryIO

import numpy.typing as npt

from whisper_npu.audio import by_ffmpeg, by_libsndfile, joined, stated
from whisper_npu.audio.copying import part_of
from whisper_npu.audio.corrected import corrected
from whisper_npu.audio.damage import CUT_SHORT, JOINED, LENGTH_SLACK, SALVAGE, UNREADABLE, Damage, too_long
from whisper_npu.audio.header import tracks_in
from whisper_npu.audio.mixdown import Mixdown
from whisper_npu.audio.samples import (
    SAMPLE_RATE,
    Alone,
    Decoded,
    as_array,
    channels_of,
    check_rate,
    resample,
)
from whisper_npu.audio.sound import Sound
from whisper_npu.audio.source import AudioSource, fetch, name_of
from whisper_npu.audio.stated.fields import size_of
from whisper_npu.audio.store import InMemory, Samples
from whisper_npu.audio.tracks import check_track_number, no_such_track
from whisper_npu.errors import AudioError, AudioWarning, TooLongError, quoted


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
    streams lie between them. None is the one that the file marks as its default, or else the first.

    A file is decoded no further than `max_seconds`, and resampled meanwhile: it takes as much memory as its
    samples at 16 kHz, 230 MB for an hour, whatever its rate. `open_audio` takes less, whatever the length.

    Returns (n_samples,) float32, 16 kHz; empty for a valid file without samples. An array that is
    already like this is returned itself. For wav, flac, ogg and mp3 these are the samples of
    `librosa.load(path, sr=16000, mono=True)`, bit for bit. One exception: if libsndfile, and with it
    librosa, stops early in an mp3 or ogg (no length in the header, several files joined into one), PyAV
    decodes all of it. Recordings that were joined into one file, of one format or several, as by `cat`, are
    all read, one after the other.

    Nothing else is opened and no command is run, whatever the source contains: playlists and other references
    to files or addresses are not audio.

    One rule for all formats: what a decoder can read is read whole. Where seconds are missing (the header
    states a length that is not there) or do not decode, an AudioWarning names them, and silence stands for
    what is lost in the middle, so that later times are right; with `strict` that is an AudioError instead. A
    length that a recorder could not know (0, 0xFFFFFFFF, none) states nothing, and neither does one that is
    too small. A few samples that are no sound (NaN, infinite, or floats far beyond full scale) are damage
    too. Where nothing at all decodes, it is an AudioError.

    Where channels cancel each other out (opposite phase), the louder one is taken, with an AudioWarning.

    Raises AudioError where the source is missing, empty, not audio, or too long for the memory, where it
    holds mostly NaN and infinity, or floats that nobody has scaled, where it has no such track, and with
    `strict` where it is damaged; TooLongError for what lasts longer than `max_seconds`; CancelledError once
    another thread sets `cancelled`.
    """
    with open_audio(
        source,
        sampling_rate=sampling_rate,
        audio_track=audio_track,
        strict=strict,
        max_seconds=max_seconds,
        cancelled=cancelled,
    ) as sound:
        for warning in sound.warnings:
            warnings.warn(f"{sound.name}: {warning}", AudioWarning, stacklevel=2)
        try:
            return sound.samples(0, sound.n_samples)
        except MemoryError as error:
            raise _does_not_fit(sound.name) from error


def open_audio(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    audio_track: int | None = None,
    strict: bool = False,
    max_seconds: float = inf,
    cancelled: Event | None = None,
) -> Sound:
    """As `load_audio`, but the samples of a long recording lie on disk, and are read piece by piece.

    Returns a context manager. A recording of any length takes little memory: see `Store`. Nobody is warned:
    `Sound.warnings` has what `load_audio` would say.
    """
    if audio_track is not None:
        check_track_number(audio_track)
    array = as_array(source)
    if array is not None and audio_track is not None:
        raise AudioError(f"audio_track={audio_track} is for files; an array is one track: leave it out")
    if array is None and sampling_rate is not None:
        raise AudioError(
            f"sampling_rate={quoted(sampling_rate)} is for arrays; a file states its own: leave it out"
        )
    name = name_of(source)
    try:
        if array is not None:
            sound = _from_array(name, array, SAMPLE_RATE if sampling_rate is None else sampling_rate)
        else:
            with fetch(name, source, max_seconds, cancelled) as file:
                found = _decode(name, file, audio_track, max_seconds, cancelled)
            sound = Sound(name, found.samples, found.damage, found.alone, found.track, found.n_tracks)
    except MemoryError as error:
        raise _does_not_fit(name) from error
    if strict and sound.damage:
        sound.close()
        remedy = SALVAGE if array is None else "repair it where it comes from"
        raise AudioError(f"{name}: {sound.damage[0]} (strict); {remedy}")
    return sound


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


def _from_array(name: str, array: npt.NDArray[Any], rate: int) -> Sound:
    check_rate(name, rate)
    channels, mixdown = channels_of(array), Mixdown()
    mono = mixdown.add(channels, 0.0, rate)
    damage, alone = mixdown.damage(name), mixdown.alone
    if alone:
        mono = Mixdown(alone).add(channels, 0.0, rate)
    return Sound(name, InMemory(resample(name, mono, rate)), damage, alone)


def _decode(
    name: str, file: BinaryIO, audio_track: int | None, max_seconds: float, cancelled: Event | None
) -> Decoded:
    """Of recordings that were joined into one file all of them, one after the other."""
    if size_of(file) == 0:
        raise AudioError(f"{name}: is empty (0 bytes); record or copy it again")
    starts = (0, *joined.starts(name, file, cancelled))
    if len(starts) == 1:
        return _decode_one(name, file, audio_track, max_seconds, cancelled)
    parts, failed = _decode_parts(name, file, starts, audio_track, max_seconds, cancelled)
    if parts is not None and failed is None:
        return parts
    # Perhaps it is one recording that only looks like several.
    try:
        undivided = _decode_one(name, file, audio_track, max_seconds, cancelled)
    except TooLongError:
        raise
    except AudioError as error:
        if parts is None:
            raise (failed or error) from None
        return parts
    if parts is None:
        return undivided
    if undivided.seconds > parts.seconds + LENGTH_SLACK:
        parts.samples.close()
        return undivided
    undivided.samples.close()
    return parts


def _decode_parts(
    name: str,
    file: BinaryIO,
    starts: tuple[int, ...],
    audio_track: int | None,
    max_seconds: float,
    cancelled: Event | None,
) -> tuple[Decoded | None, AudioError | None]:
    """Those that can be read as one, None if there is no such part, and what is wrong with the first other.

    A damage names each place where one is missing.
    """
    whole: Decoded | None = None
    failed: AudioError | None = None
    is_behind_failed = False
    size = size_of(file)
    for start, end in zip(starts, (*starts[1:], size), strict=True):
        with part_of(name, file, start, end, cancelled) as part:
            seconds = 0.0 if whole is None else whole.seconds
            try:
                decoded = _decode_one(name, part, audio_track, max_seconds - seconds, cancelled)
            except TooLongError as error:
                raise too_long(name, max_seconds) from error
            except AudioError as error:
                if stated.ogg.is_silent(part):
                    continue
                failed = failed or error
                is_behind_failed = True
                continue
        if is_behind_failed:
            decoded = replace(decoded, damage=(Damage(0.0, None, UNREADABLE), *decoded.damage))
            is_behind_failed = False
        whole = decoded if whole is None else whole.followed_by(decoded)
    if whole is not None and is_behind_failed:
        whole = replace(whole, damage=(*whole.damage, Damage(whole.seconds, None, JOINED)))
    return whole, failed


def _decode_one(
    name: str, file: BinaryIO, audio_track: int | None, max_seconds: float, cancelled: Event | None
) -> Decoded:
    if audio_track is not None and audio_track > 1:
        tracks = tracks_in(name, file)
        if tracks and audio_track > len(tracks):
            raise no_such_track(name, audio_track, tracks)
    with corrected(name, file, max_seconds, cancelled) or nullcontext(file) as whole:
        decoded = _Recording(name, whole, audio_track, max_seconds, cancelled).heard()
        damage = _with_end(decoded.damage, stated.missing_end(whole, decoded.seconds, decoded.film))
    if damage and not decoded.seconds:
        raise AudioError(f"{name}: nothing of its sound is there; {SALVAGE}")
    return replace(decoded, damage=damage)


def _with_end(damage: tuple[Damage, ...], missing: Damage | None) -> tuple[Damage, ...]:
    """The end that is missing counts once, even if both the packets and the header tell of it."""
    if missing is None:
        return damage
    if damage and damage[-1].what == missing.what == CUT_SHORT:
        if missing.end is not None:
            missing = max(damage[-1], missing, key=lambda part: part.end or 0.0)
        damage = damage[:-1]
    return (*damage, missing)


def _with_samples(name: str, decoded: Decoded, mixdown: Mixdown) -> Decoded:
    """With what was seen of its samples. Raises AudioError where most of them are bad."""
    damage = sorted((*decoded.damage, *mixdown.damage(name)), key=lambda part: part.start)
    return replace(decoded, damage=tuple(damage), alone=mixdown.alone)


@dataclass(frozen=True)
class _Recording:
    """A file, and how much of it is wanted."""

    name: str
    file: BinaryIO
    track: int | None
    max_seconds: float
    cancelled: Event | None

    def heard(self) -> Decoded:
        """One channel of it where the mean of all would be silence."""
        decoded = self._decoded()
        if not decoded.alone:
            return decoded
        decoded.samples.close()
        return self._decoded(decoded.alone)

    def _decoded(self, alone: tuple[Alone, ...] = ()) -> Decoded:
        """By libsndfile, as librosa does; by FFmpeg where libsndfile finds nothing, stops early or fails.

        alone: where one channel only is to be taken.
        """
        decoded = self._by_libsndfile(alone) if self.track in (None, 1) else None
        if decoded is None:
            try:
                decoded = self._by_ffmpeg(alone)
            except TooLongError:
                raise
            except AudioError:
                if stated.has_lost_index(self.file):
                    raise self._has_no_index() from None
                raise
            if decoded is None:
                raise self._is_no_recording()
            return decoded
        if not decoded.has_failed and not (decoded.may_go_on and self._goes_on(decoded.seconds)):
            return decoded
        try:
            whole = self._by_ffmpeg(alone)
        except TooLongError:
            raise
        except AudioError:  # it can read nothing of what libsndfile can read in part
            whole = None
        if whole is not None:
            is_better = bool(whole.damage) or whole.seconds > decoded.seconds + LENGTH_SLACK
            if is_better or (decoded.has_failed and whole.seconds >= decoded.seconds):
                return whole
        if decoded.has_failed:
            return replace(decoded, damage=(*decoded.damage, Damage(decoded.seconds, None, CUT_SHORT)))
        return decoded

    def _goes_on(self, seconds: float) -> bool:
        """Whether packets say that there is more, or that some are lost.

        Only decoding tells for sure: those of a short Vorbis file can claim to last a day.
        """
        packets = by_ffmpeg.packets(self.name, self.file, self.cancelled)
        return packets.are_damaged or packets.seconds > seconds + LENGTH_SLACK

    def _by_libsndfile(self, alone: tuple[Alone, ...]) -> Decoded | None:
        mixdown = Mixdown(alone)
        decoded = by_libsndfile.decode(self.name, self.file, mixdown, self.max_seconds, self.cancelled)
        return None if decoded is None else _with_samples(self.name, decoded, mixdown)

    def _by_ffmpeg(self, alone: tuple[Alone, ...]) -> Decoded | None:
        mixdown = Mixdown(alone)
        decoded = by_ffmpeg.decode(
            self.name, self.file, self.track, mixdown, self.max_seconds, self.cancelled
        )
        return None if decoded is None else _with_samples(self.name, decoded, mixdown)

    def _has_no_index(self) -> AudioError:
        return AudioError(
            f"{self.name}: is cut short: its index, which mp4, m4a and mov keep at their end, is not there "
            "as a whole; copy it again"
        )

    def _is_no_recording(self) -> AudioError:
        if stated.has_lost_index(self.file):
            return self._has_no_index()
        return AudioError(
            f"{self.name}: is not audio, or too damaged to read; "
            "check what it is, copy it again, or convert it: ffmpeg -i FILE converted.wav"
        )
