"""What the cores run, as the disassembler counted it in each build: a table from the kernels' manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whisper_npu.markdown import as_table
from whisper_npu.npu.artifacts import CORE_PROGRAMS


def as_markdown(manifests: Iterable[Mapping[str, Any]]) -> str:
    """One row for each object that a kernel's cores link; "-" for what nobody counted."""
    rows = [row for manifest in manifests for row in _rows(manifest)]
    return (
        as_table(rows, left=("kernel", "object")) + "\nCounted in the compiled objects by llvm-objdump, "
        "nothing of it measured: the bytes of a core's functions, of 16,384 bytes of program memory; the "
        "instruction bundles of the loop that multiplies, and the vmacs among them; the spills to the stack. "
        "A bundle issues in one cycle if nothing stalls.\n"
    )


def _rows(manifest: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    programs = _object(manifest.get(CORE_PROGRAMS)) or {"-": {}}
    for name in programs:
        program = _object(programs[name])
        loop = _object(program.get("inner_loop"))
        yield {
            "kernel": str(manifest["design"]),
            "object": name,
            "program bytes": _count(program.get("program_bytes")),
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


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"
