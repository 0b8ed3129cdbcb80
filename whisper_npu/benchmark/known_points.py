"""What others measured on XDNA1, beside what the cost model says of it at their clock."""

from __future__ import annotations

from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.published import (
    IGNITE,
    PUBLISHED,
    RECORD,
    RECORD_FLOPS,
    Machine,
    PublishedGemm,
    mean_ratio,
    mean_ratio_with_its_loop,
)
from whisper_npu.npu.targets import NPU1
from whisper_npu.page import Page, Table, page_as_markdown


def write_files(files: Files) -> None:
    files.write_tables(as_markdown(), as_document(), [_fields(point) for point in PUBLISHED])


def as_markdown() -> str:
    """docs/known-points.md."""
    return page_as_markdown(page())


def page() -> Page:
    """For people."""
    ratios = [point.ratio for point in PUBLISHED]
    within = sum(point.is_within for point in PUBLISHED)
    record = next(point for point in PUBLISHED if point.machine is RECORD)
    flops = 2 * record.problem.macs / record.seconds / 1e12
    optimistic = NPU1.profile.optimistic.core
    assert optimistic is not None
    machines = dict.fromkeys(point.machine for point in PUBLISHED)
    return (
        "# What others measured, beside the cost model\n\n"
        "`whisper-npu benchmark known-points --markdown FILE` writes this. bf16 products on\n"
        f"{NPU1.title}, one dispatch each.\n\n",
        Table([_cells(point) for point in PUBLISHED], left=("measured by", "M,K,N", "core tile", "C")),
        f"\nMODELLED middle over MEASURED: geometric mean {mean_ratio():.2f}, from {min(ratios):.2f} "
        f"to {max(ratios):.2f}. {within} of {len(PUBLISHED)} measurements\nlie in their range. No parameter "
        "is fitted to these times: all points have the same ones, and only the\nclock is each machine's. But "
        f"{RECORD.name} and {IGNITE.name}, whose points are above, are sources of\nparameters too. Above "
        f"all, the optimistic cost of a step, {optimistic.block_overhead:.2f} cycles, is chosen so that one "
        "core comes\n"
        f"to the rate that {RECORD.name} measured on one core: its point does not test that end of the\n"
        "range.\n\n"
        "- MEASURED us: by its author, on an NPU\n"
        "- MODELLED us: this project's kernel of the same core tile at that machine's clock, optimistic to\n"
        "  cautious; MODELLED middle: their geometric mean\n"
        f"  - {NPU1.profile.name}: {NPU1.profile.charges}, at the GHz of the row\n"
        "- The kernels are others' and differ from ours: flm.GEMM reads B packed in long runs; the compiled\n"
        "  loop, the number of buffers of C and the shims' tasks are each author's own\n"
        "- Not in the model: how long the runs are in which DRAM is read; what else reads DRAM meanwhile\n"
        f"- {RECORD.name}: the point is the product whose sizes and core tile it gives, {flops:.2f}\n"
        f"  TFLOP/s; its best, {RECORD_FLOPS / 1e12:g} TFLOP/s, is the roofline of encoder-sizes.md\n"
        "- mean: of MODELLED middle / MEASURED, geometric; with its loop: with the rate of the compiled\n"
        "  inner loop, where llvm-objdump has shown it, in place of the assumed rates\n\n",
        Table([_source(machine) for machine in machines], left=("measured by", "clock", "source")),
        "\n## What the model is made of\n\n"
        "A dispatch takes its latency, then the start of its tasks, then the longest of DRAM, of the\n"
        "busiest stream and of the busiest core. Padding is worked on, and cores that a kernel does not use\n"
        "do nothing. Between a dispatch and the start of its first transfer 25,000 to 32,000 cycles pass\n"
        "(xdna-emu, 2026-07-03); they are part of the latency, not charged besides it.\n"
        "whisper_npu/npu/targets names every source.\n\n",
        Table(_parameters(), left=("what", "from")),
    )


