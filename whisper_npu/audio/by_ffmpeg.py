"""FFmpeg, by PyAV: the containers that libsndfile does not know, such as m4a, mp4, webm and mkv."""

from __future__ import annotations

import ctypes
from functools import partial
from io import FileIO
from threading import Event
from typing import Any, BinaryIO

import numpy as np

from whisper_npu.audio.damage import LENGTH_SLACK, LIBRARY_ERRORS, SALVAGE, cut_short, too_long
from whisper_npu.audio.samples import Decoded, Resampling, to_mono
from whisper_npu.audio.store import Samples, Store
from whisper_npu.audio.tracks import AudioHeader, AudioTrack
from whisper_npu.errors import AudioError

# Formats whose header states the length, by FFmpeg's names; other durations are estimates.
_STATED_LENGTH = ("flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
# No protocol, not even file: a disguised playlist must not make FFmpeg open other files or addresses.
_THIS_FILE_ONLY = {"protocol_whitelist": ""}


def decode(
    name: str, file: BinaryIO, track: int, max_seconds: float, cancelled: Event | None = None
) -> Decoded | None:
    """The samples of a track; None if FFmpeg does not know the format."""
    import av

    try:
        container = _open(file)
    except (av.FFmpegError, *LIBRARY_ERRORS):
        return None
    with container:
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise AudioError(f"{name}: has no audio stream (only {kinds}); choose a file with sound")
        stream = container.streams.audio[track - 1]
        if stream.codec_context is None:  # PyAV 17 would crash on its first packet
            raise AudioError(f"{name}: its audio is in a codec that FFmpeg does not know; {SALVAGE}")
        resampling: Resampling | None = None  # a stream's header may state half of its rate (HE-AAC)
        end = 0.0  # seconds: the end of the last packet of any stream
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index == stream.index:
                    for frame in packet.decode():
                        rate = int(frame.sample_rate)
                        if resampling is None:
                            resampling = Resampling(name, rate, cancelled)
                        if rate != resampling.rate:
                            raise _changes_rate(name, resampling.rate, rate)
                        resampling.add(to_mono(_frame_to_float(frame)))
                        if resampling.seconds > max_seconds:
                            raise too_long(name, max_seconds)
        except (av.FFmpegError, *LIBRARY_ERRORS) as error:
            raise AudioError(f"{name}: is damaged or cut short after {end:.1f} s; {SALVAGE}") from error
        if container.duration and (container.format.name in _STATED_LENGTH or resampling is None):
            stated = container.duration / av.time_base
            if end < stated - LENGTH_SLACK:
                raise cut_short(name, end, stated)
    if resampling is None:
        return Decoded(Store(name), 0.0)
    return Decoded(resampling.finish(), resampling.seconds)


def header(file: BinaryIO) -> AudioHeader:
    """What the header says; nothing if FFmpeg does not know the format."""
    import av

    try:
        with _open(file) as container:
            streams = container.streams.audio
            seconds = (container.duration or 0) / av.time_base
            tracks = tuple(map(_track, range(1, len(streams) + 1), streams))
    except (av.FFmpegError, *LIBRARY_ERRORS):
        return AudioHeader((), None)
    return AudioHeader(tracks, seconds if tracks and seconds > 0 else None)


def packets_seconds(file: BinaryIO) -> float:
    """The length of the first audio stream by its packets, without decoding; 0 if FFmpeg cannot tell."""
    import av

    try:
        with _open(file) as container:
            stream = container.streams.audio[0]
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            return float(ticks * stream.time_base)
    except (av.FFmpegError, *LIBRARY_ERRORS):
        return 0.0


def formats() -> str:
    """The main formats and the library, in words. Raises ImportError or OSError if it does not load."""
    import av

    return f"m4a, mp4, webm, mkv and more by FFmpeg in PyAV {av.__version__}"


def _open(file: BinaryIO) -> Any:
    import av

    try:
        return av.open(_File(file), mode="r", options=_THIS_FILE_ONLY)
    except UnicodeDecodeError:  # PyAV before 19, for tags in another encoding than UTF-8
        return av.open(_File(file), mode="r", options=_THIS_FILE_ONLY, metadata_errors="ignore")


class _File:
    """A file, from its start, as PyAV shall see it.

    Where a damaged header names a place before the start, C's `lseek` answers -1; of what Python's raises,
    PyAV prints the traceback. No method is written in Python: Ctrl-C could end it, which PyAV would ignore.
    """

    def __init__(self, file: BinaryIO) -> None:
        raw = FileIO(file.fileno(), closefd=False)
        raw.seek(0)
        lseek = ctypes.CDLL(None).lseek
        lseek.argtypes = ctypes.c_int, ctypes.c_int64, ctypes.c_int
        lseek.restype = ctypes.c_int64
        self.read = raw.read
        self.tell = raw.tell
        self.seek = partial(lseek, raw.fileno())


def _changes_rate(name: str, *rates: int) -> AudioError:
    return AudioError(
        f"{name}: changes its sample rate midway ({', '.join(map(str, sorted(rates)))} Hz); "
        "convert it: ffmpeg -i FILE -ar 16000 converted.wav"
    )


def _track(number: int, stream: Any) -> AudioTrack:
    language = stream.metadata.get("language", "")
    return AudioTrack(number, "" if language == "und" else language, stream.metadata.get("title", ""))


def _frame_to_float(frame: Any) -> Samples:
    """PyAV's frame as (n_channels, n_samples) float32, integers scaled to -1..1."""
    pcm = frame.to_ndarray()  # (n_channels, n_samples) if planar, else (1, n_samples * n_channels)
    if not frame.format.is_planar:
        pcm = pcm.reshape(-1, len(frame.layout.channels)).T
    if pcm.dtype.kind != "f":
        full_scale = 2.0 ** (8 * pcm.itemsize - 1)
        zero = full_scale if pcm.dtype.kind == "u" else 0.0
        pcm = (pcm.astype(np.float64) - zero) / full_scale
    return pcm.astype(np.float32, copy=False)  # type: ignore[no-any-return]
