"""The checks from the chip to the device node: what Linux shows in /sys, /proc, /dev and /lib.

Sources: drivers/accel/amdxdna of Linux and github.com/amd/xdna-driver, and its README.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.doctor.check import Check, ok, problem, skipped
from whisper_npu.doctor.install import packages
from whisper_npu.doctor.machine import Machine
from whisper_npu.npu.targets import DEFAULT as TARGET

AMD = "1022"
# Device ids that amdxdna supports besides 1502; there are no kernels here for them.
OTHER_NPUS = {
    "17f0": "XDNA2 (Strix Point, Strix Halo, Krackan)",
    **dict.fromkeys(("17f1", "17f2", "17f3", "1b0a", "1b0b", "1b0c"), f"a generation after {TARGET.title}"),
}
FIRST_LINUX = (6, 14)  # the first release with amdxdna
HEAP_BYTES = 64 * 1024 * 1024  # mapped and locked by pyxrt.device(0)
FIRMWARE_FOLDER = "amdnpu/1502_00"
FIRMWARE_FILES = (
    "npu.dev.sbin",
    "npu_7.sbin",
    "npu.sbin",
)  # in the order of newer drivers; older ones know the last only
RENDER = "render"  # the group to which udev gives the node
LOG_IN_AGAIN = "log out and in again"


@dataclass(frozen=True)
class PciDevice:
    folder: Path
    id: str  # vendor:device

    @property
    def address(self) -> str:
        return self.folder.name

    @property
    def driver(self) -> str | None:
        return _link_name(self.folder / "driver")


def amd_npus(machine: Machine) -> tuple[PciDevice, ...]:
    """Every AMD NPU on the PCI bus, the target's first."""

    def found() -> Iterator[PciDevice]:
        for folder in sorted(machine.path("/sys/bus/pci/devices").glob("*")):
            vendor, device = (
                (machine.text(folder / name) or "").removeprefix("0x") for name in ("vendor", "device")
            )
            id = f"{vendor}:{device}"
            if id == TARGET.pci_id or (vendor == AMD and device in OTHER_NPUS):
                yield PciDevice(folder, id)

    return tuple(sorted(found(), key=lambda npu: npu.id != TARGET.pci_id))


def node_of(machine: Machine, npu: PciDevice) -> Path:
    """The device node of an NPU; accel0 if the driver does not name it."""
    named = sorted(path.name for path in (npu.folder / "accel").glob("accel*"))
    return machine.path("/dev/accel") / (named[0] if named else "accel0")


# --- The checks ---------------------------------------------------------------------------------------------


def check_cpu(machine: Machine) -> Check:
    info = machine.text(machine.path("/proc/cpuinfo")) or ""
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    name = model[1].strip() if model else "unknown"
    flags = re.search(r"^flags\s*:\s*(.+)$", info, re.MULTILINE)
    if not flags or "hypervisor" not in flags[1].split():
        return ok("cpu", name)
    found = f"{name}, in a virtual machine"
    if not amd_npus(machine):
        return ok("cpu", found)
    return problem(
        "cpu",
        found,
        "run on the machine itself: amdxdna does not start under a hypervisor",
        "amdxdna does not start in a virtual machine",
    )


def check_npu(machine: Machine) -> Check:
    npus = amd_npus(machine)
    if not npus:
        return problem(
            "npu",
            f"no NPU of AMD's on the PCI bus; {TARGET.title} is {TARGET.pci_id}",
            f"{TARGET.title} is in most Ryzen 7040 and 8040 chips (Phoenix, Hawk Point): if yours has one, "
            "switch it on in the firmware setup (NPU or IPU) and update the BIOS",
            f"no {TARGET.title} chip found",
        )
    first = npus[0]
    if first.id != TARGET.pci_id:
        generation = OTHER_NPUS[first.id.split(":")[1]]
        return problem(
            "npu",
            f"{first.id} at {first.address}: {generation}, not supported",
            f"none: the kernels are for {TARGET.title} ({TARGET.pci_id})",
            f"it is {generation}, and the kernels are for {TARGET.title}",
        )
    return ok("npu", f"{first.id} at {first.address}: {TARGET.title} (Phoenix or Hawk Point)")


def check_linux(machine: Machine) -> Check:
    release = machine.linux_release
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    if version >= FIRST_LINUX:
        return ok("linux", release)
    if _module_file(machine):
        return ok("linux", f"{release}, with an amdxdna of its own")
    return problem(
        "linux",
        f"{release} has no amdxdna",
        f"install Linux 6.14 or newer, or amdxdna for this one, and reboot: {packages(machine).linux}",
        f"Linux {release} has no driver for it",
    )


