"""`whisper-npu benchmark ...`."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from whisper_npu.apps.cli.options import (
    CsvFile,
    Device,
    DeviceName,
    FidelityName,
    FidelityOption,
    JsonFile,
    KernelFolders,
    MarkdownFile,
    PlotFile,
    Repeats,
    Threads,
    Timeout,
    TraceFile,
    npu_options,
)

if TYPE_CHECKING:
    from whisper_npu.benchmark.files import Files
    from whisper_npu.page import Page

benchmark = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure products, the pipeline, energy and word errors.\n\n"
    "Every number says whether it is MEASURED on this machine or MODELLED for an NPU.",
)


class Peer(Enum):
    faster_whisper = "faster-whisper"


@benchmark.command("projection")
def benchmark_projection(
    strategy: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--strategy", help="Strategy to run; default: all."),
    ] = None,
    repeats: Repeats = 3,
    naive_rows: Annotated[
        int, typer.Option("--naive_rows", min=1, help="Rows of A to measure the naive strategy on.")
    ] = 128,
    device: Device = DeviceName.auto,
    fidelity: FidelityOption = FidelityName.exact,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
    plot: PlotFile = None,
    trace: TraceFile = None,
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

    check_names(strategy or [])
    files = Files(markdown=markdown, json=json, csv=csv, plot=plot, trace=trace)
    npu = npu_options(kernels, timeout)
    files.check()
    with open_device(device.value, Fidelity(fidelity.value), npu=npu) as opened:
        done = run_projection(
            opened, names=strategy or [], repeats=repeats, naive_rows=naive_rows, progress=_say
        )
    write_files(done, files)
    if files.plot:
        from whisper_npu.benchmark.plot import projection_plot
        from whisper_npu.output import write_bytes_atomically

        write_bytes_atomically(files.plot, projection_plot(done, files.plot.suffix.lower()))
    _show(page(done), files)


@benchmark.command("sizes")
def benchmark_sizes(
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Also measure one window against CTranslate2's encoder, with random weights."
        ),
    ] = False,
    repeats: Repeats = 5,
    threads: Threads = None,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
) -> None:
    """Compare encoders from tiny to large-v3.

    It shows dispatches, MODELLED time, roofline and published times.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.sizes import page, run_sizes, write_files
    from whisper_npu.host.threads import cores

    files = Files(markdown=markdown, json=json, csv=csv)
    files.check()
    done = run_sizes(repeats=repeats if measure else None, threads=threads or cores(), progress=_say)
    write_files(done, files)
    _show(page(done), files)


@benchmark.command("known-points")
def benchmark_known_points(
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
) -> None:
    """Compare the cost model with what others measured.

    They measured on XDNA1, each at a clock of their own.
    """
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.known_points import page, write_files

    files = Files(markdown=markdown, json=json, csv=csv)
    files.check()
    write_files(files)
    _show(page(), files)


@benchmark.command("call")
def benchmark_call(
    repeats: Repeats = 20,
    device: Device = DeviceName.auto,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
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
    with open_device(device.value, Fidelity.EXACT, npu=npu) as opened:
        done = run_calls(opened, repeats=repeats, progress=_say)
    write_files(done, files)
    _show(page(done), files)


@benchmark.command("pipeline")
def benchmark_pipeline(
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Audio files.")],
    model: Annotated[str, typer.Option("--model", help="Name, folder, or hub id.")] = "base",
    kernel: Annotated[str, typer.Option("--kernel", help="auto, or a kernel as in transcribe.")] = "auto",
    repeats: Repeats = 3,
    device: Device = DeviceName.auto,
    fidelity: FidelityOption = FidelityName.fast,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
    plot: PlotFile = None,
    trace: TraceFile = None,
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
    with open_device(device.value, Fidelity(fidelity.value), npu=npu) as opened:
        done = run_pipeline(audio, opened, model=model, kernel=kernel, repeats=repeats, progress=_say)
    write_files(done, files)
    if files.plot:
        from whisper_npu.benchmark.plot import pipeline_plot
        from whisper_npu.output import write_bytes_atomically

        write_bytes_atomically(files.plot, pipeline_plot(done, files.plot.suffix.lower()))
    _show(page(done), files)


@benchmark.command("energy")
def benchmark_energy(
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Audio files.")],
    model: Annotated[str, typer.Option("--model", help="Name, folder, or hub id.")] = "base",
    kernel: Annotated[str, typer.Option("--kernel", help="auto, or a kernel as in transcribe.")] = "auto",
    repeats: Repeats = 3,
    idle: Annotated[
        float,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            help="How long to measure the idle machine, before the work and after it.",
        ),
    ] = 10.0,
    device: Device = DeviceName.auto,
    fidelity: FidelityOption = FidelityName.fast,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
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
    with open_device(device.value, Fidelity(fidelity.value), npu=npu) as opened:
        done = run_energy(
            audio,
            opened,
            sensor,
            model=model,
            kernel=kernel,
            repeats=repeats,
            idle_seconds=idle,
            progress=_say,
        )
    write_files(done, files)
    _show(page(done), files)


@benchmark.command("wer")
def benchmark_wer(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST.tsv",
            help="Recordings and their texts: columns path, text, optionally group.",
        ),
    ],
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--model", help="Model to test; default: tiny.en."),
    ] = None,
    kernel: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--kernel", help="Kernel to test; default: 64x512 and 64x64."),
    ] = None,
    device: Annotated[
        Optional[list[DeviceName]],  # noqa: UP045
        typer.Option("--device", help="Device to test; default: auto."),
    ] = None,
    fidelity: FidelityOption = FidelityName.fast,
    against: Annotated[
        Optional[Peer],  # noqa: UP045
        typer.Option("--against", help="Also transcribe with this program and its own encoder."),
    ] = None,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
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
        read_manifest(manifest),
        models=model or ["tiny.en"],
        kernels=kernel or ["64x512", "64x64"],
        devices=[name.value for name in device or [DeviceName.auto]],
        fidelity=Fidelity(fidelity.value),
        npu=npu,
        against_faster_whisper=against is not None,
        progress=_say,
    )
    write_files(done, files)
    _show(page(done), files)


def _show(page: Page, files: Files) -> None:
    """On stdout: as wide as the terminal, and then which files were written."""
    from whisper_npu.page import page_as_text
    from whisper_npu.screen import Screen

    screen = Screen.of(sys.stdout, os.environ)
    print(page_as_text(page, screen.width) + files.ending, end="")


def _say(step: str) -> None:
    print(f"whisper-npu: {step}", file=sys.stderr, flush=True)
