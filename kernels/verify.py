"""One design against its contract: checked, executed from its text, compared with float64.

The verifier reads nothing but the text; the contract supplies operands, tolerance and reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import WhisperNpuError
from whisper_npu.host.bf16 import F32, to_bf16
from whisper_npu.kernels.verifier import (
    Cycles,
    Execution,
    Functions,
    Usage,
    check_structure,
    count_cycles,
    execute,
    parse,
)
from whisper_npu.npu.contract import Along, Contract, DType
from whisper_npu.npu.layout import pack_pairs
from whisper_npu.npu.targets.npu1 import XDNA1


class WrongResultError(WhisperNpuError):
    """A design that runs, and computes something else than its contract says."""


@dataclass(frozen=True)
class Verdict:
    """What a design needs, what it took, and how near it came."""

    name: str
    usage: Usage
    execution: Execution
    cycles: Cycles
    max_error: float  # absolute, against float64
    tolerance_used: float  # the largest share of its tolerance that an element took, at most 1
    seconds: float  # MEASURED, of the verifier


def verify(contract: Contract, text: str, functions: Functions, seed: int = 0) -> Verdict:
    """Check and execute a design on random operands, its C poisoned with NaN.

    Raises DesignError where the text breaks a limit, hangs or moves data wrongly, and WrongResultError where
    an element of C is further from float64 than the contract's tolerance.
    """
    start = perf_counter()
    design = parse(text)
    usage = check_structure(design)
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((contract.batch, contract.m, contract.k)).astype(np.float32)
    b = rng.standard_normal((contract.batch, contract.k, contract.n)).astype(np.float32)
    arguments = host_arguments(contract, a, b)
    execution = execute(design, arguments, functions)
    c = products(contract, arguments[-1])
    share = max_error = 0.0
    for number in range(contract.batch):
        error = np.abs(c[number].astype(np.float64) - contract.reference(a[number], b[number]))
        used = error / contract.tolerance(a[number], b[number])
        if not used.max() <= 1:  # NaN is not
            row, column = np.unravel_index(np.argmax(np.nan_to_num(used, nan=np.inf)), used.shape)
            where = f"product {number}, " if contract.batch > 1 else ""
            raise WrongResultError(
                f"{contract.name}: {where}C[{row},{column}] is {c[number, row, column]:g}, float64 gives "
                f"{contract.reference(a[number], b[number])[row, column]:g}; "
                f"{int((~(used <= 1)).sum()):,} of {used.size:,} elements are out of tolerance"
            )
        share, max_error = max(share, float(used.max())), max(max_error, float(error.max()))
    return Verdict(
        name=contract.name,
        usage=usage,
        execution=execution,
        cycles=count_cycles(design, execution),
        max_error=max_error,
        tolerance_used=share,
        seconds=perf_counter() - start,
    )


def host_arguments(contract: Contract, a: F32, b: F32) -> list[NDArray[Any]]:
    """The host's matrices as the design's runtime sequence takes them: A, B, C, or pairs and C.

    a: (batch, m, k), b: (batch, k, n) float32. Returns flat arrays, C filled with NaN.
    """
    a_bf16, b_bf16 = (to_bf16(x, contract.operand_rounding) for x in (a, b))
    dtype = np.float32 if contract.result_dtype is DType.F32 else b_bf16.dtype
    c = np.full(contract.batch * contract.m * contract.n, np.nan, dtype)
    if contract.packs_pairs:
        pairs = np.empty((contract.batch, a[0].size + b[0].size), a_bf16.dtype)
        pack_pairs(pairs, a_bf16, b_bf16, XDNA1.micro_tile)
        return [pairs.ravel(), c]
    if contract.heads_along is not None and contract.heads_along.a is Along.COLS:
        a_bf16 = a_bf16.swapaxes(0, 1)
    if contract.heads_along is not None and contract.heads_along.b is Along.COLS:
        b_bf16 = b_bf16.swapaxes(0, 1)
    return [a_bf16.ravel(), b_bf16.ravel(), c]


def products(contract: Contract, c: NDArray[Any]) -> NDArray[Any]:
    """The C that a design filled, product by product: (batch, m, n)."""
    if contract.heads_along is not None and contract.heads_along.c is Along.COLS:
        return c.reshape(contract.m, contract.batch, contract.n).swapaxes(0, 1)
    return c.reshape(contract.batch, contract.m, contract.n)
