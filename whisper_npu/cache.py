"""Folders that are built once and found again: each is complete or absent.

An entry is built in an owned folder beside it (owned.py), so that processes that need the same one build it
once, and gets its name when it is complete.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from whisper_npu import __version__
from whisper_npu.errors import CacheError, one_line
from whisper_npu.home import private_temporary_folder
from whisper_npu.owned import clear_left_behind, owned_folder
from whisper_npu.untrusted import read_object

_SIZES = ".sizes.json"  # written last: name and size of every file that `build` made
_EARLIER = re.compile(r"\.(?:building|fetching|packing)-.+")  # scratch folders of earlier versions
_ABOUT = ".about.json"

COMPILED = "compiled"  # the kind of entry that is made from C++ sources


@dataclass(frozen=True)
class About:
    """What an entry is, for those who list and remove entries."""

    kind: str = ""  # such as "decoder"; "" for an entry that nobody described
    made_from: str = ""  # the folder that was read, or the model's name
    detail: str = ""  # such as "int8"
    made_by: str = f"whisper-npu {__version__}"
    identity: str = ""  # of what it was made from: with another one, the entry is of no use any more


@dataclass(frozen=True)
class Entry:
    """A folder of the cache."""

    folder: Path
    about: About
    size: int  # bytes of all its files
    complete: bool  # no file is missing, and each has its size
    used: float = 0.0  # when it was used last, in seconds since 1970


def content_key(salt: str, hashes: Iterable[tuple[str, str]]) -> str:
    """One sha256 over named file contents: equal only if all names and all bytes are equal."""
    # JSON keeps the boundaries between names and hashes, so no two lists read alike.
    return hashlib.sha256(json.dumps([salt, sorted(hashes)]).encode()).hexdigest()


def find(cache: Path, key: str) -> Path | None:
    """The entry's folder; None if it is absent, or if a file is missing or has another size."""
    folder = cache / key
    try:
        sizes = read_object(folder / _SIZES)
        complete = all(
            (folder / os.path.basename(name)).stat().st_size == size for name, size in sizes.items()
        )
    except (OSError, ValueError):
        return None
    return folder if complete else None


def clear_scratch(cache: Path) -> None:
    """Remove what killed processes left in the cache. Raises nothing."""
    clear_left_behind(cache)
    clear_left_behind(cache, _EARLIER)


def find_or_build(cache: Path, key: str, build: Callable[[Path], None], about: About | None = None) -> Path:
    """The entry's folder, built first if it is not complete.

    `build` fills an empty folder, which gets the entry's name in one rename after the last byte was written.
    A build that raises leaves nothing behind. A process that needs an entry which another one builds waits
    for it; where it cannot, because the file system has no locks, both build it and the first one wins.
    `about` is kept with the entry; one that lacks it, because an earlier version made it, gets it. Entries
    that were made from the same before it changed are removed, and what killed processes left in the cache.

    Raises CacheError if the cache cannot be written, and whatever `build` raises.
    """
    clear_scratch(cache)
    if (folder := find(cache, key)) is not None:
        mark_used(folder)
        if about is not None and not (folder / _ABOUT).is_file():
            with suppress(OSError):
                _describe(folder, about)
        return folder
    folder = cache / key
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with owned_folder(cache, key) as scratch:
            if find(cache, key) is None:
                _build_in(scratch, folder, build, about or About())
    except OSError as error:
        raise CacheError(
            f"cache folder {cache} cannot be written ({error.strerror or one_line(error)}); "
            "set WHISPER_NPU_CACHE to a writable folder with room"
        ) from error
    found = find(cache, key)
    if found is None:
        raise CacheError(f"cache entry {folder} was removed while it was being built; try again")
    if about is not None and about.made_from and about.identity:
        _remove_superseded(cache, key, about)
    return found


