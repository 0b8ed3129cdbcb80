"""Designs become what XRT loads: an xclbin and the NPU's instructions, where AMD's tools are installed.

The commands are those of mlir-aie's programming examples, as the toolchain's generation takes them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from whisper_npu.errors import quoted
from whisper_npu.kernels import registry
from whisper_npu.kernels.core import CoreObject, CoreSource, ObjectNameError, object_named
from whisper_npu.kernels.objdump import OBJDUMP_OPTIONS, CoreProgram, read_objdump
from whisper_npu.kernels.replace import replace_all
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.kernels.tools import BuildError, Toolchain, UnknownArrayError, options_of
from whisper_npu.npu.artifacts import (
    CORE_PROGRAMS,
    MANIFEST,
    MAX_FILE_BYTES,
    SCHEMA,
    SCHEMA_VERSION,
    kernel_folder,
)
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import Target
from whisper_npu.owned import owned_folder, temporary_folder
from whisper_npu.untrusted import read_object, read_regular

_LAST_LINES = 15  # of a failing tool's output


# --- What is built ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DesignSource:
    """One design to build: a contract, its MLIR text, and the sources of the core functions that it links."""

    contract: Contract
    mlir_text: str
    core_sources: tuple[CoreSource, ...]
    toolchain: Generation = NEWEST  # whose spelling the text has

    @staticmethod
    def of(contract: Contract, toolchain: Generation = NEWEST) -> DesignSource:
        """As a toolchain spells it. Raises DesignParameterError for what the array cannot hold."""
        text, sources = registry.design(contract, toolchain), registry.family_of(contract).core_sources()
        return DesignSource(contract, text, sources, toolchain)

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
            "toolchain": self.toolchain.name,
            "sources": {
                f"{self.name}.mlir": _sha256(self.mlir_text.encode()),
                **{file.name: _sha256(file.read_bytes()) for source in linked for file in source.files},
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
    programs: Mapping[str, CoreProgram] = field(default_factory=dict)  # by object, of what was built anew

    @property
    def outcome(self) -> str:
        return "built" if self.is_new else "up to date"


# --- The tools ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _CompleteToolchain:
    """A toolchain that lacks nothing, and its commands, which run in the folder of their files."""

    aiecc: Path
    include: Path
    peano: Path
    xclbinutil: Path
    versions: Mapping[str, str]
    placement: tuple[str, ...]

    @staticmethod
    def of(tools: Toolchain, toolchain: Generation) -> _CompleteToolchain:
        """Raises ToolsMissingError, naming all that is missing."""
        tools.check_complete(toolchain)
        assert tools.aiecc
        assert tools.include
        assert tools.peano
        assert tools.xclbinutil
        packages = {"mlir_aie": tools.mlir_aie, "llvm-aie": tools.llvm_aie}
        return _CompleteToolchain(
            tools.aiecc,
            tools.include,
            tools.peano,
            tools.xclbinutil,
            {
                "aiecc": _version(tools.aiecc),
                "clang++": _version(tools.peano / "bin" / "clang++"),
                **{name: version for name, version in packages.items() if version},
            },
            _placement(tools.aiecc),
        )

    def link(self, design: DesignSource) -> list[str]:
        """What turns NAME.mlir and the objects into NAME.xclbin and NAME.insts.bin."""
        return [
            str(self.aiecc),
            *self.placement,
            *design.toolchain.make,
            *design.toolchain.compile_with_peano,
            "--peano",
            str(self.peano),
            f"--xclbin-name={design.xclbin}",
            f"--npu-insts-name={design.instructions}",
            f"{design.name}.mlir",
        ]


def _compile(design: DesignSource, peano: Path, include: Path) -> list[list[str]]:
    """What makes the objects that the cores link."""
    return [
        [
            str(peano / "bin" / "clang++"),
            "-O2",
            "-std=c++20",
            f"--target={wanted.target.compiler_triple}",
            "-DNDEBUG",
            "-D__AIE_API_AIE_ADF_HPP__",  # a header that wants Vitis' adf.h (mlir-aie pull request 3262)
            *(["-fstack-size-section"] if design.toolchain.measures_cores else []),
            f"-I{include}",
            *wanted.defines,
            "-c",
            str(wanted.source.path),
            "-o",
            wanted.name,
        ]
        for wanted in design.objects
    ]


def _placement(aiecc: Path) -> tuple[str, ...]:
    """How buffers are placed in a core: one after the other, where there is still a choice.

    mlir-aie pull request 3746 leaves aiecc one allocator and takes the option away.
    """
    return ("--alloc-scheme=basic-sequential",) if "alloc-scheme" in options_of(aiecc) else ()


def _version(tool: Path) -> str:
    """What the tool prints about itself; a tool that prints nothing is known by its bytes."""
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, errors="replace", check=False)
    version = " ".join(done.stdout.split())
    return version if done.returncode == 0 and version else _sha256(tool.read_bytes())


def _run(command: Sequence[str], folder: Path, commands: Sequence[Path], purpose: str) -> None:
    """Run one tool in `folder`, with folders of `commands` first on PATH. Raises BuildError if it fails."""
    path = os.pathsep.join([*map(str, commands), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
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

    Raises ToolsMissingError; UnknownArrayError; BuildError for a design of more columns than it has, a tool
    that fails, a core's program that does not fit its memory, or a folder that cannot be written.
    """
    for design in designs:
        _check_array(design, array or design.contract.target.device())
    complete = _CompleteToolchain.of(tools, designs[0].toolchain if designs else NEWEST)
    return [_build(design, folder, array or design.contract.target.device(), complete) for design in designs]


