"""The command line: the only place where errors become one line and an exit code.

0 all done, 1 something failed, 2 the call was wrong, 130 interrupted. Nothing heavy is imported before a
command needs it: `--help` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Optional

import typer

from whisper_npu import __version__
from whisper_npu.errors import UsageError, WhisperNpuError, error_line

INTERRUPTED = 130  # 128 + SIGINT, as shells count it
START = perf_counter()  # of the run, as far as Python lets us see it

# Typer's own usage errors: BadParameter's parent, wherever this version of Typer keeps its click.
_TyperUsageError: Any = typer.BadParameter.__mro__[1]

# The contracts' names (npu/contract.py), written out: --help imports nothing that it could ask.
KERNEL_HELP = (
    "auto, or one of 64x64, 64x512, 128x512; 64x64_bf16, 64x512_bf16, 128x512_bf16; 64x64_batch16, "
    "64x64_batch64; 64x512_k512, 64x512_k2048; 64x64_baseline."
)

app = typer.Typer(
    name="whisper-npu",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Whisper speech recognition with its encoder laid out for the AMD XDNA1 NPU, emulated so far.",
    # openai/whisper spells options with underscores; hyphens are taken as well.
    context_settings={"token_normalize_func": lambda token: token.replace("-", "_")},
)


class DeviceName(Enum):
    auto = "auto"
    npu = "npu"
    emulator = "emulator"


class FidelityName(Enum):
    fast = "fast"
    exact = "exact"


class Task(Enum):
    transcribe = "transcribe"
    translate = "translate"


class CoreFunctionsFrom(Enum):
    auto = "auto"
    compiler = "compiler"
    numpy = "numpy"


class Peer(Enum):
    faster_whisper = "faster-whisper"


class OutputFormat(Enum):
    txt = "txt"
    srt = "srt"
    vtt = "vtt"
    tsv = "tsv"
    json = "json"
    all = "all"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"whisper-npu {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# Optional[...] and not X | None: Typer reads the annotations of Python 3.10 too.
@app.command()
def transcribe(
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Audio files; - reads stdin.")],
    model: Annotated[
        str,
        typer.Option("--model", help="A name (tiny.en, base, large-v3-turbo, ...), a folder, or a hub id."),
    ] = "base",
    device: Annotated[
        DeviceName,
        typer.Option("--device", help="auto takes an NPU that can be used, otherwise the emulator."),
    ] = DeviceName.auto,
    kernel: Annotated[str, typer.Option("--kernel", help=KERNEL_HELP)] = "auto",
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
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no report on stderr.")] = False,
) -> int:
    """Transcribe AUDIO: the text on stdout, progress and a report on stderr."""
    from whisper_npu.npu.device import Fidelity
    from whisper_npu.run import OutputFiles, Run
    from whisper_npu.transcription import TranscribeOptions

    defaults = TranscribeOptions()
    return Run(
        audio=tuple(audio),
        model=model,
        device=device.value,
        kernel=kernel,
        fidelity=Fidelity(fidelity.value),
        options=TranscribeOptions(
            language=language,
            task=task.value,
            beam_size=beam_size,
            temperature=defaults.temperature if temperature is None else (temperature,),
            initial_prompt=initial_prompt,
            word_timestamps=word_timestamps,
            vad_filter=vad_filter,
        ),
        output=OutputFiles.asked_for(output_format and output_format.value, output_dir),
        report=report,
        quiet=quiet,
        started=START,
    ).execute()


kernels = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The kernels' designs for the array.")
app.add_typer(kernels, name="kernels")
Names = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[NAME...]", help="Designs; all if none is named."),
]


@kernels.command("list")
def kernels_list() -> None:
    """What one dispatch of each design takes of the array, counted from its text; and what is built."""
    from whisper_npu.kernels.commands import list_designs

    print(list_designs(), end="")


@kernels.command("show")
def kernels_show(name: Annotated[str, typer.Argument(help="A design.")]) -> None:
    """Print a design as MLIR text."""
    from whisper_npu.kernels.designs import find_design

    print(find_design(name).text, end="")


@kernels.command("verify")
def kernels_verify(
    names: Names = None,
    core_functions: Annotated[
        CoreFunctionsFrom,
        typer.Option("--core_functions", help="kernels/matmul.cc by this machine's C++ compiler, or NumPy."),
    ] = CoreFunctionsFrom.auto,
    aie_opt: Annotated[
        bool, typer.Option("--aie_opt", help="Also run mlir-aie's own passes, where it is installed.")
    ] = False,
) -> int:
    """Check designs against the array's limits, execute their text, compare with float64."""
    from whisper_npu.kernels.commands import verify_designs

    return verify_designs(names or [], core_functions.value, mlir_aie=aie_opt)


