"""The one error of the verifier."""

from __future__ import annotations

from whisper_npu.errors import WhisperNpuError


class DesignError(WhisperNpuError):
    """A design that the array would refuse, or that hangs, races or loses data: names the place."""
