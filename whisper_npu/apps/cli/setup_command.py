"""The work of `whisper-npu kernels setup`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from whisper_npu.apps.cli.terminal import print_lines, say
from whisper_npu.kernels.matmul.kernel import matmul_64x64
from whisper_npu.kernels.own_toolchain import toolchain_folder
from whisper_npu.kernels.setup import set_up
from whisper_npu.kernels.toolchain import NEWEST, generation_named
from whisper_npu.npu.targets import DEFAULT


def set_up_toolchain(
    folder: Path | None, toolchain: str | None, python: Path | None, wheels: Path | None
) -> None:
    """Set the tools up; stderr says what takes long, stdout what is there and how it is found."""
    generation = generation_named(toolchain) if toolchain else NEWEST
    place = (folder or toolchain_folder(os.environ)).absolute()
    done = set_up(
        place,
        generation,
        matmul_64x64(DEFAULT),
        python=_program(python) if python else Path(sys.executable),
        wheels=wheels.absolute() if wheels else None,
        say=say,
    )
    outcome = "installed" if done.is_new else "were installed already"
    print_lines(f"{generation.pair} {outcome} in {done.folder}, and built {done.kernel}.")
    if place == toolchain_folder(os.environ).absolute():
        print_lines("whisper-npu kernels build finds them there.")
    else:
        print_lines(
            "For whisper-npu kernels build to find them: "
            f"export WHISPER_NPU_TOOLCHAIN={shlex.quote(str(place))}"
        )
    print_lines("The kernels that they build have not been run on a chip yet, by anybody.")


def _program(given: Path) -> Path:
    """python3.12 as a shell finds it, or a path."""
    found = shutil.which(given) if given == Path(given.name) else None
    return Path(found) if found else given.absolute()
