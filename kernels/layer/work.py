"""What each phase costs: memory of a core, multiplications, bytes, tasks, cycles. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from whisper_npu.dtypes import DType
from whisper_npu.kernels.layer.movement import streams, turns_of
from whisper_npu.kernels.layer.numerics import (
    ADD_SLOTS,
    BIAS_CYCLES,
    DIVIDE_SLOTS,
    FINISH_SLOTS,
    GELU_SLOTS,
    MASK_CYCLES,
    NORM_SLOTS,
    QUERY_SLOTS,
    RESCALE_SLOTS,
    RESCALED,
    SOFTMAX_SLOTS,
    SUM_SLOTS,
    TAKE_SLOTS,
    ZERO_SLOTS,
)
from whisper_npu.kernels.layer.phases import (
    D_HEAD,
    KEPT,
    KEYS,
    MASK_WORDS,
    NUMBERS,
    OBJECT,
    TILE,
    UNIT,
    Attend,
    Gemm,
    Number,
    Phase,
    context_row,
)
from whisper_npu.kernels.layer.weights import numbers_of
from whisper_npu.kernels.norm.kernel import ROW_CYCLES
from whisper_npu.npu.contract import Work
from whisper_npu.npu.targets import CoreRate, Target

# Objects of A and of B in a core: one is filled while the core works on the other. Two of C would not leave
# room for the sums.
DEPTH_AB, DEPTH_C = 2, 1


def l1_bytes(target: Target) -> int:
    """Objects of A, B and C, sums, kept, mask, numbers, stack."""
    objects = (2 * DEPTH_AB + DEPTH_C) * OBJECT * DType.BF16.nbytes
    numbers = UNIT + KEPT + MASK_WORDS + NUMBERS
    return objects + DType.F32.nbytes * numbers + target.stack_bytes


def macs_of(phase: Phase, target: Target) -> int:
    if isinstance(phase, Gemm):
        return phase.M * phase.K * phase.N
    if isinstance(phase, Attend):
        return 2 * phase.M * phase.n_keys * context_row(phase.n_head, target.columns)
    return 0


@lru_cache(maxsize=1024)
def works_of(phases: tuple[Phase, ...], target: Target, rate: CoreRate | None) -> tuple[Work, ...]:
    """Of each phase, with the tasks that start in its time.

    rate: of the cores; None where nobody asks for their cycles.
    """
    return tuple(
        replace(_work_of(phase, target, rate), tasks=turn.tasks, hidden_tasks=turn.tasks - turn.exposed)
        for phase, turn in zip(phases, turns_of(phases, target), strict=True)
    )


def _work_of(phase: Phase, target: Target, rate: CoreRate | None) -> Work:
    """Without tasks."""
    every = streams(phase, target)
    read, written = ([s.nbytes for s in every if s.is_input is is_input] for is_input in (True, False))
    return Work(
        bytes_read=sum(read),
        bytes_written=sum(written),
        stream_bytes=(max(read), max(written)),
        tasks=0,
        core_cycles=0.0 if rate is None else cycles_of(phase, target, rate),
    )


WIDTH = 16  # numbers of a vector, as numerics.py counts slots
CALL_CYCLES = 100  # assumed, with the locks of the objects


def cycles_of(phase: Phase, target: Target, rate: CoreRate) -> float:
    """MODELLED cycles of one core. Vectors take as much longer than their slots as a product's loop does."""
    numbers = numbers_of(phase, target)
    slower = target.macs_per_cycle / rate.macs_per_cycle
    per_slot = UNIT // WIDTH * slower  # of a whole object's vectors
    if isinstance(phase, Gemm):
        tiles = numbers[Number.TILES]
        products = rate.cycles(macs_of(phase, target) // target.cores, TILE)
        slots = ZERO_SLOTS + FINISH_SLOTS + GELU_SLOTS * numbers[Number.GELU]
        header = numbers[Number.COLUMN_BLOCKS] * TILE * BIAS_CYCLES
        calls = tiles * (3 + numbers[Number.STEPS])
        return header + products + tiles * slots * per_slot + calls * CALL_CYCLES
    if isinstance(phase, Attend):
        queries, blocks = numbers[Number.QUERIES], numbers[Number.KEY_BLOCKS]
        half = macs_of(phase, target) // (2 * target.cores)  # of K Q^T, and of V^T P^T
        products = rate.cycles(half, D_HEAD) + rate.cycles(half, KEYS)
        of_block = SOFTMAX_SLOTS * KEYS / TILE + RESCALE_SLOTS * RESCALED
        of_queries = DIVIDE_SLOTS + QUERY_SLOTS / 2  # of bf16
        calls = queries * (blocks + target.columns + 2)
        vectors = queries * (blocks * of_block + of_queries) * per_slot
        return blocks * MASK_CYCLES + products + vectors + calls * CALL_CYCLES
    adds, sums, is_normed = (numbers[n] for n in (Number.ADDITIONS, Number.SUMS, Number.NORMED))
    slots = TAKE_SLOTS + ADD_SLOTS * bool(adds) + SUM_SLOTS * bool(sums) + NORM_SLOTS * is_normed
    rows = UNIT // numbers[Number.ROW] * ROW_CYCLES * is_normed
    calls = 2 * target.columns + adds + sums + is_normed
    return numbers[Number.UNITS] * (slots * per_slot + rows + calls * CALL_CYCLES)
