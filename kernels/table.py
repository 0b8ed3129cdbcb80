"""All designs side by side: what each dispatch takes of the array, of arithmetic and of DRAM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from whisper_npu.kernels.designs import Design
from whisper_npu.kernels.verifier import Usage, check_structure, dram_cycles, parse
from whisper_npu.markdown import as_table
from whisper_npu.npu.contract import GEMM_TILE, Contract
from whisper_npu.npu.cost import BASELINE, padded_gemm
from whisper_npu.npu.plan import tiled_plan
from whisper_npu.npu.targets.npu1 import XDNA1


@dataclass(frozen=True)
class Row:
    """One design. Cycles are MODELLED: what its contract multiplies and moves, at the array's best rates.

    No text is executed for it, that takes up to a second a design: the tests hold contracts to what they do.
    """

    contract: Contract
    usage: Usage
    dispatches: int | None  # for the baseline's problem; None where the design is of another shape

    @property
    def compute_cycles(self) -> int:
        return ceil(self.contract.macs / self.contract.cores / XDNA1.macs_per_cycle)

    @property
    def dram_cycles(self) -> int:
        return dram_cycles(self.contract.bytes_to_device + self.contract.bytes_from_device)

    @property
    def cells(self) -> dict[str, str]:
        contract = self.contract
        product = f"({contract.m},{contract.k})@({contract.k},{contract.n})"
        return {
            "design": contract.name,
            "one dispatch": product if contract.batch == 1 else f"{contract.batch} x {product}",
            "C": contract.result_dtype.value,
            "cores": str(contract.cores),
            "L1": f"{self.usage.l1_highest:,}",
            "memtile": f"{self.usage.memtile_highest:,}",
            "dispatches": "-" if self.dispatches is None else f"{self.dispatches:,}",
            "MMAC": f"{contract.macs / 1e6:,.2f}",
            "bytes in": f"{contract.bytes_to_device:,}",
            "bytes out": f"{contract.bytes_from_device:,}",
            "compute cycles": f"{self.compute_cycles:,}",
            "DRAM cycles": f"{self.dram_cycles:,}",
        }


def rows(designs: Iterable[Design]) -> list[Row]:
    """A row for each. One text says what all designs of its overlay take: they configure the array alike."""
    usages: dict[str, Usage] = {}
    found = []
    for design in designs:
        overlay = design.contract.overlay
        if overlay not in usages:
            usages[overlay] = check_structure(parse(design.text))
        found.append(Row(design.contract, usages[overlay], _dispatches(design.contract)))
    return found


def _dispatches(contract: Contract) -> int | None:
    """For (3001,512)@(512,512); a gemm is for its own product."""
    problem = BASELINE.problem
    if contract.sizes_at_run_time:
        return 1 if contract == padded_gemm(problem, GEMM_TILE) else None
    if contract.k > problem.K or contract.n > problem.N:
        return None
    return tiled_plan(problem, contract).dispatches


def as_markdown(rows: Sequence[Row]) -> str:
    """A table that also reads well as plain text."""
    return as_table([row.cells for row in rows], left=("design", "one dispatch", "C"))
