"""Every size of encoder: dispatches, MODELLED time and roofline of one window, and published times.

On request also MEASURED: the emulator against CTranslate2's float32 encoder on this CPU, both with random
weights of the right shapes; and the host's own work beside the dispatches, without which no MODELLED time of
theirs may stand beside anybody's whole encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import sleep

from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.published import PUBLISHED_ENCODERS, PUBLISHED_ENCODERS_SOURCE, RECORD_FLOPS
from whisper_npu.benchmark.timings import Timings, machine, machine_line
from whisper_npu.benchmark.window import OURS, PEER, EncoderProcess, Window
from whisper_npu.dtypes import DType
from whisper_npu.encoder import ModelDimensions, encoder_ops
from whisper_npu.kernels import registry
from whisper_npu.kernels.matmul.kernel import MatmulContract, TiledMatmul, matmul_64x64, matmul_64x512
from whisper_npu.npu.cost import Modelled, modelled_plan_seconds, overlay_change, total
from whisper_npu.npu.planner import Alternative, Choice, choose, products
from whisper_npu.npu.targets import NPU1, Target
from whisper_npu.ops import Matmul
from whisper_npu.page import Page, Table, page_as_markdown
from whisper_npu.released import released_dimensions

MODELS = ("tiny", "base", "small", "medium", "large-v3-turbo", "large-v3")
PAUSE_SECONDS = 0.3  # after each turn, so that none of its threads spins any more


@dataclass(frozen=True)
class Roofline:
    """The least time of these products: arithmetic at the record rate, each byte moved once."""

    flops: int
    bytes_per_second: float  # the target's DRAM
    nbytes: int  # A and B in bf16 read once, C in fp32 written once; no padding

    @classmethod
    def of(cls, problems: Sequence[Matmul], target: Target) -> Roofline:
        operands = sum(p.batch * (p.M * p.K + p.K * p.N) for p in problems)
        results = sum(p.batch * p.M * p.N for p in problems)
        return cls(
            bytes_per_second=target.best_dram.together,
            flops=2 * sum(p.macs for p in problems),
            nbytes=operands * DType.BF16.nbytes + results * DType.F32.nbytes,
        )

    @property
    def flops_seconds(self) -> float:
        return self.flops / RECORD_FLOPS

    @property
    def bytes_seconds(self) -> float:
        return self.nbytes / self.bytes_per_second

    @property
    def seconds(self) -> float:
        return max(self.flops_seconds, self.bytes_seconds)

    @property
    def bound(self) -> str:
        return "FLOPs" if self.flops_seconds >= self.bytes_seconds else "bytes"


@dataclass(frozen=True)
class Comparison:
    """MEASURED seconds of one window on this CPU; the two encoders take turns."""

    ours: Timings
    peer: Timings
    host: Timings  # of ours, what was not inside the device

    @property
    def ratio(self) -> Timings:
        pairs = zip(self.ours.seconds, self.peer.seconds, strict=True)
        return Timings(tuple(ours / peer for ours, peer in pairs))


@dataclass(frozen=True)
class Size:
    """One encoder, planned for an NPU that has every kernel."""

    model: str
    dims: ModelDimensions
    target: Target
    choice: Choice
    measured: Comparison | None = None

    @property
    def problems(self) -> list[Matmul]:
        return products(encoder_ops(self.dims))

    @property
    def roofline(self) -> Roofline:
        return Roofline.of(self.problems, self.target)

    @property
    def seconds(self) -> Modelled:
        """Of all dispatches, changes of overlay included."""
        return self.choice.alternatives[0].seconds

    @property
    def flat_cautious_seconds(self) -> float:
        """MODELLED, if a core's rate were flat: no sums of a step are read and written."""
        profile = self.target.profile.with_flat_rates()
        return total(
            modelled_plan_seconds(plan, profile) for plan in self.choice.alternatives[0].plans
        ).cautious_s

    @property
    def whole_seconds(self) -> Modelled | None:
        """MODELLED dispatches and the MEASURED rest; None where nothing was measured."""
        return self.seconds.plus(self.measured.host.median) if self.measured else None

    @property
    def dispatches(self) -> int:
        return self.choice.alternatives[0].dispatches

    def dispatches_with(self, contract: MatmulContract) -> int:
        return choose(self.problems, [TiledMatmul(contract)]).alternatives[0].dispatches

    @property
    def published(self) -> str:
        return next((str(encoder) for encoder in PUBLISHED_ENCODERS if encoder.model == self.model), "-")


