"""The output folder: of this machine, or any URL that fsspec opens."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from whisper_npu.apps.archive.stems import is_below, is_own
from whisper_npu.apps.archive.stores import (
    Store,
    StoreError,
    is_full,
    is_url,
    local_path,
    why,
    without_secrets,
)
from whisper_npu.errors import OutputError
from whisper_npu.output import check_writable
from whisper_npu.owned import clear_left_behind, lock, owned_file
from whisper_npu.untrusted import MAX_JSON, read_regular

# Stores in which an object appears whole or not at all. In others a file is written under another name first.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory", "hf"}
_AT_A_TIME = 16  # requests to a store, or reads of small files
_PROBE = b"whisper-npu checks whether it can write here\n"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class StorageError(OutputError):
    """The output folder cannot be written or read.

    strerror: what the system or the store said, without the name and the remedy
    """

    def __init__(self, message: str, strerror: str) -> None:
        super().__init__(message)
        self.strerror = strerror

    def __reduce__(self) -> tuple[Any, ...]:  # it crosses from a worker
        return type(self), (str(self), self.strerror)


class TargetFullError(StorageError):
    """The output folder has no room left. No recording can be stored any more."""


class _Files(Protocol):
    """What a folder and a store have in common. Names are relative. Raises what the system or store does."""

    def check(self) -> None: ...
    def write(self, name: str, data: bytes) -> None: ...
    def write_lines(self, name: str, lines: Iterable[bytes]) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def names(self, folder: str) -> list[str]: ...
    def exists(self, name: str) -> bool: ...
    def remove(self, name: str) -> None: ...


class Storage:
    """The output folder. Names are relative to it, with "/" between folders.

    Two objects for one URL are equal in all that they do: only the URL and the options cross to other
    processes. Raises UsageError or MissingPackageError for a URL that cannot be opened here.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """url: a path, which is made absolute, or a URL. options: for fsspec, such as endpoint_url."""
        self.url = url if is_url(url) else local_path(url)
        self.options = dict(options or {})
        self.folder = None if is_url(url) else Path(self.url)  # where it is one of this machine
        self._files: _Files
        if self.folder is not None:
            self._files = _Folder(self.folder)
        else:
            try:
                self._files = _Objects(Store(self.url, self.options))
            except StoreError as error:
                raise StorageError(str(error), str(error)) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.options)

    def __str__(self) -> str:
        return without_secrets(self.url)

    def check(self) -> None:
        """Raises StorageError where nothing can be written. Leaves nothing behind."""
        with self._telling("", "cannot be written to"):
            self._files.check()

    def write(self, name: str, text: str) -> None:
        """In UTF-8, whole or not at all: what was there stays if it fails.

        Raises TargetFullError where there is no room, StorageError for everything else.
        """
        assert is_below(name)
        with self._telling(name, "cannot be written"):
            # Half a surrogate pair must not make the whole transcript fail.
            self._files.write(name, text.encode("utf-8", errors="replace"))

    def write_lines(self, name: str, lines: Iterable[str]) -> None:
        """The same for lines that together need not fit in memory, each without its end."""
        assert is_below(name)
        with self._telling(name, "cannot be written"):
            self._files.write_lines(name, (f"{line}\n".encode(errors="replace") for line in lines))

    def read(self, name: str) -> str | None:
        """None where there is no such file, or what we did not write: too large, no UTF-8.

        Who reads it trusts nothing. Raises StorageError where it cannot be read.
        """
        with self._telling(name, "cannot be read"):
            try:
                content = self._files.read(name)
                return None if content is None else content.decode()
            except UnicodeDecodeError:
                return None
            except OSError as error:
                if error.errno == errno.EFBIG:
                    return None
                raise

    def read_all(self, names: Sequence[str]) -> Iterator[str | None]:
        """The contents in order, several at a time, and not many more in memory."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            for start in range(0, len(names), 4 * _AT_A_TIME):
                yield from pool.map(self.read, names[start : start + 4 * _AT_A_TIME])

    def names(self, folder: str = "") -> list[str]:
        """All files below a folder, relative to it, sorted; temporary ones too. A missing folder has none."""
        with self._telling(folder, "cannot be listed"):
            return sorted(self._files.names(folder))

    def exists(self, name: str) -> bool:
        with self._telling(name, "cannot be looked for"):
            return self._files.exists(name)

    def remove(self, name: str) -> None:
        """Also the folders that become empty. Does nothing where there is no such file."""
        assert is_below(name)
        with self._telling(name, "cannot be removed"):
            self._files.remove(name)

    def name_of(self, place: str) -> str | None:
        """The name, relative to this folder, of a path or URL; None for one that is not below it."""
        if self.folder is None:
            top, whole = f"{self.url.rstrip('/')}/", place
        elif is_url(place):
            return None
        else:
            top, whole = os.path.join(os.path.realpath(self.folder), ""), os.path.realpath(place)
        return whole[len(top) :] if whole.startswith(top) else None

    def append(self, name: str, text: str) -> bool:
        """At the end of a file of this machine; False for a store, whose objects cannot grow."""
        if self.folder is None:
            return False
        with self._telling(name, "cannot be written"):
            _append(self.folder / name, text.encode("utf-8", errors="replace"))
        return True

    def lock(self, name: str) -> int | None:
        """The descriptor that holds the lock of a file of this machine, which must exist; None without locks.

        Raises BlockingIOError where another process holds it.
        """
        if self.folder is None:
            return None
        try:
            held = lock(self.folder / name)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise self._error(name, "cannot be locked", error) from error
        if held is None:
            raise BlockingIOError(errno.EAGAIN, "another process has locked it", name)
        return held

    def create(self, name: str, text: str) -> bool:
        """Write a file that is not there yet; False where it is. Whole or not at all."""
        if self.folder is None:
            if self.exists(name):
                return False
            self.write(name, text)
            return True
        with self._telling(name, "cannot be written"):
            return _replace(self.folder / name, [text.encode("utf-8", errors="replace")], may_exist=False)

    def clear_left_behind(self, names: Iterable[str]) -> None:
        """Remove what processes of this machine left that were killed while they wrote. Raises nothing."""
        if self.folder is not None:
            for folder in {(self.folder / name).parent for name in names if name.endswith(".tmp")}:
                clear_left_behind(folder)

    @contextmanager
    def _telling(self, name: str, what: str) -> Iterator[None]:
        """Every error of a system or store, of any class, as one of ours."""
        try:
            yield
        except OutputError:
            raise
        except Exception as error:
            raise self._error(name, what, error) from error

    def _error(self, name: str, what: str, error: Exception) -> StorageError:
        where = without_secrets(f"{self.url.rstrip('/')}/{name}" if name else self.url)
        reason = why(error)
        if is_full(error):
            return TargetFullError(
                f"{where}: {what} ({reason}); make room in {self} and start again: what is stored is kept",
                reason,
            )
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EROFS:
            remedy = "it is mounted to be read only; choose another --out"
        elif isinstance(error, PermissionError):
            remedy = f"check who may write in {self}, or choose another --out"
        elif self.folder is None:
            remedy = "check the URL, the network, and the credentials of the store"
        else:
            remedy = f"check {self}, or choose another --out"
        return StorageError(f"{where}: {what} ({reason}); {remedy}", reason)


class _Folder:
    """Of this machine, or what is mounted in it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        if self._root.exists() and not self._root.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        try:
            check_writable(self._root)
        except OutputError as error:
            if isinstance(error.__cause__, OSError):  # whose remedy is told as for all else here
                raise error.__cause__ from error
            raise
        if self._root.exists():  # with content too: a full disk may still take a name
            temporary, descriptor = owned_file(self._root / "probe")
            try:
                with open(descriptor, "wb") as file:
                    file.write(_PROBE)
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                temporary.unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> None:
        _replace(self._root / name, [data])

    def write_lines(self, name: str, lines: Iterable[bytes]) -> None:
        _replace(self._root / name, lines)

    def read(self, name: str) -> bytes | None:
        try:
            return read_regular(self._root / name, MAX_JSON)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str) -> list[str]:
        top = self._root / folder
        found: list[str] = []
        for path, _, names in os.walk(top, onerror=self._unlisted):
            below = os.path.relpath(path, top)
            found += names if below == "." else [f"{below}/{name}" for name in names]
        return found

    def _unlisted(self, error: OSError) -> None:
        """What others have in this folder may be closed to us, but not what we keep in it."""
        name = os.path.relpath(os.fsdecode(error.filename), self._root)
        is_gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        if not is_gone and (name == "." or is_own(name)):
            raise error

    def exists(self, name: str) -> bool:
        return (self._root / name).exists()

    def remove(self, name: str) -> None:
        path = self._root / name
        path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            for folder in path.relative_to(self._root).parents[:-1]:
                (self._root / folder).rmdir()


