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
    KernelFolders,
    Threads,
    Timeout,
    npu_options,
)

BATCH_SIZE = 8  # faster-whisper's
START = perf_counter()  # of the run, as far as Python lets us see it


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
        typer.Option("--model", help="A name (tiny.en, base, large-v3-turbo, ...), a folder, or a hub id."),
    ] = "base",
    device: Device = DeviceName.auto,
    kernel: Annotated[str, typer.Option("--kernel", help=KERNEL_HELP)] = "auto",
    compute_type: ComputeType = "auto",
    fidelity: Annotated[
        FidelityName,
        typer.Option("--fidelity", help="Of the emulator: exact runs dispatch by dispatch, and slowly."),
    ] = FidelityName.fast,
    language: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--language", help="Code or English name; detected if not given."),
    ] = None,
    task: Annotated[
        Task, typer.Option("--task", help="Transcribe, or translate to English.")
    ] = Task.transcribe,
    beam_size: Annotated[int, typer.Option("--beam_size", help="Beams of the decoder's search, from 1.")] = 5,
    temperature: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--temperature", help="One temperature, 0 to 1, without fallback to higher ones."),
    ] = None,
    initial_prompt: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--initial_prompt", help="Text to prompt the first window with."),
    ] = None,
    word_timestamps: Annotated[
        bool, typer.Option("--word_timestamps/--no_word_timestamps", help="Times of each word, in json.")
    ] = False,
    vad_filter: Annotated[
        bool, typer.Option("--vad_filter/--no_vad_filter", help="Leave out what has no speech in it.")
    ] = False,
    batched: Annotated[
        bool, typer.Option("--batched/--no_batched", help="Decode several windows at a time; cuts by VAD.")
    ] = False,
    batch_size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--batch_size", metavar="N", help="How many; 8 if only --batched is given."),
    ] = None,
    output_format: Annotated[
        Optional[OutputFormat],  # noqa: UP045
        typer.Option("--output_format", help="Write files of this format, or of all."),
    ] = None,
    output_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--output_dir", help="Where to write them (txt if no format is given)."),
    ] = None,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--report", metavar="FILE.json", help="Write the report as JSON."),
    ] = None,
    threads: Threads = None,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no report on stderr.")] = False,
) -> int:
    """Transcribe AUDIO: the text on stdout, progress and a report on stderr."""
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
