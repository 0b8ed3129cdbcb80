"""Plots that are readable in grey: filled marks are MEASURED, open ones with a bar MODELLED.

Needs the extra `benchmark`, which brings matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import ceil, floor, log10

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullFormatter

from whisper_npu.benchmark.pipeline import Pipeline
from whisper_npu.benchmark.projection import Projection
from whisper_npu.benchmark.projection_text import Group, finding, groups
from whisper_npu.npu.cost import BASELINE, Modelled, profiles
from whisper_npu.npu.targets import Profile
from whisper_npu.report import Report

MODELLED_MARKERS = ("s", "^")  # in the order of `profiles`
BLUE, ORANGE = "#0b4f8a", "#c96a12"  # one darker than the other: readable in grey, and by the colour-blind


def projection_plot(projection: Projection, suffix: str) -> bytes:
    """What was found: dispatches and seconds of all strategies, equal ones as one, on log axes.

    What was MEASURED has a panel of its own: seconds of an emulator do not compare with those of an NPU.
    suffix: ".png" or ".svg".
    """
    found = groups(projection.rows)
    y = range(len(found))
    figure = Figure(figsize=(12, 2.2 + 0.42 * len(found)), layout=ConstrainedLayoutEngine(w_pad=0.1))
    dispatches, modelled, measured = _panels(figure)

    counts = [group.dispatches for group in found]
    dispatches.barh(y, counts, height=0.6, color=[BLUE if n == min(counts) else "0.78" for n in counts])
    for at, count in enumerate(counts):
        dispatches.annotate(
            f"{count:,}",
            (count, at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight="bold" if count == min(counts) else "normal",
        )
    dispatches.set_title("dispatches of the whole product", fontsize=9, loc="left")
    dispatches.set_yticks(list(y), [_label(group) for group in found], fontsize=8)
    dispatches.invert_yaxis()
    _log(dispatches, 0.5, 6 * max(counts))

    _modelled_panel(
        modelled,
        [
            (profile, [group.modelled(profile) for group in found])
            for profile in profiles(projection.device.target)
        ],
    )
    last = found[-1].modelled(projection.device.target.profile)
    modelled.annotate(
        f"{last.in_units(1e3)} ms",
        (last.optimistic_s, len(found) - 1),
        xytext=(0, 8),
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        color=BLUE,
    )

    _measured_panel(measured, projection, found)
    _titled(figure, f"{finding(projection.rows)}: {projection.problem} by {len(projection.rows)} strategies")
    return _rendered(figure, suffix)


def _measured_panel(axes: Axes, projection: Projection, found: Sequence[Group]) -> None:
    device = f"{projection.device.name}, {projection.device.clock}"
    full = [at for at, group in enumerate(found) if not group.is_extrapolated]
    partial = [at for at, group in enumerate(found) if group.is_extrapolated]
    axes.hlines(
        range(len(found)),
        [group.seconds[0] for group in found],
        [group.seconds[1] for group in found],
        color="0.4",
        linewidth=2,
    )
    for ats, marker, label in (
        (full, "o", f"MEASURED here ({device})"),
        (partial, "x", "EXTRAPOLATED from a part measured here"),
    ):
        ends = [(seconds, at) for at in ats for seconds in found[at].seconds]
        if ends:
            axes.plot(*zip(*ends, strict=True), marker, color="0.4", markersize=5, label=label)
    _seconds_here(axes, projection.device.name, projection.device.clock)
    low = min(group.seconds[0] for group in found)
    high = max(group.seconds[1] for group in found)
    _log(axes, 10 ** floor(log10(0.8 * low)), 10 ** ceil(log10(1.25 * high)))


def pipeline_plot(pipeline: Pipeline, suffix: str) -> bytes:
    """Dispatches of every operation, and seconds of all operations, on log axes; MEASURED ones apart."""
    last = pipeline.last
    names = [operation.name for operation in last.operations]
    y = range(len(names))
    figure = Figure(figsize=(12, 2.4 + 0.35 * len(names)), layout=ConstrainedLayoutEngine(w_pad=0.1))
    dispatches, modelled, measured = _panels(figure)

    counts = [operation.stats.dispatches for operation in last.operations]
    small = [operation.dispatches_64x64 for operation in last.operations]
    dispatches.barh(y, counts, height=0.6, color=BLUE, label=_kernel(last))
    dispatches.plot(small, y, "|", color="black", markersize=12, label="with 64x64, planned")
    dispatches.set_title("dispatches, COUNTED", fontsize=9, loc="left")
    dispatches.set_yticks(list(y), names, fontsize=8)
    dispatches.invert_yaxis()
    _log(dispatches, 0.5, None)

    _modelled_panel(
        modelled,
        [
            (profile, [operation.modelled_seconds(profile) for operation in last.operations])
            for profile in profiles(last.ran_on.target)
        ],
    )

    seconds = [pipeline.operation_timings(name)[1].median for name in names]
    total = pipeline.total.median
    device = f"{last.ran_on.device}, {last.ran_on.clock}"
    measured.plot(seconds, y, "o", color="0.4", markersize=5, label=f"MEASURED here ({device})")
    measured.axvline(
        total,
        color="0.4",
        linestyle=":",
        linewidth=1.5,
        label=f"whole pipeline: {total:.1f} s, MEASURED here",
    )
    _seconds_here(measured, last.ran_on.device, last.ran_on.clock)
    _log(measured, None, None)
    found = f"{sum(counts):,} dispatches, where 64x64 would take {sum(small):,}"
    _titled(figure, f"{found}: {last.ran_on.model}, {last.audio_seconds:.1f} s of audio")
    return _rendered(figure, suffix)


def _kernel(report: Report) -> str:
    return f"with {str(report.ran_on.kernel).removeprefix('matmul_')}"


def _ranges(
    axes: Axes, modelled: Sequence[Modelled], y: Sequence[int], marker: str, label: str, colour: str
) -> None:
    """The middles as open marks, with a bar from the optimistic end to the cautious one."""
    middles = [seconds.middle for seconds in modelled]
    below = [seconds.middle - seconds.optimistic_s for seconds in modelled]
    above = [seconds.cautious_s - seconds.middle for seconds in modelled]
    axes.errorbar(
        middles,
        y,
        xerr=(below, above),
        linestyle="none",
        marker=marker,
        markerfacecolor="white",
        markeredgecolor=colour,
        ecolor=colour,
        capsize=2,
        label=label,
        zorder=3,
    )


def _panels(figure: Figure) -> tuple[Axes, Axes, Axes]:
    """For dispatches, for MODELLED seconds, and for MEASURED ones."""
    dispatches, modelled, measured = figure.subplots(1, 3, sharey=True, width_ratios=(3, 4, 2.2))
    for axes in (dispatches, modelled, measured):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return dispatches, modelled, measured


def _modelled_panel(axes: Axes, modelled: Sequence[tuple[Profile, Sequence[Modelled]]]) -> None:
    """modelled: what each profile says of every row."""
    rows = range(len(modelled[0][1]))
    for (profile, seconds), marker, colour in zip(modelled, MODELLED_MARKERS, (ORANGE, BLUE), strict=True):
        _ranges(axes, seconds, rows, marker, f"MODELLED, {profile.name}", colour)
    axes.axvline(BASELINE.seconds, color="black", linestyle="--", linewidth=1)
    axes.annotate(
        f"{BASELINE.seconds} s: the experiment,\nmeasured by its author",
        (BASELINE.seconds, rows[-1]),
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
    )
    axes.set_title("seconds on an NPU: MODELLED, nobody measured them", fontsize=9, loc="left")
    _log(axes, None, 3 * BASELINE.seconds)


def _seconds_here(axes: Axes, device: str, clock: str) -> None:
    title = f"seconds here ({device})"
    if clock != "NPU":
        title += ":\nnot comparable with an NPU's"
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_facecolor("0.96")


def _titled(figure: Figure, title: str) -> None:
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")


def _label(group: Group) -> str:
    """The strategies, and the kernel below them."""
    return f"{group.strategies}\n{group.kernel}"


def _log(axes: Axes, low: float | None, high: float | None) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")  # 1, not 10 to the power of 0
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color="0.85", linewidth=0.5)
    axes.set_axisbelow(True)


def _rendered(figure: Figure, suffix: str) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format=suffix.removeprefix("."), dpi=150)
    return image.getvalue()
