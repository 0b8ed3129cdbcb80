"""Folders that are built once and found again: each is complete or absent."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from whisper_npu.errors import CacheError, one_line

_SIZES = ".sizes.json"  # written last: name and size of every other file of the entry


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


def find_or_build(cache: Path, key: str, build: Callable[[Path], None]) -> Path:
    """The entry's folder, built first if it is not complete.

    `build` fills an empty folder, which gets the entry's name in one rename after the last byte was written.
    A build that raises leaves nothing behind. If two processes build the same entry, the first one wins.

    Raises CacheError if the cache cannot be written, and whatever `build` raises.
    """
    if (folder := find(cache, key)) is not None:
        return folder
    folder = cache / key
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            build(new)
            sizes = {path.name: path.stat().st_size for path in new.iterdir()}
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


def discard(cache: Path, key: str) -> None:
    """Remove an entry that whoever reads it found damaged, if the cache can be written."""
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix=".building-") as scratch:
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
