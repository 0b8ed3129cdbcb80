"""`whisper-npu benchmark ...`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_npu.apps.cli.command import Argument, Group, command, option
from whisper_npu.apps.cli.options import (
    CSV,
    DEVICE,
    DEVICES,
    JSON,
    KERNELS,
    MARKDOWN,
    MODEL,
    PLOT,
    THREADS,
    TIMEOUT,
    TRACE,
    fidelity,
    kernel,
    npu_options,
    repeats,
)
from whisper_npu.apps.cli.terminal import lines_shown, print_text, say
from whisper_npu.apps.cli.values import SWITCH, TEXT, Choice, Number

if TYPE_CHECKING:
    from whisper_npu.benchmark.files import Files
    from whisper_npu.page import Page

benchmark = Group(
    "benchmark",
    help="Measure products, the pipeline, energy and word errors.\n\n"
    "Every number says whether it is MEASURED on this machine or MODELLED for an NPU.",
)
_RECORDINGS = Argument("audio", metavar="AUDIO...", many=True, type=TEXT, help="Audio files.")
_KERNEL = kernel("auto, or a kernel as in transcribe.")


@command(
    benchmark,
    "projection",
    option("--strategy", type=TEXT, multiple=True, metavar="NAME", help="Strategy to run; default: all."),
    repeats(3),
    option(
        "--naive_rows",
        type=Number(int, 1),
        default=128,
        metavar="N",
        help="Rows of A to measure the naive strategy on.",
    ),
    DEVICE,
    fidelity("exact"),
    KERNELS,
    TIMEOUT,
    MARKDOWN,
    JSON,
    CSV,
    PLOT,
    TRACE,
)
def benchmark_projection(
    strategy: tuple[str, ...],
    repeats: int,
    naive_rows: int,
    device: str,
    fidelity: str,
    kernels: tuple[Path, ...],
    timeout: float,
    markdown: Path | None,
    json: Path | None,
    csv: Path | None,
    plot: Path | None,
    trace: Path | None,
) -> None:
    """Run the baseline's product by every strategy.

    The product is (3001,512)@(512,512).
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.projection import run_projection, write_files
    from whisper_npu.benchmark.projection_text import page
    from whisper_npu.benchmark.strategies import check_names
    from whisper_npu.npu.emulator.device import Fidelity
    from whisper_npu.npu.open import open_device

    check_names(strategy)
    files = Files(markdown=markdown, json=json, csv=csv, plot=plot, trace=trace)
    npu = npu_options(kernels, timeout)
    files.check()
    with open_device(device, Fidelity(fidelity), npu=npu) as opened:
        done = run_projection(opened, names=strategy, repeats=repeats, naive_rows=naive_rows, progress=say)
    write_files(done, files)
    if files.plot:
        from whisper_npu.benchmark.plot import projection_plot
        from whisper_npu.output import write_bytes_atomically

        write_bytes_atomically(files.plot, projection_plot(done, files.plot.suffix.lower()))
    _show(page(done), files)


@command(
    benchmark,
    "sizes",
    option(
        "--measure",
        type=SWITCH,
        default=False,
        help="Also measure one window against CTranslate2's encoder, with random weights.",
    ),
    repeats(5),
    THREADS,
    MARKDOWN,
    JSON,
    CSV,
)
def benchmark_sizes(
    measure: bool,
    repeats: int,
    threads: int | None,
    markdown: Path | None,
    json: Path | None,
    csv: Path | None,
) -> None:
    """Compare encoders from tiny to large-v3.

    It shows dispatches, MODELLED time, roofline and published times.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.sizes import page, run_sizes, write_files
    from whisper_npu.host.threads import cores

    files = Files(markdown=markdown, json=json, csv=csv)
    files.check()
    done = run_sizes(repeats=repeats if measure else None, threads=threads or cores(), progress=say)
    write_files(done, files)
    _show(page(done), files)


@command(
    benchmark,
    "roofline",
    option(
        "--model",
        type=TEXT,
        default="base",
        metavar="NAME",
        help="Released model to show op by op; tiny.en, ...",
    ),
    MARKDOWN,
    JSON,
    CSV,
    PLOT,
)
def benchmark_roofline(
    model: str, markdown: Path | None, json: Path | None, csv: Path | None, plot: Path | None
) -> None:
    """Show what binds each op of the encoder.

    It is arithmetic, DRAM or streams, by layer kernels and by gemm. All is MODELLED.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.roofline import page, run_rooflines, write_files

    files = Files(markdown=markdown, json=json, csv=csv, plot=plot)
    files.check()
    done = run_rooflines(model)
    write_files(done, files)
    if files.plot:
        from whisper_npu.benchmark.plot import roofline_plot
        from whisper_npu.output import write_bytes_atomically

        write_bytes_atomically(files.plot, roofline_plot(done, files.plot.suffix.lower()))
    _show(page(done), files)


