"""Matrix products of fixed sizes, as kernels/registry.py asks for a family.

The generator and what it links are imported where they are used: a run needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.kernels.matmul.kernel import (
    MatmulContract,
    contract_named,
    contracts,
    in_bf16,
    kernel_of,
    kernels,
    kernels_built,
    matmul_64x64,
    matmul_64x64_batch,
    matmul_64x512,
    matmul_64x512_k,
    matmul_128x512,
    tiled_plan,
)
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.layout import pack_pairs
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Matmul, Op

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

NAME = "matmul"
MAKES = "tiles of products, of fixed sizes"
CONTRACT: type[Contract] = MatmulContract


def core_sources() -> tuple[CoreSource, ...]:
    from whisper_npu.kernels.matmul.core import MATMUL_CC

    return (MATMUL_CC,)


def has_design(contract: Contract) -> bool:
    return _matmul(contract).core_tile is not None


def design(contract: Contract, toolchain: Generation = NEWEST) -> str:
    from whisper_npu.kernels.matmul.design import design as text

    return text(_matmul(contract), toolchain)


def goldens(target: Target) -> tuple[Contract, ...]:
    """One of each path of the generator; the last has two rounds of N, and more K than one transfer takes."""
    return (
        matmul_64x64(target),
        matmul_64x64_batch(target, 64),
        matmul_64x512(target),
        in_bf16(matmul_64x512(target)),
        matmul_128x512(target),
        matmul_64x512_k(target, 4160, 1024),
    )


def plan_with(contract: Contract, op: Op) -> Plan | None:
    """A product that is cut into the contract's tiles; none where a tile would be larger than the product."""
    matmul = _matmul(contract)
    if not isinstance(op, Matmul) or op.batch > 1 or matmul.k > op.K or matmul.n > op.N:
        return None
    return tiled_plan(op, matmul)


def dispatch(contract: Contract) -> Plan:
    """One dispatch: its products are those of a batch, each with an A and a B of its own."""
    matmul = _matmul(contract)
    return tiled_plan(Matmul(matmul.m, matmul.k, matmul.n, matmul.batch), matmul)


def trial(contract: Contract) -> Plan:
    matmul = _matmul(contract)
    return tiled_plan(matmul.trial_op, matmul)


def host_arrays(plan: Plan, inputs: tuple[F32, ...]) -> list[NDArray[Any]]:
    """A and B; or pairs of them, each already in micro-tile order."""
    from whisper_npu.kernels.host_arrays import laid_out, rounded

    matmul = _matmul(plan.contract)
    if not matmul.packs_pairs:
        return [laid_out(x, layout) for x, layout in zip(inputs, plan.inputs, strict=True)]
    a, b = (rounded(x, layout) for x, layout in zip(inputs, plan.inputs, strict=True))
    pairs = np.empty((matmul.batch, a[0].size + b[0].size), a.dtype)
    pack_pairs(pairs, a, b, matmul.target.micro_tile)
    return [pairs.ravel()]


def _matmul(contract: Contract) -> MatmulContract:
    assert isinstance(contract, MatmulContract)
    return contract
