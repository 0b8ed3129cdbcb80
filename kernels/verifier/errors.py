"""The one error of the verifier."""

from __future__ import annotations

from whisper_npu.errors import WhisperNpuError

LONGEST = 2_000  # characters of a message


class DesignError(WhisperNpuError):
    """A design that the array would refuse, or that hangs, races or loses data: names the place.

    One line, however many fifos and cores a text says of itself.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= LONGEST else f"{message[:LONGEST]} ...")
