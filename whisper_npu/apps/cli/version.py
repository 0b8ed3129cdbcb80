"""`whisper-npu --version`."""

from __future__ import annotations

import sys

import click

from whisper_npu import __version__
from whisper_npu.apps.cli.terminal import print_lines


def print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """The version in the first line, for programs; then the device that would run, and the kernels."""
    if not wanted or ctx.resilient_parsing:
        return
    print_lines(f"whisper-npu {__version__}")
    from whisper_npu.npu.artifacts import built, searched_folders
    from whisper_npu.npu.open import open_device

    with open_device() as device:
        print_lines(f"device: {device.description}")
        folders = searched_folders(())
        place = f", in {folders[0]}" if folders else ""  # without a home folder there is none
        print_lines(f"kernels: {len(built(folders, device.target))} built{place}")
    print_lines(f"Python {sys.version.split()[0]}")
    ctx.exit()
