"""What dispatches would cost on an NPU. MODELLED seconds, never measured ones.

Two profiles: `baseline-2025` charges each dispatch what the published experiment paid, whatever its size;
`xdna1` adds up latency, DMA and arithmetic from published measurements. Bytes and multiplications are the
contract's, which the kernels' verifier counts again in each design's text (tests/kernels/test_designs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import pairwise, product

from whisper_npu.npu.contract import (
    HEADS_OF_CONTEXT,
    HEADS_OF_CONTEXT_TRANSPOSED,
    HEADS_OF_SCORES,
    Contract,
    DType,
    HeadsAlong,
    gemm,
    gemm_of_heads,
)
from whisper_npu.npu.plan import Plan, Problem
from whisper_npu.npu.targets.npu1 import XDNA1


@dataclass(frozen=True)
class Baseline:
    """The experiment that every total is compared with."""

    problem: Problem
    dispatches: int
    seconds: float  # MEASURED by its author on a Ryzen 9 8945HS

    @property
    def seconds_per_dispatch(self) -> float:
        return self.seconds / self.dispatches


BASELINE = Baseline(Problem(3001, 512, 512), dispatches=3008, seconds=163.7)


@dataclass(frozen=True)
class CoreRate:
    """How fast a core multiplies bf16: at its peak, but for what each block of a step costs beside."""

    macs_per_cycle: int
    block_overhead: float  # cycles a step of k for each 16x16 block of C: its sums are read and written
    clock_hz: float

    def seconds(self, macs: int, k: int) -> float:
        """Of one core, in steps of k: a block's k * 256 / macs_per_cycle cycles and its overhead."""
        block = 16 * 16 * k
        cycles = block / self.macs_per_cycle + self.block_overhead
        return macs / block * cycles / self.clock_hz


@dataclass(frozen=True)
class Profile:
    """A device as the cost model sees it; None and 0 where the profile does not charge for it."""

    name: str
    dispatch_seconds: float  # submit one and wait for it
    chained_seconds: float  # each further dispatch of a run list
    dma_bytes_per_second: float | None = None
    core: CoreRate | None = None
    overlay_switch_seconds: float = 0.0  # another xclbin than the dispatch before
    wake_seconds: float = 0.0  # the first dispatch after 10 s without one

    @property
    def basis(self) -> str:
        """One line for the reader of a report."""
        if self.dma_bytes_per_second is None or self.core is None:
            return f"{1e3 * self.dispatch_seconds:.1f} ms for every dispatch, whatever its size"
        first, further = 1e6 * self.dispatch_seconds, 1e6 * self.chained_seconds
        return (
            f"{first:.0f} us latency a dispatch ({further:g} us for each further one of a list), plus the "
            f"longer of DMA ({self.dma_bytes_per_second / 1e9:g} GB/s) and arithmetic (up to "
            f"{self.core.macs_per_cycle} MAC/cycle a core at {self.core.clock_hz / 1e9:g} GHz)"
        )


BASELINE_2025 = Profile(
    "baseline-2025",
    dispatch_seconds=BASELINE.seconds_per_dispatch,
    chained_seconds=BASELINE.seconds_per_dispatch,
)
# One core of the record kernel reaches 112.6 MAC a cycle with k = 56 (arXiv 2512.13282, table 1): what that
# leaves of the peak is taken as the price of a step.
_RECORD_MACS_PER_CYCLE, _RECORD_K = 112.6, 56
_BLOCK_CYCLES = 16 * 16 * _RECORD_K / XDNA1.macs_per_cycle
XDNA1_PROFILE = Profile(
    "xdna1",
    dispatch_seconds=110e-6,  # xrt-smi latency test on a 7640U, github.com/amd/RyzenAI-SW issue 142
    chained_seconds=27.7e-6,  # the same test, commands chained
    dma_bytes_per_second=XDNA1.dram_bytes_per_second,
    core=CoreRate(
        macs_per_cycle=XDNA1.macs_per_cycle,
        block_overhead=_BLOCK_CYCLES * (XDNA1.macs_per_cycle / _RECORD_MACS_PER_CYCLE - 1),
        clock_hz=XDNA1.clock_hz,
    ),
    overlay_switch_seconds=1.4e-3,  # half of 2.81 ms for a pair of switches, whisper-xdna README
    wake_seconds=121e-3,  # 121 to 136 ms after autosuspend, github.com/Xilinx/mlir-aie issue 2944
)
PROFILES: tuple[Profile, ...] = (BASELINE_2025, XDNA1_PROFILE)


