"""A worker on its machine, once it is sure that it sees the folders that the driver sees."""

from __future__ import annotations

import os

from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.shared import Shared
from whisper_npu.apps.archive.stems import SETTINGS
from whisper_npu.apps.archive.storage import Storage
from whisper_npu.apps.archive.worker import Worker
from whisper_npu.errors import WhisperNpuError, shown


class FoldersError(WhisperNpuError):
    """A machine does not have the folders of a run."""


def opened(asked: AskedArchive, shared: Shared) -> Worker:
    """A worker with its model loaded. Raises FoldersError, and what loading raises.

    A machine without the output folder would make one of its own, where nobody looks for results; one without
    the recordings would call every one of them missing.
    """
    if Storage(asked.out).read(SETTINGS) != shared.settings:
        raise FoldersError(
            f"--out {shown(asked.out)} is another folder there, or none: share it, at the same path, or give "
            "a URL that all machines reach"
        )
    if shared.recording is not None and not os.path.exists(shared.recording):
        raise FoldersError(f"{shown(shared.recording)} is not there: share the recordings, at the same path")
    return Worker(asked)


def runs_on(worker: Worker) -> str:
    """What a worker's encoder runs on, in words."""
    clock = worker.device.clock
    return "the CPU (emulated NPU)" if clock == "CPU" else f"the {clock}"
