"""What a projection found, with equal strategies as one: for the screen, and for the plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whisper_npu.benchmark.projection import MAX_ERROR, Measurement, Projection
from whisper_npu.benchmark.timings import machine_line, short
from whisper_npu.npu.cost import BASELINE, Modelled
from whisper_npu.npu.targets import Profile
from whisper_npu.page import Page, Table


@dataclass(frozen=True)
class Group:
    """Strategies that give the NPU the same work: one kernel, as many dispatches, all in run lists or none.

    Those that were measured on some rows only are apart from the others.
    """

    rows: tuple[Measurement, ...]

    @property
    def dispatches(self) -> int:
        return self.rows[0].strategy.plan.dispatches

    @property
    def kernel(self) -> str:
        return self.rows[0].strategy.plan.contract.name.removeprefix("matmul_")

    @property
    def strategies(self) -> str:
        """Their names; in brackets how many have the same."""
        counts = Counter(row.strategy.name for row in self.rows)
        return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())

    def modelled(self, profile: Profile) -> Modelled:
        """MODELLED seconds from the best strategy's optimistic end to the worst one's cautious end."""
        each = [row.modelled_seconds(profile) for row in self.rows]
        return Modelled(max(one.cautious_s for one in each), min(one.optimistic_s for one in each))

    @property
    def is_extrapolated(self) -> bool:
        return self.rows[0].extrapolated_seconds is not None

    @property
    def seconds(self) -> tuple[float, float]:
        """MEASURED or EXTRAPOLATED here, of the whole product: the smallest and the largest median."""
        each = [
            row.total.median if row.extrapolated_seconds is None else row.extrapolated_seconds
            for row in self.rows
        ]
        return min(each), max(each)


def groups(rows: Sequence[Measurement]) -> list[Group]:
    """All rows, those with the most dispatches first; of equals those modelled slowest."""
    same: dict[tuple[object, ...], list[Measurement]] = {}
    for row in rows:
        plan = row.strategy.plan
        key = (plan.contract, plan.dispatches, plan.run_list > 1, row.strategy.is_partial)
        same.setdefault(key, []).append(row)

    def order(group: Group) -> tuple[float, float]:
        profile = group.rows[0].strategy.plan.contract.target.profile
        return -group.dispatches, -group.modelled(profile).middle

    return sorted((Group(tuple(members)) for members in same.values()), key=order)


def finding(rows: Sequence[Measurement]) -> str:
    """In a few words: `3,008 dispatches become 1`."""
    counts = [row.strategy.plan.dispatches for row in rows]
    most, fewest = max(counts), min(counts)
    if most == fewest:
        return "1 dispatch" if most == 1 else f"{most:,} dispatches"
    return f"{most:,} dispatches become {fewest:,}"


def page(projection: Projection) -> Page:
    """For the screen: what was found, the groups, and what the columns mean."""
    device, profile = projection.device, projection.device.target.profile
    grouped = groups(projection.rows)
    here = f"MEASURED s here ({device.name})"
    rows = [
        {
            "strategies: kernel": f"{group.strategies}: {group.kernel}",
            "dispatches": f"{group.dispatches:,}",
            f"MODELLED s {profile.name}": group.modelled(profile).in_units(1),
            here: _seconds(group),
        }
        for group in grouped
    ]
    return (
        f"{_found(projection, grouped)}.\n\n",
        f"{projection.problem} by {_strategies(len(projection.rows))}; the experiment took\n"
        f"{BASELINE.dispatches:,} dispatches and {BASELINE.seconds} s, measured by its author on an NPU.\n\n",
        Table(rows, left=("strategies: kernel",)),
        "\n",
        "".join(f"- {note}\n" for note in _notes(projection, grouped)),
    )


def _found(projection: Projection, grouped: Sequence[Group]) -> str:
    rows, profile = projection.rows, projection.device.target.profile
    first, last = grouped[0], grouped[-1]
    seconds = f"MODELLED on an NPU, {first.modelled(profile).in_units(1)} s"
    if first.dispatches == last.dispatches:
        return f"{finding(rows)}: {seconds}"
    many = sum(row.strategy.plan.dispatches == first.dispatches for row in rows)
    return (
        f"{finding(rows)}, by {last.strategies}; {many} of {_strategies(len(rows))} take "
        f"{first.dispatches:,}.\n{seconds} become {last.modelled(profile).in_units(1)} s"
    )


def _strategies(count: int) -> str:
    return "1 strategy" if count == 1 else f"{count} strategies"


def _seconds(group: Group) -> str:
    low, high = (short(seconds) for seconds in group.seconds)
    seconds = low if low == high else f"{low} to {high}"
    return f"~{seconds}" if group.is_extrapolated else seconds


def _notes(projection: Projection, grouped: Sequence[Group]) -> Iterator[str]:
    device = projection.device
    yield ("MODELLED: what the dispatches would take on an NPU, optimistic to cautious; nobody measured it")
    repeats = "1 repeat" if projection.repeats == 1 else f"{projection.repeats} repeats"
    yield f"MEASURED: {repeats} on {device.description} ({machine_line()})"
    if device.clock != "NPU":
        yield "MEASURED seconds of a CPU say nothing about MODELLED ones of an NPU: do not compare them"
    if any(group.is_extrapolated for group in grouped):
        measured = next(group for group in grouped if group.is_extrapolated).rows[0].rows_measured
        yield f"~: EXTRAPOLATED from {measured:,} rows"
    worst = max(row.max_error for row in projection.rows)
    wrong = [row.strategy.name for row in projection.rows if not row.meets_bound]
    if wrong:
        yield (
            f"BEYOND THE BOUND of {MAX_ERROR} from float64: {', '.join(dict.fromkeys(wrong))} ({worst:.5f})"
        )
    else:
        yield f"every result meets the bound: {worst:.5f} from float64 at most, {MAX_ERROR} is allowed"
    for reason in projection.left_out:
        yield f"left out: {reason}"
    yield "--markdown FILE writes every strategy by itself, with what was counted, bytes and spreads"
