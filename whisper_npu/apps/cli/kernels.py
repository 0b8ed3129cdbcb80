"""`whisper-npu kernels ...`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Optional

import typer

from whisper_npu.errors import UsageError

kernels = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, show, verify and build the kernels' designs."
)
Names = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Argument(metavar="[NAME...]", help="Designs; default: all."),
]

ToolchainName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--toolchain", metavar="G1|G2|G3|G4", help="Generation of mlir-aie; default: installed, or newest."
    ),
]


class CoreFunctionsFrom(Enum):
    auto = "auto"
    compiler = "compiler"
    numpy = "numpy"


@kernels.command("list")
def kernels_list() -> None:
    """List the designs: what one dispatch uses of the array and of DRAM, and which are built."""
    from whisper_npu.apps.cli.kernel_commands import list_designs

    print(list_designs(), end="")


@kernels.command("show")
def kernels_show(
    name: Annotated[str, typer.Argument(help="A listed design, or a gemm or norm of any sizes.")],
    toolchain: ToolchainName = None,
) -> None:
    """Print a design's MLIR text, in the spelling of a toolchain; default: the newest."""
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
    toolchain: ToolchainName = None,
) -> int:
    """Check designs against the array's limits, execute them, and compare with float64."""
    from whisper_npu.apps.cli.kernel_commands import verify_designs

    return verify_designs(names or [], core_functions.value, toolchain, mlir_aie=aie_opt)


@kernels.command("build")
def kernels_build(
    names: Names = None,
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--target", help="Array to build for, as MLIR-AIE names it; default: that of the laptops."
        ),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--model", help="Build what a released model's encoder needs: tiny.en, large-v3, ..."),
    ] = None,
    toolchain: ToolchainName = None,
) -> None:
    """Build xclbins and instructions with mlir-aie and Peano, into the user's kernel folder."""
    from whisper_npu.apps.cli.kernel_commands import build_designs, build_model
    from whisper_npu.npu.targets import DEFAULT

    array = target or DEFAULT.name
    if model is None:
        build_designs(names or [], array, toolchain)
        return
    if names:
        raise UsageError(f"--model {model} and designs by name ({', '.join(names)}): give one of them")
    build_model(model, array, toolchain)
