"""The headers by which an answer says what ran, so that nobody takes the emulator for the NPU."""

from __future__ import annotations

from whisper_npu.npu.device import Device

DEVICE = "X-Whisper-NPU-Device"
DESCRIPTION = "X-Whisper-NPU-Device-Description"
DISPATCHES = "X-Whisper-NPU-Dispatches"


def device_headers(device: Device) -> dict[str, str]:
    description = device.description.encode("ascii", "replace").decode()
    return {DEVICE: device.name, DESCRIPTION: description}
