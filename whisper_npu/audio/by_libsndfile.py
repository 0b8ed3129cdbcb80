"""libsndfile, by soundfile: wav, flac, ogg, mp3 and more, decoded as librosa does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, BinaryIO

import numpy as np

from whisper_npu.audio.damage import LIBRARY_ERRORS, SALVAGE, cut_short, too_long
from whisper_npu.audio.quiet import silent_libraries
from whisper_npu.audio.samples import BLOCK, MIN_SAMPLE_RATE, Decoded, Resampling, to_mono
from whisper_npu.errors import AudioError

# libsndfile only estimates the length of these, and stops at the estimate.
_ESTIMATED_LENGTH = ("MP3", "OGG")
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a FLAC stream whose header leaves it open


def decode(name: str, file: BinaryIO, max_seconds: float, cancelled: Event | None = None) -> Decoded | None:
    """The samples; None if libsndfile does not know the format, or finds no samples."""
    sound = _open(name, file)
    if sound is None:
        return None
    with sound:
        if sound.frames in (0, _UNKNOWN_FRAMES):
            return None
        resampling = Resampling(name, int(sound.samplerate), cancelled)
        try:
            n_read = _read(sound, min(sound.frames, max_seconds * sound.samplerate + 1), resampling)
        except LIBRARY_ERRORS as error:
            raise AudioError(f"{name}: is damaged or cut short ({error}); {SALVAGE}") from error
    if n_read > max_seconds * sound.samplerate:
        raise too_long(name, max_seconds)
    length_is_estimated = sound.format in _ESTIMATED_LENGTH
    if n_read < sound.frames and not length_is_estimated:
        raise cut_short(name, resampling.seconds, sound.frames / sound.samplerate)
    return Decoded(resampling.finish(), resampling.seconds, length_is_estimated)


def seconds(file: BinaryIO) -> float | None:
    """The length by the header; None if libsndfile does not know the format, or the length."""
    sound = _open("", file)
    if sound is None:
        return None
    with sound:
        frames, rate = sound.frames, sound.samplerate
    return None if frames == _UNKNOWN_FRAMES or rate < MIN_SAMPLE_RATE else float(frames / rate)


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
            with TemporaryDirectory() as folder:
                link = Path(folder, "recording.mp3")
                link.symlink_to(path)
                return soundfile.SoundFile(str(link))
        except LIBRARY_ERRORS:
            return None


def _read(sound: Any, most: float, resampling: Resampling) -> int:
    """Read a SoundFile block by block: its header may state far more samples than there are.

    most: how many samples are wanted. Returns how many were there.
    """
    # soundfile would seek to the end of each block, after which mp3 and opus decode to other samples.
    sound.seekable = lambda: False
    n_channels, n_samples = sound.channels, int(most)
    n_block = min(max(1, BLOCK // n_channels), n_samples)
    block = np.empty(n_block if n_channels == 1 else (n_block, n_channels), np.float32)
    n_read = 0
    while n_read < n_samples:
        with silent_libraries():
            part = sound.read(out=block[: n_samples - n_read])  # (n_samples,) or (n_samples, n_channels)
        resampling.add(to_mono(part.T))
        n_read += len(part)
        if len(part) < n_block:
            break
    return n_read