@dataclass(frozen=True)
class Sizes:
    target: Target
    sizes: tuple[Size, ...]
    threads: int
    repeats: int | None  # None: nothing was measured


def run_sizes(
    models: Sequence[str] = MODELS,
    *,
    target: Target = NPU1,
    repeats: int | None,
    threads: int,
    progress: Callable[[str], None],
) -> Sizes:
    """repeats: measured windows per encoder, after two to warm up; None measures nothing.

    models: released ones, by name. Raises UnknownModelError for another.
    """
    sizes = []
    for model, dims in [(model, released_dimensions(model)) for model in models]:
        choice = choose(encoder_ops(dims), registry.kernels(target))
        measured = None
        if repeats is not None:
            progress(f"measuring a window of {model} with random weights")
            measured = _measured(model, repeats, threads)
        sizes.append(Size(model, dims, target, choice, measured))
    return Sizes(target, tuple(sizes), threads, repeats)


def _measured(model: str, repeats: int, threads: int) -> Comparison:
    windows: dict[str, list[Window]] = {PEER: [], OURS: []}
    with ExitStack() as stack:
        workers = [stack.enter_context(EncoderProcess(name, model, threads)) for name in windows]
        for repeat in range(repeats + 2):
            for worker in workers:
                window = worker.encode()
                if repeat >= 2:
                    windows[worker.name].append(window)
                sleep(PAUSE_SECONDS)
    return Comparison(
        ours=Timings(tuple(window.seconds for window in windows[OURS])),
        peer=Timings(tuple(window.seconds for window in windows[PEER])),
        host=Timings(tuple(window.host_seconds for window in windows[OURS])),
    )


def write_files(sizes: Sizes, files: Files) -> None:
    files.write_tables(as_markdown(sizes), as_document(sizes), [_fields(size) for size in sizes.sizes])


def as_markdown(sizes: Sizes) -> str:
    """For all MODELS it is docs/encoder-sizes.md."""
    return page_as_markdown(page(sizes))


def page(sizes: Sizes) -> Page:
    """For people: the table, and the meaning of its columns."""
    rows = [_cells(size) for size in sizes.sizes]
    measure = " --measure" if sizes.repeats is not None else ""
    profile = sizes.target.profile
    record, dram = RECORD_FLOPS / 1e12, sizes.target.best_dram.together / 1e9
    return (
        "# Every size of encoder\n\n"
        "One window of 30 s, 1,500 positions, as\n"
        f"`whisper-npu benchmark sizes{measure} --markdown FILE` writes it.\n\n",
        Table(rows, left=("model", "kernels")),
        "\n- dispatches: with the kernels that the planner chooses; then with one small kernel for all\n"
        "- MODELLED NPU ms: these dispatches on an NPU, changes of overlay included, optimistic to\n"
        "  cautious; nobody measured it. What the CPU does besides is not in it: rounding the mel, the last\n"
        "  norm\n"
        f"  - {profile.name}: {profile.basis};\n"
        f"    {overlay_change(profile).in_units(1e3)} ms per change of overlay\n"
        "- cautious, flat: the same cautious case, as if a core multiplied at the rate of its inner loop\n"
        "  all the time\n"
        "- MODELLED roofline ms: the encoder's matrix products alone: the larger of FLOPs over\n"
        f"  {record:g} TFLOP/s, this array's record (arXiv 2512.13282), and bytes over\n"
        f"  {dram:g} GB/s, the most that DRAM gave both ways together, each operand read once in bf16 and\n"
        "  each result written once in fp32, without padding\n"
        + _whole_notes(sizes)
        + _measured_notes(sizes),
    )


def _whole_notes(sizes: Sizes) -> str:
    if sizes.repeats is None:
        return ""
    return (
        "- MEASURED host ms: all that this CPU does for that window beside the dispatches\n"
        "- MODELLED NPU + MEASURED host ms: their sum, one after the other: what may stand beside\n"
        "  published ms, though on another CPU\n"
        f"- published ms: a WHOLE encoder on {sizes.target.title}, MEASURED by its author "
        f"({PUBLISHED_ENCODERS_SOURCE}), who\n"
        "  does some of what is the CPU's here on the NPU\n"
    )


