"""`whisper-npu kernels ...`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from whisper_npu.apps.cli.command import Argument, Group, command, option
from whisper_npu.apps.cli.terminal import lines_shown, print_text
from whisper_npu.apps.cli.values import FILE, FOLDER, SWITCH, TEXT, Choice, Number
from whisper_npu.errors import UsageError

kernels = Group("kernels", help="List, show, verify, build and fetch kernels.")
_NAMES = Argument("names", metavar="[NAME...]", many=True, required=False, help="Designs; default: all.")
_INSTALLED_UNLESS_NAMED = option(
    "--toolchain",
    type=TEXT,
    metavar="G1|G2|G3|G4",
    help="Generation of mlir-aie; default: installed, or newest.",
)
_NEWEST_UNLESS_NAMED = option(
    "--toolchain",
    type=TEXT,
    metavar="G1|G2|G3|G4",
    help="Generation of mlir-aie; default: the newest.",
)
_MODEL_NEEDS = option(
    "--model",
    type=TEXT,
    metavar="NAME",
    help="In place of names: what a released model's encoder needs; tiny.en, ...",
)
_MADE_BY = option(
    "--kernel",
    type=TEXT,
    metavar="NAME",
    help="With --model: for which --kernel of transcribe, such as layer; default: auto.",
)


@command(
    kernels,
    "list",
    option("--all", type=SWITCH, default=False, help="Every design, with what one dispatch uses."),
    option("--json", type=SWITCH, default=False, help="Print a JSON document of every design instead."),
    option("--markdown", type=FILE, metavar="FILE.md", help="Also write the whole table."),
)
def kernels_list(all: bool, json: bool, markdown: Path | None) -> None:
    """List the families of designs, and which are built.

    For each design --all says what one dispatch uses of the array and of DRAM.
    """
    from whisper_npu.apps.cli.kernel_list import ListOptions, list_designs
    from whisper_npu.output import is_stdout
    from whisper_npu.screen import Screen

    listed = list_designs(ListOptions(all, json, markdown), Screen.of(sys.stdout, os.environ))
    if markdown is None or not is_stdout(markdown):
        print_text(listed if json else lines_shown(listed))


@command(
    kernels,
    "show",
    Argument("name", metavar="NAME", help="A listed design, or a gemm or norm of any sizes."),
    _NEWEST_UNLESS_NAMED,
)
def kernels_show(name: str, toolchain: str | None) -> None:
    """Print a design's MLIR text.

    Toolchains spell it differently.
    """
    from whisper_npu.apps.cli.kernel_commands import show_design

    print_text(show_design(name, toolchain))


@command(
    kernels,
    "verify",
    _NAMES,
    option(
        "--core_functions",
        type=Choice(("auto", "compiler", "numpy")),
        default="auto",
        metavar="FROM",
        help="Core functions from C++ sources compiled here (compiler), or numpy.",
    ),
    option("--aie_opt", type=SWITCH, default=False, help="Also run mlir-aie's own passes, if installed."),
    _INSTALLED_UNLESS_NAMED,
    _MODEL_NEEDS,
    _MADE_BY,
)
def kernels_verify(
    names: tuple[str, ...],
    core_functions: str,
    aie_opt: bool,
    toolchain: str | None,
    model: str | None,
    kernel: str | None,
) -> int:
    """Check designs, execute them, and compare with float64.

    They are checked against the array's limits.
    """
    from whisper_npu.apps.cli.kernel_commands import verify_designs, verify_model

    _check_asked(names, model, kernel)
    if model is None:
        return verify_designs(names, core_functions, toolchain, mlir_aie=aie_opt)
    return verify_model(model, core_functions, toolchain, mlir_aie=aie_opt, kernel=kernel or "auto")


@command(
    kernels,
    "build",
    _NAMES,
    option(
        "--target",
        type=TEXT,
        metavar="NAME",
        help="Array to build for, as MLIR-AIE names it; default: that of the laptops.",
    ),
    _MODEL_NEEDS,
    _MADE_BY,
    _INSTALLED_UNLESS_NAMED,
)
def kernels_build(
    names: tuple[str, ...], target: str | None, model: str | None, kernel: str | None, toolchain: str | None
) -> None:
    """Build xclbins and instructions with mlir-aie and Peano.

    They go into the user's kernel folder.
    """
    from whisper_npu.apps.cli.kernel_commands import build_designs, build_model
    from whisper_npu.npu.targets import DEFAULT

    _check_asked(names, model, kernel)
    array = target or DEFAULT.name
    if model is None:
        build_designs(names, array, toolchain)
    else:
        build_model(model, array, toolchain, kernel or "auto")


def _check_asked(names: Sequence[str], model: str | None, kernel: str | None) -> None:
    if names and model is not None:
        raise UsageError(f"--model {model} and designs by name ({', '.join(names)}): give one of them")
    if kernel is not None and model is None:
        raise UsageError(f"--kernel {kernel} is for a model's encoder: name the model with --model")


@command(
    kernels,
    "fetch",
    option(
        "origin",
        "--from",
        type=TEXT,
        metavar="URL|FOLDER",
        help="Where the set is; default: $WHISPER_NPU_KERNELS_FROM.",
    ),
    option("--signer", type=FILE, metavar="FILE", help="Public key that must have signed the set."),
    option(
        "--timeout",
        type=Number(float),
        default=30.0,
        metavar="SECONDS",
        help="How long a server may be silent.",
    ),
)
def kernels_fetch(origin: str | None, signer: Path | None, timeout: float) -> None:
    """Install a set of kernels that others have built.

    It is installed once every file's sha256 and contract are right.
    """
    from whisper_npu.apps.cli.set_commands import fetch_set

    fetch_set(origin, signer, timeout)


@command(
    kernels,
    "pack",
    Argument("to", metavar="FOLDER", help="The set's new folder."),
    option("--key", type=FILE, metavar="FILE", help="OpenSSH private key to sign the set with."),
)
def kernels_pack(to: str, key: Path | None) -> None:
    """Make a set of the user's built kernels, for fetch."""
    from whisper_npu.apps.cli.set_commands import pack_set

    pack_set(Path(to), key)


@command(
    kernels,
    "setup",
    option(
        "--folder",
        type=FOLDER,
        metavar="DIR",
        help="Where to; default: $WHISPER_NPU_TOOLCHAIN, or a folder in the user's data folder.",
    ),
    _NEWEST_UNLESS_NAMED,
    option("--python", type=FILE, metavar="FILE", help="CPython 3.11 to 3.14; default: that of whisper-npu."),
    option(
        "--wheels", type=FOLDER, metavar="DIR", help="Folder of all wheels, for a machine without network."
    ),
)
def kernels_setup(
    folder: Path | None, toolchain: str | None, python: Path | None, wheels: Path | None
) -> None:
    """Install mlir-aie and Peano into an environment of their own.

    Then it builds one small kernel with them.
    """
    from whisper_npu.apps.cli.setup_command import set_up_toolchain

    set_up_toolchain(folder, toolchain, python, wheels)
