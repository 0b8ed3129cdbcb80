"""What dispatches would cost on an NPU. MODELLED seconds, never measured ones, and always a range.

Two profiles: `baseline-2025` charges each dispatch what the published experiment paid, whatever its size; a
target's own adds up latency, DMA and arithmetic from published measurements, at its cautious and at its
optimistic end. Bytes, tasks and multiplications are the contract's, which the tests count again in each
design's text. `whisper-npu benchmark known-points` sets what others measured beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import prod, sqrt

from whisper_npu.npu.contract import Contract, Work
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import WORD_BYTES, Profile, Rates, Target
from whisper_npu.ops import Matmul, Op


@dataclass(frozen=True)
class Modelled:
    """MODELLED seconds: what they are if all goes badly, and if all goes well."""

    cautious_s: float
    optimistic_s: float

    @property
    def middle(self) -> float:
        """The geometric mean: as many times above the one as below the other."""
        return sqrt(self.cautious_s * self.optimistic_s)

    def __add__(self, other: Modelled) -> Modelled:
        return Modelled(self.cautious_s + other.cautious_s, self.optimistic_s + other.optimistic_s)

    def __mul__(self, times: float) -> Modelled:
        return Modelled(self.cautious_s * times, self.optimistic_s * times)

    def plus(self, seconds: float) -> Modelled:
        """With seconds that are no range, such as MEASURED ones."""
        return Modelled(self.cautious_s + seconds, self.optimistic_s + seconds)

    def in_units(self, per_second: float) -> str:
        """The optimistic and the cautious end, for people: `34.1 to 91.5`; one number where they are equal.

        per_second: units in a second.
        """
        if self.cautious_s == self.optimistic_s:
            return _digits(per_second * self.cautious_s, 4)
        low, high = (_digits(per_second * end, 3) for end in (self.optimistic_s, self.cautious_s))
        return f"{low} to {high}"

    @property
    def as_document(self) -> dict[str, float]:
        """For JSON."""
        return {"cautious": self.cautious_s, "middle": self.middle, "optimistic": self.optimistic_s}

    def as_fields(self, of: str = "") -> dict[str, object]:
        """For a line of a CSV. of: what it is of, in the fields' names."""
        ends = self.as_document.items()
        return {f"modelled_{end}_seconds{of and f'_{of}'}": seconds for end, seconds in ends}


def _digits(value: float, digits: int) -> str:
    """As many as it deserves: three for a model, four for a price."""
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


NOTHING = Modelled(0.0, 0.0)


def total(parts: Iterable[Modelled]) -> Modelled:
    """One after the other."""
    return sum(parts, NOTHING)


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
_PER_DISPATCH = Rates(BASELINE.seconds_per_dispatch, chained_seconds=BASELINE.seconds_per_dispatch)
BASELINE_2025 = Profile("baseline-2025", cautious=_PER_DISPATCH, optimistic=_PER_DISPATCH)


def profiles(target: Target) -> tuple[Profile, Profile]:
    """What reports charge: the experiment's price of a dispatch, and the target's published figures."""
    return BASELINE_2025, target.profile


class Start(Enum):
    """How the device stands before the first dispatch."""

    AWAKE = "awake"
    ASLEEP = "asleep"  # after `sleeps_after_seconds` without a dispatch


def modelled_run_seconds(plans: Sequence[Plan], profile: Profile, start: Start) -> Modelled:
    """MODELLED time of plans one after the other, changes of overlay and waking up included."""
    switches = sum(before.contract.overlay != after.contract.overlay for before, after in pairwise(plans))
    wakes = 1 if start is Start.ASLEEP and plans else 0
    work = total(modelled_plan_seconds(plan, profile) for plan in plans)
    return work + overlay_change(profile) * switches + waking(profile) * wakes


def overlay_change(profile: Profile) -> Modelled:
    """MODELLED time until another xclbin is on the array."""
    return Modelled(profile.cautious.overlay_switch_seconds, profile.optimistic.overlay_switch_seconds)


