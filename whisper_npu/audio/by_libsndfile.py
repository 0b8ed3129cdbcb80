"""libsndfile, by soundfile: wav, flac, ogg, mp3 and more, decoded as librosa does."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import numpy as np

from whisper_npu.audio.damage import LIBRARY_ERRORS, too_long
from whisper_npu.audio.mixdown import Mixdown, is_out_of_scale
from whisper_npu.audio.quiet import silent_libraries
from whisper_npu.audio.samples import BLOCK, MIN_SAMPLE_RATE, Decoded, Resampling
from whisper_npu.owned import temporary_folder

# libsndfile only estimates the length of these, and stops at the estimate.
_ESTIMATED_LENGTH = ("MP3", "OGG")
_MAY_GO_ON = (*_ESTIMATED_LENGTH, "FLAC")  # it stops where the header says, too: others are corrected before
_SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}
_LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a FLAC stream whose header leaves it open


def decode(
    name: str, file: BinaryIO, mixdown: Mixdown, max_seconds: float, cancelled: Event | None = None
) -> Decoded | None:
    """The samples; None if libsndfile does not know the format, or finds no samples."""
    sound = _open(name, file)
    if sound is None:
        return None
    with sound:
        if sound.frames in (0, _UNKNOWN_FRAMES):
            return None
        resampling = Resampling(name, int(sound.samplerate), cancelled)
        wanted = min(sound.frames, max_seconds * sound.samplerate + 1)
        n_read, has_failed = _read(sound, wanted, resampling, mixdown)
    if n_read > max_seconds * sound.samplerate:
        raise too_long(name, max_seconds)
    return Decoded(
        resampling.finish(),
        resampling.seconds,
        has_failed=has_failed or (n_read < sound.frames and sound.format not in _ESTIMATED_LENGTH),
        may_go_on=sound.format in _MAY_GO_ON,
    )


def seconds(name: str, file: BinaryIO) -> float | None:
    """The length by the header; None if libsndfile does not know the format, or the length."""
    sound = _open(name, file)
    if sound is None:
        return None
    with sound:
        frames, rate = sound.frames, sound.samplerate
    return None if frames == _UNKNOWN_FRAMES or rate < MIN_SAMPLE_RATE else float(frames / rate)


def bytes_per_second(file: BinaryIO) -> float | None:
    """At the most, by the header; None if libsndfile does not know the format."""
    sound = _open("", file)
    if sound is None:
        return None
    with sound:
        return float(sound.samplerate * sound.channels * _SAMPLE_BYTES.get(sound.subtype, 8))


def formats() -> str:
    """The main formats and the library, in words. Raises ImportError or OSError if it does not load."""
    import soundfile

    known = soundfile.available_formats()
    named = [name.lower() for name in ("WAV", "FLAC", "OGG", "MP3") if name in known]
    return f"{', '.join(named)} by libsndfile {soundfile.__libsndfile_version__}"


def _open(name: str, file: BinaryIO) -> Any:
    """A SoundFile; None if libsndfile does not know the format."""
    import soundfile

    # libsndfile looks for a Mac's resource fork in the file's folder, and trusts it; this folder has none.
    path = f"/dev/fd/{file.fileno()}"
    with silent_libraries():
        try:
            return soundfile.SoundFile(path)
        except LIBRARY_ERRORS:
            if Path(name).suffix.lower() != ".mp3":
                return None
        # As librosa does: libsndfile finds an mp3 behind leading junk, but only under that extension.
        try:
            with temporary_folder() as folder:
                link = folder / "recording.mp3"
                link.symlink_to(path)
                return soundfile.SoundFile(str(link))
        except LIBRARY_ERRORS:
            return None


def _read(sound: Any, most: float, resampling: Resampling, mixdown: Mixdown) -> tuple[int, bool]:
    """Read a SoundFile block by block: its header may state far more samples than there are.

    most: how many samples are wanted. Returns how many were there, and whether one came that does not decode.
    """
    # soundfile would seek to the end of each block, after which mp3 and opus decode to other samples.
    sound.seekable = lambda: False
    n_channels, n_samples = sound.channels, int(most)
    n_block = min(max(1, BLOCK // n_channels), n_samples)
    block = np.empty(n_block if n_channels == 1 else (n_block, n_channels), np.float32)
    n_read = 0
    while n_read < n_samples:
        try:
            with silent_libraries():
                part = sound.read(out=block[: n_samples - n_read])  # (n_samples,) or (n_samples, n_channels)
        except LIBRARY_ERRORS:
            return n_read, True
        if sound.subtype in _LOSSY and is_out_of_scale(part):  # damaged: FFmpeg leaves out less than a block
            return n_read, True
        resampling.add(mixdown.add(part.T, resampling.seconds, resampling.rate))
        n_read += len(part)
        if len(part) < n_block:
            break
    return n_read, False
