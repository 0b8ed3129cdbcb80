"""The tools that build kernels: what is installed, of which generation, and what to install.

Peano's clang++ compiles the functions that cores call, mlir-aie's aiecc compiles a design, links its cores
and has xclbinutil pack the result. Nothing else of whisper-npu needs these tools.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from pathlib import Path

from whisper_npu.errors import UsageError, WhisperNpuError
from whisper_npu.kernels.toolchain import (
    G1,
    G2,
    G3,
    G4,
    GENERATIONS,
    NEWEST,
    Generation,
    generation_of,
    is_release,
)
from whisper_npu.npu.targets import DEFAULT, TARGETS
from whisper_npu.owned import temporary_folder

XCLBINUTIL = "xclbinutil", "hrx-xclbinutil"  # XRT's, and one that needs no XRT (mlir-aie pull request 3347)
# In Debian 13's backports, in AMD's PPA for Ubuntu 24.04 to 25.10, and in Ubuntu 26.04's universe. Sources:
# the package pages of Debian and Ubuntu, https://launchpad.net/~amd-team/+archive/ubuntu/xrt.
GET_XCLBINUTIL = (
    "sudo apt install libxrt-utils (Debian 13: with -t trixie-backports; Ubuntu before 26.04: after "
    "sudo add-apt-repository ppa:amd-team/xrt; elsewhere the package xrt)"
)
# What says where tools are, in place of looking for them.
VARIABLES = "MLIR_AIE_INSTALL_DIR", "PEANO_INSTALL_DIR", "AIE_XCLBINUTIL"
DRIVERS = tuple(dict.fromkeys(name for generation in GENERATIONS.values() for name in generation.drivers))

# A few lines that the last generation alone reads, for the device's name.
_ACQUIRE_OF_THE_OBJECT = """module { aie.device(DEVICE) {
  %shim = aie.tile(0, 0)  %tile = aie.tile(0, 2)
  aie.objectfifo @f(%shim, {%tile}, 1 : i32) : !aie.objectfifo<memref<4xi32>>
  %core = aie.core(%tile) { %o = aie.objectfifo.acquire @f(Consume, 1) : memref<4xi32>  aie.end } } }
