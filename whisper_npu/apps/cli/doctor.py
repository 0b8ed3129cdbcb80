"""`whisper-npu doctor`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from whisper_npu.apps.cli.command import Command, configurable, option
from whisper_npu.apps.cli.options import DEVICE, KERNELS, TIMEOUT, npu_options
from whisper_npu.apps.cli.settings import configured
from whisper_npu.apps.cli.terminal import print_json, print_text
from whisper_npu.apps.cli.values import SWITCH


def _doctor(device: str, kernels: tuple[Path, ...], timeout: float, retry: bool, json: bool) -> int:
    """Find out whether transcription works here, and on what.

    It also says what keeps this machine from using its NPU.

    The exit code is 0 if transcribe with the same --device works, 1 if not. With --device auto, the default,
    that is the CPU where there is no NPU.
    """
    from whisper_npu.doctor import as_document, diagnose, this_machine
    from whisper_npu.doctor.text import as_text
    from whisper_npu.screen import Screen

    machine = this_machine(npu_options(kernels, timeout))
    if retry:
        machine.trials.forget_lost()
    diagnosis = diagnose(machine, device)
    screen = Screen.of(sys.stdout, os.environ)
    if json:
        print_json(as_document(diagnosis))
    else:
        print_text(as_text(diagnosis, screen))
    return 0 if diagnosis.works else 1


doctor = Command(
    "doctor",
    _doctor,
    [
        *configurable(DEVICE, KERNELS, TIMEOUT),
        option("--retry", type=SWITCH, default=False, help="Try kernels again whose first run did not end."),
        option("--json", type=SWITCH, default=False, help="Print a JSON document instead."),
    ],
    defaults=configured,
)
