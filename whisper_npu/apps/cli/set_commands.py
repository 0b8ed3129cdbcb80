"""The work of `whisper-npu kernels fetch` and `pack`: sets of built kernels."""

from __future__ import annotations

import os
from pathlib import Path

from whisper_npu.apps.cli.terminal import print_lines, say
from whisper_npu.errors import UsageError
from whisper_npu.kernels.fetch import fetch, origin_of
from whisper_npu.kernels.published import NEVER_RUN, SUMS, pack
from whisper_npu.kernels.signature import public_keys
from whisper_npu.npu.artifacts import kernel_folder


def fetch_set(given: str | None, signer: Path | None, timeout_seconds: float) -> None:
    """Install a set into the user's kernel folder, one line for each kernel on stdout, and what was checked.

    stderr says what will take a while.

    given: its folder or address; None for that of the environment.
    """
    if not 0 < timeout_seconds <= 3600:
        raise UsageError(f"--timeout {timeout_seconds:g}: give seconds, more than 0 and at most 3600")
    where = os.environ.get("WHISPER_NPU_KERNELS_FROM") if given is None else given
    if not where:
        raise UsageError(
            "this project publishes no kernels of its own: give --from URL or FOLDER of a set, or set "
            "WHISPER_NPU_KERNELS_FROM; whisper-npu kernels build makes kernels on this machine"
        )
    origin = origin_of(where, timeout_seconds)
    keys = public_keys(signer) if signer else ()
    kernels = fetch(
        origin,
        kernel_folder(os.environ),
        trusted=keys,
        say=say,
    )
    for kernel in kernels:
        print_lines(f"{kernel.name}: {kernel.outcome}, {kernel.folder}")
    signed = f"signed by a key of {signer}" if signer else "no signature checked: --signer names a public key"
    print_lines(f"{len(kernels)} kernels, each as {SUMS} of {origin} and this version say; {signed}.")
    print_lines(f"{NEVER_RUN}: whisper-npu doctor tries them first.")


def pack_set(to: Path, key: Path | None) -> None:
    """Make a set of the user's kernel folder."""
    names = pack(kernel_folder(os.environ), to, key=key)
    signed = "signed" if key else "not signed: --key names a private key"
    print_lines(f"{to}: {len(names)} kernels, {signed}.")
