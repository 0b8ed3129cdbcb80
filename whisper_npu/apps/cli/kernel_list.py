"""The work of `whisper-npu kernels list`: a summary by family, every design, JSON, or the wide table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.apps.cli.kernel_commands import LISTED_MODELS, designs, model_choice
from whisper_npu.errors import WhisperNpuError, shown
from whisper_npu.kernels import registry
from whisper_npu.kernels.registry import FAMILIES, Family, family_of
from whisper_npu.kernels.table import Figures, as_markdown, figures
from whisper_npu.npu.artifacts import MANIFEST, built, kernel_folder
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import BASELINE
from whisper_npu.npu.targets import DEFAULT, Target
from whisper_npu.output import as_json, write_atomically
from whisper_npu.page import Page, Table, page_as_text, wrap
from whisper_npu.screen import PLAIN, Screen

SCHEMA, SCHEMA_VERSION = "whisper-npu/kernels-list", 1
BESIDE = 78  # columns from which what a command does stands beside it, not below it
COMMANDS = {
    "kernels fetch --from URL|FOLDER": "install kernels others have built",
    "kernels setup": "install what build needs",
    "kernels build --model base": "build what the planner chooses",
    "kernels verify NAME": "check and execute a design here",
    "kernels list --all": "see every design",
}


@dataclass(frozen=True)
class ListOptions:
    """What `kernels list` shows; the default is the summary by family."""

    all: bool = False  # every design
    json: bool = False  # every design, for programs
    markdown: Path | None = None  # also write the wide table there


SUMMARY = ListOptions()


@dataclass(frozen=True)
class Listed:
    """One design on this machine."""

    figures: Figures
    is_built: bool
    chosen_for: tuple[str, ...]  # of LISTED_MODELS, those for whose encoder the planner takes it

    @property
    def name(self) -> str:
        return self.figures.contract.name

    @property
    def family(self) -> Family:
        return family_of(self.figures.contract)


def list_designs(options: ListOptions = SUMMARY, screen: Screen = PLAIN) -> str:
    """What the command prints.

    Raises OutputError where options.markdown cannot be written.
    """
    folder, target = kernel_folder(os.environ), DEFAULT
    listed = _listed(folder, target)
    wrote = ""
    if options.markdown:
        write_atomically(options.markdown, _wide(listed, folder, target))
        wrote = f"wrote {shown(options.markdown)}\n"
    if options.json:
        return as_json(_document(listed, folder, target))
    page = _every_design(listed, folder, target) if options.all else _summary(listed, folder, target)
    commands = "" if options.all else "".join(f"{line}\n" for line in _commands(screen))
    return page_as_text(page, screen.width) + commands + wrote


def _listed(folder: Path, target: Target) -> list[Listed]:
    """The listed designs, those that the listed models need, and whatever else is built."""
    chosen = {model: model_choice(model, target).contracts for model in LISTED_MODELS}
    needed = (contract for contracts in chosen.values() for contract in contracts)
    contracts = dict.fromkeys([*designs(target), *needed])
    contracts |= dict.fromkeys(other for other in built([folder], target) if _can_be_built(other))
    return [
        Listed(
            row,
            is_built=os.path.isfile(folder / row.contract.name / MANIFEST),
            chosen_for=tuple(model for model, wanted in chosen.items() if row.contract in wanted),
        )
        for row in figures(contracts)
    ]


def _can_be_built(contract: Contract) -> bool:
    """Whatever lies in a folder of its name."""
    try:
        return family_of(contract).has_design(contract) and bool(registry.design(contract))
    except WhisperNpuError:
        return False


def _summary(listed: Sequence[Listed], folder: Path, target: Target) -> Page:
    families = {family.NAME: [one for one in listed if one.family is family] for family in FAMILIES}
    rows = [
        {
            "family": family.NAME,
            "one dispatch makes": family.MAKES,
            "designs": str(len(families[family.NAME])),
            "built": str(_built(families[family.NAME])),
            "chosen": str(sum(bool(one.chosen_for) for one in families[family.NAME])),
            "dispatches": _dispatches(families[family.NAME]),
        }
        for family in FAMILIES
    ]
    return (
        f"{len(listed)} designs for the {target.title} NPU, {_built(listed) or 'none'} of them built.\n"
        "The emulator runs them all without building.\n\n",
        Table(rows, left=("family", "one dispatch makes")),
        f"\n- built: in {folder}\n"
        "- chosen: by the planner, where all are built, for the encoders of Whisper\n"
        f"  {', '.join(LISTED_MODELS[:-1])} and {LISTED_MODELS[-1]}\n"
        f"- dispatches: for {BASELINE.problem}, which took the experiment\n"
        f"  {BASELINE.dispatches:,} and {BASELINE.seconds} s\n\n",
    )


def _built(listed: Sequence[Listed]) -> int:
    return sum(one.is_built for one in listed)


def _dispatches(listed: Sequence[Listed]) -> str:
    """From the most to the fewest; a dash where no design is for this product."""
    counts = [one.figures.dispatches for one in listed if one.figures.dispatches is not None]
    if not counts:
        return "-"
    low, high = min(counts), max(counts)
    return f"{high:,}" if low == high else f"{high:,} to {low:,}"


def _commands(screen: Screen) -> Iterator[str]:
    """What the reader can do."""
    column = max(map(len, COMMANDS)) + len("  whisper-npu ") + 2
    for command, what in COMMANDS.items():
        line = f"  whisper-npu {command}"
        if screen.width >= BESIDE:
            yield f"{line:{column}}{what}"
        else:
            yield from (line, *wrap(what, screen.width, first="    ", rest="    "))


def _every_design(listed: Sequence[Listed], folder: Path, target: Target) -> Page:
    rows = [
        {
            "design": one.name,
            "built": "yes" if one.is_built else "-",
            "chosen for": ", ".join(one.chosen_for) or "-",
            "dispatches": one.figures.cells["dispatches"],
            "cores": one.figures.cells["cores"],
            "MODELLED us": one.figures.work.in_units(1e6),
        }
        for one in listed
    ]
    return (
        f"{len(listed)} designs for the {target.title} NPU, {_built(listed) or 'none'} of them built.\n\n",
        Table(rows, left=("design", "built", "chosen for")),
        f"\n- built: in {folder}\n"
        "- chosen for: models whose encoder the planner makes with it, where all are built\n"
        f"- dispatches: for {BASELINE.problem}\n"
        "- MODELLED us: a dispatch on an NPU without its latency, optimistic to cautious,\n"
        f"  at {target.profile.clock_hz / 1e9:g} GHz; nobody measured it\n"
        "- --markdown FILE and --json also have what a dispatch takes of L1, memtiles and DRAM\n",
    )


def _wide(listed: Sequence[Listed], folder: Path, target: Target) -> str:
    """For files: all figures of each design in one line."""
    names = [one.name for one in listed if one.is_built]
    return (
        as_markdown([one.figures for one in listed])
        + f"\nL1, memtile: bytes, of {target.core.memory_bytes:,} per core and "
        f"{target.memtile.memory_bytes:,} per memtile; dispatches: for {BASELINE.problem}.\n"
        "Bank conflicts: pairs of buffers that a core reads at once and that share a bank of L1, at a cycle "
        "for each such load.\n"
        "tasks: DMA tasks that the shims start. MODELLED, optimistic to cautious: cycles of the busiest\n"
        f"core, and a dispatch without its latency, at {target.profile.clock_hz / 1e9:g} GHz. "
        "whisper-npu kernels verify NAME counts every DMA channel.\n"
        f"Built in {folder}: {', '.join(names) or 'none; whisper-npu kernels build'}\n"
    )


def _document(listed: Sequence[Listed], folder: Path, target: Target) -> dict[str, object]:
    """For programs; kernels/README.md describes the fields."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "target": target.name,
        "folder": str(folder),
        "clock_hz": target.profile.clock_hz,
        "families": [{"name": family.NAME, "makes": family.MAKES} for family in FAMILIES],
        "designs": [_fields(one) for one in listed],
    }


def _fields(one: Listed) -> dict[str, object]:
    row, contract = one.figures, one.figures.contract
    low, high = row.core_cycles
    conflicts = row.usage.bank_conflicts
    return {
        "name": one.name,
        "family": one.family.NAME,
        "built": one.is_built,
        "chosen_for": list(one.chosen_for),
        "one_dispatch": str(row.op),
        "result_dtype": contract.arguments[-1].dtype.value,
        "cores": contract.cores,
        "l1_bytes": row.usage.l1_highest,
        "memtile_bytes": row.usage.memtile_highest,
        "bank_conflicts": conflicts.sharing,
        "dispatches": row.dispatches,
        "macs": contract.macs,
        "bytes_to_device": contract.bytes_to_device,
        "bytes_from_device": contract.bytes_from_device,
        "tasks": contract.tasks,
        "modelled_core_cycles": {"optimistic": low, "cautious": high},
        "modelled_work_seconds": row.work.as_document,
    }
