"""The generations of mlir-aie's toolchain: the text that each reads, its driver's options, its packages.

Four generations spell designs and options in ways that exclude each other, and all are in use. What differs
between them is in this table: the generator prints for a generation, the parser says which ones read a text,
the build drives the one that is installed.

Neither mlir_aie nor llvm-aie (Peano, the compiler for cores) is on PyPI: their wheels are assets of releases
on GitHub. Each release of mlir-aie is tested with one nightly build of Peano, which it names in
utils/peano-requirements.txt.

Sources: github.com/Xilinx/mlir-aie, its releases v1.3.1 to v1.4.5, and the pull requests named below.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from whisper_npu.errors import UsageError, WhisperNpuError, quoted

_MLIR_AIE_WHEELS = "https://github.com/Xilinx/mlir-aie/releases/expanded_assets/v{version}"
# Rolling, of nightly builds; those before June 2026 have moved to nightly-20240501-20260527.
_LLVM_AIE_WHEELS = "https://github.com/Xilinx/llvm-aie/releases/expanded_assets/nightly"


class UnknownGenerationError(UsageError):
    """A name that is no generation's."""


class UnsupportedReleaseError(WhisperNpuError):
    """A version of mlir_aie that belongs to no generation: older than the first, or no version at all."""


class Acquire(Enum):
    """How a core gets an object of a fifo."""

    SUBVIEW = "subview"  # acquire gives a subview, subview.access the object
    OBJECT = "object"  # acquire gives the object itself (pull request 3553)


class RtpWrite(Enum):
    """How `aiex.npu.rtp_write` takes the number that it writes. The generator prints blockwrite instead."""

    LITERAL = "literal"  # rtp_write(@b, 0, 6)
    SSA_VALUE = "SSA value"  # rtp_write(@b, 0, %n) : i32 (pull request 3225)


def subview_of(object: str) -> str:
    """The SSA name of an object's subview: as the generator prints it, and the parser where there is none."""
    return f"{object}.view"


@dataclass(frozen=True)
class Package:
    """One pinned wheel and the page that lists it."""

    name: str  # as pip knows it
    version: str
    wheels: str  # for pip's --find-links

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def pip_arguments(self) -> tuple[str, ...]:
        return self.requirement, "-f", self.wheels


@dataclass(frozen=True)
class Pair:
    """The packages that belong together."""

    mlir_aie: Package
    llvm_aie: Package

    @staticmethod
    def of(mlir_aie: str, llvm_aie: str) -> Pair:
        return Pair(
            Package("mlir_aie", mlir_aie, _MLIR_AIE_WHEELS.format(version=mlir_aie)),
            Package("llvm-aie", llvm_aie, _LLVM_AIE_WHEELS),
        )

    @property
    def pip_arguments(self) -> tuple[str, ...]:
        """What `pip install` takes for both."""
        return *self.mlir_aie.pip_arguments, *self.llvm_aie.pip_arguments

    @property
    def install_command(self) -> str:
        """For a shell."""
        return shlex.join(["pip", "install", *self.pip_arguments])

    def __str__(self) -> str:
        return f"{self.mlir_aie.requirement} with {self.llvm_aie.requirement}"


@dataclass(frozen=True)
class Generation:
    """Releases of mlir-aie that read the same text and take the same options."""

    name: str
    first: tuple[int, int, int]  # release; the next generation's first one ends it
    releases: tuple[str, ...]  # those that there were when this table was written
    acquire: Acquire
    rtp_write: RtpWrite
    drivers: tuple[str, ...]  # names of the compiler driver's program
    make: tuple[str, ...]  # its options: write the xclbin and the instructions
    compile_with_peano: tuple[str, ...]  # besides --peano FOLDER
    check: tuple[str, ...]  # only as far as the instructions
    # Its driver links cores to measure stack and data, even for a check (pull requests 3613, 3746), and fails
    # where a core's stack_size is too small.
    measures_cores: bool
    pair: Pair

    def __str__(self) -> str:
        first, last = self.releases[0], self.releases[-1]
        return f"{self.name} (mlir_aie {first if first == last else f'{first} to {last}'})"

    def has(self, mlir_aie: str) -> bool:
        """Whether a version of mlir_aie is one of its."""
        try:
            return generation_of(mlir_aie) is self
        except UnsupportedReleaseError:
            return False


