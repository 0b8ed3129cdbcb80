"""The baseline's product by every strategy, side by side.

MEASURED seconds are wall time on the device that the table names. MODELLED seconds are what the same
dispatches would take on an NPU under a cost profile; nobody has measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.host_paths import PathRun
from whisper_npu.benchmark.strategies import Strategy, check_names, strategies
from whisper_npu.benchmark.timings import Timings, device_document, machine, machine_line, short
from whisper_npu.benchmark.trace import Lane, Span, as_trace
from whisper_npu.dtypes import F32
from whisper_npu.errors import DeviceError
from whisper_npu.markdown import as_table
from whisper_npu.npu.cost import BASELINE, BASELINE_2025, Modelled, modelled_plan_seconds, profiles
from whisper_npu.npu.device import Device
from whisper_npu.npu.targets import Profile
from whisper_npu.ops import Matmul
from whisper_npu.output import write_atomically

MAX_ERROR = 0.004  # of an element of C against float64, for the operands below


@dataclass(frozen=True)
class Measurement:
    """One strategy on one device. Seconds are MEASURED; modelled ones are of the whole problem."""

    strategy: Strategy
    run: PathRun  # of the last repeat
    max_error: float  # against float64, over the rows that were measured
    total: Timings
    device: Timings  # inside Device.execute
    host: Timings  # total minus device

    @property
    def rows_measured(self) -> int:
        return self.strategy.measured.problem.M

    @property
    def meets_bound(self) -> bool:
        return self.max_error <= MAX_ERROR

    @property
    def extrapolated_seconds(self) -> float | None:
        """Scaled to all rows by the number of dispatches; None where all rows were MEASURED."""
        if not self.strategy.is_partial:
            return None
        return self.total.median * self.strategy.plan.dispatches / self.strategy.measured.dispatches

    def modelled_seconds(self, profile: Profile) -> Modelled:
        """MODELLED seconds of the whole problem's dispatches."""
        return modelled_plan_seconds(self.strategy.plan, profile)


@dataclass(frozen=True)
class Projection:
    """All rows of one run."""

    problem: Matmul
    device: Device
    repeats: int
    rows: tuple[Measurement, ...]
    spans: tuple[Span, ...]  # every repeat
    left_out: tuple[str, ...]  # strategies that the device has no kernel for, and why


def operands(problem: Matmul) -> tuple[F32, F32]:
    """A (M,K) and B (K,N) float32 of each product: normal with deviation 0.1, seed 42, A drawn first."""
    random = np.random.RandomState(42)  # the legacy generator's stream is frozen for good
    batch = (problem.batch,) if problem.batch > 1 else ()
    a = (random.randn(*batch, problem.M, problem.K) * 0.1).astype(np.float32)
    b = (random.randn(*batch, problem.K, problem.N) * 0.1).astype(np.float32)
    return a, b


def run_projection(
    device: Device,
    *,
    names: Sequence[str],
    repeats: int,
    naive_rows: int,
    progress: Callable[[str], None],
    problem: Matmul = BASELINE.problem,
) -> Projection:
    """Measure all strategies, or those named: each once to warm up, then `repeats` times.

    Raises UsageError for a name that no strategy has.
    """
    check_names(names)
    a, b = operands(problem)
    reference = a.astype(np.float64) @ b.astype(np.float64)
    rows: list[Measurement] = []
    spans: list[Span] = []
    left_out: list[str] = []
    for strategy in strategies(problem, device.target, naive_rows):
        if names and strategy.name not in names:
            continue
        title = f"{strategy.name} {strategy.variant}".strip() + f", {strategy.plan.contract.name}"
        try:
            device.load(strategy.plan.contract)
        except DeviceError as error:
            left_out.append(f"{title}: {error}")
            continue
        progress(f"measuring {title}")
        row, own = _measured(strategy, title, device, a, b, reference, repeats)
        rows.append(row)
        spans += own
    if not rows:
        raise DeviceError(f"{device.name} has a kernel for none of these strategies: {'; '.join(left_out)}")
    return Projection(problem, device, repeats, tuple(rows), tuple(spans), tuple(left_out))


def _measured(
    strategy: Strategy,
    title: str,
    device: Device,
    a: F32,
    b: F32,
    reference: NDArray[np.float64],
    repeats: int,
) -> tuple[Measurement, list[Span]]:
    plan = strategy.measured
    a = a[: plan.problem.M]
    runs, spans = [], []
    for repeat in range(repeats + 1):  # the first warms up
        start = perf_counter()
        one = strategy.path(device, plan, a, b)
        name = f"{title}, " + (f"repeat {repeat}" if repeat else "warm-up")
        details: dict[str, object] = {
            "shape": str(plan.problem),
            "dispatches": one.stats.dispatches,
            "bytes_to_device": one.stats.bytes_to_device,
            "bytes_from_device": one.stats.bytes_from_device,
            "device_seconds": one.stats.kernel_measured_s,
        }
        spans.append(Span(Lane.RUNS, name, start, perf_counter(), details))
        if repeat:
            runs.append(one)
    row = Measurement(
        strategy=strategy,
        run=runs[-1],
        max_error=float(np.abs(runs[-1].c - reference[: plan.problem.M]).max()),
        total=Timings(tuple(run.total_measured_s for run in runs)),
        device=Timings(tuple(run.stats.kernel_measured_s for run in runs)),
        host=Timings(tuple(run.host_measured_s for run in runs)),
    )
    return row, spans


def write_files(projection: Projection, files: Files) -> None:
    """Write all files except the plot, which plot.py draws."""
    rows = [_fields(row, projection.device) for row in projection.rows]
    files.write_tables(as_markdown(projection), as_document(projection), rows)
    if files.trace:
        title = f"benchmark projection on {projection.device.description}"
        write_atomically(files.trace, as_trace(projection.spans, title))


