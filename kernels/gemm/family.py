"""Whole matrices in one dispatch, as kernels/registry.py asks for a family."""

from __future__ import annotations

from whisper_npu.kernels.gemm import design as designs
from whisper_npu.kernels.gemm.kernel import (
    CONTEXT,
    SCORES,
    GemmContract,
    contract_named,
    contracts,
    gemm,
    gemm_of_batch,
    kernels,
    kernels_built,
    padded_gemm,
)
from whisper_npu.kernels.matmul.family import CORE_SOURCES, dispatch, has_design, host_arrays, trial
from whisper_npu.kernels.matmul.kernel import tiled_plan
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Matmul, Op

__all__ = [
    "CONTRACT",
    "CORE_SOURCES",
    "contract_named",
    "contracts",
    "design",
    "dispatch",
    "goldens",
    "has_design",
    "host_arrays",
    "kernels",
    "kernels_built",
    "plan_with",
    "trial",
]

CONTRACT: type[Contract] = GemmContract


def design(contract: Contract) -> str:
    assert isinstance(contract, GemmContract)
    return designs.design(contract)


def goldens(target: Target) -> tuple[Contract, ...]:
    """Strips of rounds below one another, and beside one another; and batches, as attention has them."""
    return (
        gemm(target, 1536, 384, 384),
        gemm(target, 1536, 512, 1536),
        gemm_of_batch(target, 6, 1536, 64, 1536, SCORES),
        gemm_of_batch(target, 6, 1536, 1536, 192, CONTEXT),
    )


def plan_with(contract: Contract, op: Op) -> Plan | None:
    """The product that this very kernel is for; none where another size would be taken."""
    assert isinstance(contract, GemmContract)
    assert contract.core_tile is not None
    if not isinstance(op, Matmul):
        return None
    wanted = padded_gemm(contract.target, op, contract.core_tile, contract.result_dtype)
    return tiled_plan(op, contract) if contract == wanted else None
