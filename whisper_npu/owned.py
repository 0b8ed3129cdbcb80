"""Temporary files and folders, and the removal of those that no living process owns.

A name says which machine's kernel its owner runs on, and the owner holds a lock (flock): on the file until it
has its final name, or on a file in the folder. The system gives a lock up when its process ends, however it
ends. A process of the same kernel, in whatever container, sees the lock: what nobody holds belongs to nobody
who lives. Locks of another machine may not be seen through a network file system, and some file systems have
none: what lies there is removed a day after it was last changed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

_ABANDONED = 24 * 3600  # seconds after which that is removed whose owner cannot be known
_PATIENCE = 600.0  # seconds to wait for another process that owns the same: it may be suspended
_POLL = 0.05  # seconds
_UNKNOWN = "0" * 8
_LOCK = "lock"  # in a folder: the file that its owner has locked
# Short, since the file beside it may have the longest name allowed; and one that nobody else gives, since
# these are also looked for in the user's own folders.
_NAME = re.compile(r"\.[0-9a-f]{16}(?:\.(?P<kernel>[0-9a-f]{8}))?\.tmp")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def owned_file(target: Path) -> tuple[Path, int]:
    """A new file in the folder of `target`: its name and descriptor. Closing it gives up the lock on it.

    It has the mode of any new file, as the umask says. Raises OSError.
    """
    while True:
        path = target.parent / _name(secrets.token_hex(8))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_at(path, descriptor):
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)  # another process took it for left behind before it was locked


@contextmanager
def owned_folder(parent: Path, key: str = "") -> Iterator[Path]:
    """An empty folder below `parent`, which is removed afterwards. What others left there is removed before.

    key: of what is made in it: two processes do not have a folder with the same key at a time, unless the
    file system has no locks. Raises OSError.
    """
    clear_left_behind(parent)
    folder, held = _own(parent, key)
    try:
        yield folder
    finally:
        _remove(folder, held)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """An owned folder in $TMPDIR, or wherever the system keeps temporary files. Raises OSError."""
    with owned_folder(Path(tempfile.gettempdir())) as folder:
        yield folder


def clear_left_behind(parent: Path, names: re.Pattern[str] = _NAME) -> None:
    """Remove this user's temporary files and folders in a folder that no living process owns.

    names: of files and folders that are temporary. Raises nothing.
    """
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if found := names.fullmatch(entry.name):
                with suppress(OSError):  # gone meanwhile, or closed to this process
                    kernel = found.groupdict().get("kernel")
                    _remove_if_abandoned(Path(entry.path), entry.stat(follow_symlinks=False), kernel)


def _remove_if_abandoned(path: Path, status: os.stat_result, kernel: str | None) -> None:
    """kernel: the one that the name says, if any."""
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid != os.geteuid() or not (is_folder or stat.S_ISREG(status.st_mode)):
        return
    is_old = status.st_mtime < time.time() - _ABANDONED
    try:
        held = lock(path / _LOCK if is_folder else path)
    except OSError as error:
        # The folder's owner is just about to make the lock, or was killed before; or there are no locks.
        if error.errno not in (errno.ENOENT, *_NO_LOCKS):
            raise
        if is_old:
            _remove(path, None)
        elif is_folder:
            path.rmdir()  # which it cannot do unless it is empty
        return
    if held is None:
        return
    if is_old or (kernel is not None and kernel == _this_kernel()):
        _remove(path, held)
    else:
        os.close(held)


def _own(parent: Path, key: str) -> tuple[Path, int | None]:
    """A folder, and the descriptor that holds its lock; None where the file system has no locks."""
    until = time.monotonic() + _PATIENCE
    alone = not key
    while True:
        stem = secrets.token_hex(8) if alone else sha256(key.encode()).hexdigest()[:16]
        folder = parent / _name(stem)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        try:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                alone = True  # a link, say, or another user's folder, in a cache for several users
                continue
            held = lock(folder / _LOCK, os.O_CREAT)
        except FileNotFoundError:  # removed in this moment, by a process that took it for left behind
            parent.stat()  # raises if it is the parent that is gone
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if alone:
                return folder, None
            shutil.rmtree(folder, ignore_errors=True)
            alone = True
            continue
        if held is not None:
            _empty(folder)  # of what one that was killed left
            return folder, held
        alone = alone or time.monotonic() > until
        time.sleep(_POLL)


def lock(path: Path, flags: int = 0) -> int | None:
    """The descriptor of a file that nobody else has locked; None if somebody has. Raises OSError."""
    # NFS locks only what is open for writing.
    flags |= os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(path, descriptor):  # its owner may have removed or renamed it meanwhile
            return descriptor
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove(path: Path, held: int | None) -> None:
    """Raises nothing. In a folder the lock goes last: without it nobody can tell whose the folder is."""
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            _empty(path)
            shutil.rmtree(path)
        else:
            path.unlink()
    if held is not None:
        os.close(held)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _name(stem: str) -> str:
    return f".{stem}.{_this_kernel() or _UNKNOWN}.tmp"


def _this_kernel() -> str | None:
    """The same in all containers of a machine, until it starts anew. Source: Linux, random(4)."""
    try:
        return sha256(Path("/proc/sys/kernel/random/boot_id").read_bytes()).hexdigest()[:8]
    except OSError:
        return None