@command(benchmark, "known-points", MARKDOWN, JSON, CSV)
def benchmark_known_points(markdown: Path | None, json: Path | None, csv: Path | None) -> None:
    """Compare the cost model with what others measured.

    They measured on XDNA1, each at a clock of their own.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.known_points import page, write_files

    files = Files(markdown=markdown, json=json, csv=csv)
    files.check()
    write_files(files)
    _show(page(), files)


@command(benchmark, "call", repeats(20), DEVICE, KERNELS, TIMEOUT, MARKDOWN, JSON, CSV)
def benchmark_call(
    repeats: int,
    device: str,
    kernels: tuple[Path, ...],
    timeout: float,
    markdown: Path | None,
    json: Path | None,
    csv: Path | None,
) -> None:
    """Measure one dispatch of each kernel, step by step.

    The steps are: allocate, convert, copy in, run, copy out.
    """
    from whisper_npu.benchmark.call import page, run_calls, write_files
    from whisper_npu.benchmark.files import Files
    from whisper_npu.npu.emulator.device import Fidelity
    from whisper_npu.npu.open import open_device

    files = Files(markdown=markdown, json=json, csv=csv)
    npu = npu_options(kernels, timeout)
    files.check()
    with open_device(device, Fidelity.EXACT, npu=npu) as opened:
        done = run_calls(opened, repeats=repeats, progress=say)
    write_files(done, files)
    _show(page(done), files)


@command(
    benchmark,
    "pipeline",
    _RECORDINGS,
    MODEL,
    _KERNEL,
    repeats(3),
    DEVICE,
    fidelity("fast"),
    KERNELS,
    TIMEOUT,
    MARKDOWN,
    JSON,
    CSV,
    PLOT,
    TRACE,
)
def benchmark_pipeline(
    audio: tuple[str, ...],
    model: str,
    kernel: str,
    repeats: int,
    device: str,
    fidelity: str,
    kernels: tuple[Path, ...],
    timeout: float,
    markdown: Path | None,
    json: Path | None,
    csv: Path | None,
    plot: Path | None,
    trace: Path | None,
) -> None:
    """Measure the whole pipeline on recordings.

    That is every stage, and every operation of the encoder.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.pipeline import page, run_pipeline, write_files
    from whisper_npu.npu.emulator.device import Fidelity
    from whisper_npu.npu.open import open_device

    files = Files(markdown=markdown, json=json, csv=csv, plot=plot, trace=trace)
    npu = npu_options(kernels, timeout)
    files.check()
    with open_device(device, Fidelity(fidelity), npu=npu) as opened:
        done = run_pipeline(audio, opened, model=model, kernel=kernel, repeats=repeats, progress=say)
    write_files(done, files)
    if files.plot:
        from whisper_npu.benchmark.plot import pipeline_plot
        from whisper_npu.output import write_bytes_atomically

        write_bytes_atomically(files.plot, pipeline_plot(done, files.plot.suffix.lower()))
    _show(page(done), files)


