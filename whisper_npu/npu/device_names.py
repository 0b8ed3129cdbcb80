"""The words for a device, those that other programs use included, and for what is checked of it."""

from __future__ import annotations

from whisper_npu.errors import UsageError, quoted

DEVICE_NAMES = ("auto", "npu", "emulator", "cpu")
ALSO = {"cpu": "emulator"}  # other words for one of them
NOT_USED = dict.fromkeys(
    ("cuda", "gpu", "mps", "rocm", "xpu"),
    "no GPU is used; npu is the NPU, cpu is this processor, auto takes the NPU if there is one",
)
CHECK_RESULTS = ("auto", "off", "one", "all")
ON_DEVICE_ERROR = ("fail", "emulate")


def device_name(asked: str) -> str:
    """auto, npu or emulator, for a word in any case. Raises UsageError for any other word."""
    if not isinstance(asked, str):
        raise UsageError(f"device is {quoted(asked)}, must be one of {', '.join(DEVICE_NAMES)}")
    name = asked.lower()
    if name in DEVICE_NAMES:
        return ALSO.get(name, name)
    if (reason := NOT_USED.get(name.partition(":")[0])) is not None:  # cuda:0
        raise UsageError(f"device {quoted(asked)}: {reason}")
    raise UsageError(f"unknown device {quoted(asked)}: there are {', '.join(DEVICE_NAMES)}")
