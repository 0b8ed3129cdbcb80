"""Designs side by side: what each dispatch takes of the array, of arithmetic and of DRAM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whisper_npu.kernels.registry import design, family_of
from whisper_npu.kernels.verifier import Usage, check_structure, parse
from whisper_npu.markdown import as_table
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import BASELINE, Modelled, work_seconds
from whisper_npu.ops import Op


@dataclass(frozen=True)
class Figures:
    """One design. Its time is MODELLED from what its contract multiplies and moves.

    No text is executed for it, that takes up to a second each: the tests hold contracts to what designs do.
    """

    contract: Contract
    op: Op  # what one dispatch makes
    usage: Usage
    dispatches: int | None  # for the baseline's problem; None where the design is of another shape

    @property
    def work(self) -> Modelled:
        return work_seconds(self.contract, self.contract.target.profile)

    @property
    def core_cycles(self) -> tuple[float, float]:
        """MODELLED, of the busiest core: optimistic and cautious."""
        profile = self.contract.target.profile
        assert profile.optimistic.core is not None
        assert profile.cautious.core is not None
        low, high = profile.optimistic.core, profile.cautious.core
        return self.contract.core_cycles(low), self.contract.core_cycles(high)

    @property
    def cells(self) -> dict[str, str]:
        contract = self.contract
        low, high = self.core_cycles
        return {
            "design": contract.name,
            "one dispatch": str(self.op),
            "result": contract.arguments[-1].dtype.value,
            "cores": str(contract.cores),
            "L1": f"{self.usage.l1_highest:,}",
            "memtile": f"{self.usage.memtile_highest:,}",
            "bank conflicts": str(self.usage.bank_conflicts),
            "dispatches": "-" if self.dispatches is None else f"{self.dispatches:,}",
            "MMAC": f"{contract.macs / 1e6:,.2f}",
            "bytes in": f"{contract.bytes_to_device:,}",
            "bytes out": f"{contract.bytes_from_device:,}",
            "tasks": f"{contract.tasks:,}",
            "MODELLED core cycles": f"{low:,.0f} to {high:,.0f}",
            "MODELLED us of work": self.work.in_units(1e6),
        }


def figures(contracts: Iterable[Contract]) -> list[Figures]:
    """One per contract. One text says what all designs of its overlay take: their array part is the same."""
    usages: dict[str, Usage] = {}
    found = []
    for contract in contracts:
        overlay, family = contract.overlay, family_of(contract)
        if overlay not in usages:
            usages[overlay] = check_structure(parse(design(contract)), contract.target)
        plan = family.plan_with(contract, BASELINE.problem)
        dispatches = plan.dispatches if plan else None
        found.append(Figures(contract, family.dispatch(contract).op, usages[overlay], dispatches))
    return found


def as_markdown(rows: Sequence[Figures]) -> str:
    """A table that also reads well as plain text."""
    return as_table([row.cells for row in rows], left=("design", "one dispatch", "result"))
