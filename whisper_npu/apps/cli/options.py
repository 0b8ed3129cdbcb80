"""The options that several commands share, declared once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from whisper_npu.errors import UsageError

if TYPE_CHECKING:
    from whisper_npu.npu.options import NpuOptions

# The kernels' names, written out because --help must not import kernels/; a test compares them.
KERNEL_HELP = (
    "auto (least modelled time); gemm, or one core tile of it such as gemm_96x64x48; or one of 64x64, "
    "64x512, 128x512; 64x64_bf16, 64x512_bf16, 128x512_bf16; 64x64_batch16, 64x64_batch64; 64x512_k512, "
    "64x512_k2048; 64x64_baseline."
)


class DeviceName(Enum):
    auto = "auto"
    npu = "npu"
    emulator = "emulator"


class FidelityName(Enum):
    fast = "fast"
    exact = "exact"


# Optional[...], not X | None: Typer must read the annotations on Python 3.10 too.
Device = Annotated[
    DeviceName,
    typer.Option("--device", help="auto uses the NPU if there is a working one, otherwise the emulator."),
]
FidelityOption = Annotated[
    FidelityName,
    typer.Option(
        "--fidelity",
        help="exact: the emulator executes every dispatch by itself and sums as the array does, to the bit; "
        "ten to fifteen times slower.",
    ),
]
ComputeType = Annotated[
    str,
    typer.Option(
        "--compute_type",
        help="Decoder's type, as CTranslate2 calls it: auto (int8 if the CPU has it), float32, int8, ...",
    ),
]
KernelFolders = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option(
        "--kernels",
        metavar="DIR",
        help="Folder of built kernels, searched before $WHISPER_NPU_KERNELS and the user's own folder.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", help="How long one submission to the NPU may take."),
]
Threads = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--threads", metavar="N", help="CPU threads for encoder and decoder; default: one per core."
    ),
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Measured runs, after one to warm up.")]
MarkdownFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--markdown", metavar="FILE.md", help="Also write what is printed."),
]
JsonFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--json", metavar="FILE.json", help="Write all results as JSON."),
]
CsvFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--csv", metavar="FILE.csv", help="Write one line per row of the table."),
]
PlotFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--plot", metavar="FILE.png|svg", help="Draw a plot; needs the extra benchmark (matplotlib)."
    ),
]
TraceFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--trace", metavar="FILE.json", help="Write a trace for ui.perfetto.dev."),
]


def npu_options(folders: list[Path] | None, timeout_seconds: float) -> NpuOptions:
    """The options --kernels and --timeout.

    Raises UsageError for a folder that is not there, whatever the device, and a timeout out of range.
    """
    from whisper_npu.npu.options import NpuOptions

    for folder in folders or ():
        if not folder.expanduser().is_dir():
            raise UsageError(f"--kernels {folder}: there is no such folder; name one with built kernels")
    return NpuOptions(kernel_folders=tuple(folders or ()), timeout_seconds=timeout_seconds)