@kernels.command("build")
def kernels_build(
    names: Names = None,
    target: Annotated[str, typer.Option("--target", help="The array to build for.")] = "npu1",
) -> None:
    """Build xclbin and instructions with mlir-aie and Peano, into the user's kernel folder."""
    from whisper_npu.kernels.commands import build_designs

    build_designs(names or [], target)


benchmark = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Benchmarks: MEASURED on the device that runs, MODELLED for an NPU, and every number says which.",
)
app.add_typer(benchmark, name="benchmark")
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Measured repeats, after one to warm up.")]
Device = Annotated[
    DeviceName, typer.Option("--device", help="auto takes an NPU that can be used, otherwise the emulator.")
]
MarkdownFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--markdown", metavar="FILE.md", help="Write what goes to stdout."),
]
JsonFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--json", metavar="FILE.json", help="Write everything, for programs."),
]
CsvFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--csv", metavar="FILE.csv", help="Write the rows as a table."),
]
PlotFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--plot", metavar="FILE.png|svg", help="Draw a plot; needs the extra benchmark."),
]
TraceFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--trace", metavar="FILE.json", help="Write what ran when, for ui.perfetto.dev."),
]


@benchmark.command("projection")
def benchmark_projection(
    strategy: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--strategy", help="One strategy, or several by repeating this; all if none is named."),
    ] = None,
    repeats: Repeats = 3,
    naive_rows: Annotated[
        int, typer.Option("--naive_rows", min=1, help="Rows of A that the naive host is measured on.")
    ] = 128,
    device: Device = DeviceName.auto,
    fidelity: Annotated[
        FidelityName, typer.Option("--fidelity", help="Of the emulator: exact runs dispatch by dispatch.")
    ] = FidelityName.exact,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
    plot: PlotFile = None,
    trace: TraceFile = None,
) -> None:
    """(3001,512)@(512,512), the experiment's product, by every strategy."""
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.projection import as_markdown, run_projection, write_files
    from whisper_npu.benchmark.strategies import check_names
    from whisper_npu.npu.device import Fidelity, open_device

    check_names(strategy or [])
    files = Files(markdown=markdown, json=json, csv=csv, plot=plot, trace=trace)
    files.check()
    with open_device(device.value, Fidelity(fidelity.value)) as opened:
        done = run_projection(
            opened, names=strategy or [], repeats=repeats, naive_rows=naive_rows, progress=_say
        )
    write_files(done, files)
    print(as_markdown(done), end="")


@benchmark.command("call")
def benchmark_call(
    repeats: Repeats = 20,
    device: Device = DeviceName.auto,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
) -> None:
    """One dispatch of each kernel: allocate, convert, copy in, run, copy out."""
    from whisper_npu.benchmark.call import as_markdown, run_calls, write_files
    from whisper_npu.benchmark.files import Files
    from whisper_npu.npu.device import Fidelity, open_device

    files = Files(markdown=markdown, json=json, csv=csv)
    files.check()
    with open_device(device.value, Fidelity.EXACT) as opened:
        done = run_calls(opened, repeats=repeats, progress=_say)
    write_files(done, files)
    print(as_markdown(done), end="")