class Start(Enum):
    """How the device stands before the first dispatch."""

    AWAKE = "awake"
    ASLEEP = "asleep"  # after 10 s without a dispatch


def modelled_run_seconds(plans: Sequence[Plan], profile: Profile, start: Start) -> float:
    """MODELLED time of plans one after the other, changes of overlay and waking up included."""
    switches = sum(before.contract.overlay != after.contract.overlay for before, after in pairwise(plans))
    wake = profile.wake_seconds if start is Start.ASLEEP and plans else 0.0
    work = sum(modelled_plan_seconds(plan, profile) for plan in plans)
    return wake + switches * profile.overlay_switch_seconds + work


def modelled_plan_seconds(plan: Plan, profile: Profile) -> float:
    """MODELLED time of a plan's dispatches, submitted in run lists of `plan.runlist`."""
    return _seconds(plan.contract, plan.dispatches, plan.submissions, profile)


def modelled_seconds(contract: Contract, dispatches: int, profile: Profile) -> float:
    """MODELLED time of `dispatches` of one kernel, each submitted by itself."""
    return _seconds(contract, dispatches, dispatches, profile)


def _seconds(contract: Contract, dispatches: int, submissions: int, profile: Profile) -> float:
    latency = submissions * profile.dispatch_seconds + (dispatches - submissions) * profile.chained_seconds
    return latency + dispatches * work_seconds(contract, profile)


def work_seconds(contract: Contract, profile: Profile) -> float:
    """MODELLED time that one dispatch works: DMA and arithmetic overlap, as double buffering allows."""
    dma = compute = 0.0
    if profile.dma_bytes_per_second is not None:
        dma = (contract.bytes_to_device + contract.bytes_from_device) / profile.dma_bytes_per_second
    if profile.core is not None:
        step = contract.core_tile[1] if contract.core_tile else contract.k
        compute = profile.core.seconds(contract.macs // contract.cores, step)
    return max(dma, compute)


@lru_cache(maxsize=1)
def gemm_tiles() -> tuple[tuple[int, int, int], ...]:
    """All core tiles of a gemm that L1 holds, by one rule, those of more rows first.

    m and n in multiples of 16, the register block; k in multiples of 64, so that a row of A is read from DRAM
    in bursts of 128 bytes; C in fp32.
    """
    tiles = product(range(160, 0, -16), range(64, 193, 64), range(16, 161, 16))
    return tuple(
        tile for tile in tiles if padded_gemm(Problem(1, 1, 1), tile).l1_bytes <= XDNA1.core.memory_bytes
    )


def best_gemm(problem: Problem, profile: Profile = XDNA1_PROFILE) -> Contract:
    """The whole-matrix kernel of least modelled time for a problem, of all of `gemm_tiles`.

    M, K and N are padded to whole rounds.
    """
    contracts = (padded_gemm(problem, tile) for tile in gemm_tiles())
    return min(contracts, key=lambda contract: modelled_seconds(contract, 1, profile))


def padded_gemm(
    problem: Problem, core_tile: tuple[int, int, int], result_dtype: DType = DType.F32
) -> Contract:
    """`gemm` for a problem, its sizes rounded up to what rounds of 4x4 core tiles cover."""
    m, k, n = core_tile
    units = XDNA1.core_rows * m, k, XDNA1.columns * n
    sizes = (problem.M, problem.K, problem.N)
    M, K, N = (-(-size // unit) * unit for size, unit in zip(sizes, units, strict=True))
    if problem.heads == 1:
        return gemm(M, K, N, core_tile, result_dtype)
    return gemm_of_heads(problem.heads, M, K, N, heads_along(problem), core_tile, result_dtype)


def heads_along(problem: Problem) -> HeadsAlong:
    """How attention's heads lie: its scores sum over d_head, which is small; in its context N is, or M."""
    if min(problem.M, problem.N) >= problem.K:
        return HEADS_OF_SCORES
    return HEADS_OF_CONTEXT if problem.N <= problem.M else HEADS_OF_CONTEXT_TRANSPOSED
