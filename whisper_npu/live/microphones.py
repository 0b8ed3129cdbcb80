"""Which microphones there are, and which of them is meant.

Only this module imports sounddevice, PortAudio's Python binding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whisper_npu.errors import MicrophoneError, MissingPackageError, UsageError, one_line, quoted, shown
from whisper_npu.extras import require_package
from whisper_npu.near import did_you_mean

_LIST = "whisper-npu listen --list_microphones shows those that there are"
NONE = "there is no microphone: plug one in, or allow it in the system's sound settings"


@dataclass(frozen=True)
class Device:
    """A device that records, as PortAudio knows it."""

    number: int
    name: str
    rate: int  # Hz, its own
    is_default: bool


def microphones() -> tuple[Device, ...]:
    """All devices that record. Raises MissingPackageError without sounddevice or PortAudio."""
    return devices_of(portaudio())


def portaudio() -> Any:
    """The module sounddevice. Raises MissingPackageError, MicrophoneError where PortAudio does not start."""
    require_package("sounddevice", "live", "a microphone")
    try:
        import sounddevice
    except ImportError as error:
        raise MissingPackageError(
            f"sounddevice, which a microphone needs, is damaged ({one_line(error)}): "
            "pip install --force-reinstall sounddevice"
        ) from error
    except OSError as error:  # what it raises where it finds no library
        raise MissingPackageError(
            f"a microphone needs PortAudio, which is not installed ({one_line(error)}): "
            "apt install libportaudio2, or dnf install portaudio"
        ) from error
    except Exception as error:  # its PortAudioError, which nobody has yet: Pa_Initialize fails
        raise MicrophoneError(
            f"PortAudio does not start ({one_line(error)}); check the system's sound settings"
        ) from error
    return sounddevice


def devices_of(sounddevice: Any) -> tuple[Device, ...]:
    """All that record. Raises MicrophoneError."""
    try:
        default = sounddevice.query_devices(kind="input")["index"]
    except (sounddevice.PortAudioError, ValueError):  # there is none
        default = -1
    try:
        found = sounddevice.query_devices()
    except sounddevice.PortAudioError as error:
        raise MicrophoneError(
            f"PortAudio cannot say which microphones there are ({said_by(error)})"
        ) from error
    return tuple(
        Device(one["index"], one["name"], int(one["default_samplerate"]), one["index"] == default)
        for one in found
        if one["max_input_channels"] > 0
    )


def chosen(devices: tuple[Device, ...], which: str | None) -> Device:
    """which: as for `Microphone`. Raises UsageError, MicrophoneError where there is none."""
    if not devices:
        raise MicrophoneError(NONE)
    if which is None:
        default = [one for one in devices if one.is_default]
        if not default:
            raise MicrophoneError(f"no microphone is the system's default: name one by --microphone; {_LIST}")
        return default[0]
    if which.isdecimal():
        found = [one for one in devices if one.number == int(which)]
    else:
        name = which.strip().lower()
        whole = [one for one in devices if one.name.lower() == name]
        found = whole or [one for one in devices if name and name in one.name.lower()]
    if len(found) > 1:
        names = ", ".join(f"{one.number}: {shown(one.name)}" for one in found)
        raise UsageError(f"--microphone {shown(which)} may be {names}; give the number")
    if not found:
        hint = did_you_mean(which, [one.name for one in devices]) or _LIST
        raise UsageError(f"--microphone {quoted(which)}: no microphone is called so; {hint}")
    return found[0]


def code_of(error: Exception) -> int | None:
    """PaErrorCode of a PortAudioError."""
    code = error.args[1] if len(error.args) > 1 else None
    return code if isinstance(code, int) else None


def said_by(error: Exception) -> str:
    """What is wrong, in PortAudio's words."""
    return one_line(error).removeprefix("Error opening RawInputStream: ")