class _Objects:
    """A store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check(self) -> None:
        probe = f".{secrets.token_hex(8)}.tmp"
        self.write(probe, _PROBE)
        self.remove(probe)

    def write(self, name: str, data: bytes) -> None:
        with self._target(name) as path:
            self._store.fs.pipe_file(path, data)

    def write_lines(self, name: str, lines: Iterable[bytes]) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.writelines(lines)
            file.flush()
            with self._target(name) as path:
                self._store.fs.put_file(file.name, path)

    @contextmanager
    def _target(self, name: str) -> Iterator[str]:
        """The path to write to, so that `name` is whole or not there afterwards."""
        store, path = self._store, self._store.below(name)
        if store.protocol in _ATOMIC:
            yield path
            return
        folder = path.rpartition("/")[0]
        store.fs.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{secrets.token_hex(8)}.tmp"
        try:
            yield temporary
            _move(store, temporary, path)
        except BaseException:
            with suppress(Exception):
                store.fs.rm_file(temporary)
            raise

    def read(self, name: str) -> bytes | None:
        try:
            return self._store.read(self._store.below(name), MAX_JSON)
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        return list(self._store.files(folder))

    def exists(self, name: str) -> bool:
        self._store.fs.invalidate_cache()
        try:
            self._store.fs.info(self._store.below(name))  # `exists` says no where the network is down
        except FileNotFoundError:
            return False
        return True

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._store.fs.rm_file(self._store.below(name))


def _move(store: Store, source: str, target: str) -> None:
    from fsspec import AbstractFileSystem

    if type(store.fs).mv is AbstractFileSystem.mv:  # which takes [ and * in a name for a pattern
        store.fs.cp_file(source, target)
        store.fs.rm_file(source)
        return
    try:
        store.fs.mv(source, target)
    except FileExistsError:  # a store that does not replace
        store.fs.rm_file(target)
        store.fs.mv(source, target)


def _replace(target: Path, pieces: Iterable[bytes], *, may_exist: bool = True) -> bool:
    """Written to the disk before it has its name, so that a power cut leaves no empty file.

    Returns False where it exists and must not.
    """
    temporary, descriptor = _owned_file(target)
    try:
        with open(descriptor, "wb") as file:  # it is owned until it has its name
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())  # some file systems report a full disk only here
            if may_exist:
                os.replace(temporary, target)
            elif not _named_anew(temporary, target):
                return False
        _sync(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def _owned_file(target: Path) -> tuple[Path, int]:
    for _ in range(100):
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process has removed the folder, which was empty
            return owned_file(target)
    return owned_file(target)


def _named_anew(temporary: Path, target: Path) -> bool:
    """Give a file its name unless there is one. Some file systems have no second names."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:
        if target.exists():
            return False
        os.replace(temporary, target)
        return True
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _sync(folder: Path) -> None:
    """So that the name, too, outlives a power cut. Not every file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _append(path: Path, data: bytes) -> None:
    """All of it or, as far as the file system permits, nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        end = os.fstat(descriptor).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