def build_for_this_run(build: Callable[[Path], None]) -> Path:
    """What `build` makes of an empty folder in the temporary folder, for as long as this process lives.

    Where the cache cannot be written. Raises CacheError if the temporary folder cannot be written either, and
    whatever `build` raises.
    """
    parent = private_temporary_folder()
    held = owned_folder(parent)
    try:
        new = held.__enter__() / "new"
        new.mkdir()
        build(new)
    except BaseException as error:
        held.__exit__(None, None, None)
        if isinstance(error, OSError):
            raise CacheError(
                f"{parent} cannot be written either ({error.strerror or one_line(error)}); set "
                "WHISPER_NPU_CACHE to a writable folder with room"
            ) from error
        raise
    owner = os.getpid()

    def leave() -> None:
        if os.getpid() == owner:  # a child that was forked has the folder from its parent
            held.__exit__(None, None, None)

    atexit.register(leave)
    return new


def _build_in(scratch: Path, folder: Path, build: Callable[[Path], None], about: About) -> None:
    new = scratch / "new"
    new.mkdir()
    build(new)
    sizes = {path.name: path.stat().st_size for path in new.iterdir()}
    _describe(new, about)
    (new / _SIZES).write_text(json.dumps(sizes), "utf-8")
    # Before the name: after a power cut a file may have its size, and zeros for content.
    for path in (*new.iterdir(), new):
        _sync(path)
    if find(folder.parent, folder.name) is None:
        if folder.exists():  # an entry that lost files: a folder can only replace an empty one
            folder.rename(scratch / "broken")
        _rename_or_lose(new, folder)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):  # of a file system that cannot do it for folders
            raise
    finally:
        os.close(descriptor)


def mark_used(folder: Path) -> None:
    """Remember that an entry is used, for those who remove what was not used for long."""
    with suppress(OSError):
        os.utime(folder)


def entries(cache: Path) -> tuple[Entry, ...]:
    """All entries, complete or not. What else lies in the cache is nobody's business here."""
    return tuple(
        Entry(folder, _about(folder), size_of(folder), find(cache, folder.name) is not None, _used(folder))
        for folder in _folders(cache)
        if (folder / _SIZES).is_file() or (folder / _ABOUT).is_file()
    )


def remove(folder: Path) -> int:
    """Remove an entry or an abandoned folder. Returns the bytes that were freed.

    The folder loses its name first, so that nobody finds a part of it. Raises CacheError.
    """
    size = size_of(folder)
    try:
        with owned_folder(folder.parent) as scratch:
            folder.rename(scratch / "removed")
    except OSError as error:
        raise CacheError(
            f"cache entry {folder} cannot be removed ({error.strerror or one_line(error)}); "
            "remove it as the user that it belongs to"
        ) from error
    return size


def size_of(folder: Path, *, with_links: bool = False) -> int:
    """The bytes of all files below a folder, each counted once; 0 where there is none.

    with_links: also of the files that links lead to, which removing the folder would not free. A model in the
    hub's cache is a folder of links.
    """
    sizes: dict[tuple[int, int], int] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile, or a link that leads nowhere
                status = os.stat(os.path.join(path, name), follow_symlinks=with_links)
                if stat.S_ISREG(status.st_mode):
                    sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def _folders(cache: Path) -> list[Path]:
    try:
        return sorted(path for path in cache.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return []


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _about(folder: Path) -> About:
    try:
        found = read_object(folder / _ABOUT)
        known = {name: str(found[name]) for name in ("kind", "made_from", "detail", "made_by")}
        return About(**known, identity=str(found.get("identity", "")))
    except (OSError, ValueError, KeyError):
        return About(made_by="an earlier version")


def _remove_superseded(cache: Path, key: str, about: About) -> None:
    for folder in _folders(cache):
        other = _about(folder)
        if (
            (other.kind, other.made_from) == (about.kind, about.made_from)
            and other.identity not in ("", about.identity)
            and folder.name != key
        ):
            discard(cache, folder.name)


def _describe(folder: Path, about: About) -> None:
    (folder / _ABOUT).write_text(json.dumps(asdict(about)), "utf-8")


def discard(cache: Path, key: str) -> None:
    """Remove an entry that whoever reads it found damaged or out of date, if the cache can be written."""
    with suppress(OSError), owned_folder(cache) as scratch:  # `find_or_build` says so
        (cache / key).rename(scratch / "damaged")


def _rename_or_lose(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        # Another process was first, with an equal build.
        if not folder.is_dir():
            raise
