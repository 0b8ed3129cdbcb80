"""How an NPU is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from whisper_npu.errors import UsageError, quoted
from whisper_npu.home import at_home


@dataclass(frozen=True)
class NpuOptions:
    """What only an NPU needs; the emulator ignores it."""

    kernel_folders: tuple[Path, ...] = ()  # searched before $WHISPER_NPU_KERNELS and the user's own
    timeout_seconds: float = 10.0  # that one dispatch, or one run list, may take

    def __post_init__(self) -> None:
        """Raises UsageError for a folder that is not there, and a time limit out of range."""
        for folder in self.kernel_folders:
            if not os.path.isdir(folder):
                raise UsageError(f"kernels {folder}: there is no such folder; name one with built kernels")
        seconds = self.timeout_seconds
        if not isinstance(seconds, Real) or isinstance(seconds, bool) or not 0 < seconds <= 3600:
            raise UsageError(f"timeout is {quoted(seconds)} s, must be above 0 and at most 3600")

    @classmethod
    def of(cls, kernels: str | Path | Iterable[str | Path], timeout_seconds: float) -> NpuOptions:
        """kernels: one folder, or several. Raises UsageError."""
        several = (kernels,) if isinstance(kernels, str | Path) else kernels
        if not isinstance(several, Iterable) or not all(isinstance(one, str | Path) for one in several):
            raise UsageError(f"kernels is {quoted(kernels)}, must be a folder, or several")
        return cls(tuple(at_home(folder, "kernels") for folder in several), timeout_seconds)