def _measured_notes(sizes: Sizes) -> str:
    if sizes.repeats is None:
        return ""
    return (
        f"- MEASURED s: one window through the WHOLE encoder on this CPU ({machine_line()}),\n"
        f"  {sizes.threads} threads, RANDOM WEIGHTS of the right shapes; the encoders are separate processes "
        "that take turns;\n"
        f"  medians of {sizes.repeats} repeats after two to warm up. No NPU is involved\n"
    )


def _cells(size: Size) -> dict[str, str]:
    """Others' whole encoders stand beside ours only where that is a whole one too."""
    cells = modelled_cells(size)
    if size.measured is None or size.whole_seconds is None:
        return cells
    kernels = cells.pop("kernels")
    beside = {
        "MEASURED host ms": f"{1e3 * size.measured.host.median:,.0f}",
        "MODELLED NPU + MEASURED host ms": size.whole_seconds.in_units(1e3),
        "published ms": size.published,
        "kernels": kernels,
    }
    return cells | beside | _measured_cells(size.measured)


def modelled_cells(size: Size) -> dict[str, str]:
    """The columns that are the same on every machine."""
    dims, roofline = size.dims, size.roofline
    return {
        "model": size.model,
        "n_state": f"{dims.n_audio_state:,}",
        "layers": str(dims.n_audio_layer),
        "dispatches": f"{size.dispatches:,}",
        "with 64x512": f"{size.dispatches_with(matmul_64x512(size.target)):,}",
        "with 64x64": f"{size.dispatches_with(matmul_64x64(size.target)):,}",
        "MODELLED NPU ms": size.seconds.in_units(1e3),
        "cautious, flat ms": f"{1e3 * size.flat_cautious_seconds:,.0f}",
        "MODELLED roofline ms": f"{1e3 * roofline.seconds:,.0f} ({roofline.bound})",
        "kernels": size.choice.name,
    }


def _measured_cells(measured: Comparison) -> dict[str, str]:
    return {
        "MEASURED emulator s": str(measured.ours),
        "MEASURED CTranslate2 s": str(measured.peer),
        "ratio": f"{measured.ratio.median:.2f}",
    }


def as_document(sizes: Sizes) -> dict[str, object]:
    return {
        "schema": "whisper-npu/benchmark-sizes",
        "schema_version": 2,
        "machine": machine(),
        "threads": sizes.threads,
        "repeats": sizes.repeats,
        "profiles": {sizes.target.profile.name: sizes.target.profile.basis},
        "rows": [
            _fields(size)
            | {"alternatives": [_alternative(other, size.target) for other in size.choice.alternatives]}
            for size in sizes.sizes
        ],
    }


def _alternative(other: Alternative, target: Target) -> dict[str, object]:
    return {
        "kernels": [kernel.name for kernel in other.kernels],
        "dispatches": other.dispatches,
        **other.seconds.as_fields(target.profile.name),
    }


def _fields(size: Size) -> dict[str, object]:
    measured = size.measured
    return {
        "model": size.model,
        "n_audio_state": size.dims.n_audio_state,
        "n_audio_head": size.dims.n_audio_head,
        "n_audio_layer": size.dims.n_audio_layer,
        "kernels": size.choice.name,
        "dispatches": size.dispatches,
        "dispatches_64x512": size.dispatches_with(matmul_64x512(size.target)),
        "dispatches_64x64": size.dispatches_with(matmul_64x64(size.target)),
        **size.seconds.as_fields(size.target.profile.name),
        "floor_seconds_flops": size.roofline.flops_seconds,
        "floor_seconds_bytes": size.roofline.bytes_seconds,
        "published_whole_encoder_ms": size.published,
        "measured_weights": measured and "random",
        "measured_host_seconds": measured and measured.host.median,
        "measured_emulator_seconds": measured and measured.ours.median,
        "measured_ctranslate2_seconds": measured and measured.peer.median,
        "measured_ratio": measured and measured.ratio.median,
    }
