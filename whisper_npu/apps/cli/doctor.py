"""`whisper-npu doctor`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from whisper_npu.apps.cli.options import Device, DeviceName, KernelFolders, Timeout, npu_options


def doctor(
    device: Device = DeviceName.auto,
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Try kernels again whose first run on this NPU did not come back."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON document instead.")] = False,
) -> int:
    """Find out whether transcription works here, and on what.

    It also says what keeps this machine from using its NPU.

    The exit code is 0 if transcribe with the same --device works, 1 if not. With --device auto, the default,
    that is the CPU where there is no NPU.
    """
    from whisper_npu.doctor import as_document, diagnose, this_machine
    from whisper_npu.doctor.text import as_text
    from whisper_npu.output import as_json
    from whisper_npu.screen import Screen

    machine = this_machine(npu_options(kernels, timeout))
    if retry:
        machine.trials.forget_lost()
    diagnosis = diagnose(machine, device.value)
    screen = Screen.of(sys.stdout, os.environ)
    print(as_json(as_document(diagnosis)) if json else as_text(diagnosis, screen), end="")
    return 0 if diagnosis.works else 1
