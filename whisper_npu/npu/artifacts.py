"""Built kernels: where they are looked for, and what is checked before one is loaded.

A kernel is a folder NAME/ with NAME.xclbin (the array's configuration), NAME.insts.bin (the NPU's
instructions for one size of product) and manifest.json, as `whisper-npu kernels build` writes it. Whatever
does not match its manifest, or its manifest the contract, is refused. Each file is read once: the bytes whose
hash was compared are those that reach the NPU.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from whisper_npu.errors import KernelManifestError, KernelNotBuiltError, UsageError, one_line, quoted
from whisper_npu.home import data_folder, expanded
from whisper_npu.kernels import registry
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import Target
from whisper_npu.untrusted import read_object, read_regular

MANIFEST = "manifest.json"
SCHEMA, SCHEMA_VERSION = "whisper-npu-kernel", 3
# Far above what a kernel needs: an xclbin configures 16 cores with 16 KiB of program memory each.
MAX_FILE_BYTES = 16 << 20
CORE_PROGRAMS = "core_programs"  # by object: what llvm-objdump showed, where the build had it


@dataclass(frozen=True)
class InnerLoop:
    """The loop of a core's program that multiplies: counted in the compiled object, not measured."""

    bundles: int  # a core issues one per cycle, unless something stalls it
    vmacs: int  # among their instructions: each multiplies a micro-tile

    @property
    def vmacs_per_cycle(self) -> float:
        return self.vmacs / self.bundles


@dataclass(frozen=True)
class Artifact:
    """One built kernel whose files are what its manifest says."""

    contract: Contract
    folder: Path
    overlay: str  # a hash: kernels of one overlay, by the same tools, run on one loaded xclbin
    xclbin: Path  # where `configuration` was read, for messages
    configuration: bytes  # of the array
    instructions: bytes  # little-endian 32-bit words
    inner_loop: InnerLoop | None = None  # of the object that multiplies most; None where nobody counted

    @property
    def digest(self) -> str:
        """Of what the array runs."""
        return sha256(self.overlay.encode() + self.instructions).hexdigest()


def kernel_folder(environ: Mapping[str, str]) -> Path:
    """Where built kernels live: $WHISPER_NPU_KERNELS, or whisper-npu/kernels in the user's data folder.

    Raises UsageError where that is in a home folder that is not known.
    """
    return data_folder("kernels", "WHISPER_NPU_KERNELS", environ)


