"""How an NPU is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whisper_npu.errors import UsageError


@dataclass(frozen=True)
class NpuOptions:
    """What only an NPU needs; the emulator ignores it."""

    kernel_folders: tuple[Path, ...] = ()  # searched before $WHISPER_NPU_KERNELS and the user's own
    timeout_seconds: float = 10.0  # that one dispatch, or one run list, may take

    def __post_init__(self) -> None:
        if not 0 < self.timeout_seconds <= 3600:
            raise UsageError(f"timeout is {self.timeout_seconds:g} s, must be above 0 and at most 3600")
