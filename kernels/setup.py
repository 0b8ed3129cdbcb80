"""Makes a virtual environment with mlir-aie and Peano in versions that belong together, and tries them.

Neither is on PyPI: the wheels are assets of releases on GitHub, for CPython and glibc of certain versions.
Nothing here needs an NPU.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from whisper_npu.errors import UsageError, WhisperNpuError
from whisper_npu.kernels.build import DesignSource, build
from whisper_npu.kernels.own_toolchain import MARKER, UNFINISHED, Installed, installed, write_marker
from whisper_npu.kernels.toolchain import Generation, Pair
from whisper_npu.kernels.tools import GET_XCLBINUTIL, Toolchain
from whisper_npu.npu.contract import Contract
from whisper_npu.owned import temporary_folder

# Of the wheels of mlir_aie (github.com/Xilinx/mlir-aie, assets of the releases that kernels/toolchain.py
# names): cp311 or cp312 to cp314, manylinux_2_35.
FIRST_PYTHON, LAST_PYTHON = (3, 11), (3, 14)
GLIBC = (2, 35)

_LAST_LINES = 6  # of a failing program's output
_PROBE = (
    "import json, platform, sys, sysconfig; print(json.dumps(["
    "sys.implementation.name, sys.version_info[:2], *platform.libc_ver()]))"
)


class SetupError(WhisperNpuError):
    """The tools cannot be installed: a Python without wheels, a folder in use, venv or pip that fails."""


class ProgramError(SetupError):
    """A program that fails: venv, or pip."""

    def __init__(self, purpose: str, status: int, output: str) -> None:
        last = "".join(f"\n  {line}" for line in output.strip().splitlines()[-_LAST_LINES:])
        super().__init__(f"{purpose} failed with status {status}; its last lines:{last}")
        self.output = output


@dataclass(frozen=True)
class SetUp:
    """Tools that have built a kernel."""

    folder: Path
    generation: Generation
    is_new: bool  # False: they were installed already
    kernel: str  # what they have built


def set_up(
    folder: Path,
    generation: Generation,
    trial: Contract,
    *,
    python: Path,
    wheels: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    say: Callable[[str], None] = lambda line: None,
) -> SetUp:
    """Install a generation's pair of packages into a virtual environment, and build one kernel with them.

    trial: the kernel to build, into a folder that is removed. python: makes the environment. wheels: a folder
    with all wheels, for a machine without network. say: is told what takes long, line by line.

    What is installed already is only tried again; another generation takes its place once it is whole. Tools
    that are installed and cannot build stay, so that the next call only has to try them again.

    Raises UsageError for `wheels` without those of the pair; SetupError; what `build` raises where the trial
    fails.
    """
    if wheels is not None:
        _check_wheels(wheels, generation.pair)
    packages = generation.pair.mlir_aie.requirement, generation.pair.llvm_aie.requirement
    _restore(folder)
    there = installed(folder)
    is_new = there is None or there.packages != packages
    if is_new:
        _check_free(folder)
        _check_python(python, environ)
    if Toolchain.find(environ).xclbinutil is None:
        say(
            "xclbinutil is not on PATH: unless this release of mlir_aie brings one, building fails; "
            f"it is XRT's: {GET_XCLBINUTIL}"
        )
    if there is None or is_new:
        how_long = "" if wheels else ": some minutes, depending on the network"
        try:
            with _replaced(folder):
                say(f"installing {generation.pair} into {folder}{how_long}")
                there = _install(folder, generation, packages, python, wheels, environ)
        except OSError as error:
            raise SetupError(
                f"{folder} cannot be written ({error.strerror or error}): name another with --folder"
            ) from error
    say(f"building {trial.name} to try the tools")
    # Tools of the user's elsewhere are not what this tries.
    elsewhere = ("MLIR_AIE_INSTALL_DIR", "PEANO_INSTALL_DIR")
    own = {name: value for name, value in environ.items() if name not in elsewhere}
    tools = Toolchain.find(own, [folder / there.site_packages])
    with temporary_folder() as scratch:
        build([DesignSource.of(trial, generation)], scratch, tools=tools)
    write_marker(folder, replace(there, proved=True))
    return SetUp(folder, generation, is_new, trial.name)


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.previous")


def _restore(folder: Path) -> None:
    """What an installation had moved aside when it was killed."""
    if installed(_previous(folder)) and not installed(folder):
        shutil.rmtree(folder, ignore_errors=True)
        _previous(folder).rename(folder)


def _check_wheels(wheels: Path, pair: Pair) -> None:
    is_folder = os.path.isdir(wheels)  # a name that is too long is none, too
    for package in (pair.mlir_aie, pair.llvm_aie):
        # pip's names of wheels: https://packaging.python.org/en/latest/specifications/binary-distribution-format
        if not is_folder or not any(wheels.glob(f"{package.name.replace('-', '_')}-*.whl")):
            lacks = f"has no wheel of {package.name}" if is_folder else "is no folder"
            raise UsageError(f"--wheels {wheels} {lacks}: name the folder with {pair} and what they need")


def _check_free(folder: Path) -> None:
    ours = (folder / MARKER).exists() or (folder / UNFINISHED).exists()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(
            f"{folder} is not empty, and holds no tools of whisper-npu: name another with --folder"
        )


def _check_python(python: Path, environ: Mapping[str, str]) -> None:
    needs = (
        f"the wheels of mlir_aie are for CPython {_dotted(FIRST_PYTHON)} to {_dotted(LAST_PYTHON)} "
        f"with glibc {_dotted(GLIBC)} or later"
    )
    answer = _run([str(python), "-I", "-c", _PROBE], f"asking {python} for its version", environ)
    implementation, version, libc, libc_version = json.loads(answer)
    if implementation != "cpython" or not FIRST_PYTHON <= tuple(version) <= LAST_PYTHON:
        raise SetupError(
            f"{python} is {implementation} {_dotted(version)}, and {needs}: name another with --python"
        )
    if libc != "glibc" or tuple(map(int, libc_version.split(".")[:2])) < GLIBC:
        found = f"{libc} {libc_version}" if libc else "another C library"
        raise SetupError(
            f"this system has {found}, and {needs}: build elsewhere, such as in kernels/Containerfile, "
            "or whisper-npu kernels fetch"
        )


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


@contextmanager
def _replaced(folder: Path) -> Iterator[None]:
    """An empty folder, in place of what was there: that comes back if what follows fails.

    It cannot be made beside and moved: an environment's programs hold its absolute path.
    """
    if installed(folder):
        if installed(_previous(folder)):
            shutil.rmtree(_previous(folder))
        folder.rename(_previous(folder))
    elif folder.exists():
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True)
        (folder / UNFINISHED).touch()
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if _previous(folder).exists():
            _previous(folder).rename(folder)
        raise
    (folder / UNFINISHED).unlink()
    shutil.rmtree(_previous(folder), ignore_errors=True)


def _install(
    folder: Path,
    generation: Generation,
    packages: tuple[str, ...],
    python: Path,
    wheels: Path | None,
    environ: Mapping[str, str],
) -> Installed:
    _run([str(python), "-I", "-m", "venv", str(folder)], f"making the environment {folder}", environ)
    sources = ["--no-index", "-f", str(wheels), *packages] if wheels else generation.pair.pip_arguments
    pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "install", "--disable-pip-version-check"]
    try:
        _run([*pip, "--no-input", *sources], f"installing {generation.pair}", environ)
    except ProgramError as error:
        raise _unreachable(error.output, generation.pair) or error from error
    found = sorted(folder.glob("lib/python*/site-packages/mlir_aie"))
    if not found:
        raise SetupError(f"pip succeeded but installed no mlir_aie into {folder}: its wheel is another one")
    there = Installed(generation.name, packages, str(found[0].parent.relative_to(folder)), proved=False)
    write_marker(folder, there)
    return there


def _unreachable(output: str, pair: Pair) -> SetupError | None:
    """In one line, which server did not answer pip, and why; None where pip failed of something else."""
    last_tries = r"Retry\(total=0,.* after connection broken by '(.*)': (/\S*)"  # pip's own words
    failed = {path: reason for reason, path in re.findall(last_tries, output)}
    if not failed:
        return None
    pages = [urlsplit(package.wheels) for package in (pair.mlir_aie, pair.llvm_aie)]
    hosts = {page.path: page.hostname for page in pages if page.path in failed}
    path, host = next(iter(hosts.items()), (next(iter(failed)), "pip's package index"))
    reason = re.sub(r"<[^>]*>: |^\w+\(['\"]|['\"]\)+$", "", failed[path])
    return SetupError(f"{host} cannot be reached: {reason[:200]}; without network: --wheels DIR")


def _run(command: Sequence[str], purpose: str, environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{purpose} failed: {command[0]} cannot be run ({error.strerror})") from error
    if done.returncode:
        raise ProgramError(purpose, done.returncode, done.stdout)
    return done.stdout