@benchmark.command("pipeline")
def benchmark_pipeline(
    audio: Annotated[list[str], typer.Argument(metavar="AUDIO...", help="Audio files.")],
    model: Annotated[str, typer.Option("--model", help="A name, a folder, or a hub id.")] = "base",
    kernel: Annotated[str, typer.Option("--kernel", help="auto, or a kernel's name.")] = "auto",
    repeats: Repeats = 3,
    device: Device = DeviceName.auto,
    fidelity: Annotated[
        FidelityName, typer.Option("--fidelity", help="Of the emulator: exact runs dispatch by dispatch.")
    ] = FidelityName.fast,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
    plot: PlotFile = None,
    trace: TraceFile = None,
) -> None:
    """The whole pipeline on real audio: every stage, every operation of the encoder."""
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.pipeline import as_markdown, run_pipeline, write_files
    from whisper_npu.npu.device import Fidelity, open_device

    files = Files(markdown=markdown, json=json, csv=csv, plot=plot, trace=trace)
    files.check()
    with open_device(device.value, Fidelity(fidelity.value)) as opened:
        done = run_pipeline(audio, opened, model=model, kernel=kernel, repeats=repeats, progress=_say)
    write_files(done, files)
    print(as_markdown(done), end="")


@benchmark.command("wer")
def benchmark_wer(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="MANIFEST.tsv", help="Columns path and text, and perhaps group."),
    ],
    model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--model", help="One model, or several by repeating this; tiny.en if none is named."),
    ] = None,
    kernel: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--kernel", help="Likewise; 64x512 and 64x64 if none is named."),
    ] = None,
    device: Annotated[
        Optional[list[DeviceName]],  # noqa: UP045
        typer.Option("--device", help="Likewise; auto if none is named."),
    ] = None,
    against: Annotated[
        Optional[Peer],  # noqa: UP045
        typer.Option("--against", help="Also run this one's own encoder on the same audio."),
    ] = None,
    markdown: MarkdownFile = None,
    json: JsonFile = None,
    csv: CsvFile = None,
) -> None:
    """Word error rates over recordings with transcripts, for each and in all."""
    from whisper_npu.benchmark.files import Files
    from whisper_npu.benchmark.word_errors import as_markdown, read_manifest, run_word_errors, write_files

    files = Files(markdown=markdown, json=json, csv=csv)
    files.check()
    done = run_word_errors(
        read_manifest(manifest),
        models=model or ["tiny.en"],
        kernels=kernel or ["64x512", "64x64"],
        devices=[name.value for name in device or [DeviceName.auto]],
        against_faster_whisper=against is not None,
        progress=_say,
    )
    write_files(done, files)
    print(as_markdown(done), end="")


def _say(step: str) -> None:
    print(f"whisper-npu: {step}", file=sys.stderr, flush=True)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; every expected error is one line on stderr."""
    # OpenMP threads that spin while they wait cost the decoder minutes on a machine that is busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code: int = (
            app(args=_with_flags(arguments) or ["--help"], prog_name="whisper-npu", standalone_mode=False)
            or 0
        )
        # A newer Typer makes an exit code of an interrupt, an older one raises Abort.
        return _fail("interrupted", INTERRUPTED) if code == INTERRUPTED else code
    except WhisperNpuError as error:
        return _fail(str(error), error.exit_code)
    except _TyperUsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            return UsageError.exit_code
        return _fail(f"{_described(error)}; see whisper-npu --help", UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more at exit
        if isinstance(error, BrokenPipeError):  # the reader of stdout, head for example, has seen enough
            return 1
        return _fail(f"{error.filename or 'standard output'} cannot be used: {error.strerror}", 1)


def _fail(message: str, exit_code: int) -> int:
    print(error_line(message), file=sys.stderr)
    return exit_code


def _described(error: Any) -> str:
    message: str = error.format_message().rstrip(".")
    if message.startswith("No such option"):
        message += " (a file whose name begins with a dash: ./-name)"
    return message


def _with_flags(arguments: list[str]) -> list[str]:
    """openai/whisper's `--word_timestamps True` as the flags that Typer knows."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    joined = "\0".join(arguments[:end])
    pattern = r"(?:(?<=\0)|^)--(word[-_]timestamps|vad[-_]filter)[\0=](True|False)(?=\0|$)"
    joined = re.sub(pattern, lambda found: ("--" if found[2] == "True" else "--no_") + found[1], joined)
    return [*(joined.split("\0") if joined else []), *arguments[end:]]
