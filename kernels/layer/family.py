"""Whole layers in one dispatch, as kernels/registry.py asks for a family."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from whisper_npu.dtypes import DType
from whisper_npu.kernels.layer.kernel import (
    LayerContract,
    contract_named,
    contracts,
    kernels,
    kernels_built,
    layer,
    plan_of,
)
from whisper_npu.kernels.layer.phases import D_HEAD, KEYS
from whisper_npu.kernels.norm.family import has_design, host_arrays, kernel_of
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Attention, EncoderLayer, Linear, Op, Stem

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

NAME = "layer"
MAKES = "whole layers, and attention"
CONTRACT: type[Contract] = LayerContract


def core_sources() -> tuple[CoreSource, ...]:
    from whisper_npu.kernels.layer.core import LAYER_CC

    return (LAYER_CC,)


def design(contract: Contract, toolchain: Generation = NEWEST) -> str:
    """What streams is bf16: each fp32 of an argument goes as two of them."""
    from whisper_npu.kernels.layer.design import text_of

    assert isinstance(contract, LayerContract)
    arguments = [
        replace(argument, elements=argument.nbytes // DType.BF16.nbytes, dtype=DType.BF16)
        for argument in contract.arguments
    ]
    return text_of(contract.name, contract.target, arguments, contract.phases, toolchain)


def goldens(target: Target) -> tuple[Contract, ...]:
    """The smallest encoder layer: every kind of phase."""
    return (layer(EncoderLayer(KEYS, D_HEAD, 1, 4 * D_HEAD), target),)


def plan_with(contract: Contract, op: Op) -> Plan | None:
    """An op of this kind and width, of at most as many rows; none for any other."""
    assert isinstance(contract, LayerContract)
    if not isinstance(op, (Linear, Attention, EncoderLayer, Stem)) or not contract.covers(op):
        return None
    return plan_of(op, contract)


def trial(contract: Contract) -> Plan:
    assert isinstance(contract, LayerContract)
    return plan_of(contract.trial_op, contract)


def dispatch(contract: Contract) -> Plan:
    return trial(contract)
