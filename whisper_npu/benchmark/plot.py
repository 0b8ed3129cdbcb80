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
from matplotlib.ticker import LogLocator, NullFormatter

from whisper_npu.benchmark.pipeline import Pipeline
from whisper_npu.benchmark.projection import Projection
from whisper_npu.benchmark.projection_text import Group, finding, groups
from whisper_npu.benchmark.roofline import GEMM, LAYER, RESOURCES, Point, Roof, Rooflines
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


def roofline_plot(rooflines: Rooflines, suffix: str) -> bytes:
    """Multiplications per second of every op over those per byte, and roofs; a panel for each family."""
    figure = Figure(figsize=(13, 5.2), layout=ConstrainedLayoutEngine(w_pad=0.1))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    window, profile = rooflines.shown, rooflines.target.profile
    shown = window.with_products
    low, high = (end(point.macs_per_byte for point in shown) for end in (min, max))
    least = min(point.macs / point.cautious.seconds for point in shown)
    families = ((LAYER, "s", BLUE), (GEMM, "^", ORANGE))
    for axes, (family, marker, colour) in zip(panels, families, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        _roofs(axes, "cautious", rooflines.cautious, "-", (low / 1.5, high * 1.5))
        _roofs(axes, "optimistic", rooflines.optimistic, "--", (low / 1.5, high * 1.5))
        _points(axes, [point for point in shown if point.made_by == family], marker, colour)
        axes.set_title(f"--kernel {family}", fontsize=9, loc="left")
        axes.set_xlabel("MAC per byte of DRAM", fontsize=8)
        _log(axes, low / 1.5, high * 1.5)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_tick_params(labelsize=8)
        axes.set_ylim(1e-9 * least / 1.5, 1e-9 * rooflines.optimistic.macs_per_second * 1.3)
    panels[0].set_ylabel("GMAC per second, MODELLED: nobody measured it", fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    title = f"what binds each op of {window.model}: MODELLED, {profile.name}, cautious to optimistic"
    figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")
    return _rendered(figure, suffix)


def _roofs(axes: Axes, end: str, roof: Roof, line: str, within: tuple[float, float]) -> None:
    """One for each rate of DRAM, as high as arithmetic's."""
    level = 1e-9 * roof.macs_per_second
    ways = ("one way", "both ways at once") if len(roof.ridges) == 2 else ("both ways together",)
    for rate, ridge, way, grey in zip(roof.dram_rates, roof.ridges, ways, ("0.3", "0.6"), strict=False):
        at = sorted({within[0], min(max(ridge, within[0]), within[1]), within[1]})
        axes.plot(
            at,
            [min(level, 1e-9 * rate * x) for x in at],
            line,
            color=grey,
            linewidth=1.2,
            label=f"{end}: {level:,.0f} GMAC/s, {rate / 1e9:g} GB/s {way}",
        )


def _points(axes: Axes, points: Sequence[Point], marker: str, colour: str) -> None:
    """From the cautious end to the optimistic one, named at the right: several lie at one place."""
    ends = {
        point: tuple(1e-9 * point.macs / end.seconds for end in (point.cautious, point.optimistic))
        for point in points
    }
    middles = {point: 1e-9 * point.macs / point.seconds.middle for point in points}
    for point, (low, high) in ends.items():
        x, y = point.macs_per_byte, middles[point]
        (mark, _, _) = axes.errorbar(
            x,
            y,
            yerr=([y - low], [high - y]),
            marker=marker,
            markerfacecolor="white",
            markeredgecolor=colour,
            ecolor=colour,
            capsize=3,
            zorder=3,
            label="op, cautious to optimistic" if point == points[0] else None,
        )
        mark.set_gid(f"{point.made_by}_{point.op}_{x:.1f}_{low:.0f}_{high:.0f}")  # for whoever checks
    for number, point in enumerate(sorted(points, key=lambda point: -middles[point])):
        axes.annotate(
            f"{point.op}: {_bound(point)}",
            (point.macs_per_byte, middles[point]),
            xytext=(1.03, 0.95 - 0.9 * number / max(1, len(points) - 1)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "0.6", "relpos": (0, 0.5)},
        )


def _bound(point: Point) -> str:
    """What binds it at the cautious end, and at the optimistic one."""
    return " / ".join(
        dict.fromkeys(RESOURCES[bound] for bound in (point.cautious.bound, point.optimistic.bound))
    )


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