def as_markdown(projection: Projection) -> str:
    """The table for people, and the meaning of its columns."""
    device = projection.device
    lines = [
        f"{projection.problem} by every strategy, MEASURED on {device.description}",
        f"({machine_line()}); median of {projection.repeats} repeats after one to warm up.",
        "",
        as_table([_cells(row, device) for row in projection.rows], left=_TEXT_COLUMNS).rstrip(),
        "",
        "- dispatches: of the whole product, as planned; counted: by the device, in the rows measured; also",
        "  submissions, of one dispatch or of a run list",
        "- MB: to the device and back, of the whole product, as planned",
        f"- max error: of an element of C against float64, in the rows measured; {MAX_ERROR} is allowed",
        f"- MEASURED s: wall time here, on the {device.clock} ({device.name}), of the rows measured; device:",
        "  inside its run; host: the rest, without what the pipelined host does while the device runs",
        "- EXTRAPOLATED s: where only some rows were measured, all rows, by the number of dispatches",
        "- MODELLED s: what the dispatches of the whole product would take on an NPU, optimistic to",
        f"  cautious; nobody measured it. In brackets: the middle over the {BASELINE.seconds} s that the",
        f"  experiment measured for {BASELINE.problem}",
        *(f"  - {profile.name}: {profile.basis}" for profile in profiles(device.target)),
        f"  - a run list of more than {device.target.run_list} dispatches is charged in parts of "
        f"{device.target.run_list}, as the driver gets it",
        "",
        f"The {BASELINE_2025.name} column holds for other kernels than matmul_64x64 only if a larger",
        f"dispatch costs the same as a 64x64 one; {device.target.profile.name} charges for bytes and work.",
        *(f"Left out: {reason}" for reason in projection.left_out),
    ]
    return "\n".join(lines) + "\n"


_BOUND = f"<= {MAX_ERROR}"
_TEXT_COLUMNS = ("strategy", "variant", "kernel", _BOUND)


def _cells(row: Measurement, device: Device) -> dict[str, str]:
    strategy, plan = row.strategy, row.strategy.plan
    extrapolated = row.extrapolated_seconds
    cells = {
        "strategy": strategy.name,
        "variant": strategy.variant,
        "kernel": plan.contract.name,
        "dispatches": f"{plan.dispatches:,}",
        "rows measured": f"{row.rows_measured:,}",
        "counted": f"{row.run.stats.dispatches:,}",
        "submissions": f"{row.run.stats.submissions:,}",
        "MB": f"{(plan.bytes_to_device + plan.bytes_from_device) / 1e6:,.1f}",
        "max error": f"{row.max_error:.5f}",
        _BOUND: "yes" if row.meets_bound else "NO",
        "MEASURED s (spread)": str(row.total),
        "MEASURED device s": short(row.device.median),
        "MEASURED host s": short(row.host.median),
        "EXTRAPOLATED s": "-" if extrapolated is None else f"~{short(extrapolated)}",
    }
    for profile in profiles(device.target):
        modelled = row.modelled_seconds(profile)
        cells[f"MODELLED s {profile.name} (of {BASELINE.seconds})"] = (
            f"{modelled.in_units(1)} ({modelled.middle / BASELINE.seconds:.2g})"
        )
    return cells


def as_document(projection: Projection) -> dict[str, object]:
    """The results for programs; docs/benchmarks.md describes the fields."""
    problem = projection.problem
    return {
        "schema": "whisper-npu/benchmark-projection",
        "schema_version": 2,
        "machine": machine(),
        "device": device_document(projection.device),
        "problem": [problem.M, problem.K, problem.N],
        "repeats": projection.repeats,
        "max_error_bound": MAX_ERROR,
        "baseline": {"dispatches": BASELINE.dispatches, "measured_seconds": BASELINE.seconds},
        "profiles": {profile.name: profile.basis for profile in profiles(projection.device.target)},
        "left_out": list(projection.left_out),
        "rows": [
            {
                **_fields(row, projection.device),
                "measured_total": row.total.as_document,
                "measured_device": row.device.as_document,
                "measured_host": row.host.as_document,
            }
            for row in projection.rows
        ],
    }


def _fields(row: Measurement, device: Device) -> dict[str, object]:
    """One line of the CSV."""
    plan, counted = row.strategy.plan, row.run.stats
    fields: dict[str, object] = {
        "strategy": row.strategy.name,
        "variant": row.strategy.variant,
        "kernel": plan.contract.name,
        "dispatches": plan.dispatches,
        "submissions": plan.submissions,
        "bytes_to_device": plan.bytes_to_device,
        "bytes_from_device": plan.bytes_from_device,
        "rows": plan.problem.M,
        "rows_measured": row.rows_measured,
        "dispatches_counted": counted.dispatches,
        "submissions_counted": counted.submissions,
        "bytes_to_device_counted": counted.bytes_to_device,
        "bytes_from_device_counted": counted.bytes_from_device,
        "max_error": row.max_error,
        "meets_bound": row.meets_bound,
        "measured_on": device.description,
        "measured_seconds": row.total.median,
        "measured_seconds_min": row.total.low,
        "measured_seconds_max": row.total.high,
        "measured_device_seconds": row.device.median,
        "measured_host_seconds": row.host.median,
        "extrapolated_seconds": row.extrapolated_seconds,
    }
    for profile in profiles(device.target):
        modelled = row.modelled_seconds(profile)
        fields |= modelled.as_fields(profile.name)
        fields[f"modelled_middle_over_baseline_{profile.name}"] = modelled.middle / BASELINE.seconds
    return fields