_GET_BOTH = ("--get-xclbin", "--get-npu-insts")  # pull request 3364; an unknown option is an error
_CHECK = ("--get-npu-insts",)  # pull request 3271: compiles what the output needs

G1 = Generation(
    name="G1",
    first=(1, 3, 1),
    releases=("1.3.1", "1.3.2", "1.3.3", "1.3.4"),
    acquire=Acquire.SUBVIEW,
    rtp_write=RtpWrite.LITERAL,
    drivers=("aiecc", "aiecc.py"),
    make=("--aie-generate-xclbin", "--aie-generate-npu-insts", "--no-compile-host"),
    compile_with_peano=("--no-xchesscc", "--no-xbridge"),
    check=(
        "--no-compile",
        "--no-link",
        "--no-compile-host",
        "--no-xchesscc",
        "--no-xbridge",
        "--aie-generate-npu-insts",
    ),
    measures_cores=False,
    pair=Pair.of("1.3.4", "21.0.0.2026062301+cb664e8c"),
)
G2 = Generation(
    name="G2",
    first=(1, 4, 0),
    releases=("1.4.0",),
    acquire=Acquire.SUBVIEW,
    rtp_write=RtpWrite.SSA_VALUE,
    drivers=("aiecc",),  # pull request 3369
    make=_GET_BOTH,
    compile_with_peano=("--no-xchesscc", "--no-xbridge"),
    check=_CHECK,
    measures_cores=False,
    pair=Pair.of("1.4.0", "21.0.0.2026072001+ce8c0f8f"),
)
G3 = Generation(
    name="G3",
    first=(1, 4, 1),
    releases=("1.4.1", "1.4.2"),
    acquire=Acquire.SUBVIEW,
    rtp_write=RtpWrite.SSA_VALUE,
    drivers=("aiecc",),
    make=_GET_BOTH,
    compile_with_peano=(),  # the default (pull request 3501)
    check=_CHECK,
    measures_cores=False,
    pair=Pair.of("1.4.2", "21.0.0.2026080301+c9c5ecb7"),
)
G4 = Generation(
    name="G4",
    first=(1, 4, 3),
    releases=("1.4.3", "1.4.4", "1.4.5"),
    acquire=Acquire.OBJECT,
    rtp_write=RtpWrite.SSA_VALUE,
    drivers=("aiecc",),
    make=_GET_BOTH,
    compile_with_peano=(),
    check=_CHECK,
    measures_cores=True,
    pair=Pair.of("1.4.5", "22.0.0.2026090701+3e93bf7b"),
)

GENERATIONS: Mapping[str, Generation] = {generation.name: generation for generation in (G1, G2, G3, G4)}
NEWEST = G4  # what is installed and printed where nobody says otherwise


def generation_named(name: str) -> Generation:
    """G1 to G4. Raises UnknownGenerationError, naming them."""
    try:
        return GENERATIONS[name]
    except KeyError:
        known = ", ".join(map(str, GENERATIONS.values()))
        raise UnknownGenerationError(f"unknown toolchain {quoted(name)}: there are {known}") from None


def is_release(mlir_aie: str) -> bool:
    """Whether a version of mlir_aie is a release's: not a build between two, of which it tells less.

    Rolling builds are called 1.4.3.dev12+gabc, before June 2026 0.0.1.2026050821+b37dc33.
    """
    return re.fullmatch(r"v?[1-9]\d*\.\d+(\.\d+)?(\+\w+)?", mlir_aie) is not None


def generation_of(mlir_aie: str) -> Generation:
    """The generation of a version of mlir_aie: "1.4.2", or "1.4.3.dev12+gabc", which leads to 1.4.3.

    Releases later than this table count to the newest generation. Raises UnsupportedReleaseError.
    """
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", mlir_aie)
    if found is None:
        raise UnsupportedReleaseError(f"{mlir_aie!r} is no version of mlir_aie")
    release = tuple(int(number or 0) for number in found.groups())
    of_release = [generation for generation in GENERATIONS.values() if generation.first <= release]
    if not of_release:
        raise UnsupportedReleaseError(
            f"mlir_aie {mlir_aie} is older than any release that this program builds with; "
            f"install {NEWEST.pair}: {NEWEST.pair.install_command}"
        )
    return of_release[-1]