@command(
    benchmark,
    "energy",
    _RECORDINGS,
    MODEL,
    _KERNEL,
    repeats(3),
    option(
        "--idle",
        type=Number(float),
        default=10.0,
        metavar="SECONDS",
        help="How long to measure the idle machine, before the work and after it.",
    ),
    DEVICE,
    fidelity("fast"),
    KERNELS,
    TIMEOUT,
    MARKDOWN,
    JSON,
    CSV,
)
def benchmark_energy(
    audio: tuple[str, ...],
    model: str,
    kernel: str,
    repeats: int,
    idle: float,
    device: str,
    fidelity: str,
    kernels: tuple[Path, ...],
    timeout: float,
    markdown: Path | None,
    json: Path | None,
    csv: Path | None,
) -> None:
    """Measure joules per minute of audio over idle.

    The processor's sensor says them: RAPL or amdgpu's PPT.
    """
    from whisper_npu.benchmark.energy import check_arguments, page, run_energy, write_files
    from whisper_npu.benchmark.files import Files
    from whisper_npu.energy.sensors import open_sensor
    from whisper_npu.npu.emulator.device import Fidelity
    from whisper_npu.npu.open import open_device

    files = Files(markdown=markdown, json=json, csv=csv)
    npu = npu_options(kernels, timeout)
    files.check()
    check_arguments(audio, idle)
    sensor = open_sensor()
    with open_device(device, Fidelity(fidelity), npu=npu) as opened:
        done = run_energy(
            audio,
            opened,
            sensor,
            model=model,
            kernel=kernel,
            repeats=repeats,
            idle_seconds=idle,
            progress=say,
        )
    write_files(done, files)
    _show(page(done), files)


@command(
    benchmark,
    "wer",
    Argument(
        "manifest",
        metavar="MANIFEST.tsv",
        help="Recordings and their texts: columns path, text, optionally group.",
    ),
    option("--model", type=TEXT, multiple=True, metavar="NAME", help="Model to test; default: tiny.en."),
    option(
        "--kernel",
        type=TEXT,
        multiple=True,
        metavar="NAME",
        help="Kernel to test; default: 64x512 and 64x64.",
    ),
    option("--device", type=DEVICES, multiple=True, metavar="NAME", help="Device to test; default: auto."),
    fidelity("fast"),
    option(
        "--against",
        type=Choice(("faster-whisper",)),
        metavar="PROGRAM",
        help="Also transcribe with this program and its own encoder: faster-whisper.",
    ),
    KERNELS,
    TIMEOUT,
    MARKDOWN,
    JSON,
    CSV,
)
def benchmark_wer(
    manifest: str,
    model: tuple[str, ...],
    kernel: tuple[str, ...],
    device: tuple[str, ...],
    fidelity: str,
    against: str | None,
    kernels: tuple[Path, ...],
    timeout: float,
    markdown: Path | None,
    json: Path | None,
    csv: Path | None,
) -> None:
    """Compute word error rates of recordings.

    They are given per recording and in total. The extra wer (jiwer) is needed.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.word_errors import page, read_manifest, run_word_errors, write_files
    from whisper_npu.npu.emulator.device import Fidelity

    files = Files(markdown=markdown, json=json, csv=csv)
    npu = npu_options(kernels, timeout)
    files.check()
    done = run_word_errors(
        read_manifest(Path(manifest)),
        models=model or ("tiny.en",),
        kernels=kernel or ("64x512", "64x64"),
        devices=device or ("auto",),
        fidelity=Fidelity(fidelity),
        npu=npu,
        against_faster_whisper=against is not None,
        progress=say,
    )
    write_files(done, files)
    _show(page(done), files)


def _show(page: Page, files: Files) -> None:
    """On stdout: as wide as the terminal, and then which files were written."""
    from whisper_npu.output import is_stdout
    from whisper_npu.page import page_as_text
    from whisper_npu.screen import Screen

    if any(is_stdout(path) for path in files.asked):
        return  # stdout has what was asked for, perhaps for another program
    screen = Screen.of(sys.stdout, os.environ)
    print_text(lines_shown(page_as_text(page, screen.width) + files.ending))
