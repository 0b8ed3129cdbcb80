"""The headers by which an answer says what ran, so that nobody takes the emulator for the NPU."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_npu.errors import shown
from whisper_npu.npu.device import Device

DEVICE = "X-Whisper-NPU-Device"
DESCRIPTION = "X-Whisper-NPU-Device-Description"
DISPATCHES = "X-Whisper-NPU-Dispatches"
WARNINGS = "X-Whisper-NPU-Warnings"
LONGEST_WARNINGS = 1000  # characters: many clients take headers up to some thousand


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """What was missing of a recording, for formats that have no place for it."""
    told = shown("; ".join(warnings)).encode("ascii", "backslashreplace").decode()
    return {WARNINGS: told[:LONGEST_WARNINGS]} if told else {}


def device_headers(device: Device) -> dict[str, str]:
    description = device.description.encode("ascii", "replace").decode()
    return {DEVICE: device.name, DESCRIPTION: description}
