"""What dispatches would cost on an NPU. MODELLED seconds, never measured ones.

Two profiles: `baseline-2025` charges each dispatch what the published experiment paid, whatever its size;
`xdna1` adds up latency, DMA and arithmetic from published measurements. Bytes and multiplications are the
contract's, which the kernels' verifier counts again in each design's text (tests/kernels/test_designs.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whisper_npu.npu.contract import Contract
from whisper_npu.npu.limits import XDNA1
from whisper_npu.npu.plan import Plan, Problem, tiled_plan


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
class Profile:
    """A device as the cost model sees it; None where the profile does not charge for it."""

    name: str
    dispatch_seconds: float
    dma_bytes_per_second: float | None = None
    macs_per_second_per_core: float | None = None

    @property
    def basis(self) -> str:
        """One line for the reader of a report."""
        if self.dma_bytes_per_second is None or self.macs_per_second_per_core is None:
            return f"{1e3 * self.dispatch_seconds:.1f} ms for every dispatch, whatever its size"
        return (
            f"{1e6 * self.dispatch_seconds:.0f} us latency a dispatch, plus the longer of DMA "
            f"({self.dma_bytes_per_second / 1e9:g} GB/s) and arithmetic "
            f"({self.macs_per_second_per_core / 1e9:g} GMAC/s a core)"
        )


BASELINE_2025 = Profile("baseline-2025", dispatch_seconds=BASELINE.seconds_per_dispatch)
XDNA1_PROFILE = Profile(
    "xdna1",
    dispatch_seconds=110e-6,  # xrt-smi latency test on a 7640U, github.com/amd/RyzenAI-SW issue 142
    dma_bytes_per_second=XDNA1.dram_bytes_per_second,
    macs_per_second_per_core=112.6 * XDNA1.clock_hz,  # arXiv 2512.13282: one core, bf16
)
PROFILES: tuple[Profile, ...] = (BASELINE_2025, XDNA1_PROFILE)


def modelled_plan_seconds(plan: Plan, profile: Profile) -> float:
    """MODELLED time of a plan's dispatches, submitted in run lists of `plan.runlist`."""
    return modelled_seconds(plan.contract, plan.dispatches, profile)


def modelled_seconds(contract: Contract, dispatches: int, profile: Profile) -> float:
    """MODELLED time of `dispatches` of one kernel, submitted one after the other.

    Within a dispatch DMA and arithmetic overlap, as the designs' double buffering allows.
    """
    dma = compute = 0.0
    if profile.dma_bytes_per_second:
        dma = (contract.bytes_to_device + contract.bytes_from_device) / profile.dma_bytes_per_second
    if profile.macs_per_second_per_core:
        compute = contract.macs / (contract.cores * profile.macs_per_second_per_core)
    return dispatches * (profile.dispatch_seconds + max(dma, compute))


def choose_contract(
    problems: Iterable[Problem], contracts: Sequence[Contract], profile: Profile = XDNA1_PROFILE
) -> Contract:
    """The one contract that makes all `problems` in the least modelled time.

    One for all of them, since a change of overlay costs as much as a dozen dispatches: 2.81 ms a pair
    (whisper-xdna README).
    """
    problems = tuple(problems)

    def total(contract: Contract) -> float:
        dispatches = sum(tiled_plan(problem, contract).dispatches for problem in problems)
        return modelled_seconds(contract, dispatches, profile)

    return min(contracts, key=total)
