"""Sets of built kernels, as whoever builds them publishes them and `whisper-npu kernels fetch` takes them.

A set is one folder without folders in it, as the assets of a release on GitHub are:

    kernels.json                  the index: the kernels, and how many bytes each of their files has
    NAME.xclbin, NAME.insts.bin, NAME.manifest.json
    README.md                     for people: what was built with what
    SHA256SUMS                    the hash of every file above, as sha256sum prints them
    SHA256SUMS.sig                its signature, where the set is signed (kernels/signature.py)

A signature of SHA256SUMS vouches for all of it. A manifest says what its kernel was built from, and that must
be what this version of the program would build it from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from whisper_npu import __version__
from whisper_npu.errors import WhisperNpuError, quoted
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import DesignSource
from whisper_npu.kernels.core_report import as_markdown
from whisper_npu.kernels.replace import replace_all
from whisper_npu.kernels.signature import sign
from whisper_npu.kernels.toolchain import GENERATIONS
from whisper_npu.npu.artifacts import MANIFEST, MAX_FILE_BYTES, checked_kernel
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import TARGETS, Target
from whisper_npu.owned import owned_folder
from whisper_npu.untrusted import json_object, read_object, read_regular

INDEX, SUMS, SIGNATURE, README = "kernels.json", "SHA256SUMS", "SHA256SUMS.sig", "README.md"
SCHEMA, SCHEMA_VERSION = "whisper-npu-kernel-set", 1
NEVER_RUN = "Nobody has run these kernels on a chip yet"

# Far above what a set needs; what exceeds them is not read.
MAX_LIST_BYTES = 1 << 20  # of the index, of SHA256SUMS
MAX_KERNELS = 300  # of three files each: a release on GitHub has at most 1,000 assets

_ENDINGS = ("xclbin", "insts.bin", MANIFEST)
_NAME = re.compile(r"[A-Za-z0-9_]{1,120}")
_SUM = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9_][A-Za-z0-9_.-]{0,150})")


class KernelSetError(WhisperNpuError):
    """A set of kernels that cannot be taken, or made."""


class DamagedSetError(KernelSetError):
    """A file of a set is missing, too large, half there, or not what the set's lists say."""


class ForeignKernelError(KernelSetError):
    """A kernel that was built from something else than what this version of the program has."""


@dataclass(frozen=True)
class PublishedKernel:
    """One kernel of a set, as the index names it."""

    name: str
    sizes: Mapping[str, int]  # bytes, by ending

    @property
    def files(self) -> Iterator[tuple[str, str, int]]:
        """The name in the set, the name in the kernel's folder, and the bytes of each file."""
        for ending in _ENDINGS:
            yield f"{self.name}.{ending}", installed_name(self.name, ending), self.sizes[ending]


def installed_name(name: str, ending: str) -> str:
    return ending if ending == MANIFEST else f"{name}.{ending}"


# --- Reading ------------------------------------------------------------------------------------------------


def read_sums(content: bytes, origin: str) -> dict[str, str]:
    """The sha256 of every file that SHA256SUMS lists, in hex. Raises DamagedSetError."""
    sums: dict[str, str] = {}
    text = content.decode("utf-8", "replace")
    first = text.partition("\n")[0].strip()
    if not re.match(r"[0-9a-fA-F]{64}(?![0-9a-zA-Z])", first):
        begins = (
            f"begins with {first[:60]!r}" if first else "begins with an empty line" if text else "is empty"
        )
        raise DamagedSetError(
            f"{SUMS} of {origin} {begins}: it is no list of hashes; is this a set's folder or address?"
        )
    if not text.endswith("\n"):
        raise DamagedSetError(f"{SUMS} of {origin} breaks off in its last line: half a file, fetch it again")
    for number, line in enumerate(text.splitlines(), 1):
        found = _SUM.fullmatch(line)
        if not found or found[2] in sums:
            raise DamagedSetError(
                f"line {number} of {SUMS} of {origin} is {line[:90]!r}, not a sha256 and a new file's name"
            )
        sums[found[2]] = found[1]
    return sums


def read_index(content: bytes, origin: str) -> tuple[PublishedKernel, ...]:
    """The kernels of a set. Raises DamagedSetError, ForeignKernelError for a set of another schema."""

    def refuse(reason: str) -> DamagedSetError:
        return DamagedSetError(f"{INDEX} of {origin} is refused: {reason}")

    index = read_json(content, f"{INDEX} of {origin}")
    if index.get("schema") != SCHEMA:
        raise refuse(f"its schema is {quoted(index.get('schema'))}, not {SCHEMA}")
    if index.get("schema_version") != SCHEMA_VERSION:
        raise ForeignKernelError(
            f"the set {origin} has schema version {quoted(index.get('schema_version'))}, this program "
            f"reads {SCHEMA_VERSION}: fetch the set that was published for whisper-npu {__version__}"
        )
    kernels = index.get("kernels")
    if not isinstance(kernels, dict) or not 0 < len(kernels) <= MAX_KERNELS:
        raise refuse(f"it must name 1 to {MAX_KERNELS} kernels")
    found = []
    for name, sizes in kernels.items():
        if not _NAME.fullmatch(name):
            raise refuse(f"{name[:90]!r} is no name of a kernel: letters, digits and _, at most 120")
        if not isinstance(sizes, dict) or set(sizes) != set(_ENDINGS):
            raise refuse(f"kernel {name} must have the bytes of {', '.join(_ENDINGS)}")
        for ending, size in sizes.items():
            if type(size) is not int or not 0 < size <= MAX_FILE_BYTES:
                raise refuse(
                    f"{name}.{ending} has {quoted(size)} bytes: at least 1, at most {MAX_FILE_BYTES:,}"
                )
        found.append(PublishedKernel(name, sizes))
    return tuple(found)


