"""What the cores run, as the disassembler counted it in each build: a table from the kernels' manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from whisper_npu.markdown import as_table

PROGRAMS = "core_programs"  # the manifest's field, there if the build found llvm-objdump


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
    programs = manifest.get(PROGRAMS) or {"-": {}}
    for name, program in programs.items():
        loop = program.get("inner_loop") or {}
        yield {
            "kernel": str(manifest["design"]),
            "object": name,
            "program bytes": _count(program.get("program_bytes")),
            "bundles": _count(loop.get("bundles")),
            "vmacs": _count(loop.get("vmacs")),
            "vmacs per bundle": f"{loop['vmacs'] / loop['bundles']:.2f}" if loop.get("bundles") else "-",
            "spills": _count(program.get("spills")),
        }


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"
