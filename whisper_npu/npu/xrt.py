"""The real NPU through pyxrt: the only module that may import it.

This version finds out whether an NPU answers; it cannot run kernels on one yet, and says so rather than
let anything else compute in its place.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from whisper_npu.errors import DeviceNotFoundError
from whisper_npu.npu.device import Device, NpuOptions
from whisper_npu.npu.limits import XDNA1


def open_npu(options: NpuOptions, root: Path = Path("/")) -> Device:
    """The NPU of this machine. Raises DeviceNotFoundError, which says what was looked for and not found.

    root: where /sys and /dev are looked for; another folder than / in tests.
    """
    missing = []
    if not _has_pci_device(root, XDNA1.pci_id):
        missing.append(f"no PCI device {XDNA1.pci_id} (XDNA1) under /sys/bus/pci/devices")
    if not any((root / "dev/accel").glob("accel*")):
        missing.append("no device node /dev/accel/accel0 (driver amdxdna)")
    if importlib.util.find_spec("pyxrt") is None:
        missing.append("no module pyxrt (system package python3-xrt) for this Python")
    if missing:
        raise DeviceNotFoundError(f"no NPU: {'; '.join(missing)}. Use --device emulator, or auto")
    raise DeviceNotFoundError(
        "an XDNA1 NPU is there, but this version of whisper-npu brings no built kernels for it. "
        "Use --device emulator, or auto"
    )


def _has_pci_device(root: Path, pci_id: str) -> bool:
    vendor, device = (f"0x{part}" for part in pci_id.split(":"))
    for folder in (root / "sys/bus/pci/devices").glob("*"):
        try:
            found = tuple((folder / name).read_text().strip() for name in ("vendor", "device"))
        except OSError:
            continue
        if found == (vendor, device):
            return True
    return False
