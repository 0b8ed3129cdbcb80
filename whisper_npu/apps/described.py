"""Errors that nobody foresaw, of this program or of a library, in one line each."""

from __future__ import annotations

import errno
import os

from whisper_npu.errors import WhisperNpuError, one_line

TRACEBACK = "WHISPER_NPU_TRACEBACK"  # a variable: set, the place of an error is printed too
_NO_MEMORY = "; close other programs, raise the limit of memory (ulimit -v), or take a smaller --model"


def described(error: BaseException) -> str:
    """What is wrong and what helps, without a line break. WhisperNpuErrors say both themselves."""
    if isinstance(error, WhisperNpuError):
        return str(error)
    said = one_line(error)
    if isinstance(error, MemoryError) or _means_no_memory(error):
        return f"the memory is full{said and f' ({said})'}{_NO_MEMORY}"
    if isinstance(error, RuntimeError) and "can't start new thread" in said:
        return "no more threads can be started; raise the limits (ulimit -u, ulimit -v), or try --threads 1"
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{name}{error.strerror}{_remedy(error)}"
    kind = type(error).__name__
    return f"unexpected {kind}{said and f': {said}'}; please report it, with what {TRACEBACK}=1 prints"


def _means_no_memory(error: BaseException) -> bool:
    """Whether a library could not be loaded, or a system call failed, for lack of memory."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    no_room = ("failed to map segment", "Cannot allocate memory", "cannot allocate memory", "std::bad_alloc")
    return isinstance(error, (ImportError, OSError, RuntimeError)) and any(
        one in str(error) for one in no_room
    )


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "; raise the limit of open files (ulimit -n)"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "; make room on the disk, or set TMPDIR to a folder that has some"
    return f"; please report it, with what {TRACEBACK}=1 prints, if that is not to be expected"