def searched_folders(given: Sequence[Path], environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where a kernel is looked for, first come first: those given, $WHISPER_NPU_KERNELS, the user's."""
    folders = [Path(expanded(folder)) for folder in given]
    for known in (environ, {**environ, "WHISPER_NPU_KERNELS": ""}):
        with suppress(UsageError):  # who has no home folder has no kernels in it
            folders.append(kernel_folder(known))
    return tuple(dict.fromkeys(folders))


def built(folders: Sequence[Path], target: Target) -> tuple[Contract, ...]:
    """The contracts that a folder has a kernel for; its files are checked by `find_kernel`."""
    names = {manifest.parent.name for folder in folders for manifest in folder.glob(f"*/{MANIFEST}")}
    fixed = [contract for contract in registry.contracts(target) if contract.name in names]
    others = sorted(names - {contract.name for contract in fixed})
    known = [registry.contract_named(name, target) for name in others]
    return (*fixed, *(contract for contract in known if contract))


def as_compiled(target: Target, folders: Sequence[Path]) -> Target:
    """The target with the rates of its built products' inner loops, where their manifests say them.

    The cost model takes them in place of assumed ones: the slowest for what is cautious, the fastest for what
    is optimistic.
    """
    loops = [_loop_of(contract, folders) for contract in built(folders, target) if contract.macs]
    rates = [loop.vmacs_per_cycle for loop in loops if loop and loop.vmacs <= loop.bundles]
    if not rates:
        return target
    return replace(target, profile=target.profile.compiled(min(rates), max(rates), target.micro_tile))


def _loop_of(contract: Contract, folders: Sequence[Path]) -> InnerLoop | None:
    """As the manifest says; None where it does not, or is none: `find_kernel` says so when it is loaded."""
    place = _place(contract, folders)
    try:
        return _inner_loop(read_object(place / MANIFEST).get(CORE_PROGRAMS)) if place else None
    except (OSError, ValueError):
        return None


def find_kernel(contract: Contract, folders: Sequence[Path]) -> Artifact:
    """The built kernel of a contract, checked.

    Raises KernelNotBuiltError, naming the folders and the command that builds it, and KernelManifestError
    where a file is missing, changed, of another target or promises something else.
    """
    place = _place(contract, folders)
    if place is None:
        looked = ", ".join(map(str, folders))
        raise KernelNotBuiltError(
            f"no built kernel {contract.name} in {looked}: whisper-npu kernels build {contract.name}"
        )
    return checked_kernel(contract, place, str(place), f"whisper-npu kernels build {contract.name}")


def _place(contract: Contract, folders: Sequence[Path]) -> Path | None:
    places = (folder / contract.name for folder in folders)
    return next((place for place in places if os.path.isfile(place / MANIFEST)), None)


def checked_kernel(contract: Contract, place: Path, origin: str, remedy: str) -> Artifact:
    """The kernel in `place`, whatever the folder's name. An error names its origin and the remedy.

    Raises KernelManifestError.
    """

    def refuse(reason: str) -> KernelManifestError:
        return KernelManifestError(f"kernel {contract.name} in {origin} is refused: {reason}; {remedy}")

    try:
        manifest = read_object(place / MANIFEST)
    except (OSError, ValueError) as error:
        raise refuse(f"{MANIFEST} cannot be read ({one_line(error)})") from error
    if manifest.get("schema") != SCHEMA:
        raise refuse(f"{MANIFEST} is no {SCHEMA} manifest")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise refuse(
            f"its manifest has version {quoted(manifest.get('schema_version'))}, this program reads "
            f"{SCHEMA_VERSION}"
        )
    target = str(manifest.get("target"))
    wanted = contract.target.name
    if target != wanted and not target.startswith(f"{wanted}_"):
        raise refuse(f"it was built for {target[:60]}, not for {wanted}")
    if manifest.get("contract") != json.loads(json.dumps(contract.as_json())):
        raise refuse(f"its manifest promises something else than this program's {contract.name}")
    overlay = _member(manifest, "overlay", "sha256")
    if overlay is None:
        raise refuse("its manifest names no overlay")
    xclbin, instructions = place / f"{contract.name}.xclbin", place / f"{contract.name}.insts.bin"
    contents = {}
    for path in (xclbin, instructions):
        try:
            contents[path] = read_regular(path, MAX_FILE_BYTES)
        except OSError as error:
            raise refuse(f"{path.name} cannot be read ({error.strerror})") from error
        expected = _member(manifest, "outputs", path.name)
        if f"sha256:{sha256(contents[path]).hexdigest()}" != expected:
            raise refuse(f"{path.name} is not the file that was built (its sha256 is another)")
    if not contents[instructions] or len(contents[instructions]) % 4:
        raise refuse(f"{instructions.name} holds {len(contents[instructions])} bytes, not 32-bit words")
    loop = _inner_loop(manifest.get(CORE_PROGRAMS))
    array = _overlay(overlay, manifest)
    return Artifact(contract, place, array, xclbin, contents[xclbin], contents[instructions], loop)


def _overlay(array_part: str, manifest: Mapping[str, Any]) -> str:
    """Instructions name addresses, and the tools say where a buffer lies: others may put it elsewhere.

    array_part: the hash of that part of the design's text.
    """
    sources = manifest.get("sources")
    named = sources if isinstance(sources, dict) else {}
    core = {name: content for name, content in named.items() if name.endswith(".cc")}
    build = [array_part, core, manifest.get("target"), manifest.get("tools")]
    return sha256(json.dumps(build, sort_keys=True).encode()).hexdigest()


def _inner_loop(programs: Any) -> InnerLoop | None:
    """The loop with the most vmacs; whatever is no such count is left out, a kernel runs without it."""
    loops = []
    for program in programs.values() if isinstance(programs, dict) else ():
        loop = program.get("inner_loop") if isinstance(program, dict) else None
        if not isinstance(loop, dict):
            continue
        bundles, vmacs = loop.get("bundles"), loop.get("vmacs")
        if type(bundles) is int and type(vmacs) is int and bundles > 0 and vmacs > 0:
            loops.append(InnerLoop(bundles, vmacs))
    return max(loops, key=lambda loop: loop.vmacs, default=None)


def _member(manifest: Mapping[str, Any], *names: str) -> str | None:
    value: Any = manifest
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
