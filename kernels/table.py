"""All designs side by side: what each dispatch takes of the array, and what bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.kernels.designs import Design
from whisper_npu.kernels.verifier import (
    Cycles,
    Execution,
    Usage,
    check_structure,
    count_cycles,
    execute,
    parse,
)
from whisper_npu.kernels.verifier import Design as ParsedDesign
from whisper_npu.kernels.verify import host_arguments
from whisper_npu.markdown import as_table
from whisper_npu.npu.contract import GEMM_TILE, Contract
from whisper_npu.npu.cost import BASELINE, padded_gemm
from whisper_npu.npu.plan import tiled_plan


@dataclass(frozen=True)
class Row:
    """One design. Cycles are MODELLED: counted from its text at the array's best rates."""

    contract: Contract
    usage: Usage
    cycles: Cycles
    dispatches: int | None  # for the baseline's problem; None where the design is of another shape

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
            "compute cycles": f"{max(self.cycles.compute.values()):,}",
            "bytes in": f"{contract.bytes_to_device:,}",
            "bytes out": f"{contract.bytes_from_device:,}",
            "bound": self.cycles.bound,
        }


class _NoArithmetic:
    """Core functions that only let data pass: traffic does not depend on values."""

    def __init__(self, design: ParsedDesign) -> None:
        self._arguments = {function.name: len(function.memrefs) for function in design.functions}

    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        arguments[-1][...] = 0

    def reads(self, name: str) -> tuple[bool, ...]:
        return (False,) * self._arguments[name]


@lru_cache
def row(design: Design) -> Row:
    """Count a design from its text."""
    parsed = parse(design.text)
    cycles = count_cycles(parsed, traffic(design))
    return Row(design.contract, check_structure(parsed), cycles, _dispatches(design.contract))


def traffic(design: Design) -> Execution:
    """What a dispatch moves and calls, without its arithmetic."""
    contract = design.contract
    parsed = parse(design.text)
    zeros = (
        np.zeros((contract.batch, *shape), np.float32)
        for shape in ((contract.m, contract.k), (contract.k, contract.n))
    )
    return execute(parsed, host_arguments(contract, *zeros), _NoArithmetic(parsed))


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
    return as_table([row.cells for row in rows], left=("design", "one dispatch", "C", "bound"))