def _check_array(design: DesignSource, array: str) -> None:
    known = arrays(design.contract.target)
    if array not in known:
        raise UnknownArrayError(f"unknown target {quoted(array)}: there are {', '.join(known)}")
    devices = re.findall(r"aie\.device\((\w+)\)", design.mlir_text)
    if len(devices) != 1:
        raise BuildError(f"design {design.name} has {len(devices)} aie.device, one is needed")
    if known.get(devices[0], sys.maxsize) > known[array]:
        raise BuildError(f"design {design.name} is for {devices[0]}, which does not fit the target {array}")


def _build(design: DesignSource, folder: Path, array: str, tools: _CompleteToolchain) -> BuildResult:
    compile, link = _compile(design, tools.peano, tools.include), tools.link(design)
    expected = {
        **design.promises(),
        "target": array,
        "tools": dict(tools.versions),
        "commands": [*compile, link],
    }
    place = folder / design.name
    if _is_up_to_date(place, design, expected):
        return BuildResult(design.name, place, is_new=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with owned_folder(folder) as scratch:
            work, made, old, packer = (scratch / name for name in ("work", "new", "old", "packer"))
            new = made / design.name
            for needed in (work, new, old, packer):
                needed.mkdir(parents=True)
            (packer / "xclbinutil").symlink_to(tools.xclbinutil)  # as every aiecc looks for it
            (work / f"{design.name}.mlir").write_text(design.mlir_text, "utf-8")
            commands = [packer, tools.aiecc.parent]  # aiecc finds its own helpers beside it
            for command in compile:
                _run(command, work, commands, f"building {design.name}")
            programs = _core_programs(design, work, tools.peano)
            _run(link, work, commands, f"building {design.name}")
            outputs = {name: _moved(work / name, new) for name in (design.xclbin, design.instructions)}
            counted = {name: program.as_json() for name, program in programs.items()}
            manifest = json.dumps({**expected, CORE_PROGRAMS: counted, "outputs": outputs}, indent=2)
            (new / MANIFEST).write_text(manifest + "\n", "utf-8")
            replace_all([design.name], made, folder, old)
    except OSError as error:
        raise BuildError(
            f"kernel folder {folder} cannot be written ({error.strerror or error}); "
            "set WHISPER_NPU_KERNELS to a writable folder with room"
        ) from error
    return BuildResult(design.name, place, is_new=True, programs=programs)


def _core_programs(design: DesignSource, work: Path, peano: Path) -> dict[str, CoreProgram]:
    """What Peano's llvm-objdump shows of each object; nothing where it is not there or prints otherwise.

    Raises BuildError for an object that leaves no room in a core's program memory.
    """
    objdump = peano / "bin" / "llvm-objdump"
    if not objdump.is_file():
        return {}
    programs = {}
    for wanted in design.objects:
        command = [str(objdump), f"--triple={wanted.target.compiler_triple}", *OBJDUMP_OPTIONS, wanted.name]
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, errors="replace", check=False
        )
        called = re.findall(rf'@(\w+)\([^\n]*link_with\s*=\s*"{re.escape(wanted.name)}"', design.mlir_text)
        program = read_objdump(done.stdout, called) if done.returncode == 0 else None
        if program is not None:
            _check_program(design, wanted, program)
            programs[wanted.name] = program
    return programs


