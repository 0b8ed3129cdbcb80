"""The options that several commands share, declared once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from whisper_npu.npu.options import NpuOptions

# The contracts' names (kernels/), written out: --help imports nothing that it could ask.
KERNEL_HELP = (
    "auto; gemm, or one core tile of it such as gemm_96x64x48; or one of 64x64, 64x512, 128x512; 64x64_bf16, "
    "64x512_bf16, 128x512_bf16; 64x64_batch16, 64x64_batch64; 64x512_k512, 64x512_k2048; 64x64_baseline."
)


class DeviceName(Enum):
    auto = "auto"
    npu = "npu"
    emulator = "emulator"


class FidelityName(Enum):
    fast = "fast"
    exact = "exact"


# Optional[...] and not X | None: Typer reads the annotations of Python 3.10 too.
Device = Annotated[
    DeviceName, typer.Option("--device", help="auto takes an NPU that can be used, otherwise the emulator.")
]
ComputeType = Annotated[
    str,
    typer.Option(
        "--compute_type",
        help="Of the decoder, by CTranslate2's names: auto (int8 where the CPU has it), float32, int8, ...",
    ),
]
KernelFolders = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option(
        "--kernels",
        metavar="DIR",
        help="Folder of built kernels, searched before $WHISPER_NPU_KERNELS and the user's own; repeatable.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", help="What one dispatch, or run list, of an NPU may take."),
]
Threads = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--threads", metavar="N", help="Of the CPU, for everything; default: one per core."),
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Measured repeats, after one to warm up.")]
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


def npu_options(folders: list[Path] | None, timeout_seconds: float) -> NpuOptions:
    """What --kernels and --timeout say. Raises UsageError for a time that cannot be waited."""
    from whisper_npu.npu.options import NpuOptions

    return NpuOptions(kernel_folders=tuple(folders or ()), timeout_seconds=timeout_seconds)
