"""The checks from XRT to the kernels: libraries, the Python module, contexts, built kernels.

Source: github.com/Xilinx/XRT (core/common/module_loader.cpp looks for drivers beside libxrt_core).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.doctor.check import Check, ok, problem, skipped
from whisper_npu.doctor.hardware import (
    PciDevice,
    driver_version,
    firmware_version,
    node_of,
    processes_with,
)
from whisper_npu.doctor.install import packages
from whisper_npu.doctor.machine import Machine
from whisper_npu.errors import KernelManifestError, NoAnswerError, WhisperNpuError, one_line
from whisper_npu.npu.artifacts import built, find_kernel
from whisper_npu.npu.targets import DEFAULT as TARGET
from whisper_npu.npu.trials import RETRY

LIBRARY_FOLDERS = (
    "usr/lib/*-linux-gnu",
    "usr/lib",
    "usr/lib64",
    "usr/local/lib",
    "opt/xilinx/xrt/lib",
    "opt/xilinx/xrt/lib64",
)
PYTHON_FOLDERS = (
    "usr/lib/python3*/dist-packages",
    "usr/lib/python3*/site-packages",
    "usr/lib64/python3*/site-packages",
    "usr/local/lib/python3*/dist-packages",
    "usr/local/lib/python3*/site-packages",
    "opt/xilinx/xrt/python",
)


@dataclass(frozen=True)
class Xrt:
    """One installation of XRT; its versions are those in the libraries' file names."""

    folder: Path
    version: str
    plugin: str | None  # the version of the NPU's plugin in the same folder


def xrt_installations(machine: Machine) -> tuple[Xrt, ...]:
    def found() -> Iterator[Xrt]:
        seen = set()
        for pattern in LIBRARY_FOLDERS:
            for folder in sorted(machine.root.glob(pattern)):
                core = _library_version(folder, "libxrt_core")
                if core and folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    yield Xrt(folder, core, _library_version(folder, "libxrt_driver_xdna"))

    return tuple(found())


# --- The checks ---------------------------------------------------------------------------------------------


def check_xrt(machine: Machine) -> Check:
    installed = xrt_installations(machine)
    if not installed:
        found = "no libxrt_core.so found: XRT is not installed"
        return problem("xrt", found, packages(machine).xrt, "XRT is not installed")
    found = "; ".join(f"{xrt.version} in {machine.shown(xrt.folder)}" for xrt in installed)
    if not any(xrt.plugin for xrt in installed):
        return problem(
            "xrt",
            f"{found}, without libxrt_driver_xdna.so beside it: \"No such device with index '0'\"",
            f"install the plugin for the NPU, of the same version: {packages(machine).xrt}",
            "XRT has no plugin for NPUs",
        )
    return ok("xrt", f"{found}, with the plugin for the NPU")


def check_versions(machine: Machine, npu: PciDevice) -> Check:
    """Driver, firmware and XRT, which must fit each other, and the plugin between them."""
    installed = xrt_installations(machine)
    named = " or ".join(f"{xrt.version} (plugin {xrt.plugin or 'missing'})" for xrt in installed) or "missing"
    loaded = firmware_version(machine, npu) or "none loaded"
    found = f"driver {driver_version(machine)}, firmware {loaded}, XRT {named}"
    different = [xrt for xrt in installed if xrt.plugin and _minor(xrt.plugin) != _minor(xrt.version)]
    if different:
        return problem(
            "versions",
            f"{found}: the plugin is not XRT's version",
            "install both from one source; from two they end in ERT_CMD_STATE_ABORT or refuse to load",
            "XRT and its plugin for NPUs have different versions",
        )
    return ok("versions", found)


def check_pyxrt(machine: Machine) -> Check:
    python = machine.python
    try:
        module = machine.actions.import_pyxrt()
    except WhisperNpuError as error:
        cause = error.__cause__ or error
    else:
        return ok("pyxrt", f"imported from {getattr(module, '__file__', None) or module.__name__}")
    ours, others = _pyxrt_files(machine)
    if not isinstance(cause, ModuleNotFoundError):
        return problem(
            "pyxrt",
            f"pyxrt does not load: {one_line(cause)}",
            f"install pyxrt and XRT from one source: {packages(machine).xrt}",
        )
    if ours:
        folder = machine.shown(ours[0].parent)
        return problem(
            "pyxrt",
            f"{machine.shown(ours[0])} is for this Python {python.version}, which does not look there",
            f"make the environment with python{python.version} -m venv --system-site-packages .venv, or set "
            f"PYTHONPATH={folder}",
        )
    if others:
        versions = " and ".join(sorted({_python_of(file) for file in others}))
        return problem(
            "pyxrt",
            f"{machine.shown(others[0])} is built for Python {versions}, this is {python.version}",
            f"make the environment with Python {versions} and --system-site-packages, or build pyxrt from "
            f"XRT's source for Python {python.version} (docs/hardware.md)",
        )
    if _is_x_ray_tracer(machine):
        return problem(
            "pyxrt",
            "the installed python3-xrt is another program, an X-ray tracer (Debian main has it)",
            f"sudo apt remove python3-xrt; {packages(machine).xrt}",
        )
    return problem(
        "pyxrt",
        f"no pyxrt for Python {python.version}: {one_line(cause)}",
        f"{packages(machine).xrt}; not from PyPI, nor Debian main's python3-xrt, which is an X-ray tracer",
        f"there is no pyxrt for Python {python.version}",
    )


