"""Folders that are built once and found again: each is complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from whisper_npu import __version__
from whisper_npu.errors import CacheError, one_line

_SIZES = ".sizes.json"  # written last: name and size of every file that `build` made
_ABOUT = ".about.json"
SCRATCH = ".building-"
_ABANDONED = 24 * 3600  # seconds after which no process builds in its scratch folder any more

COMPILED = "compiled"  # the kind of entry that is made from C++ sources


@dataclass(frozen=True)
class About:
    """What an entry is, for those who list and remove entries."""

    kind: str = ""  # such as "decoder"; "" for an entry that nobody described
    made_from: str = ""  # the folder that was read, or the model's name
    detail: str = ""  # such as "int8"
    made_by: str = f"whisper-npu {__version__}"


@dataclass(frozen=True)
class Entry:
    """A folder of the cache."""

    folder: Path
    about: About
    size: int  # bytes of all its files
    complete: bool  # no file is missing, and each has its size


def cache_folder(chosen: Path | None) -> Path:
    """Where whisper-npu keeps what it builds: `chosen`, $WHISPER_NPU_CACHE, or the user's cache folder."""
    if chosen is not None:
        return Path(os.path.expanduser(chosen))
    if own := os.environ.get("WHISPER_NPU_CACHE"):
        return Path(os.path.expanduser(own))
    return Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")) / "whisper-npu"


def content_key(salt: str, hashes: Iterable[tuple[str, str]]) -> str:
    """One sha256 over named file contents: equal only if all names and all bytes are equal."""
    # JSON keeps the boundaries between names and hashes, so no two lists read alike.
    return hashlib.sha256(json.dumps([salt, sorted(hashes)]).encode()).hexdigest()


def find(cache: Path, key: str) -> Path | None:
    """The entry's folder; None if it is absent, or if a file is missing or has another size."""
    folder = cache / key
    try:
        sizes = json.loads((folder / _SIZES).read_text("utf-8"))
        complete = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return None
    return folder if complete else None


def find_or_build(cache: Path, key: str, build: Callable[[Path], None], about: About | None = None) -> Path:
    """The entry's folder, built first if it is not complete.

    `build` fills an empty folder, which gets the entry's name in one rename after the last byte was written.
    A build that raises leaves nothing behind. If two processes build the same entry, the first one wins.
    `about` is kept with the entry; one that lacks it, because an earlier version made it, gets it.

    Raises CacheError if the cache cannot be written, and whatever `build` raises.
    """
    if (folder := find(cache, key)) is not None:
        if about is not None and not (folder / _ABOUT).is_file():
            with suppress(OSError):
                _describe(folder, about)
        return folder
    folder = cache / key
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            build(new)
            sizes = {path.name: path.stat().st_size for path in new.iterdir()}
            _describe(new, about or About())
            (new / _SIZES).write_text(json.dumps(sizes), "utf-8")
            if find(cache, key) is None:
                if folder.exists():  # an entry that lost files: a folder can only replace an empty one
                    folder.rename(Path(scratch) / "broken")
                _rename_or_lose(new, folder)
    except OSError as error:
        raise CacheError(
            f"cache folder {cache} cannot be written ({error.strerror or one_line(error)}); "
            "set WHISPER_NPU_CACHE to a writable folder with room"
        ) from error
    found = find(cache, key)
    if found is None:
        raise CacheError(f"cache entry {folder} was removed while it was being built; try again")
    return found


def entries(cache: Path) -> tuple[Entry, ...]:
    """All entries, complete or not. What else lies in the cache is nobody's business here."""
    return tuple(
        Entry(folder, _about(folder), size_of(folder), find(cache, folder.name) is not None)
        for folder in _folders(cache)
        if (folder / _SIZES).is_file() or (folder / _ABOUT).is_file()
    )


def abandoned(cache: Path) -> tuple[Path, ...]:
    """The scratch folders of builds that were killed: those that nobody wrote into for a day."""
    before = time.time() - _ABANDONED
    return tuple(
        folder
        for folder in _folders(cache)
        if folder.name.startswith(SCRATCH) and folder.stat().st_mtime < before
    )


def remove(folder: Path) -> int:
    """Remove an entry or an abandoned folder. Returns the bytes that were freed.

    The folder loses its name first, so that nobody finds a part of it. Raises CacheError.
    """
    size = size_of(folder)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=SCRATCH) as scratch:
            folder.rename(Path(scratch) / "removed")
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


def _about(folder: Path) -> About:
    try:
        found = json.loads((folder / _ABOUT).read_text("utf-8"))
        return About(**{name: str(found[name]) for name in ("kind", "made_from", "detail", "made_by")})
    except (OSError, ValueError, TypeError, KeyError):
        return About(made_by="an earlier version")


def _describe(folder: Path, about: About) -> None:
    (folder / _ABOUT).write_text(json.dumps(asdict(about)), "utf-8")


def discard(cache: Path, key: str) -> None:
    """Remove an entry that whoever reads it found damaged, if the cache can be written."""
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
            (cache / key).rename(Path(scratch) / "damaged")
    except OSError:
        pass  # `find_or_build` says so


def _rename_or_lose(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        # Another process was first, with an equal build.
        if not folder.is_dir():
            raise
