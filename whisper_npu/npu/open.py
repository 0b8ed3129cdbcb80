"""Which device is opened.

An NPU that can be used, or the emulator, and never one in place of the other unasked.
"""

from __future__ import annotations

from whisper_npu.errors import DeviceNotFoundError
from whisper_npu.host.native import build_meanwhile
from whisper_npu.host.rows import SOURCE as ROWS
from whisper_npu.host.threads import Threads
from whisper_npu.npu.device import Device
from whisper_npu.npu.device_names import device_name
from whisper_npu.npu.emulator.device import Emulator, Fidelity, fidelity_of
from whisper_npu.npu.options import NpuOptions


def open_device(
    name: str = "auto",
    fidelity: str | Fidelity = Fidelity.FAST,
    npu: NpuOptions | None = None,
    threads: int | None = None,
) -> Device:
    """Open `npu`, `emulator`, or with `auto` an NPU that can be used and otherwise the emulator.

    `cpu` is another name of the emulator. What was opened says so in its `name` and `description`. `fidelity`
    concerns the emulator only ("fast" or "exact"), `npu` the NPU.
    threads: of the host; None for one per core. Raises DeviceNotFoundError where `npu` is asked for and none
    answers, UsageError for another name or no thread.
    """
    name, fidelity = device_name(name), fidelity_of(fidelity)
    build_meanwhile(ROWS)  # what every device's host needs, while a model is read
    if name == "emulator":
        return Emulator(fidelity, Threads(threads))
    from whisper_npu.npu.xrt.device import open_npu  # the emulator starts without it

    try:
        return open_npu(npu or NpuOptions(), Threads(threads))
    except DeviceNotFoundError:
        if name == "npu":
            raise
        return Emulator(fidelity, Threads(threads))
