"""Designs become what XRT loads: an xclbin and the NPU's instructions, where AMD's tools are installed.

Peano's clang++ compiles matmul.cc for the core, mlir-aie's aiecc compiles the design and links it. Nothing
else of whisper-npu needs these tools. The commands are those of mlir-aie's programming examples.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path

from whisper_npu.errors import WhisperNpuError
from whisper_npu.npu.artifacts import MANIFEST, SCHEMA, SCHEMA_VERSION, kernel_folder

MATMUL_CC = Path(__file__).parent / "matmul.cc"
TARGETS: Mapping[str, int] = {"npu1": 4, "npu1_1col": 1, "npu1_2col": 2, "npu1_3col": 3}  # columns; mlir-aie
INSTALL = (
    "pip install mlir_aie -f https://github.com/Xilinx/mlir-aie/releases/expanded_assets/latest-wheels-3 "
    "&& pip install llvm-aie -f https://github.com/Xilinx/llvm-aie/releases/expanded_assets/nightly"
)

_LAST_LINES = 15  # of a failing tool's output


class BuildError(WhisperNpuError):
    """A kernel that cannot be built: a target unknown, a design for another one, a tool that fails."""


class ToolsMissingError(BuildError):
    """Tools that are not installed."""


# --- What is built ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tile:
    """The product that one core does in one call: C (m,n) = A (m,k) @ B (k,n)."""

    m: int
    k: int
    n: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.m, self.k, self.n

    @property
    def name(self) -> str:
        return f"matmul_{self.m}x{self.k}x{self.n}"

    @property
    def defines(self) -> tuple[str, ...]:
        """The sizes as matmul.cc takes them."""
        return f"-DDIM_M={self.m}", f"-DDIM_K={self.k}", f"-DDIM_N={self.n}"


def tile_of_object(link_with: str) -> Tile:
    """The sizes that an object's name carries: matmul_64x64x32.o.

    Raises BuildError for a name of another form, or sizes that do not divide into matmul.cc's blocks.
    """
    sizes = re.fullmatch(r"matmul_([1-9]\d*)x([1-9]\d*)x([1-9]\d*)\.o", link_with)
    if sizes is None:
        raise BuildError(f"link_with = {link_with!r} names no object of matmul.cc: use matmul_<m>x<k>x<n>.o")
    m, k, n = map(int, sizes.groups())
    if m % 16 or k % 8 or n % 16:
        raise BuildError(
            f"{link_with}: m and n must be multiples of 16 and k of 8, a block of 4x4 micro-tiles of 4,8,4"
        )
    return Tile(m, k, n)


@dataclass(frozen=True)
class DesignSource:
    """One design to build; `contract` goes into the manifest as it is, so it must be JSON."""

    name: str
    mlir_text: str
    contract: Mapping[str, object]
    overlay: str  # designs of one overlay have the same array part

    @property
    def objects(self) -> tuple[str, ...]:
        """The objects that the cores link."""
        return tuple(sorted(set(re.findall(r'link_with\s*=\s*"([^"]*)"', self.mlir_text))))

    @property
    def xclbin(self) -> str:
        return f"{self.name}.xclbin"

    @property
    def instructions(self) -> str:
        return f"{self.name}.insts.bin"


def array_part(mlir_text: str) -> str:
    """What a design configures the array with: all of its text but the runtime sequence.

    Of designs with the same array part each one's xclbin serves every other's instructions.
    Raises BuildError where the text has not exactly one runtime sequence.
    """
    sequence = r"(?ms)^( *)aie\.runtime_sequence\b.*?^\1}\n"
    part, found = re.subn(sequence, "", mlir_text)
    if found != 1:
        raise BuildError(f"a design has one aie.runtime_sequence, this has {found}")
    return part


class Outcome(Enum):
    BUILT = "built"
    UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class BuildResult:
    """Where one design's xclbin, instructions and manifest lie, and whether they were made now."""

    name: str
    folder: Path
    outcome: Outcome