def waking(profile: Profile) -> Modelled:
    """MODELLED time that the first dispatch takes longer after the device has slept."""
    return Modelled(profile.cautious.wake_seconds, profile.optimistic.wake_seconds)


def modelled_plan_seconds(plan: Plan, profile: Profile) -> Modelled:
    """MODELLED time of a plan's dispatches, submitted in lists of `plan.run_list`.

    The driver gets a longer list than the target's `run_list` in parts of that length, and each part has the
    latency of a dispatch.
    """
    lists, rest = divmod(plan.dispatches, plan.run_list)
    at_once = plan.contract.target.run_list
    parts = lists * -(-plan.run_list // at_once) + -(-rest // at_once)
    return dispatches_seconds(plan.contract, plan.dispatches, parts, profile)


def modelled_seconds(contract: Contract, dispatches: int, profile: Profile) -> Modelled:
    """MODELLED time of `dispatches` of one kernel, each submitted by itself."""
    return dispatches_seconds(contract, dispatches, dispatches, profile)


def dispatches_seconds(contract: Contract, dispatches: int, submissions: int, profile: Profile) -> Modelled:
    """MODELLED time of dispatches of one kernel in so many submissions."""
    work, chained = work_seconds(contract, profile), dispatches - submissions
    ends = (
        submissions * rates.dispatch_seconds + chained * rates.chained_seconds + dispatches * seconds
        for rates, seconds in (
            (profile.cautious, work.cautious_s),
            (profile.optimistic, work.optimistic_s),
        )
    )
    return Modelled(*ends)


@dataclass(frozen=True)
class Spent:
    """MODELLED seconds that a part of a dispatch takes of each resource.

    Tasks are started one after the other. Then DRAM, the busiest stream and arithmetic overlap, as double
    buffering allows, and so do tasks that a part hides behind them: of later rounds, or ahead for the next
    part. Where a dispatch has one part only, all of its tasks stand before it: none starts ahead there, and
    that sum is what is held against what others measured (docs/known-points.md).
    """

    tasks: float
    hidden_tasks: float
    dram: float
    streams: float
    arithmetic: float

    @property
    def seconds(self) -> float:
        return self.tasks + max(self.hidden_tasks, self.dram, self.streams, self.arithmetic)

    @property
    def bound(self) -> str:
        """What takes longest."""
        names = ("tasks", "hidden_tasks", "dram", "streams", "arithmetic")
        return max(names, key=lambda name: float(getattr(self, name)))


def spent(work: Work, profile: Profile, rates: Rates) -> Spent:
    """What a part of a dispatch takes at one end of a profile."""
    read, written = work.stream_bytes
    words = (
        read / WORD_BYTES * profile.read_cycles_per_word,
        written / WORD_BYTES * profile.write_cycles_per_word,
    )
    before = work.tasks - work.hidden_tasks
    start_cycles = before * rates.task_cycles + work.writes * profile.instruction_cycles
    return Spent(
        tasks=start_cycles / profile.clock_hz,
        hidden_tasks=work.hidden_tasks * rates.task_cycles / profile.clock_hz,
        dram=0.0 if rates.dram is None else rates.dram.seconds(work.bytes_read, work.bytes_written),
        streams=max(words) / profile.clock_hz,
        arithmetic=work.core_cycles / profile.clock_hz,
    )


def work_seconds(contract: Contract, profile: Profile) -> Modelled:
    """MODELLED time that one dispatch works, part by part, without the latency that any dispatch has."""

    def seconds(rates: Rates) -> float:
        return sum(spent(work, profile, rates).seconds for work in contract.works(rates.core))

    return Modelled(seconds(profile.cautious), seconds(profile.optimistic))


def host_seconds(op: Op, profile: Profile) -> float:
    """MODELLED time of an op on rows that the host does by itself.

    Every operand passes through memory once.
    """
    if profile.host_bytes_per_second is None:
        return 0.0
    elements = sum(prod(operand.shape) for operand in op.operands)
    return 4 * elements / profile.host_bytes_per_second