def check_trials(machine: Machine) -> Check:
    """Whether the first run of a kernel hung the NPU, or the machine."""
    lost = machine.trials.lost()
    if not lost:
        return ok("trials", "every kernel that was tried on this machine came back")
    return problem(
        "trials",
        f"the last trial that did not come back was {lost[0]}"
        + (f"; before it {', '.join(map(str, lost[1:]))}" if lost[1:] else ""),
        "reboot if this machine was not since; then build that kernel again, which is tried anew, or try it "
        f"as it is: {RETRY}; it is not used meanwhile",
        f"the last trial that did not come back was {lost[0].kernel}",
    )


def check_context(machine: Machine, npu: PciDevice) -> tuple[Check, Check]:
    """The contexts, and the power mode that was seen while they were open."""
    others = processes_with(machine, node_of(machine, npu))
    use = (
        f"open in {others} other processes that this user may see; {TARGET.hw_contexts} contexts fit at once"
    )
    try:
        opened = machine.actions.open_context()
    except WhisperNpuError as error:
        hangs = isinstance(error, NoAnswerError)
        remedy = (
            "reboot; what was tried is on record, and the next whisper-npu doctor names it"
            if hangs
            else "end other programs on the NPU, then sudo dmesg | grep amdxdna; after ERT_CMD_STATE_ABORT "
            "compare the versions"
        )
        short = f"{str(error).partition(':')[0]} hangs it" if hangs else str(error).partition(";")[0]
        failed = problem("context", f"{error}; the NPU is {use}", remedy, short)
        return failed, skipped("power", "no context was open")
    clock = "an unknown clock" if opened.clock_mhz is None else f"{opened.clock_mhz:,} MHz"
    power = f"{clock} with contexts open, power mode {opened.power_mode or 'unknown'}"
    answers = ", ".join(opened.kernels)
    return ok("context", f"opened, and right answers from {answers}; {use}"), ok("power", power)


def check_kernels(machine: Machine) -> Check:
    folders = machine.kernel_folders
    verified, refused = [], []
    for contract in built(folders, TARGET):
        try:
            find_kernel(contract, folders)
        except KernelManifestError as error:
            refused.append(str(error))
        else:
            verified.append(contract.name)
    found = f"built and verified: {', '.join(verified) or 'none'}; looked in {', '.join(map(str, folders))}"
    if refused:
        short = "a built kernel is refused"
        return problem("kernels", f"{found}; {'; '.join(refused)}", "build the refused ones again", short)
    if not verified:
        remedy = "whisper-npu kernels build, or name their folder: --kernels DIR"
        return problem("kernels", found, remedy, "no kernels are built for it")
    return ok("kernels", found)


# --- Helpers --------------------------------------------------------------------------------------


def _library_version(folder: Path, name: str) -> str | None:
    """The longest version among a library's file names: libxrt_core.so.2.25.0 is 2.25.0."""
    versions = [file.name.removeprefix(f"{name}.so.") for file in folder.glob(f"{name}.so.*")]
    return max((v for v in versions if re.fullmatch(r"\d+(\.\d+)*", v)), key=len, default=None)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _pyxrt_files(machine: Machine) -> tuple[list[Path], list[Path]]:
    """The files of pyxrt that this Python can load, and those that it cannot."""
    found = [file for folder in PYTHON_FOLDERS for file in sorted(machine.root.glob(f"{folder}/pyxrt*.so"))]
    suffixes = machine.python.extension_suffixes
    ours = [file for file in found if file.name.removeprefix("pyxrt") in suffixes]
    return ours, [file for file in found if file not in ours]


def _python_of(extension: Path) -> str:
    """pyxrt.cpython-314-x86_64-linux-gnu.so is for 3.14."""
    named = re.search(r"\.cpython-3(\d+)", extension.name)
    return f"3.{named[1]}" if named else "unknown"


def _is_x_ray_tracer(machine: Machine) -> bool:
    return any(
        (folder / "xrt/backends/raycing").is_dir()
        for pattern in PYTHON_FOLDERS
        for folder in machine.root.glob(pattern)
    )
