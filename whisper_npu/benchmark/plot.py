"""Plots that are readable in grey: filled marks are MEASURED, open ones with a bar MODELLED.

Needs the extra `benchmark`, which brings matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whisper_npu.benchmark.pipeline import Pipeline
from whisper_npu.benchmark.projection import Projection
from whisper_npu.npu.cost import BASELINE, Modelled, profiles
from whisper_npu.report import Report

MODELLED_MARKERS = ("s", "^")  # in the order of `profiles`


def projection_plot(projection: Projection, suffix: str) -> bytes:
    """Dispatches and seconds of every strategy on log axes. suffix: ".png" or ".svg"."""
    rows = projection.rows
    y = range(len(rows))
    figure = Figure(figsize=(11, 1.8 + 0.3 * len(rows)), layout="constrained")
    dispatches, seconds = figure.subplots(1, 2, sharey=True)

    dispatches.barh(
        y, [row.strategy.plan.dispatches for row in rows], color="0.8", edgecolor="0.2", hatch="//", left=0
    )
    dispatches.axvline(BASELINE.dispatches, color="black", linestyle="--", linewidth=1)
    for at, row in enumerate(rows):
        dispatches.annotate(
            f"{row.strategy.plan.dispatches:,}",
            (row.strategy.plan.dispatches, at),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    dispatches.set_xlabel("dispatches of the whole product: COUNTED; naive: planned")
    dispatches.set_yticks(list(y), [_label(projection, at) for at in y], fontsize=8)
    dispatches.invert_yaxis()
    _log(dispatches, 0.7, 4 * BASELINE.dispatches)

    for profile, marker in zip(profiles(projection.device.target), MODELLED_MARKERS, strict=True):
        modelled = [row.modelled_seconds(profile) for row in rows]
        _ranges(seconds, modelled, y, marker, f"MODELLED, {profile.name}")
    device = f"{projection.device.name}, {projection.device.clock}"
    full = [at for at in y if rows[at].extrapolated_seconds is None]
    partial = [at for at in y if rows[at].extrapolated_seconds is not None]
    seconds.plot(
        [rows[at].total.median for at in full], full, "o", color="0.35", label=f"MEASURED here ({device})"
    )
    if partial:
        seconds.plot(
            [rows[at].extrapolated_seconds or 0.0 for at in partial],
            partial,
            "x",
            color="0.35",
            label=f"EXTRAPOLATED from {rows[partial[0]].rows_measured} rows measured here",
        )
    _baseline_line(seconds)
    seconds.set_xlabel("seconds")
    _log(seconds, None, None)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(f"{projection.problem} by every strategy", fontsize=11)
    return _rendered(figure, suffix)


def pipeline_plot(pipeline: Pipeline, suffix: str) -> bytes:
    """Dispatches of every operation, and seconds of all stages and operations, on log axes."""
    last = pipeline.last
    names = [operation.name for operation in last.operations]
    y = range(len(names))
    figure = Figure(figsize=(11, 2.4 + 0.35 * len(names)), layout="constrained")
    dispatches, seconds = figure.subplots(1, 2, sharey=True)

    dispatches.barh(
        y,
        [o.stats.dispatches for o in last.operations],
        color="0.8",
        edgecolor="0.2",
        hatch="//",
        label=_kernel(last),
    )
    dispatches.plot(
        [o.dispatches_64x64 for o in last.operations],
        y,
        "|",
        color="black",
        markersize=12,
        label="with 64x64",
    )
    dispatches.set_xlabel("dispatches, COUNTED; with 64x64: planned")
    dispatches.set_yticks(list(y), names, fontsize=8)
    dispatches.invert_yaxis()
    _log(dispatches, 0.7, None)

    measured = [pipeline.operation_timings(name)[1].median for name in names]
    device = f"{last.ran_on.device}, {last.ran_on.clock}"
    seconds.plot(measured, y, "o", color="0.35", label=f"MEASURED here ({device})")
    for profile, marker in zip(profiles(last.ran_on.target), MODELLED_MARKERS, strict=True):
        modelled = [operation.modelled_seconds(profile) for operation in last.operations]
        _ranges(seconds, modelled, y, marker, f"MODELLED, {profile.name}")
    _baseline_line(seconds)
    total = pipeline.total.median
    seconds.axvline(
        total,
        color="0.35",
        linestyle=":",
        linewidth=1.5,
        label=f"whole pipeline: {total:.1f} s, MEASURED here",
    )
    seconds.set_xlabel("seconds in the kernel")
    _log(seconds, None, None)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(f"{last.ran_on.model}, {last.audio_seconds:.1f} s of audio", fontsize=11)
    return _rendered(figure, suffix)


def _kernel(report: Report) -> str:
    return f"with {str(report.ran_on.kernel).removeprefix('matmul_')}"


def _ranges(axes: Axes, modelled: Sequence[Modelled], y: Sequence[int], marker: str, label: str) -> None:
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
        markeredgecolor="black",
        ecolor="black",
        capsize=2,
        label=label,
        zorder=3,
    )


def _baseline_line(axes: Axes) -> None:
    axes.axvline(
        BASELINE.seconds,
        color="black",
        linestyle="--",
        linewidth=1,
        label=f"the baseline: {BASELINE.seconds} s, one product",
    )


def _label(projection: Projection, at: int) -> str:
    strategy = projection.rows[at].strategy
    kernel = strategy.plan.contract.name.removeprefix("matmul_")
    return ", ".join(part for part in (strategy.name, strategy.variant, kernel) if part)


def _log(axes: Axes, low: float | None, high: float | None) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.grid(axis="x", color="0.85", linewidth=0.5)
    axes.set_axisbelow(True)


def _rendered(figure: Figure, suffix: str) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format=suffix.removeprefix("."), dpi=150)
    return image.getvalue()