def check_driver(machine: Machine, npu: PciDevice) -> Check:
    module = machine.path("/sys/module/amdxdna")
    if not module.is_dir():
        if machine.in_container:
            remedy = "load amdxdna on the host: sudo modprobe amdxdna"
        elif _module_file(machine):
            remedy = "sudo modprobe amdxdna; if this problem remains, sudo dmesg | grep amdxdna"
        else:
            remedy = (
                f"amdxdna is not among the modules of {machine.linux_release}: install the package with all "
                "modules of this kernel, or a kernel from 6.14 that has it"
            )
        found = "the kernel module amdxdna is not loaded"
        return problem("driver", found, remedy, "its driver amdxdna is not loaded")
    version = driver_version(machine)
    if npu.driver != "amdxdna":
        return problem(
            "driver",
            f"amdxdna {version} is loaded, but not bound to {npu.address} "
            f"(driver: {npu.driver or 'none'}): it failed to start the NPU",
            "sudo dmesg | grep amdxdna: 'Incompatible firmware protocol' means firmware that is newer than "
            "the kernel, 'failed to request_firmware' that it is missing, 'IOMMU' that it is off; after a "
            "hang of the NPU reboot",
            "its driver failed to start it",
        )
    return ok("driver", f"amdxdna {version}, bound to {npu.address}")


def check_iommu(machine: Machine, npu: PciDevice) -> Check:
    group = _link_name(npu.folder / "iommu_group")
    if group is None:
        arguments = (machine.text(machine.path("/proc/cmdline")) or "").split()
        off = " ".join(a for a in arguments if a in ("amd_iommu=off", "iommu=off"))
        if off:
            return problem(
                "iommu",
                f"the kernel was booted with {off}",
                f"remove {off} from the kernel's command line and reboot: the driver needs IOMMU and PASID",
            )
        return problem(
            "iommu",
            "the NPU is in no IOMMU group",
            "switch the IOMMU on in the firmware setup (IOMMU, AMD-Vi): the driver needs it, with PASID",
        )
    kind = machine.text(npu.folder / "iommu_group/type") or "unknown"
    note = " (passthrough: drivers before June 2026 cannot use it, boot without iommu=pt)"
    return ok("iommu", f"group {group}, {kind}{note if kind == 'identity' else ''}; /sys does not show PASID")


def check_node(machine: Machine, npu: PciDevice) -> Check:
    """Tells apart an absent and a forbidden node, which need different remedies; XRT reports them alike."""
    node = node_of(machine, npu)
    name = machine.shown(node)
    error = _open_error(machine, node)
    if error is not None:
        return problem("node", *_no_node(machine, npu, name, error))
    return ok("node", f"{name} opens for reading and writing")


def _no_node(machine: Machine, npu: PciDevice, name: str, error: OSError) -> tuple[str, str]:
    """The finding and the remedy."""
    if error.errno == errno.ENOENT:
        if machine.in_container:
            return f"{name} is not in this container", f"pass it when it starts: --device {name}"
        if npu.driver == "amdxdna":
            return f"{name} does not exist, though the driver runs", "sudo udevadm trigger, or reboot"
        return f"{name} does not exist", "the driver makes it when it starts: see driver above"
    if error.errno in (errno.EACCES, errno.EPERM):
        if machine.in_container:
            remedy = f"start the container with --device {name} and --group-add of the group that owns it"
        else:
            remedy = "see group below"
        return f"{name} exists, permission denied", remedy
    if error.errno in (errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP):  # what a failed SVA bind returns
        return (
            f"{name}: {os.strerror(error.errno)}; the driver could not bind this process to the IOMMU",
            "switch IOMMU and PASID on (firmware setup: IOMMU, AMD-Vi) and boot without amd_iommu=off, "
            "iommu=off and iommu=pt; sudo dmesg | grep amdxdna says 'SVA bind device failed' if this is it",
        )
    return f"{name} cannot be opened: {error.strerror}", "sudo dmesg | grep amdxdna"


def check_group(machine: Machine, npu: PciDevice) -> Check:
    user, node = machine.process.user, node_of(machine, npu)
    if machine.process.user_id == 0:
        return ok("group", "not needed: this is root")
    number, members = _groups(machine).get(RENDER, (None, []))
    member = number in machine.process.group_ids
    failed = _open_error(machine, node)
    if failed is None:
        return ok("group", f"{user} is{'' if member else ' not'} in {RENDER}; the node opens")
    if member and failed.errno in (errno.EACCES, errno.EPERM):
        return problem(
            "group",
            f"{user} is in {RENDER}, but {machine.shown(node)} is not for that group{_owner(node)}",
            f"""echo 'SUBSYSTEM=="accel", KERNEL=="accel*", GROUP="{RENDER}", MODE="0660"' | sudo tee """
            "/etc/udev/rules.d/99-amdxdna.rules; reboot",
        )
    if member:
        return ok("group", f"{user} is in {RENDER}")
    if user in members:
        return problem("group", f"{user} is in {RENDER}, but not yet in this login", LOG_IN_AGAIN)
    add = f"sudo usermod -aG {RENDER} {user}; {LOG_IN_AGAIN}"
    if number is None:
        return problem("group", f"there is no group {RENDER}", f"sudo groupadd --system {RENDER}; {add}")
    return problem("group", f"{user} is not in group {RENDER}", add)


