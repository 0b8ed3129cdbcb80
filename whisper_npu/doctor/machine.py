"""What a diagnosis examines: this machine, or in tests a folder that looks like one."""

from __future__ import annotations

import os
import platform
import pwd
import resource
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from whisper_npu.errors import TrialLostError
from whisper_npu.home import cache_folder
from whisper_npu.npu.artifacts import searched_folders
from whisper_npu.npu.trials import Trials, boot_id, user_folder

if TYPE_CHECKING:
    from whisper_npu.npu.device import Device
    from whisper_npu.npu.options import NpuOptions


@dataclass(frozen=True)
class Process:
    """The user of this process, and what the system allows it."""

    user: str
    user_id: int
    group_ids: frozenset[int]  # as of the login, without groups joined later
    memlock_bytes: int | None  # None: no limit


@dataclass(frozen=True)
class Python:
    """The interpreter that would import pyxrt."""

    version: str  # 3.13
    extension_suffixes: tuple[
        str, ...
    ]  # of modules that it can load, such as .cpython-313-x86_64-linux-gnu.so


@dataclass(frozen=True)
class Opened:
    """What answered while contexts were open."""

    kernels: tuple[str, ...]  # whose known answers came out right, in the order in which they were tried
    clock_mhz: int | None  # None: the driver does not say
    power_mode: str | None


@dataclass(frozen=True)
class Actions:
    """What a diagnosis does besides reading files. Each raises what the real operation raises."""

    open_node: Callable[[Path], None]  # OSError
    import_pyxrt: Callable[[], ModuleType]  # DeviceNotFoundError
    open_context: Callable[[], Opened]  # DeviceError
    compile_rows: Callable[[], bool]  # compiles the host's loops; whether they are compiled now
    compile_bf16_dot: Callable[[], bool]  # the same for products in bf16
    open_device: Callable[[str], Device]  # by its name, or auto; DeviceError
    models_here: Callable[[], tuple[str, ...]]  # names of models that need no download
    audio_formats: Callable[[], str]  # ImportError, OSError; in words


@dataclass(frozen=True)
class Machine:
    root: Path  # where /sys, /dev, /proc, /lib, /usr, /opt and /etc are
    linux_release: str  # uname -r
    process: Process
    python: Python
    kernel_folders: tuple[Path, ...]  # searched in this order
    trials: Trials
    cache: Path
    actions: Actions

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def shown(self, path: Path) -> str:
        """The path without the root, as the user knows it."""
        return f"/{path.relative_to(self.root)}"

    def text(self, path: Path) -> str | None:
        """A small file's text, stripped; None if it cannot be read."""
        try:
            return path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    @property
    def in_container(self) -> bool:
        return any(self.path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))


def this_machine(npu: NpuOptions) -> Machine:
    root = Path("/")
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    user_id = os.geteuid()
    return Machine(
        root=root,
        linux_release=platform.release(),
        process=Process(
            user=_user_name(user_id),
            user_id=user_id,
            group_ids=frozenset({os.getegid(), *os.getgroups()}),
            memlock_bytes=None if limit == resource.RLIM_INFINITY else limit,
        ),
        python=Python(
            version=".".join(platform.python_version_tuple()[:2]),
            extension_suffixes=tuple(EXTENSION_SUFFIXES),
        ),
        kernel_folders=searched_folders(npu.kernel_folders),
        trials=Trials(user_folder(), boot_id()),
        cache=cache_folder(None),
        actions=_actions(npu),
    )


def _actions(npu: NpuOptions) -> Actions:
    from whisper_npu.audio import audio_formats
    from whisper_npu.checkpoint import models_here
    from whisper_npu.host.gemm import bf16_dot
    from whisper_npu.host.rows import compiled
    from whisper_npu.npu.open import open_device
    from whisper_npu.npu.xrt.device import import_pyxrt

    return Actions(
        open_node=_open_and_close,
        import_pyxrt=import_pyxrt,
        open_context=lambda: load_kernels(npu, Path("/")),
        compile_rows=lambda: compiled() is not None,
        compile_bf16_dot=lambda: bf16_dot() is not None,
        open_device=lambda name: open_device(name, npu=npu),
        models_here=models_here,
        audio_formats=audio_formats,
    )


def load_kernels(npu: NpuOptions, root: Path, trials: Trials | None = None) -> Opened:
    """Open a context for each built kernel, the smallest first.

    Each computes a product with a known answer when it is loaded. Those whose last trial did not come back
    are left out. Raises TrialLostError where that leaves none.
    """
    from whisper_npu.npu.contract import in_order_of_trial
    from whisper_npu.npu.xrt.clock import array_clock_mhz
    from whisper_npu.npu.xrt.device import open_npu

    answered = []
    lost: TrialLostError | None = None
    device = open_npu(npu, root=root, trials=trials)
    with device:
        for contract in in_order_of_trial(device.contracts()):
            try:
                device.load(contract)
            except TrialLostError as error:
                lost = error
            else:
                answered.append(contract.name)
        if lost is not None and not answered:
            raise lost
        clock, mode = array_clock_mhz(root), device.power_mode()
    return Opened(tuple(answered), clock, mode)


def _open_and_close(node: Path) -> None:
    os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # a container may run under a number without a name
        return str(user_id)
