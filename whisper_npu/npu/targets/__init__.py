"""The generations of the array.

A target is passed on, from whoever opens a device; no other code names one.
"""

from whisper_npu.npu.targets.npu1 import NPU1
from whisper_npu.npu.targets.target import WORD_BYTES, CoreRate, Dram, Profile, Rates, Target, TileLimits

TARGETS: dict[str, Target] = {target.name: target for target in (NPU1,)}
DEFAULT = NPU1  # what is planned for where no NPU says what it is

__all__ = [
    "DEFAULT",
    "NPU1",
    "TARGETS",
    "WORD_BYTES",
    "CoreRate",
    "Dram",
    "Profile",
    "Rates",
    "Target",
    "TileLimits",
]
