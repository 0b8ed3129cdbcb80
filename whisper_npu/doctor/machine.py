"""What a diagnosis looks at: this machine, or in a test a folder that looks like one."""

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

from whisper_npu.npu.artifacts import searched_folders

if TYPE_CHECKING:
    from whisper_npu.npu.device import Device
    from whisper_npu.npu.options import NpuOptions


@dataclass(frozen=True)
class Process:
    """Who asks, and what the system lets them do."""

    user: str
    user_id: int
    group_ids: frozenset[int]  # as of the login: groups joined later are not among them
    memlock_bytes: int | None  # None: no limit


@dataclass(frozen=True)
class Python:
    """The interpreter that would import pyxrt."""

    version: str  # 3.13
    extension_suffixes: tuple[str, ...]  # of modules that it can load, .cpython-313-x86_64-linux-gnu.so


@dataclass(frozen=True)
class Actions:
    """What a diagnosis does rather than reads. Each raises what the real thing raises."""

    open_node: Callable[[Path], None]  # OSError
    import_pyxrt: Callable[[], ModuleType]  # DeviceNotFoundError
    open_context: Callable[[], str]  # DeviceError; returns what answered
    compile_rows: Callable[[], bool]  # whether the host's loops are compiled, or could be
    compile_bf16_dot: Callable[[], bool]  # the same of products in bf16
    open_device: Callable[[], Device]  # DeviceError


@dataclass(frozen=True)
class Machine:
    root: Path  # where /sys, /dev, /proc, /lib, /usr, /opt and /etc are
    linux_release: str  # uname -r
    process: Process
    python: Python
    kernel_folders: tuple[Path, ...]  # searched in this order
    actions: Actions

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def shown(self, path: Path) -> str:
        """A path below the root as a user knows it."""
        return f"/{path.relative_to(self.root)}"

    def text(self, path: Path) -> str | None:
        """A small file's text without the space around it; None where it cannot be read."""
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
        actions=_actions(npu),
    )


def _actions(npu: NpuOptions) -> Actions:
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
        open_device=lambda: open_device("auto", npu=npu),
    )


def load_kernels(npu: NpuOptions, root: Path) -> str:
    """Open a context for each built kernel; loading one has it compute a product whose answer is known."""
    from whisper_npu.npu.xrt.device import open_npu

    with open_npu(npu, root=root) as device:
        kernels = device.contracts()
        for contract in kernels:
            device.load(contract)
    return f"opened, and right answers from {', '.join(contract.name for contract in kernels)}"


def _open_and_close(node: Path) -> None:
    os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(user_id)
