"""The errors that a user can cause or meet.

Each names in one line the value, the limit that it broke, and the remedy. The command line prints that line
and exits with `exit_code`; no other code does.
"""

from __future__ import annotations

import os
import unicodedata

# Controls, halves of surrogate pairs (bytes that are not UTF-8), line and paragraph separators.
_NOT_SHOWN = {"Cc", "Cs", "Zl", "Zp"}
# They reorder the line around them (Unicode's UAX #9), so that a name can pass for another one.
_REORDERING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}

LONGEST_QUOTE = 100  # characters of a value in a message
LONGEST_LINE = 1500  # characters of a message: room for the longest names, and for lists of choices


class WhisperNpuError(Exception):
    """The base class: an error that the user should see as one line, not as a traceback."""

    exit_code = 1


class UsageError(WhisperNpuError):
    """The call itself is wrong: an unknown name, a value out of range."""

    exit_code = 2

    def __init__(self, message: str, *, option: str | None = None) -> None:
        """option: which one is wrong, by its name in `TranscribeOptions` or `Layout`."""
        super().__init__(message)
        self.option = option


class FeaturesError(UsageError, ValueError):
    """Log-mel features that an encoder cannot take: a ValueError too, as other packages raise for them."""


class CancelledError(WhisperNpuError):
    """A transcription that was ended from outside, by `Stream.cancel`."""


class NoEffectError(UsageError):
    """An option that could have no effect beside the others."""


class UnknownModelError(UsageError):
    """A `--model` that is neither a known name nor a folder nor a hub id."""


class UnknownKernelError(UsageError):
    """A `--kernel` that does not exist."""


class AudioError(WhisperNpuError):
    """An audio file that is missing, unreadable, truncated, or has samples that are not numbers."""


class TooLongError(AudioError):
    """A recording that lasts longer than it may."""


class AudioWarning(UserWarning):
    """Seconds of a recording that are missing or damaged, or channels left out. The rest is read."""


class MicrophoneError(WhisperNpuError):
    """A microphone that is not there, cannot be opened, or went while it was listened to."""


class CheckpointError(WhisperNpuError):
    """A model folder or package whose files are missing, damaged, or have a wrong name, shape or dtype."""


class DecoderFolderError(CheckpointError):
    """A folder with a decoder that CTranslate2 cannot open."""


class CacheError(WhisperNpuError):
    """The cache folder cannot be written."""


class OutputError(WhisperNpuError):
    """A transcript or report that cannot be written where it was asked for."""


class MissingPackageError(WhisperNpuError):
    """A package of an extra is needed, but not installed."""


class DeviceError(WhisperNpuError):
    """A device fails, or is asked for what it cannot do."""


class DecoderError(WhisperNpuError):
    """The decoder, CTranslate2 on the CPU, fails, or gives what are no numbers."""


class DeviceNotFoundError(DeviceError):
    """`--device npu` where no NPU answers."""


class KernelNotBuiltError(DeviceError):
    """A kernel for the NPU is in none of the folders."""


class KernelManifestError(DeviceError):
    """A built kernel differs from its manifest, or its manifest from the contract."""


class DispatchError(DeviceError):
    """A dispatch timed out, was aborted, failed, or gave a wrong answer where the right one is known."""


class NoAnswerError(DispatchError):
    """A dispatch, or a context, did not come back: it timed out, or the NPU's firmware hangs."""


class WrongResultError(DispatchError):
    """A device gave a result that cannot be right."""


class TrialLostError(DispatchError):
    """A kernel whose first dispatch on this machine did not come back: it is not tried again unasked."""


class EnergyError(WhisperNpuError):
    """Nothing on this machine tells its energy, or stopped to tell it."""


class SensorError(EnergyError):
    """One sensor of energy that cannot be read, or whose numbers cannot be right."""


class PlanError(WhisperNpuError):
    """A kernel or device cannot run an op or plan: sizes below 1, tiles outside an operand."""


def one_line(error: BaseException) -> str:
    """A library's error as one short line, to be quoted in one of ours."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 200 else text[:197] + "..."


def quoted(value: object) -> str:
    """A wrong value as Python writes it, no longer than a message needs."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return f"a {type(value).__name__} of thousands of digits"
    if len(text) <= LONGEST_QUOTE:
        return text
    return f"{text[: LONGEST_QUOTE - 4]}...{text[-1]}"  # with its closing quote or bracket


def shortened(text: str, longest: int = LONGEST_QUOTE) -> str:
    """A text of which a message needs no more than the beginning and the end."""
    if len(text) <= longest:
        return text
    half = (longest - 3) // 2
    return f"{text[:half]}...{text[-half:]}"


def shown(name: str | os.PathLike[str]) -> str:
    r"""A file's name, or another text from outside, as it may be printed within a line.

    Whatever would move the cursor, colour or reorder the line is escaped as in Python (`\x1b`, `\n`,
    `\u202e`), and so is a byte of the name that is not UTF-8 (`\xe9`). All else stays as it is.
    """
    return "".join(
        _escaped(character) if _disturbs(character) else character for character in os.fspath(name)
    )


def _disturbs(character: str) -> bool:
    return character in _REORDERING or unicodedata.category(character) in _NOT_SHOWN


def _escaped(character: str) -> str:
    byte = ord(character) - 0xDC00  # how Python keeps a byte of a name that is not UTF-8 (PEP 383)
    if 0x80 <= byte <= 0xFF:
        return f"\\x{byte:02x}"
    return character.encode("unicode_escape").decode("ascii")


def error_line(message: str) -> str:
    """An error message as one line that a terminal can show, whatever was typed or a file is called."""
    return f"whisper-npu: error: {shortened(shown(' '.join(message.splitlines())), LONGEST_LINE)}"
