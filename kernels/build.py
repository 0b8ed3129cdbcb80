"""Designs become what XRT loads: an xclbin and the NPU's instructions, where AMD's tools are installed.

Peano's clang++ compiles the core functions, mlir-aie's aiecc compiles the design and links it. Nothing else
of whisper-npu needs these tools. The commands are those of mlir-aie's programming examples.
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
from hashlib import sha256
from pathlib import Path

from whisper_npu.errors import WhisperNpuError
from whisper_npu.kernels import registry
from whisper_npu.kernels.core import CoreObject, CoreSource, ObjectNameError, object_named
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.artifacts import MANIFEST, SCHEMA, SCHEMA_VERSION, kernel_folder
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import TARGETS, Target

INSTALL = (
    "pip install mlir_aie -f https://github.com/Xilinx/mlir-aie/releases/expanded_assets/latest-wheels-3 "
    "&& pip install llvm-aie -f https://github.com/Xilinx/llvm-aie/releases/expanded_assets/nightly"
)

_LAST_LINES = 15  # of a failing tool's output


class BuildError(WhisperNpuError):
    """A kernel that cannot be built: an array unknown, a design for another one, a tool that fails."""


class ToolsMissingError(BuildError):
    """Tools that are not installed."""


# --- What is built ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DesignSource:
    """One design to build: a contract, its MLIR text, and the sources of the core functions that it links."""

    contract: Contract
    mlir_text: str
    core_sources: tuple[CoreSource, ...]

    @staticmethod
    def of(contract: Contract, toolchain: Generation = NEWEST) -> DesignSource:
        """As a toolchain spells it. Raises DesignParameterError for what the array cannot hold."""
        text, sources = registry.design(contract, toolchain), registry.family_of(contract).core_sources()
        return DesignSource(contract, text, sources)

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def overlay(self) -> str:
        """Designs of one overlay configure the array alike."""
        return self.contract.overlay

    @property
    def objects(self) -> tuple[CoreObject, ...]:
        """What the cores link. Raises BuildError for a name that is no object of the sources."""
        names = sorted(set(re.findall(r'link_with\s*=\s*"([^"]*)"', self.mlir_text)))
        try:
            return tuple(object_named(name, self.core_sources, self.contract.target) for name in names)
        except ObjectNameError as error:
            raise BuildError(f"design {self.name}: {error}") from error

    def promises(self) -> dict[str, object]:
        """What its manifest says of it, whatever tools build it: contract, operands, overlay, sources."""
        linked = dict.fromkeys(linked.source for linked in self.objects)
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "design": self.name,
            "contract": self.contract.as_json(),
            "operands": self.contract.arguments_as_json(),
            "overlay": {"name": self.overlay, "sha256": _sha256(array_part(self.mlir_text).encode())},
            "sources": {
                f"{self.name}.mlir": _sha256(self.mlir_text.encode()),
                **{source.path.name: _sha256(source.path.read_bytes()) for source in linked},
            },
        }

    @property
    def xclbin(self) -> str:
        return f"{self.name}.xclbin"

    @property
    def instructions(self) -> str:
        return f"{self.name}.insts.bin"


def array_part(mlir_text: str) -> str:
    """What a design configures the array with: all of its text but the runtime sequence and its data.

    The data are globals that only the sequence refers to. Where designs have the same array part, the xclbin
    of each serves the instructions of all.
    Raises BuildError where the text has not exactly one runtime sequence.
    """
    sequence = r"(?ms)^( *)aie\.runtime_sequence\b.*?^\1}\n"
    part, found = re.subn(sequence, "", re.sub(r"(?m)^ *memref\.global\b.*\n", "", mlir_text))
    if found != 1:
        raise BuildError(f"a design has one aie.runtime_sequence, this has {found}")
    return part


@dataclass(frozen=True)
class BuildResult:
    """Where one design's xclbin, instructions and manifest lie."""

    name: str
    folder: Path
    is_new: bool  # False: they were up to date

    @property
    def outcome(self) -> str:
        return "built" if self.is_new else "up to date"


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
            triples = [target.compiler_triple for target in TARGETS.values()]
            peano = [
                *(folder / "llvm-aie" for folder in packages),
                *(root for root in on_path if any((root / "lib" / triple).is_dir() for triple in triples)),
            ]
        compiler = _first_file(root / "bin" / "clang++" for root in peano)
        return Toolchain(aiecc, include, compiler.parent.parent if compiler else None)


