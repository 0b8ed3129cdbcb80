"""Which device is opened.

An NPU that can be used, or the emulator, and never one in place of the other unasked.
"""

from __future__ import annotations

from whisper_npu.errors import DeviceNotFoundError, UsageError, quoted
from whisper_npu.host.native import build_meanwhile
from whisper_npu.host.rows import SOURCE as ROWS
from whisper_npu.host.threads import Threads
from whisper_npu.npu.checksum import Checked
from whisper_npu.npu.device import Device
from whisper_npu.npu.device_names import CHECK_RESULTS, device_name
from whisper_npu.npu.emulator.device import Emulator, Fidelity, fidelity_of
from whisper_npu.npu.options import NpuOptions


def open_device(
    name: str = "auto",
    fidelity: str | Fidelity = Fidelity.FAST,
    npu: NpuOptions | None = None,
    threads: int | None = None,
    check_results: str = "auto",
) -> Device:
    """Open `npu`, `emulator`, or with `auto` an NPU that can be used and otherwise the emulator.

    `cpu` is another name of the emulator. What was opened says so in its `name` and `description`. `fidelity`
    concerns the emulator only ("fast" or "exact"), `npu` the NPU.
    threads: of the host; None for one per core.
    check_results: which products are checked whole by checksums before they are used: "one" in 23, in turn,
    which is about one in each window of a small model; "all", or none: "off" (npu/checksum.py). "auto" is
    "one" for an NPU, and "off" for what this CPU computes.
    Raises DeviceNotFoundError where `npu` is asked for and none answers, UsageError for another name or no
    thread.
    """
    name, fidelity = device_name(name), fidelity_of(fidelity)
    of_npu, of_emulator = (_checked(check_results, auto) for auto in (Checked.ONE, Checked.NOTHING))
    build_meanwhile(ROWS)  # what every device's host needs, while a model is read
    if name == "emulator":
        return Emulator(fidelity, Threads(threads), checked=of_emulator)
    from whisper_npu.npu.xrt.device import open_npu  # the emulator starts without it

    try:
        return open_npu(npu or NpuOptions(), Threads(threads), checked=of_npu)
    except DeviceNotFoundError:
        if name == "npu":
            raise
        return Emulator(fidelity, Threads(threads), checked=of_emulator)


def _checked(asked: str, auto: Checked) -> Checked:
    if asked not in CHECK_RESULTS:
        raise UsageError(f"check_results is {quoted(asked)}, must be one of {', '.join(CHECK_RESULTS)}")
    return auto if asked == "auto" else Checked(asked)