def read_json(content: bytes, called: str) -> dict[str, Any]:
    """A JSON object. Raises DamagedSetError."""
    try:
        return json_object(content)
    except ValueError as error:
        raise DamagedSetError(f"{called} is no JSON object ({error})") from error


def check_kernel(name: str, place: Path, origin: str) -> Contract:
    """A kernel's files are whole, and built from what this version of the program would build it from.

    Returns its contract. Raises KernelManifestError as loading it would; ForeignKernelError for a name that
    the program does not know, and for other operands, another overlay or other sources.
    """
    remedy = (
        f"take the set that was published for whisper-npu {__version__}, or whisper-npu kernels build {name}"
    )
    manifest = read_json(_read(place / MANIFEST), f"{name}.{MANIFEST} of {origin}")
    contract = _contract(name, manifest)
    if contract is None:
        raise ForeignKernelError(
            f"{origin} has a kernel {name[:90]!r} for {quoted(manifest.get('target'))}, which whisper-npu "
            f"{__version__} does not know: take the set that was published for this version"
        )
    checked_kernel(contract, place, origin, remedy)
    spelling = str(manifest.get("toolchain"))
    if spelling not in GENERATIONS:
        raise ForeignKernelError(
            f"kernel {name} in {origin} is refused: it was built with toolchain {spelling[:20]!r}, "
            f"whisper-npu {__version__} knows {', '.join(GENERATIONS)}; {remedy}"
        )
    promises = json.loads(json.dumps(DesignSource.of(contract, GENERATIONS[spelling]).promises()))
    for field, promised in promises.items():
        if manifest.get(field) != promised:
            raise ForeignKernelError(
                f"kernel {name} in {origin} is refused: it was built with other {field} than those of "
                f"whisper-npu {__version__}; {remedy}"
            )
    return contract


def _contract(name: str, manifest: Mapping[str, Any]) -> Contract | None:
    built_for = str(manifest.get("target"))
    for target in TARGETS.values():
        if built_for == target.name or built_for.startswith(f"{target.name}_"):
            return registry.contract_named(name, target)
    return None


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise DamagedSetError(f"{path} cannot be read ({error.strerror})") from error


# --- Writing ------------------------------------------------------------------------------------------------


def pack(kernel_folder: Path, to: Path, *, key: Path | None = None) -> list[str]:
    """Make a set of all kernels in a kernel folder; returns their names. `to` appears whole or not at all.

    key: the private key that signs the set. `to` may be an earlier set, which is replaced, or
    stays as it was where that fails.

    Raises KernelSetError for a folder without kernels, or a `to` that holds something else; what
    `check_kernel` raises; SignatureError.
    """
    places = sorted(manifest.parent for manifest in kernel_folder.glob(f"*/{MANIFEST}"))
    if not places:
        raise KernelSetError(f"no built kernel in {kernel_folder}: whisper-npu kernels build")
    if len(places) > MAX_KERNELS:
        raise KernelSetError(f"{kernel_folder} has {len(places)} kernels, a set at most {MAX_KERNELS}")
    if to.exists() and not (to / INDEX).is_file():
        raise KernelSetError(f"{to} is there already, and is no set of kernels: name another folder")
    contracts = [check_kernel(place.name, place, str(kernel_folder)) for place in places]
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with owned_folder(to.parent) as scratch:
            made, old = scratch / "new", scratch / "old"
            new = made / to.name
            for needed in (new, old):
                needed.mkdir(parents=True)
            _write(places, [contract.target for contract in contracts], new)
            if key:
                sign(new / SUMS, key)
            replace_all([to.name], made, to.parent, old)
    except OSError as error:
        raise KernelSetError(
            f"set {to} cannot be written ({error.strerror or error}), and is as it was"
        ) from error
    return [place.name for place in places]


def _write(places: Sequence[Path], targets: Sequence[Target], to: Path) -> None:
    kernels: dict[str, dict[str, int]] = {}
    manifests = []
    for place in places:
        sizes = kernels[place.name] = {}
        for ending in _ENDINGS:
            published = to / f"{place.name}.{ending}"
            shutil.copyfile(place / installed_name(place.name, ending), published)
            sizes[ending] = published.stat().st_size
        manifests.append(read_object(place / MANIFEST))
    index = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "whisper_npu_version": __version__,
        "kernels": kernels,
    }
    (to / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    (to / README).write_text(_readme(manifests, targets), "utf-8")
    lines = [f"{sha256((to / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(os.listdir(to))]
    (to / SUMS).write_text("".join(lines), "utf-8")


def _readme(manifests: Sequence[Mapping[str, Any]], targets: Sequence[Target]) -> str:
    tools = dict.fromkeys(
        f"{name} {version}" for manifest in manifests for name, version in manifest["tools"].items()
    )
    return (
        f"# Kernels for whisper-npu {__version__}\n\n"
        f"{len(manifests)} kernels. **{NEVER_RUN}.**\n\n"
        "`whisper-npu kernels fetch --from FOLDER_OR_ADDRESS_OF_THIS_SET` checks and installs them.\n\n"
        f"Built with: {'; '.join(tools)}.\n\n"
        f"{as_markdown(zip(manifests, targets, strict=True))}"
    )
