"""FFmpeg, by PyAV: the containers that libsndfile does not know, such as m4a, mp4, webm and mkv."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from math import inf
from threading import Event
from typing import Any, BinaryIO

import numpy as np

from whisper_npu.audio.at_first_rate import AtFirstRate
from whisper_npu.audio.bare_frames import BareFrames, are_bare
from whisper_npu.audio.clock import JITTER, Clock, agree
from whisper_npu.audio.containers import (
    EXACT,
    EXACT_JITTER,
    FORMATS,
    HAVE_TIMES,
    KNOWN_LENGTH,
    LONGEST_JUMP,
    MAY_JUMP,
    PLACE_EVERY_PACKET,
    STAMPS_ARE_FRAIL,
    STATE_EVERY_LENGTH,
    STATE_LENGTH,
    STATE_SAMPLES,
    UNKNOWN_LENGTH,
)
from whisper_npu.audio.damage import (
    CUT_SHORT,
    EXACT_SLACK,
    LENGTH_SLACK,
    LIBRARY_ERRORS,
    NO_SOUND,
    SALVAGE,
    SUSPECT,
    UNDECODABLE,
    UNREADABLE,
    Damage,
    Damages,
    Film,
    check_cancelled,
)
from whisper_npu.audio.mixdown import Mixdown, is_out_of_scale
from whisper_npu.audio.samples import Decoded
from whisper_npu.audio.stated import TAGS, avi, gxf, id3_size, is_no_sound, mp4, ogg
from whisper_npu.audio.stated.fields import size_of
from whisper_npu.audio.store import Samples
from whisper_npu.audio.tracks import AudioHeader, AudioTrack
from whisper_npu.errors import AudioError

_OPTIONS = {
    # No protocol, not even file: a disguised playlist must not make FFmpeg open other files or addresses.
    "protocol_whitelist": "",
    "format_whitelist": ",".join(FORMATS),
    "max_streams": "200",  # each has a decoder, of up to a megabyte
}
_CHECKED = ("flac", "wavpack", "tta", "tak", "ape")  # they give noise unless told to compare checksums
_PLANES = 8  # AV_NUM_DATA_POINTERS
_DEFAULT = 1  # AV_DISPOSITION_DEFAULT
# No codec and no container needs less for a second of sound and its silence, even with discontinuous
# transmission (AMR: 37). So a longer gap than the file has bytes for is a damaged time stamp.
_LEAST_BYTES_PER_SECOND = 16
_SYNC = 0xFF  # the first byte of a frame of mp3
_MOST_FAILURES = 100  # of the reading of packets, one after the other, before it is given up


@dataclass(frozen=True)
class Packets:
    """What the packets of the first audio stream say, without decoding."""

    seconds: float  # the sum of their lengths
    are_damaged: bool  # some are missing or no packets


def decode(
    name: str,
    file: BinaryIO,
    track: int | None,
    mixdown: Mixdown,
    max_seconds: float,
    cancelled: Event | None = None,
) -> Decoded | None:
    """The samples of a track, or of the default one; None if FFmpeg does not know the format."""
    import av

    try:
        container = _open(file)
    except (av.FFmpegError, *LIBRARY_ERRORS):
        return None
    with container:
        streams = container.streams.audio
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise AudioError(f"{name}: has no audio stream (only {kinds}); choose a file with sound")
        number = track or _default_track(streams)
        if streams[number - 1].codec_context is None:  # PyAV 17 would crash on its first packet
            raise AudioError(f"{name}: its audio is in a codec that FFmpeg does not know; {SALVAGE}")
        sound = AtFirstRate(name, mixdown, max_seconds, cancelled)
        reading = _Reading(name, file, container, streams[number - 1], sound, cancelled)
        reading.read()
        return reading.decoded(number)


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


def packets(name: str, file: BinaryIO, cancelled: Event | None = None) -> Packets:
    """Those of the first audio stream; none if FFmpeg cannot tell. Raises CancelledError."""
    import av

    seconds, are_damaged = 0.0, ogg.lacks_its_start(file)
    try:
        with _open(file) as container:
            stream = container.streams.audio[0]
            is_mp3, has_times = container.format.name == "mp3", container.format.name in HAVE_TIMES
            tag_end = 0
            clock = Clock()
            for packet in container.demux(stream):
                check_cancelled(name, cancelled)
                if is_mp3 and packet.size:
                    head = bytes(memoryview(packet)[:16])
                    tag_end = max(tag_end, _tag_end(packet))
                    if head[0] != _SYNC and not head.startswith(TAGS) and (packet.pos or 0) >= tag_end:
                        are_damaged = True
                        continue
                if has_times and packet.pts is not None:
                    gap = clock.gap(float(packet.pts * packet.time_base), seconds, is_exact=False)
                    if seconds and gap:
                        are_damaged = True
                        clock.ignore(gap)
                seconds += float((packet.duration or 0) * packet.time_base)
    except (av.FFmpegError, *LIBRARY_ERRORS):
        are_damaged = True
    return Packets(seconds, are_damaged)


def formats() -> str:
    """The main formats and the library, in words. Raises ImportError or OSError if it does not load."""
    import av

    return f"m4a, mp4, webm, mkv and more by FFmpeg in PyAV {av.__version__}"


class _Reading:
    """A track of an open container on its way to mono samples at 16 kHz, at their places in time."""

    def __init__(
        self,
        name: str,
        file: BinaryIO,
        container: Any,
        stream: Any,
        sound: AtFirstRate,
        cancelled: Event | None,
    ) -> None:
        import av

        self._cancelled = cancelled
        self._name, self._container, self._stream, self._sound = name, container, stream, sound
        self._format: str = container.format.name
        self._duration = container.duration / av.time_base if container.duration else 0.0
        size = size_of(file)
        codec = stream.codec_context
        self._is_pcm = codec.name.startswith("pcm_")
        if codec.name in _CHECKED:
            codec.options = {"err_detect": "crccheck+explode"}
        self._clock: Clock | None = None
        self._lost_from: float | None = None  # where packets were lost since the last frame
        start = (container.start_time or 0) / av.time_base
        if self._format == "ogg" and ogg.lacks_its_start(file):  # FFmpeg counts from the first whole page
            start = self._lost_from = 0.0
        found = mp4.lost(file, size, self._duration)
        self._is_fragmented = found is not None  # a gap in the middle is not how it was cut
        fragments = found or mp4.Lost()
        self._pauses, self._pause = fragments.pauses, 0.0
        self._pieces = avi.pieces(file, stream.index)
        self._before = avi.When(0.0, 0.0, 0)  # what the pieces say of the last packet
        duration = self._duration + fragments.pauses.seconds
        if fragments.at_start:
            self._lost_from = 0.0
            # The clock began at 0, but for a piece of a longer recording.
            missed = start if start < 2 * fragments.at_start else fragments.at_start
            start, duration = max(0.0, start - missed), duration + missed
        self._have_sound = self._lost_from is not None  # some of these packets may have had sound
        is_known = self._format in KNOWN_LENGTH
        if self._format in HAVE_TIMES:
            self._clock = Clock(
                start=start,
                duration=duration + LENGTH_SLACK if is_known and self._duration else inf,
                longest_gap=size / _LEAST_BYTES_PER_SECOND,
                longest_jump=LONGEST_JUMP if self._format in MAY_JUMP else inf,
                jitter=EXACT_JITTER if self._format in EXACT else JITTER,
            )
        self._held: tuple[_Frame, float] | None = None  # a frame, and the gap before it if its stamp is right
        self._damages = Damages()
        self._lost = 0.0  # seconds that they last
        self._has_failed = False
        self._ticks: dict[int, float] = {}  # of each stream, by its index: to make them takes a while
        self._end = 0.0  # seconds: the end of the last packet of any stream
        self._own_end = 0.0  # the same, of this stream
        # FFmpeg may look for one more packet there, and fail.
        self._has_ended = self._format == "gxf" and gxf.ends(file, size)
        self._good_bytes = 0  # of the packets that were decoded
        self._bare: BareFrames | None = None
        if are_bare(self._format, codec.name):
            self._bare = BareFrames(file, self._format, codec)
        self._tag_end = 0  # place in the file

    def read(self) -> None:
        """Raises AudioError, TooLongError, CancelledError."""
        import av

        for packet in self._packets():
            check_cancelled(self._name, self._cancelled)
            tick = self._tick(packet.stream)
            end = 0.0 if packet.pts is None else (packet.pts + (packet.duration or 0)) * tick
            self._end = max(self._end, end)
            if packet.stream.index != self._stream.index or self._is_of_a_tag(packet):
                continue
            self._own_end = max(self._own_end, end)
            n_lost = self._bare.lost_before(packet) if self._bare is not None and packet.size else 0
            if n_lost:
                self._lose(n_lost * self._seconds_per_byte)
            try:
                if packet.pos is not None:
                    self._pause = self._pauses.before(packet.pos)
                frames = [_Frame.of(frame, tick, self._pause) for frame in packet.decode()]
                if self._format == "avi":
                    frames = self._by_pieces(frames, packet.pos)
            except (av.FFmpegError, *LIBRARY_ERRORS):
                self._lose_packet(packet, (packet.duration or 0) * tick)
                continue
            n_lost = 0 if self._bare is None else self._bare.lost_within(packet)
            self._good_bytes += packet.size - n_lost
            for frame in frames:
                self._take(frame)
            if n_lost:
                self._lose(n_lost * self._seconds_per_byte)
        if self._held is not None:
            self._release(*self._held)

    def decoded(self, track: int) -> Decoded:
        n_tracks = len(self._container.streams.audio)
        seconds = self._sound.seconds
        if not seconds and (self._has_failed or self._duration > LENGTH_SLACK):
            raise AudioError(f"{self._name}: nothing of its sound can be read; {SALVAGE}")
        damage = (*self._damages.found, *self._missing_end(seconds))
        done = self._sound.finish()
        return Decoded(done, seconds, damage, track=track, n_tracks=n_tracks, film=self._film())

    def _missing_end(self, seconds: float) -> tuple[Damage, ...]:
        if self._lost_from is None or not self._have_sound or (self._has_ended and not self._lost):
            return ()
        end = self._lost_from + self._lost
        return (Damage(seconds, end if end > seconds else None, CUT_SHORT),)

    def _film(self) -> Film:
        import av

        start = max(0, self._container.start_time or 0) / av.time_base
        if self._is_fragmented:  # the length is that of the fragments which are there, or that of an index
            is_known = self._end < self._duration - LENGTH_SLACK
            return Film(self._duration - start if is_known else 0.0, self._end - start)
        if self._stream.duration and self._format in STATE_EVERY_LENGTH:
            tick = self._tick(self._stream)
            end = (max(0, self._stream.start_time or 0) + self._stream.duration) * tick
            return Film(end - start, self._own_end - start, EXACT_SLACK)
        if self._stream.duration and self._format in STAMPS_ARE_FRAIL:  # what is lost may be in the middle
            seconds = self._stream.duration * self._tick(self._stream)
            return Film(0.0 if seconds == UNKNOWN_LENGTH else seconds, self._sound.seconds)
        if self._format not in STATE_LENGTH or not self._duration:
            return Film(0.0, self._end)
        slack = EXACT_SLACK if self._format in STATE_SAMPLES else LENGTH_SLACK
        return Film(self._duration - start, self._end - start, slack)

    def _packets(self) -> Iterator[Any]:
        """All packets, and those behind places where reading fails."""
        import av

        n_failures = 0
        while n_failures < _MOST_FAILURES:
            try:
                for packet in self._container.demux():
                    n_failures = 0
                    yield packet
                return
            except (av.FFmpegError, *LIBRARY_ERRORS):
                n_failures += 1
                self._lose(0.0)

    def _tick(self, stream: Any) -> float:
        """Seconds of a step of its time stamps."""
        tick = self._ticks.get(stream.index)
        if tick is None:
            tick = self._ticks[stream.index] = float(stream.time_base or 0)
        return tick

    def _is_of_a_tag(self, packet: Any) -> bool:
        """Whether it holds no sound but a tag, as in the middle of mp3s that were joined."""
        if self._format != "mp3" or not packet.size:
            return False
        self._tag_end = max(self._tag_end, _tag_end(packet))
        is_of_a_tag = bytes(memoryview(packet)[:16]).startswith(TAGS) or (packet.pos or 0) < self._tag_end
        if is_of_a_tag and self._bare is not None:
            self._bare.forget_place()
        return is_of_a_tag

    def _by_pieces(self, frames: list[_Frame], place: int | None) -> list[_Frame]:
        """With time stamps where there may be time without sound; the others follow one another."""
        if not frames:
            return []
        stamp = None
        if self._pieces is not None and place is not None:
            when = self._pieces.at(place)
            silent = when.without_sound - self._before.without_sound
            if when.n_lost > self._before.n_lost:
                self._lose(LENGTH_SLACK)  # what FFmpeg may skip before it finds the next piece
            if silent or self._lost_from is not None:
                # The steps of some recorders are longer than their sound.
                stamp = min(when.seconds, self._sound.seconds + silent + self._lost)
            self._before = when
        return [replace(frames[0], stamp=stamp), *(replace(frame, stamp=None) for frame in frames[1:])]

    def _lose_packet(self, packet: Any, seconds: float) -> None:
        """seconds: of one frame. Where frames are bare, what FFmpeg takes for one may have been several."""
        if self._bare is not None and seconds:
            n_frames = round(packet.size * self._seconds_per_byte / seconds)
            seconds *= max(1, n_frames)
        self._lose(seconds, has_sound=self._bare is None or not is_no_sound(bytes(packet)))

    @property
    def _seconds_per_byte(self) -> float:
        """Of what was decoded so far."""
        return self._sound.seconds / self._good_bytes if self._good_bytes else 0.0

    def _lose(self, seconds: float, *, has_sound: bool = True) -> None:
        """has_sound: not of what may lie behind the last frame."""
        self._has_failed = True
        self._have_sound = self._have_sound or has_sound
        if self._lost_from is None:
            held = self._held[0].seconds if self._held else 0.0
            self._lost_from, self._lost = self._sound.seconds + held, 0.0
        self._lost += seconds

    def _take(self, frame: _Frame) -> None:
        if not self._is_pcm and is_out_of_scale(frame.samples):
            self._lose(frame.seconds)
            return
        if self._held is not None:
            held, gap = self._held
            if frame.stamp is not None and self._clock is not None and not held.can_precede(frame):
                self._clock.ignore(gap)
                gap = 0.0
            self._release(held, gap)
        if self._clock is None:
            self._release(frame, self._lost)
        elif frame.stamp is None:
            self._add(frame)
        else:
            gap = self._clock.gap(frame.stamp, self._sound.seconds, is_exact=self._lost_from is not None)
            if gap and self._pieces is None:
                self._held = frame, gap  # until the next stamp shows whether this one is right
            else:
                self._release(frame, gap)

    def _release(self, frame: _Frame, gap: float) -> None:
        """On with a frame behind a gap."""
        self._held = None
        start = self._sound.seconds
        if gap:
            self._sound.add_silence(gap, frame.rate)
        if self._lost_from is not None and gap:
            self._damages.add(self._lost_from, start + gap, UNDECODABLE)
        elif self._lost_from is not None:
            self._damages.add(self._lost_from, None, UNREADABLE)
        elif start > JITTER and gap and (self._is_fragmented or self._format not in PLACE_EVERY_PACKET):
            self._damages.add(start, start + gap, NO_SOUND)
        self._lost_from, self._lost, self._have_sound = None, 0.0, False
        self._add(frame)

    def _add(self, frame: _Frame) -> None:
        start = self._sound.seconds
        self._sound.add(frame.samples, frame.rate)
        if frame.is_suspect:
            self._damages.add(start, start + frame.seconds, SUSPECT)


@dataclass(frozen=True)
class _Frame:
    """What one call of a decoder gives."""

    stamp: float | None  # seconds, where its container says when it is heard
    samples: Samples  # (n_channels, n_samples)
    rate: int
    is_suspect: bool  # decoded from a packet that is known to be damaged

    @classmethod
    def of(cls, frame: Any, tick: float, pause: float) -> _Frame:
        """tick: seconds of a step of its time stamp; pause: that its time stamp leaves out."""
        stamp = None if frame.pts is None else frame.pts * tick + pause
        return cls(stamp, _frame_to_float(frame), int(frame.sample_rate), bool(frame.is_corrupt))

    @property
    def seconds(self) -> float:
        return float(self.samples.shape[1] / self.rate)

    def can_precede(self, other: _Frame) -> bool:
        return self.stamp is None or other.stamp is None or agree(self.stamp + self.seconds, other.stamp)


def _default_track(streams: Any) -> int:
    """The number of the audio track that is marked as the default one; else 1."""
    for number, stream in enumerate(streams, start=1):
        if int(getattr(stream, "disposition", 0)) & _DEFAULT:  # PyAV has it from version 14 on
            return number
    return 1


def _tag_end(packet: Any) -> int:
    """Where in the file the ID3v2 tag ends that a packet without a frame of sound holds; 0 without one."""
    content = bytes(packet)
    place = content.find(b"ID3")
    if place < 0 or content[0] == _SYNC:
        return 0
    return int(packet.pos or 0) + place + 10 + id3_size(content[place : place + 10])


def _open(file: BinaryIO) -> Any:
    import av

    try:
        return av.open(_File(file), mode="r", options=_OPTIONS)
    except UnicodeDecodeError:  # PyAV before 19, for tags in another encoding than UTF-8
        return av.open(_File(file), mode="r", options=_OPTIONS, metadata_errors="ignore")


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


def _track(number: int, stream: Any) -> AudioTrack:
    language = stream.metadata.get("language", "")
    return AudioTrack(number, "" if language == "und" else language, stream.metadata.get("title", ""))


def _packed(frame: Any) -> Any:
    """Of a planar frame with many channels: PyAV looks for the end of its planes behind them, and crashes.

    Its AudioFrame.planes counts up to a null pointer, which follows fewer than `_PLANES` only.
    """
    import av

    resampler = av.AudioResampler(frame.format.packed.name, frame.layout, frame.sample_rate)
    packed = [*resampler.resample(frame), *resampler.resample(None)]
    if len(packed) != 1:
        raise ValueError(f"{len(frame.layout.channels)} channels cannot be packed")
    return packed[0]


def _frame_to_float(frame: Any) -> Samples:
    """PyAV's frame as (n_channels, n_samples) float32, integers scaled to -1..1."""
    if frame.format.is_planar and len(frame.layout.channels) >= _PLANES:
        frame = _packed(frame)
    pcm = frame.to_ndarray()  # (n_channels, n_samples) if planar, else (1, n_samples * n_channels)
    if not frame.format.is_planar:
        pcm = pcm.reshape(-1, len(frame.layout.channels)).T
    if pcm.dtype.kind != "f":
        full_scale = 2.0 ** (8 * pcm.itemsize - 1)
        zero = full_scale if pcm.dtype.kind == "u" else 0.0
        pcm = (pcm.astype(np.float64) - zero) / full_scale
    return pcm.astype(np.float32, copy=False)  # type: ignore[no-any-return]
