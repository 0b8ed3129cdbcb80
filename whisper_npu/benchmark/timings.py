"""MEASURED seconds of several repeats, and the machine on which they were measured."""

from __future__ import annotations

import os
import platform
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
        """The median, and the smallest and largest value in brackets."""
        if len(self.seconds) == 1:
            return short(self.median)
        return f"{short(self.median)} ({short(self.low)} to {short(self.high)})"

    @property
    def as_document(self) -> dict[str, object]:
        return {"median": self.median, "min": self.low, "max": self.high, "repeats": list(self.seconds)}


def short(seconds: float) -> str:
    """Seconds with the digits that are meaningful."""
    if seconds >= 100:
        return f"{seconds:,.1f}"
    return f"{seconds:.2f}" if seconds >= 10 else f"{seconds:.3f}" if seconds >= 1 else f"{seconds:#.3g}"


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
