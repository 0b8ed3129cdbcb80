"""MEASURED seconds of several repeats, and the machine on which they were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from whisper_npu import __version__
from whisper_npu.npu.device import Device


@dataclass(frozen=True)
class Timings:
    """MEASURED seconds of the same work, one per repeat, without the warm-up."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def high(self) -> float:
        return max(self.seconds)

    def __str__(self) -> str:
        return with_spread(self.seconds)

    @property
    def as_document(self) -> dict[str, object]:
        return spread_document(self.seconds)


def with_spread(values: Sequence[float]) -> str:
    """The median, and the smallest and largest value in brackets; empty where there are no values."""
    if not values:
        return ""
    if len(values) == 1:
        return short(values[0])
    return f"{short(median(values))} ({short(min(values))} to {short(max(values))})"


def spread_document(values: Sequence[float]) -> dict[str, object]:
    return {"median": median(values), "min": min(values), "max": max(values), "repeats": list(values)}


def short(value: float) -> str:
    """Seconds, or another quantity, with the digits that are meaningful."""
    if value >= 100:
        return f"{value:,.1f}"
    return f"{value:.2f}" if value >= 10 else f"{value:.3f}" if value >= 1 else f"{value:#.3g}"


def machine() -> dict[str, object]:
    """The machine, without which MEASURED seconds mean nothing."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "whisper_npu": __version__,
    }


def machine_line() -> str:
    return f"{_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}"


def device_document(device: Device) -> dict[str, str]:
    return {"name": device.name, "description": device.description, "clock": device.clock}


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
