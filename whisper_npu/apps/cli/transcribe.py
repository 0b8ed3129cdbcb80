"""`whisper-npu transcribe`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Optional

import typer

from whisper_npu.apps.cli.options import (
    KERNEL_HELP,
    ComputeType,
    Device,
    DeviceName,
    FidelityName,
    FidelityOption,
    KernelFolders,
    Threads,
    Timeout,
    npu_options,
)

BATCH_SIZE = 8  # faster-whisper's default
START = perf_counter()  # as early as this program can take it


class Task(Enum):
    transcribe = "transcribe"
    translate = "translate"


class OutputFormat(Enum):
    txt = "txt"
    srt = "srt"
    vtt = "vtt"
    tsv = "tsv"
    json = "json"
    all = "all"


def transcribe(
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Audio files; - reads stdin.")],
    model: Annotated[
        str,
        typer.Option("--model", help="Name (tiny.en, base, large-v3-turbo, ...), folder, or hub id."),
    ] = "base",
    device: Device = DeviceName.auto,
    kernel: Annotated[str, typer.Option("--kernel", help=KERNEL_HELP)] = "auto",
    compute_type: ComputeType = "auto",
    fidelity: FidelityOption = FidelityName.fast,
    language: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--language", help="Language code or English name; default: detected."),
    ] = None,
    task: Annotated[Task, typer.Option("--task", help="translate: into English.")] = Task.transcribe,
    beam_size: Annotated[
        int, typer.Option("--beam_size", help="Width of the decoder's beam search, at least 1.")
    ] = 5,
    temperature: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--temperature",
            help="Only this temperature, 0 to 1; default: 0, then higher ones if decoding fails.",
        ),
    ] = None,
    initial_prompt: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--initial_prompt", help="Text that comes before the first window, as context."),
    ] = None,
    word_timestamps: Annotated[
        bool,
        typer.Option(
            "--word_timestamps/--no_word_timestamps", help="Time every word; written to json files."
        ),
    ] = False,
    vad_filter: Annotated[
        bool, typer.Option("--vad_filter/--no_vad_filter", help="Skip parts without speech (Silero VAD).")
    ] = False,
    batched: Annotated[
        bool,
        typer.Option("--batched/--no_batched", help="Decode several windows at once, cut at pauses (VAD)."),
    ] = False,
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--batch_size", metavar="N", help="How many windows at once; default: 8 with --batched."
        ),
    ] = None,
    output_format: Annotated[
        Optional[OutputFormat],  # noqa: UP045
        typer.Option("--output_format", help="Write a file per recording in this format, or in all."),
    ] = None,
    output_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output_dir", help="Folder for these files; alone it means --output_format txt."),
    ] = None,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--report", metavar="FILE.json", help="Write the report as JSON (docs/report.md)."),
    ] = None,
    threads: Threads = None,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print no progress and no report on stderr.")
    ] = False,
) -> int:
    """Transcribe recordings; their text goes to stdout.

    Progress and a report go to stderr.
    """
    from whisper_npu.apps.cli.run import OutputFiles, Run
    from whisper_npu.npu.emulator.device import Fidelity
    from whisper_npu.transcription.options import TranscribeOptions

    defaults = TranscribeOptions()
    return Run(
        audio=tuple(audio),
        model=model,
        device=device.value,
        kernel=kernel,
        compute_type=compute_type,
        fidelity=Fidelity(fidelity.value),
        npu=npu_options(kernels, timeout),
        threads=threads,
        options=TranscribeOptions(
            language=language,
            task=task.value,
            beam_size=beam_size,
            temperature=defaults.temperature if temperature is None else (temperature,),
            initial_prompt=initial_prompt,
            word_timestamps=word_timestamps,
            vad_filter=vad_filter,
            batch_size=BATCH_SIZE if batched and batch_size is None else batch_size,
        ),
        output=OutputFiles.asked_for(output_format and output_format.value, output_dir),
        report=report,
        quiet=quiet,
        started=START,
    ).execute()
