"""Whole matrices in one dispatch, as kernels/registry.py asks for a family."""

from __future__ import annotations

from whisper_npu.kernels.gemm.kernel import (
    GEMM_TILE,
    CoreTile,
    GemmContract,
    contract_named,
    contracts,
    kernels,
    kernels_built,
    padded_gemm,
)
from whisper_npu.kernels.matmul.family import core_sources, dispatch, has_design, host_arrays, trial
from whisper_npu.kernels.matmul.kernel import kernel_of, tiled_plan
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Batched, Matmul, Op

__all__ = [
    "CONTRACT",
    "MAKES",
    "NAME",
    "contract_named",
    "contracts",
    "core_sources",
    "design",
    "dispatch",
    "goldens",
    "has_design",
    "host_arrays",
    "kernel_of",
    "kernels",
    "kernels_built",
    "plan_with",
    "trial",
]

NAME = "gemm"
MAKES = "whole products, of any sizes"
CONTRACT: type[Contract] = GemmContract


def design(contract: Contract, toolchain: Generation = NEWEST) -> str:
    from whisper_npu.kernels.gemm.design import design as text

    assert isinstance(contract, GemmContract)
    return text(contract, toolchain)


def goldens(target: Target, core_tile: CoreTile = GEMM_TILE) -> tuple[Contract, ...]:
    """Strips of rounds below one another, and beside one another; and batches, as attention has them.

    Sizes are padded to whole rounds, so that another core tile has goldens too.
    """
    ops = (
        Matmul(1500, 384, 384),
        Matmul(1500, 512, 1536),
        Matmul(1500, 64, 1500, 6, Batched.SCORES),
        Matmul(1500, 1500, 64, 6, Batched.CONTEXT),
    )
    return tuple(padded_gemm(target, op, core_tile) for op in ops)


def plan_with(contract: Contract, op: Op) -> Plan | None:
    """The product that this very kernel is for; none where another size would be taken."""
    assert isinstance(contract, GemmContract)
    assert contract.core_tile is not None
    if not isinstance(op, Matmul):
        return None
    wanted = padded_gemm(contract.target, op, contract.core_tile, contract.result_dtype)
    return tiled_plan(op, contract) if contract == wanted else None
