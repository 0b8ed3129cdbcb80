"""`whisper-npu doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from whisper_npu.apps.cli.options import KernelFolders, Timeout, npu_options


def doctor(
    kernels: KernelFolders = None,
    timeout: Timeout = 10.0,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON document instead.")] = False,
) -> int:
    """Find out what keeps this machine from using its NPU, and try the device that transcribe would use.

    The exit code is 0 if transcription can run on the NPU, 1 if only on the emulator.
    """
    from whisper_npu.doctor import as_document, as_text, diagnose, this_machine
    from whisper_npu.output import as_json

    diagnosis = diagnose(this_machine(npu_options(kernels, timeout)))
    print(as_json(as_document(diagnosis)) if json else as_text(diagnosis), end="")
    return 0 if diagnosis.runs_on_npu else 1
