"""What others measured on XDNA1, beside what the cost model says of it at their clock."""

from __future__ import annotations

from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.published import PUBLISHED, PublishedGemm, geometric_mean
from whisper_npu.markdown import as_table
from whisper_npu.npu.targets import NPU1


def write_files(files: Files) -> None:
    files.write_tables(as_markdown(), as_document(), [_fields(point) for point in PUBLISHED])


def as_markdown() -> str:
    """docs/known-points.md."""
    ratios = [point.ratio for point in PUBLISHED]
    within = sum(point.is_within for point in PUBLISHED)
    machines = dict.fromkeys(point.machine for point in PUBLISHED)
    return (
        "# What others measured, beside the cost model\n\n"
        "`whisper-npu benchmark known-points` writes this. bf16 products on XDNA1, one dispatch each.\n\n"
        + as_table([_cells(point) for point in PUBLISHED], left=("measured by", "M,K,N", "core tile", "C"))
        + f"\nMODELLED middle over MEASURED: geometric mean {geometric_mean():.2f}, from {min(ratios):.2f} "
        f"to {max(ratios):.2f}. {within} of {len(PUBLISHED)} measurements\nlie in their range. No parameter "
        "is fitted to a point: all have the same ones, and only the clock is each\nmachine's.\n\n"
        "- MEASURED us: by its author, on an NPU\n"
        "- MODELLED us: this project's kernel of the same core tile at that machine's clock, optimistic to\n"
        "  cautious; the middle is their geometric mean\n"
        f"  - {NPU1.profile.name}: {NPU1.profile.basis}\n"
        "- The kernels are others' and differ from ours: flm.GEMM reads B packed in long runs; the compiled\n"
        "  loop, the number of buffers of C and the shims' tasks are each author's own\n"
        "- Not in the model: how long the runs are in which DRAM is read; what else reads DRAM meanwhile\n\n"
        "Sources, and the clock of the array:\n\n"
        + "".join(
            f"- {machine.name}: {machine.source}; {machine.clock_hz / 1e9:g} GHz, {machine.clock}\n"
            for machine in machines
        )
    )


def _cells(point: PublishedGemm) -> dict[str, str]:
    problem = point.problem
    return {
        "measured by": point.machine.name,
        "GHz": f"{point.machine.clock_hz / 1e9:g}",
        "M,K,N": f"{problem.M}x{problem.K}x{problem.N}",
        "core tile": "x".join(map(str, point.core_tile)),
        "C": point.result_dtype.value,
        "MEASURED us": f"{1e6 * point.seconds:,.0f}",
        "MODELLED us": point.modelled.in_units(1e6),
        "middle": f"{1e6 * point.modelled.middle:,.0f}",
        "middle / MEASURED": f"{point.ratio:.2f}",
        "in range": "yes" if point.is_within else "NO",
    }


def as_document() -> dict[str, object]:
    return {
        "schema": "whisper-npu/benchmark-known-points",
        "schema_version": 1,
        "profiles": {NPU1.profile.name: NPU1.profile.basis},
        "geometric_mean": geometric_mean(),
        "rows": [_fields(point) for point in PUBLISHED],
    }


def _fields(point: PublishedGemm) -> dict[str, object]:
    problem, modelled = point.problem, point.modelled
    return {
        "measured_by": point.machine.name,
        "source": point.machine.source,
        "clock_hz": point.machine.clock_hz,
        "clock_known": point.machine.clock,
        "M": problem.M,
        "K": problem.K,
        "N": problem.N,
        "core_tile": "x".join(map(str, point.core_tile)),
        "result_dtype": point.result_dtype.value,
        "measured_seconds": point.seconds,
        **modelled.as_fields(),
        "middle_over_measured": point.ratio,
        "in_range": point.is_within,
    }
