"""One design against its contract: checked, executed from its text, compared with float64.

The verifier reads nothing but the text; the contract supplies operands, tolerance and reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError, WhisperNpuError
from whisper_npu.kernels.host_arrays import ELEMENTS, poisoned, taken_apart
from whisper_npu.kernels.registry import family_of
from whisper_npu.kernels.verifier import (
    Cycles,
    Design,
    DesignError,
    Execution,
    Functions,
    LoadedDesign,
    Usage,
    check_structure,
    count_cycles,
    parse,
)
from whisper_npu.kernels.verifier.core_functions import compiled, in_numpy
from whisper_npu.kernels.verifier.design import Call, WriteParameter
from whisper_npu.kernels.verifier.memory import DTYPES
from whisper_npu.kernels.verifier.wiring import walk
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.ops import Operand


class WrongResultError(WhisperNpuError):
    """A design that runs, and computes something else than its contract says."""


class TooLargeError(UsageError):
    """A design whose operands are larger than what the verifier executes."""


# A design may keep something from its first dispatch for all later ones, not from each for the next.
MAX_DISPATCHES = 3
MAX_ELEMENTS = 2**27  # of all operands and results: executed in some GB; large-v3's largest dispatch has half
BLOCK = 2**16  # elements that are compared at a time: what a CPU's cache holds


@dataclass(frozen=True)
class Verdict:
    """What a design needs, what it took, and how near it came."""

    name: str
    usage: Usage
    execution: Execution
    cycles: Cycles
    dispatches: int  # that were executed
    max_error: float  # absolute, against float64
    tolerance_used: float  # the largest share of its tolerance that an element took, at most 1
    seconds: float  # MEASURED, of the verifier


def compiled_functions(contract: Contract, design: Design) -> Functions:
    """The design's core functions by this machine's C++ compiler. Raises as `compiled` does."""
    return compiled(design.functions, family_of(contract).core_sources(), contract.target)


def numpy_functions(contract: Contract, design: Design) -> Functions:
    """The same in NumPy. Raises as `in_numpy` does."""
    return in_numpy(design.functions, family_of(contract).core_sources(), contract.target)


def verify(
    contract: Contract,
    text: str,
    functions: Functions,
    seed: int = 0,
    *,
    least_dispatches: int = 1,
    timeout_seconds: float = 30,
) -> Verdict:
    """Check and execute a design on random operands, its results poisoned with NaN.

    Dispatches follow each other on one array, each on other operands and each compared, until one leaves the
    array as it found it: a further one would go the same way. The first finds memory that nothing has
    written, so that no result hangs on what was there before. Where cores keep memory of their own, there are
    two at least: what a function leaves there may differ from dispatch to dispatch, and no comparison tells
    whether that matters.

    least_dispatches: execute so many in any case. timeout_seconds: of each dispatch.

    Raises TooLargeError for operands that this machine would need too much memory for; DesignError where the
    text breaks a limit, hangs or moves data wrongly, or where the array never
    stands as it did, and WrongResultError where an element of a result is further from float64 than the
    contract's tolerance.
    """
    start = perf_counter()
    elements = sum(argument.elements for argument in contract.arguments)
    if elements > MAX_ELEMENTS:
        raise TooLargeError(
            f"{contract.name}: one dispatch has {elements:,} elements, at most {MAX_ELEMENTS:,} are executed "
            "here"
        )
    target, plan = contract.target, family_of(contract).dispatch(contract)
    design = parse(text)
    usage = check_structure(design, target)
    least_dispatches = max(least_dispatches, 2 if _keeps_memory(design) else 1)
    loaded = LoadedDesign(design, functions, target)
    rng, workspaces = np.random.default_rng(seed), zeroed_workspaces(contract)
    stood, stands = None, loaded.settle(timeout_seconds=timeout_seconds)
    dispatches, max_error, share = 0, 0.0, 0.0
    while stood != stands or dispatches < least_dispatches:
        if dispatches == max(MAX_DISPATCHES, least_dispatches):
            raise DesignError(f"{dispatches} dispatches each leave the array as none before has left it")
        inputs = random_inputs(plan, rng)
        arguments = host_arguments(plan, inputs, workspaces)
        execution = loaded.dispatch(as_streamed(design, arguments), timeout_seconds=timeout_seconds)
        error, used = _compare(plan, inputs, results(plan, arguments))
        max_error, share, dispatches = max(max_error, error), max(share, used), dispatches + 1
        stood, stands = stands, loaded.settle(timeout_seconds=timeout_seconds)
    return Verdict(
        name=contract.name,
        usage=usage,
        execution=execution,
        cycles=_with_what_the_contract_counts(count_cycles(design, execution, target), contract),
        dispatches=dispatches,
        max_error=max_error,
        tolerance_used=share,
        seconds=perf_counter() - start,
    )


def _keeps_memory(design: Design) -> bool:
    """Whether a function is given memory that belongs to no fifo, and that the sequence does not write."""
    parameters = {op.buffer for op in design.sequence.ops if isinstance(op, WriteParameter)}
    kept = {buffer.value for buffer in design.buffers if buffer.name not in parameters}
    calls = (op for core in design.cores for op in walk(core.body) if isinstance(op, Call))
    return any(not kept.isdisjoint(call.arguments) for call in calls)


def _with_what_the_contract_counts(cycles: Cycles, contract: Contract) -> Cycles:
    """Of a core that makes no products the text does not say how long it works; the contract does."""
    fastest = contract.target.profile.optimistic.core
    if contract.macs or fastest is None:
        return cycles
    counted = ceil(contract.core_cycles(fastest))
    compute = dict.fromkeys(cycles.compute, counted)
    if counted <= cycles.cycles:
        return replace(cycles, compute=compute)
    return replace(cycles, compute=compute, bound="compute", cycles=counted)


def random_inputs(plan: Plan, rng: np.random.Generator) -> tuple[F32, ...]:
    """Operands of a plan's op, normally distributed.

    A layer's weights keep the size of what they multiply: one layer's result is the next one's operand.
    """

    def one(operand: Operand) -> F32:
        values = rng.standard_normal(operand.shape)
        is_matrix = operand.name.endswith("weight") and len(operand.shape) == 2
        return (values * operand.shape[0] ** -0.5 if is_matrix else values).astype(np.float32)

    return tuple(map(one, plan.op.inputs))


def zeroed_workspaces(contract: Contract) -> list[NDArray[Any]]:
    """As they are before a kernel's first dispatch; later ones find what was left there."""
    workspaces = (argument for argument in contract.arguments if argument.is_workspace)
    return [np.zeros(workspace.elements, ELEMENTS[workspace.dtype]) for workspace in workspaces]


