"""`whisper-npu listen --list_microphones`."""

from __future__ import annotations

from whisper_npu.apps.cli.terminal import print_lines
from whisper_npu.errors import MicrophoneError
from whisper_npu.live.microphone import NONE, microphones


def print_microphones() -> int:
    """One line for each, with what --microphone takes. Raises MicrophoneError where there is none."""
    found = microphones()
    if not found:
        raise MicrophoneError(NONE)
    width = max(len(str(one.number)) for one in found)
    for one in found:
        default = ", the system's default" if one.is_default else ""
        print_lines(f"{one.number:>{width}}  {one.name.replace(chr(10), ' ')} ({one.rate} Hz{default})")
    return 0
