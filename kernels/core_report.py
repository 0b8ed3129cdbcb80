"""What the cores run, as the disassembler counted it in each build: a table from the kernels' manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whisper_npu.markdown import as_table
from whisper_npu.npu.artifacts import CORE_PROGRAMS
from whisper_npu.npu.targets import Target


def as_markdown(kernels: Iterable[tuple[Mapping[str, Any], Target]]) -> str:
    """One row for each object that a kernel's cores link; "-" for what nobody counted.

    kernels: each one's manifest, and the target that it was built for.
    """
    rows = [row for manifest, target in kernels for row in _rows(manifest, target)]
    return (
        as_table(rows, left=("kernel", "object")) + "\nCounted in the compiled objects by llvm-objdump, "
        "nothing of it measured: the bytes of a core's functions, of those that its program memory has; the "
        "instruction bundles of the loop that multiplies, and the vmacs among them; the spills to the stack. "
        "A bundle issues in one cycle if nothing stalls.\n"
    )


def _rows(manifest: Mapping[str, Any], target: Target) -> Iterable[dict[str, str]]:
    programs = _object(manifest.get(CORE_PROGRAMS)) or {"-": {}}
    for name in programs:
        program = _object(programs[name])
        loop = _object(program.get("inner_loop"))
        yield {
            "kernel": str(manifest["design"]),
            "object": name,
            "program bytes": _share(program.get("program_bytes"), target.core.program_bytes),
            "bundles": _count(loop.get("bundles")),
            "vmacs": _count(loop.get("vmacs")),
            "vmacs per bundle": _rate(loop.get("vmacs"), loop.get("bundles")),
            "spills": _count(program.get("spills")),
        }


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _rate(vmacs: object, bundles: object) -> str:
    if not isinstance(vmacs, int) or not isinstance(bundles, int) or bundles < 1:
        return "-"
    return f"{vmacs / bundles:.2f}"


def _share(value: object, limit: int) -> str:
    """Nothing is said of a limit that the target does not know: 0."""
    return f"{value:,} of {limit:,}" if isinstance(value, int) and limit else _count(value)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"
