"""Recordings that are damaged or cut short: what of them is lost, and how libraries fail at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from whisper_npu.errors import CancelledError, TooLongError

LENGTH_SLACK = 1.0  # seconds by which a length that a container states may differ from its real one
EXACT_SLACK = 0.1  # the same where it counts samples or bytes

# What soundfile, PyAV and soxr raise for one recording, besides av.FFmpegError. soundfile.SoundFileError is a
# RuntimeError; TypeError comes from a stream without a time base; the last three from damaged headers, which
# no version should let through.
LIBRARY_ERRORS = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    AssertionError,
    AttributeError,
    SystemError,
)

SALVAGE = "copy it again, or keep what is readable: ffmpeg -i FILE rescued.wav"

UNDECODABLE = "do not decode: silence stands for them"
NO_SOUND = "are not in the file: silence stands for them"
SUSPECT = "are damaged"
UNREADABLE = "follow something that cannot be read"
CUT_SHORT = "are missing: it is damaged or cut short"
JOINED = "are another recording, joined to the first one: cut it off and transcribe it alone"

NEIGHBOURS = 1.0  # seconds between two damages that are told as one
MOST = 20  # damages of a recording that are told one by one


@dataclass(frozen=True)
class Damage:
    """Seconds of a recording that are lost or damaged. `str()` is a warning without the file's name."""

    start: float  # seconds on the recording's clock
    end: float | None  # None: nothing tells how much is lost
    what: str  # the rest of the sentence, such as "are missing: it is cut short"

    def later(self, seconds: float) -> Damage:
        """The same in a recording that `seconds` come before."""
        return Damage(self.start + seconds, None if self.end is None else self.end + seconds, self.what)

    def __str__(self) -> str:
        if self.end is None:
            return f"the seconds from {self.start:.2f} on {self.what}"
        return f"the seconds {self.start:.2f} to {self.end:.2f} {self.what}"


@dataclass(frozen=True)
class Film:
    """What a container states of all its streams together, in seconds."""

    seconds: float  # 0: nothing
    reached: float  # the end of the last packet of any stream
    slack: float = LENGTH_SLACK  # by which the length may be wrong


@dataclass
class Damages:
    """Those of one recording in the order of time. Neighbours of one kind become one, and there are few."""

    found: list[Damage] = field(default_factory=list)

    def add(self, start: float, end: float | None, what: str) -> None:
        last = self.found[-1] if self.found else None
        if last is not None:
            until = last.start if last.end is None else last.end
            is_neighbour = last.what == what and start <= until + NEIGHBOURS
            if is_neighbour and last.end is None and end is None:
                return
            if is_neighbour or len(self.found) >= MOST:
                what = what if last.what == what else SUSPECT
                self.found[-1] = Damage(last.start, max(until, start if end is None else end), what)
                return
        self.found.append(Damage(start, end, what))


def too_long(name: str, limit: float) -> TooLongError:
    """limit: in seconds."""
    return TooLongError(f"{name}: lasts longer than {limit:g} s (max_seconds); cut it into parts")


def check_cancelled(name: str, cancelled: Event | None) -> None:
    """Raises CancelledError once it is set."""
    if cancelled is not None and cancelled.is_set():
        raise CancelledError(f"{name}: cancelled while it was read")
