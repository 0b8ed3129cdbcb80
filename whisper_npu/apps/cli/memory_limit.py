"""A limit of memory that is too low for a model, found before libraries in C++ end the process over it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from whisper_npu.checkpoint.names import HUB_IDS, download_size
from whisper_npu.errors import WhisperNpuError

_MB = 10**6


class MemoryLimitError(WhisperNpuError):
    """The process may not have as much memory as a model needs."""


def check_limit(model: str) -> None:
    """Raises MemoryLimitError where the process has a limit (ulimit -v) and too little of it is left.

    OpenBLAS, CTranslate2 and ONNX Runtime abort or crash where the address space ends, without an exception.
    model: as asked for; of one whose size is not known the least is assumed.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    left, needed = limit - _address_space(), needed_memory(model)
    if left < needed:
        total, rest, need = (f"{size / _MB:,.0f} MB" for size in (limit, max(0, left), needed))
        raise MemoryLimitError(
            f"the memory is limited to {total} (ulimit -v), of which {rest} are left; {model} needs about "
            f"{need}: raise the limit, or take a smaller --model"
        )


def needed_memory(model: str) -> int:
    """Bytes of address space for weights, threads and one window.

    MEASURED on 2 cores, x86-64: for a short text tiny.en (76 MB) crashes with 338 MB and runs with 389 MB,
    base (145 MB) crashes with 484 MB and runs with 584 MB; a window full of words takes the decoder 120 MB
    more. Of large models only the weights are counted further.
    """
    size = download_size(model.lower()) if model.lower() in HUB_IDS else 76 * _MB
    return 250 * _MB + 3 * min(size, 200 * _MB) + max(0, size - 200 * _MB)


def _address_space() -> int:
    """Bytes that the process has. Source: Linux, proc_pid_statm(5)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