def check_memlock(machine: Machine) -> Check:
    limit = machine.process.memlock_bytes
    if limit is None:
        return ok("memlock", "this process may lock any amount of memory")
    found = f"this process may lock {limit // 1024:,} KiB; opening the NPU locks {HEAP_BYTES // 1024:,}"
    if machine.process.user_id == 0:
        return ok("memlock", f"{found}, but root is exempt")
    if limit > HEAP_BYTES:
        return ok("memlock", found)
    return problem(
        "memlock",
        found,
        f"echo '@{RENDER} - memlock unlimited' | sudo tee /etc/security/limits.d/99-amdxdna.conf; "
        f"{LOG_IN_AGAIN}; if ulimit -l does not change, LimitMEMLOCK=infinity under [Service] in "
        "sudo systemctl edit user@.service; a container: --ulimit memlock=-1",
        "this user may lock too little memory",
    )


def check_firmware(machine: Machine, npu: PciDevice) -> Check:
    files = _firmware_files(machine)
    loaded = firmware_version(machine, npu)
    if loaded:
        return ok("firmware", f"{loaded} is loaded; files: {', '.join(files) or 'none seen'}")
    if not files:
        return problem(
            "firmware",
            f"no {' or '.join(FIRMWARE_FILES)} in /lib/firmware/{FIRMWARE_FOLDER}",
            f"install the firmware and reboot: {packages(machine).firmware}",
            "its firmware is missing",
        )
    return skipped("firmware", f"{', '.join(files)} there, none loaded: the driver does when it starts")


# --- Facts that other checks need ---------------------------------------------------------------------------


def driver_version(machine: Machine) -> str:
    return machine.text(machine.path("/sys/module/amdxdna/version")) or f"of Linux {machine.linux_release}"


def firmware_version(machine: Machine, npu: PciDevice) -> str | None:
    return machine.text(npu.folder / "fw_version")


def processes_with(machine: Machine, node: Path) -> int:
    """How many processes, of those that this user may see, have the device node open."""
    name = machine.shown(node)

    def has_it(folder: Path) -> bool:
        try:
            return any(_link(file) == name for file in (folder / "fd").iterdir())
        except OSError:
            return False

    return sum(has_it(folder) for folder in machine.path("/proc").glob("[0-9]*"))


def _firmware_files(machine: Machine) -> list[str]:
    """The firmware files that exist, in the order in which driver and kernel look for them."""
    release = machine.linux_release
    folders = [
        f"/lib/firmware/{below}{FIRMWARE_FOLDER}"
        for below in (f"updates/{release}/", "updates/", f"{release}/", "")
    ]
    return [
        f"{folder}/{name}{suffix}"
        for name in FIRMWARE_FILES
        for folder in folders
        for suffix in ("", ".zst", ".xz")
        if machine.path(f"{folder}/{name}{suffix}").is_file()
    ]


def _module_file(machine: Machine) -> bool:
    modules = machine.path(f"/lib/modules/{machine.linux_release}")
    places = ("kernel/drivers/accel/amdxdna", "updates", "updates/dkms", "extra")
    return any(any((modules / place).glob("amdxdna.ko*")) for place in places)


def _groups(machine: Machine) -> dict[str, tuple[int, list[str]]]:
    """By name: each group's number and members."""
    lines = (machine.text(machine.path("/etc/group")) or "").splitlines()
    fields = [line.split(":") for line in lines]
    return {f[0]: (int(f[2]), f[3].split(",")) for f in fields if len(f) == 4 and f[2].isdigit()}


def _owner(node: Path) -> str:
    try:
        status = node.stat()
    except OSError:
        return ""
    return f" (group number {status.st_gid}, mode {stat.S_IMODE(status.st_mode):04o})"


def _open_error(machine: Machine, node: Path) -> OSError | None:
    try:
        machine.actions.open_node(node)
    except OSError as error:
        return error
    return None


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _link_name(path: Path) -> str | None:
    target = _link(path)
    return os.path.basename(target) if target else None
