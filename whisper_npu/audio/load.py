"""From any audio to float32 mono at 16 kHz, and on to Whisper's log-mel spectrogram.

The samples are those of `librosa.load(path, sr=16000, mono=True)`. Importing librosa takes seconds, so they
come from the libraries that librosa itself uses: soundfile decodes, soxr resamples. PyAV decodes the
containers that soundfile does not know, such as m4a, mp4, webm and mkv. librosa's last resort, audioread, is
not used: it runs commands such as ffmpeg, which open whatever file or address a recording names.
"""

from __future__ import annotations

import ctypes
import math
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from whisper_npu.errors import AudioError, UsageError, shown

Samples = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000  # samples per second of Whisper's input
HOP_LENGTH = 160  # samples from one mel frame to the next: 10 ms
CHUNK_SECONDS = 30  # length of Whisper's window
N_SAMPLES = CHUNK_SECONDS * SAMPLE_RATE  # 480000 samples in a window
N_FRAMES = N_SAMPLES // HOP_LENGTH  # 3000 frames in a mel spectrogram input

MIN_SAMPLE_RATE = 1_000  # Hz; a lower rate means a damaged header, and upsampling would fill the memory
MAX_CHANNELS = 64  # an array with more is probably (n_samples, n_channels), transposed
LENGTH_SLACK = 1.0  # seconds by which a file's stated length may differ from its real one

