"""Recordings that are damaged or cut short: what of them is lost, and how libraries fail at them."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.errors import AudioError, TooLongError

LENGTH_SLACK = 1.0  # seconds by which a file's stated length may differ from its real one

# What soundfile, PyAV and soxr raise for one recording, besides av.FFmpegError. soundfile.SoundFileError is a
# RuntimeError; TypeError comes from a stream without a time base.
LIBRARY_ERRORS = (ArithmeticError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError)

SALVAGE = "copy it again, or keep what is readable: ffmpeg -i FILE rescued.wav"


@dataclass(frozen=True)
class Damage:
    """Seconds of a recording that are missing or do not decode. `str()` is a warning without the file's name."""

    start: float  # seconds on the recording's clock
    end: float | None  # None: nothing tells how much is lost
    what: str  # the rest of the sentence, such as "are missing: it is cut short"

    def __str__(self) -> str:
        if self.end is None:
            return f"the seconds from {self.start:.2f} on {self.what}"
        return f"the seconds {self.start:.2f} to {self.end:.2f} {self.what}"


def too_long(name: str, limit: float) -> TooLongError:
    """limit: in seconds."""
    return TooLongError(f"{name}: lasts longer than {limit:g} s (max_seconds); cut it into parts")


def cut_short(name: str, seconds: float, stated: float) -> AudioError:
    return AudioError(
        f"{name}: is damaged or cut short: {seconds:.1f} s of {stated:.1f} s are there; {SALVAGE}"
    )