# --- The tools ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Toolchain:
    """The tools that were found; None where one is missing."""

    aiecc: Path | None  # mlir-aie's compiler driver; aiecc.py in older releases
    include: Path | None  # mlir-aie's headers, with aie_api/
    peano: Path | None  # the folder of llvm-aie, with bin/clang++

    @staticmethod
    def find(environ: Mapping[str, str], path: Sequence[str | Path] = ()) -> Toolchain:
        """Look where the user says, then among Python's packages, then on PATH. Runs nothing.

        environ: $MLIR_AIE_INSTALL_DIR and $PEANO_INSTALL_DIR name the folders; PATH is searched last.
        path: folders that may hold the packages mlir_aie and llvm-aie, as in sys.path.
        """
        commands = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder]
        packages = [Path(folder) for folder in path]

        own_mlir_aie = environ.get("MLIR_AIE_INSTALL_DIR")
        mlir_aie = [Path(own_mlir_aie)] if own_mlir_aie else [folder / "mlir_aie" for folder in packages]
        folders = [*(root / "bin" for root in mlir_aie), *([] if own_mlir_aie else commands)]
        aiecc = _first_file(folder / name for folder in folders for name in ("aiecc", "aiecc.py"))
        roots = [*mlir_aie, *([aiecc.resolve().parent.parent] if aiecc else [])]
        include = next((root / "include" for root in roots if (root / "include" / "aie_api").is_dir()), None)

        own_peano = environ.get("PEANO_INSTALL_DIR")
        if own_peano:
            peano = [Path(own_peano)]
        else:
            # On PATH, clang++ is Peano's only if the core's libraries lie beside it.
            on_path = [folder.parent for folder in commands]
            peano = [
                *(folder / "llvm-aie" for folder in packages),
                *(root for root in on_path if (root / "lib" / "aie2-none-unknown-elf").is_dir()),
            ]
        compiler = _first_file(root / "bin" / "clang++" for root in peano)
        return Toolchain(aiecc, include, compiler.parent.parent if compiler else None)


