"""The array's clock of this moment, from the driver: any user who may open the device node may ask.

Source: include/uapi/drm/amdxdna_accel.h of Linux. pyxrt's `max_clock_frequency_mhz` is live as well
(github.com/jdominick05/ignite-xdna, under Windows), but XRT 2.25 has "No such query request" for it on Linux.
"""

from __future__ import annotations

import ctypes
import os
from fcntl import ioctl
from pathlib import Path

DRIVER = "amdxdna"
GET_INFO = 0xC0106447  # DRM_IOCTL_AMDXDNA_GET_INFO
QUERY_CLOCK_METADATA = 3


class Clock(ctypes.Structure):
    """amdxdna_drm_query_clock."""

    _fields_ = (("name", ctypes.c_char * 16), ("freq_mhz", ctypes.c_uint32), ("pad", ctypes.c_uint32))


class Clocks(ctypes.Structure):
    """amdxdna_drm_query_clock_metadata: the controller's clock, and the array's."""

    _fields_ = (("mp_npu_clock", Clock), ("h_clock", Clock))


class GetInfo(ctypes.Structure):
    """amdxdna_drm_get_info."""

    _fields_ = (("param", ctypes.c_uint32), ("buffer_size", ctypes.c_uint32), ("buffer", ctypes.c_uint64))


def array_clock_mhz(root: Path = Path("/")) -> int | None:
    """None where no device node of the driver answers. root: where /sys and /dev are looked for."""
    for node in _nodes(root):
        clocks = Clocks()
        call = GetInfo(QUERY_CLOCK_METADATA, ctypes.sizeof(clocks), ctypes.addressof(clocks))
        try:
            file = os.open(node, os.O_RDWR | os.O_CLOEXEC)
            try:
                ioctl(file, GET_INFO, call)
            finally:
                os.close(file)
        except OSError:  # an older driver
            continue
        return int(clocks.h_clock.freq_mhz)
    return None


def _nodes(root: Path) -> list[Path]:
    """Those of the driver: every driver numbers its own ioctls, and another's GET_INFO is something else."""
    drivers = (root / "sys/bus/pci/devices").glob("*/driver")
    folders = [driver.parent / "accel" for driver in drivers if driver.resolve().name == DRIVER]
    return sorted(root / "dev/accel" / found.name for folder in folders for found in folder.glob("accel*"))