# libsndfile only estimates the length of these, and stops at the estimate.
_ESTIMATED_LENGTH = ("MP3", "OGG")
# Formats whose header states the length, by FFmpeg's names; other durations are estimates.
_STATED_LENGTH = ("flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a FLAC stream whose header leaves it open
# No protocol, not even file: a disguised playlist must not make FFmpeg open other files or addresses.
_THIS_FILE_ONLY = {"protocol_whitelist": ""}

_TITLE_LENGTH = 40  # characters of a track's title in a message
_LISTED_TRACKS = 20  # in a message

_SALVAGE = "copy it again, or keep what is readable: ffmpeg -i FILE rescued.wav"

# What soundfile, PyAV and soxr raise for one recording, besides av.FFmpegError. soundfile.SoundFileError is a
# RuntimeError; TypeError comes from a stream without a time base.
_LIBRARY_ERRORS = (ArithmeticError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_BLOCK = 2**19  # samples, of all channels, to decode or resample in one call: a few hundredths of a second
_BELIEVED = 2**26  # samples, 256 MiB, for which memory is set aside because a header states them

_streams_lock = threading.Lock()


@dataclass(frozen=True)
class AudioTrack:
    """One of the sound tracks of a file, as its header describes it; "" for what it leaves open."""

    number: int  # from 1, among the audio tracks only
    language: str  # such as "eng" (ISO 639-2)
    title: str

    def __str__(self) -> str:
        described = ", ".join(shown(part) for part in (self.language, self.title[:_TITLE_LENGTH]) if part)
        return f"{self.number} ({described})" if described else str(self.number)


def load_audio(
    source: str | os.PathLike[str] | npt.NDArray[Any] | BinaryIO,
    *,
    sample_rate: int | None = None,
    audio_track: int | None = None,
) -> Samples:
    """Decode, mix down to mono, and resample to 16 kHz.

    `source` is a path, "-" for standard input, an open binary file, or an array: floats of shape
    (n_samples,) or (n_channels, n_samples) at `sample_rate` Hz (16000 if None). `sample_rate` is for arrays
    only. A file's format is recognised by its content.

    `audio_track` chooses among the audio tracks of a file, counted from 1 as mpv's --aid does, whatever other
    streams lie between them. None is the first, even if the file marks another one as its default.

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
    holds NaN or infinity, and where it has no such track.
    """
    if audio_track is not None:
        _check_track_number(audio_track)
    if isinstance(source, np.ndarray) and audio_track is not None:
        raise AudioError(f"audio_track={audio_track} is for files; an array is one track: leave it out")
    if not isinstance(source, np.ndarray) and sample_rate is not None:
        raise AudioError(f"sample_rate={sample_rate!r} is for arrays; a file states its own: leave it out")
    name = _name(source)
    try:
        if isinstance(source, np.ndarray):
            mono, rate = _array_to_mono(source), SAMPLE_RATE if sample_rate is None else sample_rate
        else:
            with _fetch(name, source) as file:
                mono, rate = _decode(name, file, audio_track or 1)
        _check_rate(name, rate)
        _check_finite(name, mono, rate)
        return _resample(name, mono, rate)
    except MemoryError as error:
        raise AudioError(
            f"{name}: does not fit into the memory; close other programs, or cut it into parts: "
            "ffmpeg -i FILE -f segment -segment_time 3600 part%03d.wav"
        ) from error


def audio_tracks(source: str | os.PathLike[str] | BinaryIO) -> tuple[AudioTrack, ...]:
    """The audio tracks of a file, from its header; one without a name for a format that has one track only.

    `source` is a path or an open binary file, which is read to its end. Empty for "-" and for a pipe, which
    could not be read again, and for what is not audio.

    Raises AudioError where a file is missing or cannot be read.
    """
    if _only_once(source):
        return ()
    with _fetch(_name(source), source) as file:
        return _tracks(file)


def audio_seconds(source: str | os.PathLike[str] | BinaryIO) -> float | None:
    """How long a recording is by its header, or by what FFmpeg estimates from its size; nothing is decoded.

    `source` is a path or an open binary file, which is read to its end. None where that does not tell, for
    "-" and for a pipe, which could not be read again, and for what cannot be read: `load_audio` says why.
    """
    if _only_once(source):
        return None
    try:
        file = _fetch(_name(source), source)
    except AudioError:
        return None
    with file:
        return _soundfile_seconds(file) or _container_seconds(file)


def audio_formats() -> str:
    """What `load_audio` reads and by which libraries, in words.

    Raises ImportError or OSError where these do not load.
    """
    import av
    import soundfile

    known = soundfile.available_formats()
    named = [name.lower() for name in ("WAV", "FLAC", "OGG", "MP3") if name in known]
    return (
        f"{', '.join(named)} by libsndfile {soundfile.__libsndfile_version__}; m4a, mp4, webm, mkv and more "
        f"by FFmpeg in PyAV {av.__version__}"
    )


def log_mel(samples: Samples, n_mels: int) -> Samples:
    """Whisper's log-mel spectrogram, as faster-whisper computes it.

    `samples` is (n_samples,) at 16 kHz. Returns (n_mels, n_frames) float32 with
    n_frames = n_samples // 160 + 1: the frames that overlap with `samples`, which is followed by silence.
    `samples` may have any length, including 0.

    Raises UsageError unless `n_mels` is at least 1, AudioError unless `samples` is one-dimensional.
    Source: log_mel_spectrogram in openai/whisper, whisper/audio.py.
    """
    if n_mels < 1:
        raise UsageError(
            f"n_mels is {n_mels}, must be at least 1: Whisper's models take 80, or 128 (large-v3)"
        )
    if samples.ndim != 1:
        raise AudioError(f"samples of shape {samples.shape}: expected (n_samples,); load_audio returns that")
    # The extractor appends one hop of zeros, so that its reflection at the end mirrors silence.
    features: Samples = _feature_extractor(n_mels)(samples)  # (n_mels, n_frames)
    return features


@cache
def _feature_extractor(n_mels: int) -> Any:
    """Built once, since its filters are the same for every recording. Threads may share it."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=n_mels)


def _array_to_mono(array: npt.NDArray[Any]) -> Samples:
    if array.dtype.kind != "f":
        raise AudioError(
            f"the array holds {array.dtype}; expected floats in -1..1: scale it, "
            "such as array.astype(np.float32) / 32768 for int16"
        )
    if array.ndim not in (1, 2):
        raise AudioError(
            f"the array has shape {array.shape}; expected (n_samples,) or (n_channels, n_samples): reshape it"
        )
    if array.ndim == 2 and not 1 <= len(array) <= MAX_CHANNELS:
        raise AudioError(
            f"the array has shape {array.shape}, so {len(array)} channels, outside 1..{MAX_CHANNELS}; "
            "expected (n_channels, n_samples): transpose it with array.T"
        )
    with np.errstate(over="ignore"):  # a float64 that is too large becomes infinity, which is reported
        return _to_mono(array.astype(np.float32, copy=False))


def _name(source: object) -> str:
    """What messages call it."""
    if isinstance(source, np.ndarray):
        return "the array"
    if not isinstance(source, (str, os.PathLike)):
        return "the open file"
    return "standard input" if source == "-" else shown(os.fsdecode(source)) or "''"


def _fetch(name: str, source: object) -> BinaryIO:
    """The source's content as a nameless file in which decoders can seek."""
    content: BinaryIO | bytes
    if source == "-":
        content = _read(name, _standard_input())
    elif isinstance(source, (str, os.PathLike)):
        content = _open(os.fsdecode(source), name)
    elif hasattr(source, "read"):
        content = _read(name, source)
    else:
        kind = type(source).__name__
        raise AudioError(f"cannot load audio from {kind}; give a path, an array, a binary file, or '-'")
    return _temporary_file(name, content) if isinstance(content, bytes) else content


def _standard_input() -> Any:
    """It as a binary file."""
    remedy = "send audio into it: whisper-npu ... - < talk.wav"
    stdin: Any = sys.stdin  # None if the process has none, and any object that a program puts there
    if stdin is None or getattr(stdin, "closed", False):
        raise AudioError(f"standard input is closed; {remedy}")
    if stdin.isatty():
        raise AudioError(f"standard input is a terminal; {remedy}")
    if not hasattr(stdin, "buffer"):
        raise AudioError(f"standard input is a {type(stdin).__name__}, which gives text only; {remedy}")
    return stdin.buffer


def _read(name: str, file: Any) -> bytes:
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check where it comes from") from error
    if not isinstance(content, bytes):
        raise AudioError(f"{name} gives {type(content).__name__}, not bytes; open it with mode 'rb'")
    return content


def _open(path: str, name: str) -> BinaryIO | bytes:
    try:
        file = _open_unnamed(path)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        with file:
            return file.read()  # decoders seek, which a pipe such as <(command) cannot
    except FileNotFoundError as error:
        raise AudioError(f"{name}: no such file; check the name and the folder") from error
    except IsADirectoryError as error:
        raise AudioError(f"{name}: is a folder; name the audio files in it, such as {name}/*.wav") from error
    except PermissionError as error:
        raise AudioError(f"{name}: may not be read; ask its owner for permission: chmod +r FILE") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check the name and the disk") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _open_unnamed(path: str) -> BinaryIO:
    """Open a file without its name, or FFmpeg would take any text in "a.g722" or "a.flac" for sound."""
    return open("recording", "rb", opener=lambda _, flags: os.open(path, flags))


def _only_once(source: object) -> bool:
    """Whether what is read of it is gone: standard input, a pipe, a device."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    return source == "-" or (
        os.path.exists(source) and not os.path.isfile(source) and not os.path.isdir(source)
    )


def _temporary_file(name: str, content: bytes) -> BinaryIO:
    """`content` in a file that disappears when it is closed."""
    try:
        with ExitStack() as closing:
            file = closing.enter_context(TemporaryFile())
            file.write(content)
            file.flush()  # libsndfile opens it a second time
            closing.pop_all()
    except OSError as error:
        raise AudioError(
            f"{name}: its {len(content)} bytes cannot be kept in a temporary file ({error}); "
            "set TMPDIR to a folder with more space"
        ) from error
    return file


def _decode(name: str, file: BinaryIO, track: int) -> tuple[Samples, int]:
    """Mono samples of a track at the file's own rate, and that rate in Hz."""
    if os.fstat(file.fileno()).st_size == 0:
        raise AudioError(f"{name}: is empty (0 bytes); record or copy it again")
    if track == 1:
        decoded = _decode_with_soundfile(name, file) or _decode_with_av(name, file, track)
    else:  # libsndfile knows one track only
        tracks = _tracks(file)
        if tracks and track > len(tracks):
            raise _no_such_track(name, track, tracks)
        decoded = _decode_with_av(name, file, track)
    if decoded is None:
        raise AudioError(
            f"{name}: is not audio, or too damaged to read; "
            "check what it is, copy it again, or convert it: ffmpeg -i FILE converted.wav"
        )
    return decoded


def _decode_with_soundfile(name: str, file: BinaryIO) -> tuple[Samples, int] | None:
    """Samples and rate; None if libsndfile does not know the format, or finds no samples."""
    sound = _open_soundfile(name, file)
    if sound is None:
        return None
    with sound:
        if sound.frames in (0, _UNKNOWN_FRAMES):
            return None
        try:
            mono = _read_mono(sound)
        except _LIBRARY_ERRORS as error:
            raise AudioError(f"{name}: is damaged or cut short ({error}); {_SALVAGE}") from error
    rate = int(sound.samplerate)
    seconds = len(mono) / rate
    if sound.format in _ESTIMATED_LENGTH:
        if _packets_seconds(file) > seconds + LENGTH_SLACK:
            # Only decoding tells for sure: the packets of a short Vorbis file can claim to last a day.
            whole = _decode_with_av(name, file, track=1)
            if whole is not None and len(whole[0]) / whole[1] > seconds + LENGTH_SLACK:
                return whole
    elif len(mono) < sound.frames:
        raise _cut_short(name, seconds, sound.frames / rate)
    return mono, rate


def _read_mono(sound: Any) -> Samples:
    """Read a SoundFile block by block: its header may state far more samples than there are."""
    # soundfile would seek to the end of each block, after which mp3 and opus decode to other samples.
    sound.seekable = lambda: False
    n_channels, n_samples = sound.channels, sound.frames
    n_block = min(max(1, _BLOCK // n_channels), n_samples)
    block = np.empty(n_block if n_channels == 1 else (n_block, n_channels), np.float32)
    mono = np.empty(min(n_samples, _BELIEVED), np.float32)
    n_read = 0
    while n_read < n_samples:
        with _silent_libraries():
            part = sound.read(out=block[: n_samples - n_read])  # (n_samples,) or (n_samples, n_channels)
        end = n_read + len(part)
        if end > len(mono):
            mono.resize(min(n_samples, len(mono) + _BELIEVED), refcheck=False)  # in place: never two copies
        mono[n_read:end] = _to_mono(part.T)
        n_read = end
        if len(part) < n_block:
            break
    return mono[:n_read]


def _open_soundfile(name: str, file: BinaryIO) -> Any:
    """A SoundFile; None if libsndfile does not know the format."""
    import soundfile

    # libsndfile looks for a Mac's resource fork in the file's folder, and trusts it; this folder has none.
    path = f"/dev/fd/{file.fileno()}"
    with _silent_libraries():
        try:
            return soundfile.SoundFile(path)
        except _LIBRARY_ERRORS:
            if Path(name).suffix.lower() != ".mp3":
                return None
        # As librosa does: libsndfile finds an mp3 behind leading junk, but only under that extension.
        try:
            with TemporaryDirectory() as folder:
                link = Path(folder, "recording.mp3")
                link.symlink_to(path)
                return soundfile.SoundFile(str(link))
        except _LIBRARY_ERRORS:
            return None


def _decode_with_av(name: str, file: BinaryIO, track: int) -> tuple[Samples, int] | None:
    """Samples and rate; None if FFmpeg does not know the format."""
    import av

    try:
        container = _open_container(file)
    except (av.FFmpegError, *_LIBRARY_ERRORS):
        return None
    with container:
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise AudioError(f"{name}: has no audio stream (only {kinds}); choose a file with sound")
        stream = container.streams.audio[track - 1]
        pieces: list[Samples] = []
        rates: set[int] = set()
        end = 0.0  # seconds: the end of the last packet of any stream
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index == stream.index:
                    for frame in packet.decode():
                        pieces.append(_to_mono(_frame_to_float(frame)))
                        # A stream's header may state half of the frames' rate (HE-AAC).
                        rates.add(int(frame.sample_rate))
        except (av.FFmpegError, *_LIBRARY_ERRORS) as error:
            raise AudioError(f"{name}: is damaged or cut short after {end:.1f} s; {_SALVAGE}") from error
        if container.duration and (container.format.name in _STATED_LENGTH or not pieces):
            stated = container.duration / av.time_base
            if end < stated - LENGTH_SLACK:
                raise _cut_short(name, end, stated)
    if len(rates) > 1:
        raise AudioError(
            f"{name}: changes its sample rate midway ({', '.join(map(str, sorted(rates)))} Hz); "
            "convert it: ffmpeg -i FILE -ar 16000 converted.wav"
        )
    rate = rates.pop() if rates else SAMPLE_RATE
    return np.concatenate([np.empty(0, np.float32), *pieces]), rate


def _tracks(file: BinaryIO) -> tuple[AudioTrack, ...]:
    """The audio tracks; none if the file is not audio."""
    import av

    try:
        with _open_container(file) as container:
            tracks = tuple(map(_track, range(1, len(container.streams.audio) + 1), container.streams.audio))
    except (av.FFmpegError, *_LIBRARY_ERRORS):
        tracks = ()
    if not tracks and _soundfile_seconds(file) is not None:
        tracks = (AudioTrack(1, "", ""),)
    return tracks


def _track(number: int, stream: Any) -> AudioTrack:
    language = stream.metadata.get("language", "")
    return AudioTrack(number, "" if language == "und" else language, stream.metadata.get("title", ""))


def _soundfile_seconds(file: BinaryIO) -> float | None:
    """The length by the header; None if libsndfile does not know the format, or the length."""
    sound = _open_soundfile("", file)
    if sound is None:
        return None
    with sound:
        frames, rate = sound.frames, sound.samplerate
    return None if frames == _UNKNOWN_FRAMES or rate < MIN_SAMPLE_RATE else float(frames / rate)


def _container_seconds(file: BinaryIO) -> float | None:
    """The length by the header; None if FFmpeg does not know the format, or the length."""
    import av

    try:
        with _open_container(file) as container:
            seconds = (container.duration or 0) / av.time_base
            return seconds if container.streams.audio and seconds > 0 else None
    except (av.FFmpegError, *_LIBRARY_ERRORS):
        return None


def _packets_seconds(file: BinaryIO) -> float:
    """The length of the first audio stream by its packets, without decoding; 0 if FFmpeg cannot tell."""
    import av

    try:
        with _open_container(file) as container:
            stream = container.streams.audio[0]
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            return float(ticks * stream.time_base)
    except (av.FFmpegError, *_LIBRARY_ERRORS):
        return 0.0


def _open_container(file: BinaryIO) -> Any:
    import av

    try:
        return av.open(_AvFile(file), mode="r", options=_THIS_FILE_ONLY)
    except UnicodeDecodeError:  # PyAV before 19, for tags in another encoding than UTF-8
        return av.open(_AvFile(file), mode="r", options=_THIS_FILE_ONLY, metadata_errors="ignore")


class _AvFile:
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


def _to_mono(samples: Samples) -> Samples:
    """(n_samples,) or (n_channels, n_samples) -> (n_samples,): the channels' mean, as librosa.to_mono."""
    if samples.ndim == 1:
        return samples
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is reported as an error, not as a warning
        mono: Samples = np.mean(samples, axis=0)
    return mono


def _resample(name: str, mono: Samples, rate: int) -> Samples:
    """Resample to 16 kHz like librosa.resample: default quality, ceil(n_samples * 16000 / rate) samples."""
    if rate == SAMPLE_RATE:
        return mono
    import soxr

    resampled = np.zeros(math.ceil(len(mono) * (float(SAMPLE_RATE) / rate)), np.float32)
    n_done = 0
    try:
        stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="soxr_hq")
        for start in range(0, len(mono), _BLOCK):  # between blocks, Ctrl-C is heeded
            last = start + _BLOCK >= len(mono)
            part = stream.resample_chunk(mono[start : start + _BLOCK], last)[: len(resampled) - n_done]
            resampled[n_done : n_done + len(part)] = part
            n_done += len(part)
    except _LIBRARY_ERRORS as error:
        raise AudioError(
            f"{name}: cannot be resampled from {rate} Hz ({error}); "
            "convert it: ffmpeg -i FILE -ar 16000 converted.wav"
        ) from error
    return resampled


def _check_rate(name: str, rate: object) -> None:
    if not isinstance(rate, (int, np.integer)) or rate < MIN_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate!r}; correct it to a whole number of at least {MIN_SAMPLE_RATE} Hz"
        )


def _check_finite(name: str, mono: Samples, rate: int) -> None:
    finite = np.isfinite(mono)
    if not finite.all():
        first = int(np.argmin(finite))
        raise AudioError(
            f"{name}: sample {first} (at {first / rate:.3f} s) is NaN or infinite; "
            "export it again, or replace such samples with np.nan_to_num"
        )


def _check_track_number(track: object) -> None:
    if not isinstance(track, int) or isinstance(track, bool) or track < 1:
        raise AudioError(f"audio track {track!r}: give a whole number; the first audio track is 1")


def _no_such_track(name: str, track: int, tracks: tuple[AudioTrack, ...]) -> AudioError:
    if len(tracks) == 1:
        return AudioError(f"{name}: has one audio track, so no audio track {track}; leave audio_track out")
    listed = ", ".join(map(str, tracks[:_LISTED_TRACKS])) + (", ..." if len(tracks) > _LISTED_TRACKS else "")
    return AudioError(f"{name}: has no audio track {track}, only {len(tracks)}; choose from {listed}")


def _cut_short(name: str, seconds: float, stated: float) -> AudioError:
    return AudioError(
        f"{name}: is damaged or cut short: {seconds:.1f} s of {stated:.1f} s are there; {_SALVAGE}"
    )


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """Silence C libraries: libmpg123 prints on stderr, and libsndfile on stdout, what they find damaged. Only
    one thread at a time may be here.

    libsndfile gives no door to libmpg123's MPG123_QUIET (github.com/libsndfile/libsndfile,
    src/mpeg_decode.c). So C's `stdout` and `stderr` are another stream meanwhile, which glibc allows (its
    manual, "Standard Streams"). Python uses file descriptors instead: what another thread prints, such as a
    progress bar, still appears.
    """
    variables, null = _c_streams()
    with _streams_lock:
        kept = [variable.value for variable in variables]
        try:
            for variable in variables:
                variable.value = null
            yield
        finally:
            for variable, stream in zip(variables, kept, strict=True):
                variable.value = stream


@cache
def _c_streams() -> tuple[list[ctypes.c_void_p], int | None]:
    """C's variables `stdout` and `stderr`, and a stream to nowhere; none where these are constants (musl)."""
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return [], None
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    null = libc.fopen(os.fsencode(os.devnull), b"we")
    if null is None:
        return [], None
    return [ctypes.c_void_p.in_dll(libc, name) for name in ("stdout", "stderr")], null