def _first_file(candidates: Iterable[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


@dataclass(frozen=True)
class _Tools:
    """A toolchain that is whole, and the commands that it takes; they run in the folder of their files."""

    aiecc: Path
    include: Path
    peano: Path

    @staticmethod
    def of(tools: Toolchain) -> _Tools:
        """Raises ToolsMissingError, naming all that is missing."""
        if tools.aiecc and tools.include and tools.peano:
            return _Tools(tools.aiecc, tools.include, tools.peano)
        missing = [
            *([] if tools.aiecc else ["aiecc (mlir_aie)"]),
            *([] if tools.include else ["aie_api headers (mlir_aie)"]),
            *([] if tools.peano else ["Peano's clang++ (llvm-aie, or $PEANO_INSTALL_DIR)"]),
        ]
        raise ToolsMissingError(f"building kernels needs {', '.join(missing)}; install with: {INSTALL}")

    @property
    def clang(self) -> Path:
        return self.peano / "bin" / "clang++"

    @property
    def versions(self) -> dict[str, str]:
        return {"aiecc": _version(self.aiecc), "clang++": _version(self.clang)}

    def commands(self, design: DesignSource) -> list[list[str]]:
        """All that turns NAME.mlir into NAME.xclbin and NAME.insts.bin."""
        return [*(self._compile(name) for name in design.objects), self._link(design)]

    def _compile(self, link_with: str) -> list[str]:
        return [
            str(self.clang),
            "-O2",
            "-std=c++20",
            "--target=aie2-none-unknown-elf",
            "-DNDEBUG",
            f"-I{self.include}",
            *tile_of_object(link_with).defines,
            "-c",
            str(MATMUL_CC),
            "-o",
            link_with,
        ]

    def _link(self, design: DesignSource) -> list[str]:
        return [
            str(self.aiecc),
            "--alloc-scheme=basic-sequential",
            "--aie-generate-xclbin",
            "--no-compile-host",
            f"--xclbin-name={design.xclbin}",
            "--no-xchesscc",
            "--no-xbridge",
            "--peano",
            str(self.peano),
            "--aie-generate-npu-insts",
            f"--npu-insts-name={design.instructions}",
            f"{design.name}.mlir",
        ]


def _version(tool: Path) -> str:
    """What the tool says about itself; a tool that says nothing is known by its bytes."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, errors="replace", check=False)
    said = " ".join(done.stdout.split())
    return said if done.returncode == 0 and said else _sha256(tool.read_bytes())


def _run(command: Sequence[str], folder: Path, aiecc: Path, purpose: str) -> None:
    """Run one tool in `folder`; aiecc finds its own helpers beside it. Raises BuildError if it fails."""
    environ = {**os.environ, "PATH": os.pathsep.join([str(aiecc.parent), os.environ.get("PATH", "")])}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        last = done.stdout.strip().splitlines()[-_LAST_LINES:]
        said = "".join(f"\n  {line}" for line in last)
        raise BuildError(f"{purpose} failed with status {done.returncode}: {shlex.join(command)}{said}")


# --- Building -----------------------------------------------------------------------------------------------


def build(
    designs: Sequence[DesignSource], folder: Path, *, target: str = "npu1", tools: Toolchain
) -> list[BuildResult]:
    """Build each design into folder/NAME/: NAME.xclbin, NAME.insts.bin, manifest.json.

    A design is skipped where its manifest tells of the same sources, contract, target, commands and tool
    versions, and its outputs are whole. An older build stays until the new one is.

    Raises ToolsMissingError; BuildError for an unknown target, a design of more columns than the target has,
    a tool that fails, or a folder that cannot be written.
    """
    for design in designs:
        _check_target(design, target)
    whole = _Tools.of(tools)
    versions = whole.versions
    return [_build(design, folder, target, whole, versions) for design in designs]


def _check_target(design: DesignSource, target: str) -> None:
    if target not in TARGETS:
        raise BuildError(f"unknown target {target!r}: there are {', '.join(TARGETS)}")
    devices = re.findall(r"aie\.device\((\w+)\)", design.mlir_text)
    if len(devices) != 1:
        raise BuildError(f"design {design.name} has {len(devices)} aie.device, one is needed")
    if TARGETS.get(devices[0], sys.maxsize) > TARGETS[target]:
        raise BuildError(f"design {design.name} is for {devices[0]}, which does not fit the target {target}")


def _build(
    design: DesignSource, folder: Path, target: str, tools: _Tools, versions: Mapping[str, str]
) -> BuildResult:
    commands = tools.commands(design)
    wanted: dict[str, object] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "design": design.name,
        "contract": dict(design.contract),
        "overlay": {"name": design.overlay, "sha256": _sha256(array_part(design.mlir_text).encode())},
        "target": target,
        "sources": {
            f"{design.name}.mlir": _sha256(design.mlir_text.encode()),
            MATMUL_CC.name: _sha256(MATMUL_CC.read_bytes()),
        },
        "tools": dict(versions),
        "commands": commands,
    }
    place = folder / design.name
    if _is_up_to_date(place, design, wanted):
        return BuildResult(design.name, place, Outcome.UP_TO_DATE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as scratch:
            work, new = Path(scratch) / "work", Path(scratch) / "new"
            work.mkdir()
            new.mkdir()
            (work / f"{design.name}.mlir").write_text(design.mlir_text, "utf-8")
            for command in commands:
                _run(command, work, tools.aiecc, f"building {design.name}")
            outputs = {name: _moved(work / name, new) for name in (design.xclbin, design.instructions)}
            manifest = json.dumps({**wanted, "outputs": outputs}, indent=2)
            (new / MANIFEST).write_text(manifest + "\n", "utf-8")
            _replace(place, new, Path(scratch) / "old")
    except OSError as error:
        raise BuildError(
            f"kernel folder {folder} cannot be written ({error.strerror or error}); "
            "set WHISPER_NPU_KERNELS to a writable folder with room"
        ) from error
    return BuildResult(design.name, place, Outcome.BUILT)


def _is_up_to_date(place: Path, design: DesignSource, wanted: Mapping[str, object]) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text("utf-8"))
        names = design.xclbin, design.instructions
        outputs = {name: _sha256((place / name).read_bytes()) for name in names}
    except (OSError, ValueError):
        return False
    return bool(manifest == json.loads(json.dumps({**wanted, "outputs": outputs})))


def _moved(output: Path, folder: Path) -> str:
    """Move what a tool should have written; returns its hash."""
    if not output.is_file() or output.stat().st_size == 0:
        raise BuildError(f"aiecc succeeded but wrote no {output.name}")
    return _sha256(output.rename(folder / output.name).read_bytes())


def _replace(place: Path, new: Path, old: Path) -> None:
    """Put `new` at `place`; what was there goes to `old`, and comes back if that fails."""
    if not place.exists():
        new.rename(place)
        return
    place.rename(old)
    try:
        new.rename(place)
    except OSError:
        old.rename(place)
        raise


def _sha256(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def aie_opt_check(design: DesignSource, tools: Toolchain) -> None:
    """Have mlir-aie's own passes take the design as far as NPU instructions; no core is compiled.

    Raises ToolsMissingError if aiecc is not installed, BuildError with its output if it refuses the design.
    """
    if tools.aiecc is None:
        raise ToolsMissingError(f"aiecc (mlir_aie) is not installed; install with: {INSTALL}")
    command = [
        str(tools.aiecc),
        "--alloc-scheme=basic-sequential",
        "--no-compile",
        "--no-link",
        "--no-compile-host",
        "--no-xchesscc",
        "--no-xbridge",
        "--aie-generate-npu-insts",
        f"--npu-insts-name={design.instructions}",
        f"{design.name}.mlir",
    ]
    with tempfile.TemporaryDirectory(prefix="whisper-npu-") as scratch:
        (Path(scratch) / f"{design.name}.mlir").write_text(design.mlir_text, "utf-8")
        _run(command, Path(scratch), tools.aiecc, f"aiecc's check of {design.name}")


def clean(folder: Path) -> list[str]:
    """Remove every kernel that `build` put into `folder`, and nothing else; returns their names."""
    built = sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}") if _is_ours(manifest))
    for place in built:
        shutil.rmtree(place)
    return [place.name for place in built]


def _is_ours(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("schema") == SCHEMA


if __name__ == "__main__":  # make clean; building is `whisper-npu kernels build`
    if sys.argv[1:] != ["clean"]:
        sys.exit("usage: python -m whisper_npu.kernels.build clean")
    for name in clean(kernel_folder(os.environ)):
        print(f"removed {name}")