def _check_program(design: DesignSource, wanted: CoreObject, program: CoreProgram) -> None:
    core = design.contract.target.core
    if core.program_bytes and program.program_bytes + core.startup_bytes > core.program_bytes:
        raise BuildError(
            f"design {design.name}: {wanted.name} has {program.program_bytes:,} bytes of instructions, with "
            f"{core.startup_bytes:,} of start-up more than the {core.program_bytes:,} of a core's program "
            f"memory: take a smaller tile, or unroll less in {wanted.source.path.name}"
        )


def _is_up_to_date(place: Path, design: DesignSource, expected: Mapping[str, object]) -> bool:
    try:
        manifest = read_object(place / MANIFEST)
        names = design.xclbin, design.instructions
        outputs = {name: _sha256(read_regular(place / name, MAX_FILE_BYTES)) for name in names}
    except (OSError, ValueError):
        return False
    manifest.pop(CORE_PROGRAMS, None)  # counted in what the commands made
    return bool(manifest == json.loads(json.dumps({**expected, "outputs": outputs})))


def _moved(output: Path, folder: Path) -> str:
    """Move what a tool should have written; returns its hash."""
    if not output.is_file() or output.stat().st_size == 0:
        raise BuildError(f"aiecc succeeded but wrote no {output.name}")
    return _sha256(output.rename(folder / output.name).read_bytes())


def _sha256(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def aie_opt_check(design: DesignSource, tools: Toolchain) -> str:
    """Have mlir-aie's own passes take the design as far as NPU instructions, which makes no xclbin.

    Returns the tool that ran and its version, in words. A driver that measures cores links them for that; the
    objects are compiled for it where Peano is there.

    Raises ToolsMissingError if aiecc is not installed, BuildError with its output if it refuses the design.
    """
    aiecc = tools.need_aiecc()
    check = [
        str(aiecc),
        *_placement(aiecc),
        *design.toolchain.check,
        *(["--peano", str(tools.peano)] if tools.peano else []),
        f"--npu-insts-name={design.instructions}",
        f"{design.name}.mlir",
    ]
    purpose = f"aiecc's check of {design.name}"
    with temporary_folder() as scratch:
        work = scratch
        (work / f"{design.name}.mlir").write_text(design.mlir_text, "utf-8")
        if design.toolchain.measures_cores and tools.peano and tools.include:
            for command in _compile(design, tools.peano, tools.include):
                _run(command, work, [], purpose)
        _run(check, work, [aiecc.parent], purpose)
    return f"{aiecc.name} of mlir_aie {tools.mlir_aie}" if tools.mlir_aie else f"{aiecc}, {_version(aiecc)}"


def clean(folder: Path) -> list[str]:
    """Remove every kernel that `build` put into `folder`, and nothing else; returns their names."""
    built = sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST}") if _is_ours(manifest))
    for place in built:
        shutil.rmtree(place)
    return [place.name for place in built]


def _is_ours(manifest: Path) -> bool:
    try:
        return read_object(manifest).get("schema") == SCHEMA
    except (OSError, ValueError):
        return False


if __name__ == "__main__":  # make clean; building is `whisper-npu kernels build`
    if sys.argv[1:] != ["clean"]:
        sys.exit("usage: python -m whisper_npu.kernels.build clean")
    kernels = kernel_folder(os.environ)
    removed = clean(kernels)
    for name in removed:
        print(f"removed {name}")
    if not removed:
        print(f"no built kernel in {kernels}: nothing to remove")