def _parameters() -> list[dict[str, str]]:
    """The profile that everything is MODELLED by."""
    profile = NPU1.profile
    low, high = profile.optimistic, profile.cautious
    assert low.dram is not None
    assert high.dram is not None
    assert low.core is not None
    assert high.core is not None

    def row(what: str, optimistic: float, cautious: float, source: str) -> dict[str, str]:
        return {
            "what": what,
            "optimistic": f"{optimistic:,.4g}" if optimistic < 1000 else f"{optimistic:,.0f}",
            "cautious": f"{cautious:,.4g}" if cautious < 1000 else f"{cautious:,.0f}",
            "from": source,
        }

    def fixed(what: str, value: float, source: str) -> dict[str, str]:
        return row(what, value, value, source)

    return [
        row(
            "a dispatch, us",
            1e6 * low.dispatch_seconds,
            1e6 * high.dispatch_seconds,
            "npu-embeddings; open-xdna",
        ),
        row(
            "each further one of a run list, us",
            1e6 * low.chained_seconds,
            1e6 * high.chained_seconds,
            "RyzenAI-SW issue 142; npu-embeddings",
        ),
        row(
            "start of a DMA task, cycles",
            low.task_cycles,
            high.task_cycles,
            "xdna-emu, 2026-05-27 and 2026-05-25",
        ),
        fixed("a number written into a core, cycles", profile.instruction_cycles, "xdna-emu, 2026-07-03"),
        row(
            "DRAM, reading, GB/s", low.dram.read / 1e9, high.dram.read / 1e9, "ignite-xdna; arXiv 2512.13282"
        ),
        row("DRAM, writing, GB/s", low.dram.write / 1e9, high.dram.write / 1e9, "the same"),
        row("DRAM, both together, GB/s", low.dram.together / 1e9, high.dram.together / 1e9, "the same"),
        fixed(
            "a 32-bit word read by a shim's channel, cycles",
            profile.read_cycles_per_word,
            "xdna-emu, 2026-05-25",
        ),
        fixed("a 32-bit word written by one, cycles", profile.write_cycles_per_word, "the same"),
        row(
            "a core's inner loop, MAC per cycle",
            low.core.macs_per_cycle,
            high.core.macs_per_cycle,
            "AIE API; ignite-xdna",
        ),
        row(
            "a step of a 16x16 block of C besides, cycles",
            low.core.block_overhead,
            high.core.block_overhead,
            "arXiv 2512.13282, table 1; ignite-xdna",
        ),
        row(
            "a change of overlay, ms",
            1e3 * low.overlay_switch_seconds,
            1e3 * high.overlay_switch_seconds,
            "whisper-xdna; arXiv 2512.13282",
        ),
        row("waking up, ms", 1e3 * low.wake_seconds, 1e3 * high.wake_seconds, "mlir-aie issue 2944"),
        fixed("sleeps after, s", profile.sleeps_after_seconds or 0.0, "xdna-driver issue 535"),
        fixed("clock, Linux, GHz", NPU1.clocks["Linux"] / 1e9, "xdna-emu, 2026-08-04"),
        fixed("clock, Windows, GHz", NPU1.clocks["Windows"] / 1e9, "ignite-xdna"),
        fixed("clock, idle, GHz", NPU1.idle_clock_hz / 1e9, "xdna-emu, 2026-08-04; ignite-xdna"),
    ]


def _source(machine: Machine) -> dict[str, str]:
    mine = [point for point in PUBLISHED if point.machine == machine]
    with_loop = mean_ratio_with_its_loop(mine)
    return {
        "measured by": machine.name,
        "points": str(len(mine)),
        "mean": f"{mean_ratio(mine):.2f}",
        "with its loop": "-" if with_loop is None else f"{with_loop:.2f}",
        "clock": f"{machine.clock_hz / 1e9:g} GHz, {machine.clock}",
        "source": machine.source,
    }


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
        "MODELLED middle": f"{1e6 * point.modelled.middle:,.0f}",
        "MODELLED middle / MEASURED": f"{point.ratio:.2f}",
        "in range": "yes" if point.is_within else "NO",
    }


def as_document() -> dict[str, object]:
    return {
        "schema": "whisper-npu/benchmark-known-points",
        "schema_version": 1,
        "profiles": {NPU1.profile.name: NPU1.profile.charges},
        "geometric_mean": mean_ratio(),
        "rows": [_fields(point) for point in PUBLISHED],
    }


def _fields(point: PublishedGemm) -> dict[str, object]:
    problem, modelled, with_loop = point.problem, point.modelled, point.modelled_with_its_loop
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
        "middle_with_its_loop_over_measured": with_loop and with_loop.middle / point.seconds,
        "in_range": point.is_within,
    }
