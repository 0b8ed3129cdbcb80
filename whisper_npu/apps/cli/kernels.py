"""`whisper-npu kernels ...`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from whisper_npu.errors import UsageError

kernels = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, show, verify, build and fetch kernels.",
)
Names = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[NAME...]", help="Designs; default: all."),
]

InstalledUnlessNamed = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--toolchain", metavar="G1|G2|G3|G4", help="Generation of mlir-aie; default: installed, or newest."
    ),
]

NewestUnlessNamed = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--toolchain", metavar="G1|G2|G3|G4", help="Generation of mlir-aie; default: the newest."),
]

ModelNeeds = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", help="In place of names: what a released model's encoder needs; tiny.en, ..."),
]


class CoreFunctionsFrom(Enum):
    auto = "auto"
    compiler = "compiler"
    numpy = "numpy"


@kernels.command("list")
def kernels_list() -> None:
    """List the designs, and which of them are built.

    For each design it says what one dispatch uses of the array and of DRAM.
    """
    from whisper_npu.apps.cli.kernel_list import list_designs
    from whisper_npu.screen import Screen

    print(list_designs(screen=Screen.of(sys.stdout, os.environ)), end="")


@kernels.command("show")
def kernels_show(
    name: Annotated[str, typer.Argument(help="A listed design, or a gemm or norm of any sizes.")],
    toolchain: NewestUnlessNamed = None,
) -> None:
    """Print a design's MLIR text.

    Toolchains spell it differently.
    """
    from whisper_npu.apps.cli.kernel_commands import show_design

    print(show_design(name, toolchain), end="")


@kernels.command("verify")
def kernels_verify(
    names: Names = None,
    core_functions: Annotated[
        CoreFunctionsFrom,
        typer.Option(
            "--core_functions",
            help="Core functions from C++ sources compiled here, or NumPy.",
        ),
    ] = CoreFunctionsFrom.auto,
    aie_opt: Annotated[
        bool, typer.Option("--aie_opt", help="Also run mlir-aie's own passes, if it is installed.")
    ] = False,
    toolchain: InstalledUnlessNamed = None,
    model: ModelNeeds = None,
) -> int:
    """Check designs, execute them, and compare with float64.

    They are checked against the array's limits.
    """
    from whisper_npu.apps.cli.kernel_commands import verify_designs, verify_model

    if model is None:
        return verify_designs(names or [], core_functions.value, toolchain, mlir_aie=aie_opt)
    _refuse_names_and_model(names, model)
    return verify_model(model, core_functions.value, toolchain, mlir_aie=aie_opt)


@kernels.command("build")
def kernels_build(
    names: Names = None,
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--target", help="Array to build for, as MLIR-AIE names it; default: that of the laptops."
        ),
    ] = None,
    model: ModelNeeds = None,
    toolchain: InstalledUnlessNamed = None,
) -> None:
    """Build xclbins and instructions with mlir-aie and Peano.

    They go into the user's kernel folder.
    """
    from whisper_npu.apps.cli.kernel_commands import build_designs, build_model
    from whisper_npu.npu.targets import DEFAULT

    array = target or DEFAULT.name
    if model is None:
        build_designs(names or [], array, toolchain)
        return
    _refuse_names_and_model(names, model)
    build_model(model, array, toolchain)


def _refuse_names_and_model(names: Sequence[str] | None, model: str) -> None:
    if names:
        raise UsageError(f"--model {model} and designs by name ({', '.join(names)}): give one of them")


@kernels.command("fetch")
def kernels_fetch(
    origin: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--from",
            metavar="URL|FOLDER",
            help="Where the set is; default: $WHISPER_NPU_KERNELS_FROM.",
        ),
    ] = None,
    signer: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--signer", metavar="FILE", help="Public key that must have signed the set."),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long a server may be silent.")
    ] = 30.0,
) -> None:
    """Install a set of kernels that others have built.

    It is installed once every file's sha256 and contract are right.
    """
    from whisper_npu.apps.cli.set_commands import fetch_set

    fetch_set(origin, signer, timeout)


@kernels.command("pack")
def kernels_pack(
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="The set's new folder.")],
    key: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--key", metavar="FILE", help="OpenSSH private key to sign the set with."),
    ] = None,
) -> None:
    """Make a set of the user's built kernels, for fetch."""
    from whisper_npu.apps.cli.set_commands import pack_set

    pack_set(to, key)


@kernels.command("setup")
def kernels_setup(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where to; default: $WHISPER_NPU_TOOLCHAIN, or a folder in the user's data folder.",
        ),
    ] = None,
    toolchain: NewestUnlessNamed = None,
    python: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--python", metavar="FILE", help="CPython 3.11 to 3.14; default: that of whisper-npu."),
    ] = None,
    wheels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--wheels", metavar="DIR", help="Folder of all wheels, for a machine without network."),
    ] = None,
) -> None:
    """Install mlir-aie and Peano into an environment of their own.

    Then it builds one small kernel with them.
    """
    from whisper_npu.apps.cli.setup_command import set_up_toolchain

    set_up_toolchain(folder, toolchain, python, wheels)
