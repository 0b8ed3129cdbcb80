"""Recordings that are damaged or cut short: how libraries fail at them, and what the user is told."""

from __future__ import annotations

from whisper_npu.errors import AudioError, TooLongError

LENGTH_SLACK = 1.0  # seconds by which a file's stated length may differ from its real one

# What soundfile, PyAV and soxr raise for one recording, besides av.FFmpegError. soundfile.SoundFileError is a
# RuntimeError; TypeError comes from a stream without a time base.
LIBRARY_ERRORS = (ArithmeticError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)

SALVAGE = "copy it again, or keep what is readable: ffmpeg -i FILE rescued.wav"


def too_long(name: str, limit: float) -> TooLongError:
    """limit: in seconds."""
    return TooLongError(f"{name}: lasts longer than {limit:g} s (max_seconds); cut it into parts")


def cut_short(name: str, seconds: float, stated: float) -> AudioError:
    return AudioError(
        f"{name}: is damaged or cut short: {seconds:.1f} s of {stated:.1f} s are there; {SALVAGE}"
    )