def as_streamed(design: Design, arguments: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The same memory in the elements of the design's sequence: an fp32 may go as two of bf16."""
    types = (DTYPES[memref.dtype] for _, memref in design.sequence.arguments)
    return [argument.view(dtype) for argument, dtype in zip(arguments, types, strict=True)]


def host_arguments(
    plan: Plan, inputs: tuple[F32, ...], workspaces: Sequence[NDArray[Any]] = ()
) -> list[NDArray[Any]]:
    """What a dispatch takes: its inputs, its workspaces, and its results full of NaN. Flat arrays.

    plan: of one dispatch, from `Family.dispatch`. inputs: the op's.
    """
    contract = plan.contract
    operands = zip(plan.turned(inputs), plan.inputs, strict=True)
    read = family_of(contract).host_arrays(plan, tuple(x.reshape(layout.shape) for x, layout in operands))
    return [*read, *workspaces, *map(poisoned, contract.arguments[-contract.results :])]


def results(plan: Plan, arguments: list[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """What a design wrote, as the op gives it."""
    written = arguments[-plan.contract.results :]
    return tuple(
        plan.turned_back(taken_apart(memory, layout))
        for memory, layout in zip(written, plan.outputs, strict=True)
    )


def _compare(plan: Plan, inputs: tuple[F32, ...], written: tuple[NDArray[Any], ...]) -> tuple[float, float]:
    """The largest error, and the largest share of its tolerance. Raises WrongResultError beyond that."""
    op, contract = plan.op, plan.contract
    wanted, allowed = op.reference(*inputs), contract.tolerance_of(op, *inputs)
    max_error = share = 0.0
    for layout, result, exact, tolerance in zip(plan.outputs, written, wanted, allowed, strict=True):
        flat = [x.reshape(-1) for x in (result, exact, tolerance)]
        for start in range(0, exact.size, BLOCK):
            got, right, bound = (x[start : start + BLOCK] for x in flat)
            error = np.abs(got.astype(np.float64) - right)
            used = error / bound
            if not used.max() <= 1:  # NaN is not
                raise _wrong(contract.name, layout.operand, result.reshape(exact.shape), exact, tolerance)
            share, max_error = max(share, float(used.max())), max(max_error, float(error.max()))
    return max_error, share


def _wrong(
    name: str, operand: str, got: NDArray[Any], exact: NDArray[Any], tolerance: NDArray[Any]
) -> WrongResultError:
    used = np.abs(got.astype(np.float64) - exact) / tolerance
    at = np.unravel_index(np.argmax(np.nan_to_num(used, nan=np.inf)), used.shape)
    return WrongResultError(
        f"{name}: {operand}[{','.join(map(str, at))}] is {got[at]:g}, float64 gives {exact[at]:g}; "
        f"{int((~(used <= 1)).sum()):,} of {used.size:,} elements are out of tolerance"
    )
