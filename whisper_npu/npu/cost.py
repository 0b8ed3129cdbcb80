"""What dispatches would cost on an NPU. MODELLED seconds, never measured ones.

Two profiles: `baseline-2025` charges each dispatch what the published experiment paid, whatever its size; a
target's own adds up latency, DMA and arithmetic from published measurements. Bytes and multiplications are
the contract's, which the kernels' verifier counts again in each design's text
(tests/kernels/test_designs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from whisper_npu.npu.contract import Contract
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Profile, Target
from whisper_npu.ops import Matmul, Op


@dataclass(frozen=True)
class Baseline:
    """The experiment that every total is compared with."""

    problem: Matmul
    dispatches: int
    seconds: float  # MEASURED by its author on a Ryzen 9 8945HS

    @property
    def seconds_per_dispatch(self) -> float:
        return self.seconds / self.dispatches


BASELINE = Baseline(Matmul(3001, 512, 512), dispatches=3008, seconds=163.7)
BASELINE_2025 = Profile(
    "baseline-2025",
    dispatch_seconds=BASELINE.seconds_per_dispatch,
    chained_seconds=BASELINE.seconds_per_dispatch,
)


def profiles(target: Target) -> tuple[Profile, Profile]:
    """What reports charge: the experiment's price of a dispatch, and the target's published figures."""
    return BASELINE_2025, target.profile


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
    """MODELLED time of a plan's dispatches, submitted in lists of `plan.run_list`."""
    return dispatches_seconds(plan.contract, plan.dispatches, plan.submissions, profile)


def modelled_seconds(contract: Contract, dispatches: int, profile: Profile) -> float:
    """MODELLED time of `dispatches` of one kernel, each submitted by itself."""
    return dispatches_seconds(contract, dispatches, dispatches, profile)


def dispatches_seconds(contract: Contract, dispatches: int, submissions: int, profile: Profile) -> float:
    """MODELLED time of dispatches of one kernel in so many submissions."""
    latency = submissions * profile.dispatch_seconds + (dispatches - submissions) * profile.chained_seconds
    return latency + dispatches * work_seconds(contract, profile)


def work_seconds(contract: Contract, profile: Profile) -> float:
    """MODELLED time that one dispatch works: DMA and arithmetic overlap, as double buffering allows."""
    dma = compute = 0.0
    if profile.dma_bytes_per_second is not None:
        dma = (contract.bytes_to_device + contract.bytes_from_device) / profile.dma_bytes_per_second
    if profile.core is not None:
        compute = contract.core_seconds(profile.core)
    return max(dma, compute)


def host_seconds(op: Op, profile: Profile) -> float:
    """MODELLED time of an op on rows that the host does by itself.

    Every operand passes through memory once.
    """
    if profile.host_bytes_per_second is None:
        return 0.0
    elements = sum(_elements(operand.shape) for operand in op.operands)
    return 4 * elements / profile.host_bytes_per_second


def _elements(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
