"""Files that are written completely or not at all, and what is checked before the work."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from whisper_npu.errors import OutputError, shown
from whisper_npu.output.formats import check_format
from whisper_npu.owned import clear_left_behind, owned_file

STDOUT = Path("-")

_REMEDY = "check the folder's permissions and free space, or choose another folder"
_LONGEST_NAME = 255  # bytes; NAME_MAX of Linux's file systems


def output_path(source_name: str | Path, fmt: str, folder: Path) -> Path:
    """Where the `fmt` transcript of an audio file goes: "talk.final.wav" gives folder/"talk.final.srt".

    "-" gives folder/"stdin.srt". Raises UsageError for a format outside FORMATS.
    """
    check_format(fmt)
    stem = "stdin" if str(source_name) == "-" else os.path.splitext(Path(source_name).name)[0]
    return folder / f"{stem}.{fmt}"


def partial_path(path: Path) -> Path:
    """Where an interrupted transcript goes, so that nobody takes it for whole: talk.partial.srt.

    A name that only just fits loses its last letters, and gets a hash of them in their place.
    """
    stem, ending = path.stem, f".partial{path.suffix}"
    if len(os.fsencode(stem + ending)) > _LONGEST_NAME:
        ending = f"~{sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"
    while len(os.fsencode(stem + ending)) > _LONGEST_NAME:
        stem = stem[:-1]
    return path.with_name(stem + ending)


def check_file(path: Path) -> None:
    """Raises OutputError if `path` cannot be written: as `check_writable` says, or a folder is in the way.

    Meant to be called before the work. Leaves nothing behind, and does not touch an existing file.
    """
    if is_stdout(path):
        if sys.stdout is None:
            raise OutputError(f"{shown(path)}: standard output is closed; name a file")
        return
    if os.path.isdir(path):
        raise OutputError(f"{shown(path)}: is a folder; name a file in it, or move the folder away")
    if is_stream(path):
        return
    _check_names(path)
    check_writable(path.parent)


def check_writable(folder: Path) -> None:
    """Raises OutputError if no file can be written in `folder`, or in the folder where it would be created.

    Meant to be called before the work. Leaves nothing behind.
    """
    _check_names(folder)
    try:
        with tempfile.TemporaryFile(dir=_nearest(folder)):
            pass
    except (OSError, ValueError) as error:
        raise OutputError(f"{shown(folder)}: cannot be written to ({_reason(error)}); {_REMEDY}") from error


def is_stream(path: Path) -> bool:
    """Whether it is a terminal, pipe or device, or stdout, to all of which several outputs may be written."""
    return _descriptor(path) is not None or (os.path.exists(path) and not os.path.isfile(path))


def is_stdout(path: Path) -> bool:
    """Whether it means the standard output of this process: -, /dev/stdout, /dev/fd/1."""
    return _descriptor(path) == 1


def write_atomically(path: Path, text: str) -> None:
    """Write `text` in UTF-8, as `write_bytes_atomically` does."""
    # Half a surrogate pair must not make the whole transcript fail.
    write_bytes_atomically(path, text.encode("utf-8", errors="replace"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that `path` afterwards holds all of it, or unchanged what it held before.

    Missing folders are created. An existing file keeps its mode and a symbolic link its target. A device or
    pipe is written to directly. "-" is stdout. Stdout and what else this process has open (/dev/stdout,
    /dev/fd/3) is continued where it stands, even if it is a file.

    Raises OutputError if that fails: a folder in the way, no permission, a full disk. Raises BrokenPipeError
    if nobody reads stdout any more.
    """
    descriptor = _descriptor(path)
    try:
        if descriptor is not None:
            _continue(descriptor, data)
        else:
            _write(Path(os.path.realpath(path)), data)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if descriptor is not None and isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"{shown(path)}: cannot be written ({_reason(error)}); {_REMEDY}") from error


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.exists(target) and not os.path.isfile(target):
        target.write_bytes(data)
    else:
        _replace(target, data)


def _descriptor(path: Path) -> int | None:
    """The number of an open file of this process that `path` means, such as 1 for /dev/stdout.

    /dev/stdout leads to /proc/self/fd/1, and that to the file behind it, or to the name of a pipe, which no
    file system has. The last step is not to be taken.
    """
    if path == STDOUT:
        return 1
    own = f"/proc/{os.getpid()}/fd"
    try:
        for _ in range(40):  # as many links as Linux follows
            folder = os.path.realpath(path.parent)
            if folder == own and path.name.isdecimal():
                return int(path.name)
            path = Path(folder, os.readlink(Path(folder, path.name)))
    except (OSError, ValueError):  # no symbolic link
        pass
    return None


def _continue(descriptor: int, data: bytes) -> None:
    standard = {1: sys.stdout, 2: sys.stderr}
    stream = standard.get(descriptor)
    if stream is None and descriptor in standard:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    if stream is None:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
    else:
        stream.flush()  # what was printed comes first
        stream.buffer.write(data)
        stream.buffer.flush()


def _replace(target: Path, data: bytes) -> None:
    clear_left_behind(target.parent)
    temporary, descriptor = owned_file(target)
    try:
        with open(descriptor, "wb") as file:  # it is owned until it has its name
            if os.path.exists(target):
                os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # some file systems report a full disk only here
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _check_names(path: Path) -> None:
    """Raises OutputError if a file or folder has to be created whose name is too long for the file system."""
    existing = _nearest(path)
    try:
        limit = os.pathconf(existing, "PC_NAME_MAX")
        whole = os.pathconf(existing, "PC_PATH_MAX")
    except (OSError, ValueError):  # a folder that nobody may read, or a link to nowhere
        return
    for name in path.relative_to(existing).parts:
        if (length := len(os.fsencode(name))) > limit:
            raise OutputError(
                f"{shown(path)}: '{shown(name)}' has {length} bytes, a name in {shown(existing)} has at most "
                f"{limit}; give the recording or the folder a shorter name"
            )
    if (length := len(os.fsencode(path))) >= whole:
        raise OutputError(
            f"{shown(path)}: has {length} bytes, a path has fewer than {whole}; choose another folder"
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
