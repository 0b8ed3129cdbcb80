"""Temporary files beside the files that they become, and the removal of those that killed processes left.

A name says which machine's kernel the writer ran on, and the writer holds a lock (flock) until the file has
its final name. A process of that kernel, in whatever container, sees the lock: a file that nobody holds is of
nobody that lives. Locks of another machine may not be seen through a network file system, and some file
systems have none: such a file is removed once nobody has written to it for a day.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_ABANDONED = 24 * 3600  # seconds after which a file of another machine is taken for left behind
_UNKNOWN = "0" * 8
# Short, since the file beside it may have the longest name allowed. The second form is of earlier versions.
_NAME = re.compile(r"\.[0-9a-f]{16}(?:\.([0-9a-f]{8}))?\.tmp")


def create_temporary(target: Path) -> tuple[Path, int]:
    """A new file in the folder of `target`: its name and descriptor. Closing it gives up the lock on it.

    It has the mode of any new file, as the umask says.
    """
    while True:
        path = target.with_name(f".{secrets.token_hex(8)}.{_this_kernel() or _UNKNOWN}.tmp")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(path, descriptor):
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)  # another process took it for left behind before it was locked


def remove_left_behind(folder: Path) -> None:
    """Remove the temporary files in a folder that no living process owns. Raises nothing."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (found := _NAME.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # gone meanwhile, or another user's
                    _remove_if_abandoned(entry.path, found[1])


def _remove_if_abandoned(path: str, kernel: str | None) -> None:
    """kernel: the one that the name says, if any."""
    descriptor = os.open(
        path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    )  # NFS locks what is open for writing
    try:
        if _is_abandoned(descriptor, kernel):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _is_abandoned(descriptor: int, kernel: str | None) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its owner lives
        return False
    except OSError:  # a file system without locks: nobody can tell
        kernel = None
    if kernel is not None and kernel == _this_kernel():
        return True
    return os.fstat(descriptor).st_mtime < time.time() - _ABANDONED


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _this_kernel() -> str | None:
    """The same in all containers of a machine, until it starts anew. Source: Linux, random(4)."""
    try:
        return sha256(Path("/proc/sys/kernel/random/boot_id").read_bytes()).hexdigest()[:8]
    except OSError:
        return None
