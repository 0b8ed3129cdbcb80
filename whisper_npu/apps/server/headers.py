"""The headers of every answer: those that protect it, and those that say what ran.

So nobody takes the emulator for the NPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.datastructures import MutableHeaders

from whisper_npu.apps.server.admission import Asking
from whisper_npu.errors import shown
from whisper_npu.npu.device import Device

DEVICE = "X-Whisper-NPU-Device"
DESCRIPTION = "X-Whisper-NPU-Device-Description"
DISPATCHES = "X-Whisper-NPU-Dispatches"
WARNINGS = "X-Whisper-NPU-Warnings"
LONGEST_WARNINGS = 1000  # characters: many clients take headers up to some thousand
EXPOSED = ", ".join(
    (DEVICE, DESCRIPTION, DISPATCHES, WARNINGS, "Retry-After")
)  # to pages of other sites that may ask


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """What was missing of a recording, for formats that have no place for it."""
    told = shown("; ".join(warnings)).encode("ascii", "backslashreplace").decode()
    return {WARNINGS: told[:LONGEST_WARNINGS]} if told else {}


def device_headers(device: Device) -> dict[str, str]:
    description = device.description.encode("ascii", "replace").decode()
    return {DEVICE: device.name, DESCRIPTION: description}


def with_ours(
    raw: list[tuple[bytes, bytes]],
    asking: Asking,
    is_guest: bool,
    every_answer: Mapping[str, str],
    status: int,
) -> list[tuple[bytes, bytes]]:
    """An answer's headers, with those that protect it, and every_answer, which say what runs."""
    headers = MutableHeaders(raw=raw)
    headers.update(every_answer)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_guest else "same-origin"
    if is_guest:
        headers["Access-Control-Allow-Origin"] = asking.headers["origin"]
        headers["Access-Control-Expose-Headers"] = EXPOSED
    headers.add_vary_header("Origin")
    if not asking.is_of_page or status >= 400:
        headers["Cache-Control"] = "no-store"
    return headers.raw