"""


class BuildError(WhisperNpuError):
    """A kernel that cannot be built: an array unknown, a design for another one, a tool that fails."""


class UnknownArrayError(UsageError, BuildError):
    """A `--target` that is no array, or no part of one."""


class ToolsMissingError(BuildError):
    """Tools that are not installed."""


@dataclass(frozen=True)
class Toolchain:
    """The tools that were found; None where one is missing."""

    aiecc: Path | None  # mlir-aie's compiler driver; aiecc.py in older releases
    include: Path | None  # mlir-aie's headers, with aie_api/
    peano: Path | None  # the folder of llvm-aie, with bin/clang++
    xclbinutil: Path | None = None
    mlir_aie: str | None = None  # versions of the packages, where their metadata lie beside them
    llvm_aie: str | None = None
    named: Mapping[str, str] = field(default_factory=dict, compare=False)  # what the user set of VARIABLES

    @staticmethod
    def find(environ: Mapping[str, str], path: Sequence[str | Path] = ()) -> Toolchain:
        """Look where the user says, then among Python's packages, then on PATH. Runs nothing.

        environ: $MLIR_AIE_INSTALL_DIR and $PEANO_INSTALL_DIR name the folders, $AIE_XCLBINUTIL a program,
        $XILINX_XRT the folder of XRT; PATH is searched last, with the packages of environments on it.
        path: folders that may hold the packages mlir_aie and llvm-aie, as in sys.path.
        """
        commands = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder]
        packages = [*map(Path, path), *(site for folder in commands for site in _packages_of(folder))]

        own_mlir_aie = environ.get("MLIR_AIE_INSTALL_DIR")
        mlir_aie = [Path(own_mlir_aie)] if own_mlir_aie else [folder / "mlir_aie" for folder in packages]
        folders = [*(root / "bin" for root in mlir_aie), *([] if own_mlir_aie else commands)]
        aiecc = _first_program(folder / name for folder in folders for name in DRIVERS)
        root = aiecc.resolve().parent.parent if aiecc else None
        roots = [*mlir_aie, *([root] if root else [])]
        headers = [root.absolute() / "include" for root in roots]
        include = next((folder for folder in headers if (folder / "aie_api").is_dir()), None)

        own_peano = environ.get("PEANO_INSTALL_DIR")
        if own_peano:
            peano = [Path(own_peano)]
        else:
            # On PATH, clang++ is Peano's only if the core's libraries lie beside it.
            on_path = [folder.parent for folder in commands]
            triples = [target.compiler_triple for target in TARGETS.values()]
            peano = [
                *(folder / "llvm-aie" for folder in packages),
                *(root for root in on_path if any((root / "lib" / triple).is_dir() for triple in triples)),
            ]
        compiler = _first_program(root / "bin" / "clang++" for root in peano)
        peano_root = compiler.parent.parent if compiler else None

        own_packer = environ.get("AIE_XCLBINUTIL")
        beside = [*([root / "bin"] if root else []), *commands]
        if xrt := environ.get("XILINX_XRT"):
            beside.append(Path(xrt) / "bin")
        packers = [folder / name for folder in beside for name in XCLBINUTIL]
        if own_packer:
            packers = [Path(own_packer), *(folder / own_packer for folder in commands)]
        return Toolchain(
            aiecc,
            include,
            peano_root,
            _first_program(packers),
            _version_beside("mlir_aie", root),
            _version_beside("llvm-aie", peano_root),
            {name: environ[name] for name in VARIABLES if environ.get(name)},
        )

    def generation(self) -> Generation:
        """Which generation aiecc is of: by the release that its package is of, or by what it answers.

        Raises ToolsMissingError where it is not there, UnsupportedReleaseError where it is of none, and
        BuildError where neither says it.
        """
        aiecc = self.need_aiecc()
        if self.mlir_aie and is_release(self.mlir_aie):
            return generation_of(self.mlir_aie)
        return _asked(aiecc)

    def need_aiecc(self) -> Path:
        """Raises ToolsMissingError where it is not there."""
        if self.aiecc is None:
            raise ToolsMissingError(
                f"aiecc (mlir_aie) is not installed; {self._wrong('MLIR_AIE_INSTALL_DIR')}"
                f"install with: {NEWEST.pair.install_command}"
            )
        return self.aiecc

    def mismatch(self, toolchain: Generation) -> str | None:
        """What does not belong together, in one line that names the pair that does; None where all does."""
        problems = []
        if self.mlir_aie and is_release(self.mlir_aie) and not toolchain.has(self.mlir_aie):
            problems.append(f"mlir_aie {self.mlir_aie}")
        if self.llvm_aie != toolchain.pair.llvm_aie.version:
            found = f"llvm-aie {self.llvm_aie or 'of an unknown version'}"
            others = [g.pair for g in GENERATIONS.values() if g.pair.llvm_aie.version == self.llvm_aie]
            problems += [found, *(f"which belongs to {pair.mlir_aie.requirement}" for pair in others)]
        if not problems:
            return None
        pair = toolchain.pair
        return (
            f"toolchain {toolchain.name} is tested with {pair}; found is {', '.join(problems)}. "
            f"The matching pair: {pair.install_command}"
        )

    def check_complete(self, toolchain: Generation | None = None) -> None:
        """Raises ToolsMissingError, naming all that a build lacks, and the commands that install it.

        toolchain: whose packages; None for those that belong to the installed mlir_aie, or the newest.
        """
        if self.aiecc and self.include and self.peano and self.xclbinutil:
            return
        installed = [g for g in GENERATIONS.values() if self.mlir_aie and g.has(self.mlir_aie)]
        pair = (toolchain or next(iter(installed), NEWEST)).pair
        packages = [
            *([] if self.aiecc else ["aiecc (mlir_aie)"]),
            *([] if self.include else ["aie_api headers (mlir_aie)"]),
            *([] if self.peano else ["Peano's clang++ (llvm-aie, or $PEANO_INSTALL_DIR)"]),
        ]
        xclbinutil = [] if self.xclbinutil else ["xclbinutil (XRT, or $AIE_XCLBINUTIL)"]
        remedies = [
            *([pair.install_command] if packages else []),
            *([GET_XCLBINUTIL] if xclbinutil else []),
        ]
        found = self.aiecc and self.include, self.peano, self.xclbinutil
        wrong = [name for name, there in zip(VARIABLES, found, strict=True) if not there]
        raise ToolsMissingError(
            f"building kernels needs {', '.join([*packages, *xclbinutil])}; "
            f"{self._wrong(*wrong)}install with: {'; '.join(remedies)}"
        )

    def _wrong(self, *variables: str) -> str:
        """Which of these variables the user has set: they name a place that lacks the tool."""
        return "".join(
            f"${name} names {self.named[name]}, where it is not: correct or unset it; "
            for name in variables
            if name in self.named
        )


def _first_program(candidates: Iterable[Path]) -> Path | None:
    return next((path.absolute() for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


def _packages_of(commands: Path) -> list[Path]:
    """The packages of a virtual environment that has mlir_aie, by its folder of commands."""
    sites = sorted(commands.parent.glob("lib/python3*/site-packages"))
    return [site for site in sites if (site / "mlir_aie").is_dir()]


def _version_beside(package: str, root: Path | None) -> str | None:
    """By the metadata that pip wrote beside the package's folder."""
    if root is None:
        return None
    found = Distribution.discover(name=package, path=[str(root.parent)])
    return next((distribution.version for distribution in found), None)


def _asked(aiecc: Path) -> Generation:
    """Generations differ in aiecc's options, and the last two in what aie-opt reads."""
    options = options_of(aiecc)
    if G1.make[0] in options:
        return G1
    if G2.compile_with_peano[0] in options:
        return G2
    aie_opt = aiecc.parent / "aie-opt"
    if not aie_opt.is_file():
        raise BuildError(
            f"the release of {aiecc} cannot be found out; name it: --toolchain {G3.name} or {G4.name}"
        )
    with temporary_folder() as scratch:
        probe = scratch / "acquire.mlir"
        probe.write_text(_ACQUIRE_OF_THE_OBJECT.replace("DEVICE", DEFAULT.device()), "utf-8")
        done = subprocess.run([aie_opt, probe], capture_output=True, check=False)
    return G4 if done.returncode == 0 else G3


def options_of(aiecc: Path) -> str:
    """What it says about its options. Raises BuildError if it does not run."""
    try:
        done = subprocess.run(
            [aiecc, "--help"], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BuildError(f"{aiecc} does not run ({error.strerror})") from error
    return done.stdout + done.stderr
