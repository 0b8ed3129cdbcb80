"""The options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_npu.apps.cli.command import Option, option
from whisper_npu.apps.cli.values import FILE, FOLDER, FOLDER_OR_NONE, SWITCH, TEXT, Choice, Number, Text
from whisper_npu.errors import UsageError
from whisper_npu.npu.device_names import ALSO, DEVICE_NAMES, NOT_USED, ON_DEVICE_ERROR
from whisper_npu.npu.device_names import CHECK_RESULTS as CHECKED

if TYPE_CHECKING:
    from whisper_npu.npu.options import NpuOptions

# The kernels' names, written out because --help must not import kernels/; a test compares them.
KERNEL_HELP = (
    "auto (least modelled time); gemm, or one core tile of it such as gemm_96x64x48; layer, which makes "
    "whole layers in one dispatch; or one of 64x64, 64x512, 128x512; 64x64_bf16, 64x512_bf16, 128x512_bf16; "
    "64x64_batch16, 64x64_batch64; 64x512_k512, 64x512_k2048; 64x64_baseline."
)
MODEL_NAMES = (  # without importing the checkpoints; a test compares
    "tiny.en",
    "tiny",
    "base.en",
    "base",
    "small.en",
    "small",
    "medium.en",
    "medium",
    "large-v1",
    "large-v2",
    "large-v3",
    "large",
    "large-v3-turbo",
    "turbo",
    "distil-small.en",
    "distil-medium.en",
    "distil-large-v2",
    "distil-large-v3",
    "distil-large-v3.5",
)
COMPUTE_TYPES = ("auto", "default", "int8", "int8_float32", "float32")
DEVICES = Choice(DEVICE_NAMES, also=ALSO, refused=NOT_USED)

DEVICE = option(
    "--device",
    type=DEVICES,
    default="auto",
    metavar="NAME",
    help="auto: the NPU if there is a working one, otherwise the CPU. npu, or cpu: the CPU emulates the NPU "
    "(emulator means the same).",
)


def fidelity(default: str) -> Option:
    """--fidelity, for commands with different defaults."""
    return option(
        "--fidelity",
        type=Choice(("fast", "exact")),
        default=default,
        metavar="NAME",
        help="exact: the emulator executes every dispatch by itself and sums as the array does, to the bit; "
        "ten to fifteen times slower.",
    )


KERNELS = option(
    "--kernels",
    type=FOLDER,
    multiple=True,
    metavar="DIR",
    help="Folder of built kernels, searched before $WHISPER_NPU_KERNELS and the user's own folder.",
)
TIMEOUT = option(
    "--timeout",
    type=Number(float),
    default=10.0,
    metavar="SECONDS",
    help="How long one submission to the NPU may take.",
)
CHECK_RESULTS = option(
    "--check_results",
    type=Choice(CHECKED),
    default="auto",
    metavar="HOW",
    help="Check products by checksums before they are used. one: one in 23, in turn, of those that are "
    "dispatched by themselves; all: every one, and so no layer is made whole; off: believe the device; auto: "
    "one for an NPU, off for the emulator.",
)
DEVICE_ERROR = option(
    "--on_device_error",
    type=Choice(ON_DEVICE_ERROR),
    default="fail",
    metavar="WHAT",
    help="When the NPU fails: fail, or emulate: go on in the emulator from the window that failed.",
)
THREADS = option(
    "--threads",
    type=Number(int, 0, or_none=True),
    default=0,
    metavar="N",
    help="CPU threads for encoder and decoder; 0: one per core.",
)
REPEATS_HELP = "Measured runs, after one to warm up."


def repeats(default: int) -> Option:
    """--repeats, for commands with different defaults."""
    return option("--repeats", type=Number(int, 1, 10_000), default=default, metavar="N", help=REPEATS_HELP)


def kernel(help: str = KERNEL_HELP) -> Option:
    """--kernel, of which one command says more than the others."""
    return option("--kernel", type=TEXT, default="auto", metavar="NAME", help=help)


WHISPER_MODEL = option(
    "--model",
    type=Text(MODEL_NAMES),
    default="base",
    metavar="NAME",
    help="Name (tiny.en, base, large-v3-turbo, ...), folder, or hub id.",
)
MODEL_DIR = option(
    "--model_dir",
    type=FOLDER_OR_NONE,
    example='"/data/models"',
    metavar="DIR",
    help="Where models are kept and downloaded to.",
)
LOCAL_FILES_ONLY = option("--local_files_only", type=SWITCH, default=False, help="Never download anything.")
COMPUTE_TYPE = option(
    "--compute_type",
    type=Text(COMPUTE_TYPES),
    default="auto",
    metavar="TYPE",
    help="Decoder's type, as CTranslate2 calls it: auto (int8 if the CPU has it), float32, int8, ...",
)
MODEL = option("--model", type=TEXT, default="base", metavar="NAME", help="Name, folder, or hub id.")
MARKDOWN = option("--markdown", type=FILE, metavar="FILE.md", help="Also write the whole table.")
JSON = option("--json", type=FILE, metavar="FILE.json", help="Write all results as JSON.")
CSV = option("--csv", type=FILE, metavar="FILE.csv", help="Write one line per row of the table.")
PLOT = option(
    "--plot",
    type=FILE,
    metavar="FILE.png|svg",
    help="Draw a plot; needs the extra benchmark (matplotlib).",
)
TRACE = option("--trace", type=FILE, metavar="FILE.json", help="Write a trace for ui.perfetto.dev.")


def npu_options(folders: Sequence[Path], timeout_seconds: float) -> NpuOptions:
    """The options --kernels and --timeout.

    Raises UsageError for a folder that is not there, whatever the device, and a timeout out of range.
    """
    from whisper_npu.npu.options import NpuOptions

    try:
        return NpuOptions.of(folders, timeout_seconds)
    except UsageError as error:
        raise UsageError(f"--{error}") from error
