"""What one types to install something, by distribution: the table that docs/hardware.md explains.

Sources: https://launchpad.net/~amd-team/+archive/ubuntu/xrt, and the package pages of Ubuntu (libxrt-npu2,
universe from 26.04 on), Debian (trixie-backports), Arch (xrt-plugin-amdxdna) and Fedora (xrt, from 44 on).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from whisper_npu.doctor.machine import Machine

PPA_CODENAMES = ("noble", "plucky", "questing")  # Ubuntu 24.04 to 25.10, which have no XRT of their own
FIRST_FEDORA, FIRST_DEBIAN = 44, 13


@dataclass(frozen=True)
class Packages:
    """Commands of one distribution."""

    system: str
    xrt: str  # with the plugin for the NPU, and pyxrt
    linux: str  # a kernel with amdxdna, or amdxdna for this kernel
    firmware: str
    compiler: str


UBUNTU_PPA = Packages(
    "Ubuntu 24.04 to 25.10",
    "sudo add-apt-repository ppa:amd-team/xrt && sudo apt install libxrt-npu2 python3-xrt amdxdna-dkms",
    "sudo add-apt-repository ppa:amd-team/xrt && sudo apt install amdxdna-dkms linux-generic-hwe-24.04",
    "sudo apt install linux-firmware",
    "sudo apt install g++",
)
UBUNTU = Packages(
    "Ubuntu 26.04",
    "sudo apt install libxrt-npu2 python3-xrt",
    "sudo apt install linux-generic",
    "sudo apt install linux-firmware",
    "sudo apt install g++",
)
DEBIAN = Packages(
    "Debian 13",
    "sudo apt install -t trixie-backports libxrt-npu2 python3-xrt",
    "sudo apt install -t trixie-backports linux-image-amd64",
    "the package that apt-file search amdnpu/1502_00 names",
    "sudo apt install g++",
)
ARCH = Packages(
    "Arch",
    "sudo pacman -S xrt xrt-plugin-amdxdna",
    "sudo pacman -Syu linux",
    "sudo pacman -S linux-firmware",
    "sudo pacman -S gcc",
)
FEDORA = Packages(
    "Fedora 44",
    "sudo dnf install xrt python3-xrt",
    "sudo dnf upgrade kernel",
    "sudo dnf install linux-firmware",
    "sudo dnf install gcc-c++",
)
KNOWN = (UBUNTU_PPA, UBUNTU, DEBIAN, ARCH, FEDORA)
OTHER = Packages(
    "this system",
    "; ".join(f"{packages.system}: {packages.xrt}" for packages in KNOWN),
    "Linux 6.14 or newer, from your distribution",
    "the package linux-firmware of your distribution",
    "g++ or clang++, from your distribution",
)


def packages(machine: Machine) -> Packages:
    """Those of this machine, by /etc/os-release; those of all where none is known for it."""
    release = os_release(machine)
    ids = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    if "ubuntu" in ids:
        codename = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
        return UBUNTU_PPA if codename in PPA_CODENAMES else UBUNTU
    version = int(release["VERSION_ID"].split(".")[0]) if release.get("VERSION_ID", "")[:1].isdigit() else 0
    if ids[0] == "debian" and version >= FIRST_DEBIAN:
        return DEBIAN
    if "arch" in ids:
        return ARCH
    if ids[0] == "fedora" and version >= FIRST_FEDORA:
        return FEDORA
    return OTHER


def os_release(machine: Machine) -> dict[str, str]:
    """The format: https://www.freedesktop.org/software/systemd/man/latest/os-release.html."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        text = machine.text(machine.path(path))
        if text is not None:
            break
    else:
        return {}
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                found[name] = "".join(shlex.split(value))
            except ValueError:  # an open quote
                found[name] = value
    return found
