"""The residual add and layer norm of rows, as kernels/registry.py asks for a family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.kernels.norm.kernel import (
    NormContract,
    contract_named,
    contracts,
    kernels,
    kernels_built,
    norm,
    rows_in_blocks,
)
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Norm, Op

if TYPE_CHECKING:
    from whisper_npu.kernels.core import CoreSource

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

NAME = "norm"
MAKES = "residual add and layer norm of rows"
CONTRACT: type[Contract] = NormContract


def core_sources() -> tuple[CoreSource, ...]:
    from whisper_npu.kernels.norm.core import NORM_CC

    return (NORM_CC,)


def kernel_of(contract: Contract) -> None:
    """It makes no product."""
    return


def has_design(contract: Contract) -> bool:
    return True


def design(contract: Contract, toolchain: Generation = NEWEST) -> str:
    from whisper_npu.kernels.norm.design import design as text

    assert isinstance(contract, NormContract)
    return text(contract, toolchain)


def goldens(target: Target) -> tuple[Contract, ...]:
    """A norm of Whisper base, with its 1,500 positions: the only path of the generator."""
    return (norm(target, 1504, 512),)


def plan_with(contract: Contract, op: Op) -> Plan | None:
    """The rows in blocks of the contract's; none for rows of another length, or without a residual."""
    assert isinstance(contract, NormContract)
    if not isinstance(op, Norm) or not op.residual or contract.cols != op.N:
        return None
    return rows_in_blocks(op, contract)


def trial(contract: Contract) -> Plan:
    assert isinstance(contract, NormContract)
    return rows_in_blocks(contract.trial_op, contract)


def dispatch(contract: Contract) -> Plan:
    return trial(contract)


def host_arrays(plan: Plan, inputs: tuple[F32, ...]) -> list[NDArray[Any]]:
    from whisper_npu.kernels.host_arrays import laid_out

    return [laid_out(x, layout) for x, layout in zip(inputs, plan.inputs, strict=True)]