def _first_file(candidates: Iterable[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


@dataclass(frozen=True)
class _CompleteToolchain:
    """A toolchain that lacks nothing, and its commands, which run in the folder of their files."""

    aiecc: Path
    include: Path
    peano: Path

    @staticmethod
    def of(tools: Toolchain) -> _CompleteToolchain:
        """Raises ToolsMissingError, naming all that is missing."""
        if tools.aiecc and tools.include and tools.peano:
            return _CompleteToolchain(tools.aiecc, tools.include, tools.peano)
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
        return [*map(self._compile, design.objects), self._link(design)]

    def _compile(self, wanted: CoreObject) -> list[str]:
        return [
            str(self.clang),
            "-O2",
            "-std=c++20",
            f"--target={wanted.target.compiler_triple}",
            "-DNDEBUG",
            f"-I{self.include}",
            *wanted.defines,
            "-c",
            str(wanted.source.path),
            "-o",
            wanted.name,
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
    """What the tool prints about itself; a tool that prints nothing is known by its bytes."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, errors="replace", check=False)
    version = " ".join(done.stdout.split())
    return version if done.returncode == 0 and version else _sha256(tool.read_bytes())


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
        output = "".join(f"\n  {line}" for line in last)
        raise BuildError(f"{purpose} failed with status {done.returncode}: {shlex.join(command)}{output}")


# --- Building -----------------------------------------------------------------------------------------------


def arrays(target: Target) -> dict[str, int]:
    """MLIR-AIE's names for the whole array and for its first columns, with how many columns that is."""
    partial = {target.device(columns): columns for columns in range(1, target.columns)}
    return {target.device(): target.columns, **partial}


def build(
    designs: Sequence[DesignSource], folder: Path, *, array: str | None = None, tools: Toolchain
) -> list[BuildResult]:
    """Build each design into folder/NAME/: NAME.xclbin, NAME.insts.bin, manifest.json.

    array: the part of the array to build for, one of `arrays` of the designs' target; None for all of it. A
    design is skipped where its manifest tells of the same sources, contract, array, commands and tool
    versions, and its outputs are whole. An older build stays until the new one is.

    Raises ToolsMissingError; BuildError for an unknown array, a design of more columns than it has, a tool
    that fails, or a folder that cannot be written.
    """
    for design in designs:
        _check_array(design, array or design.contract.target.device())
    complete = _CompleteToolchain.of(tools)
    versions = complete.versions
    return [
        _build(design, folder, array or design.contract.target.device(), complete, versions)
        for design in designs
    ]


def _check_array(design: DesignSource, array: str) -> None:
    known = arrays(design.contract.target)
    if array not in known:
        raise BuildError(f"unknown target {array!r}: there are {', '.join(known)}")
    devices = re.findall(r"aie\.device\((\w+)\)", design.mlir_text)
    if len(devices) != 1:
        raise BuildError(f"design {design.name} has {len(devices)} aie.device, one is needed")
    if known.get(devices[0], sys.maxsize) > known[array]:
        raise BuildError(f"design {design.name} is for {devices[0]}, which does not fit the target {array}")


def _build(
    design: DesignSource,
    folder: Path,
    array: str,
    tools: _CompleteToolchain,
    versions: Mapping[str, str],
) -> BuildResult:
    commands = tools.commands(design)
    expected = {**design.promises(), "target": array, "tools": dict(versions), "commands": commands}
    place = folder / design.name
    if _is_up_to_date(place, design, expected):
        return BuildResult(design.name, place, is_new=False)
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
            manifest = json.dumps({**expected, "outputs": outputs}, indent=2)
            (new / MANIFEST).write_text(manifest + "\n", "utf-8")
            _replace(place, new, Path(scratch) / "old")
    except OSError as error:
        raise BuildError(
            f"kernel folder {folder} cannot be written ({error.strerror or error}); "
            "set WHISPER_NPU_KERNELS to a writable folder with room"
        ) from error
    return BuildResult(design.name, place, is_new=True)


def _is_up_to_date(place: Path, design: DesignSource, expected: Mapping[str, object]) -> bool:
    try:
        manifest = json.loads((place / MANIFEST).read_text("utf-8"))
        names = design.xclbin, design.instructions
        outputs = {name: _sha256((place / name).read_bytes()) for name in names}
    except (OSError, ValueError):
        return False
    return bool(manifest == json.loads(json.dumps({**expected, "outputs": outputs})))


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
