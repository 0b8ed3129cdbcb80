"""The user's home folder, which a container or a service may not have, and the folders in it."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from whisper_npu.errors import CacheError, UsageError, one_line, shown


def expanded(path: str | os.PathLike[str]) -> str:
    """With the home folder in the place of ~, or as it is where there is none. An empty HOME is none."""
    path = os.fspath(path)
    if os.environ.get("HOME") != "" or path.split("/", 1)[0] != "~":
        return os.path.expanduser(path)
    try:
        return pwd.getpwuid(os.getuid()).pw_dir + path[1:]
    except KeyError:
        return path


def at_home(path: str | os.PathLike[str], what: str = "") -> Path:
    """The same for what may be created. Raises UsageError where the home folder is not known.

    what: the option or variable that names the path, for the message.
    """
    found = expanded(path)
    if os.fspath(path).startswith("~") and not os.path.isabs(found):
        raise UsageError(
            f"{what} {shown(os.fspath(path))}: there is no such home folder here; ".lstrip()
            + "write the path without ~, or set HOME"
        )
    return Path(found)


def user_folder(variable: str, usual: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the user keeps files of one kind, such as $XDG_DATA_HOME or ~/.local/share; None without a home.

    A relative path in the variable is ignored. Source: XDG Base Directory Specification 0.8.
    """
    own = environ.get(variable, "")
    found = own if os.path.isabs(own) else expanded(usual)
    return Path(found) if os.path.isabs(found) else None


def data_folder(name: str, own: str, environ: Mapping[str, str]) -> Path:
    """whisper-npu/`name` in the user's data folder, or what the variable `own` names.

    Raises UsageError where that is in a home folder that is not known.
    """
    if chosen := environ.get(own):
        return at_home(chosen, own)
    if (data := user_folder("XDG_DATA_HOME", "~/.local/share", environ)) is None:
        raise UsageError(f"there is no home folder here; set {own} to a writable folder")
    return data / "whisper-npu" / name


def cache_folder(chosen: Path | None) -> Path:
    """Where whisper-npu keeps what it builds: `chosen`, $WHISPER_NPU_CACHE, or the user's cache folder.

    A user without a home folder gets a private one in the temporary folder. Raises CacheError where none is
    to be had.
    """
    if own := chosen or os.environ.get("WHISPER_NPU_CACHE"):
        try:
            return at_home(own, "cache folder")
        except UsageError as error:
            raise CacheError(f"{error}, or set WHISPER_NPU_CACHE to a writable folder") from error
    folder = user_folder("XDG_CACHE_HOME", "~/.cache")
    return folder / "whisper-npu" if folder else private_temporary_folder()


def private_temporary_folder() -> Path:
    """A folder for this user alone below the temporary folder, where others may have put one of its name.

    Raises CacheError.
    """
    folder = Path("the temporary folder")
    try:
        folder = Path(tempfile.gettempdir()) / f"whisper-npu-{os.getuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError as error:
        raise CacheError(
            f"{folder} cannot be used ({error.strerror or one_line(error)}); set WHISPER_NPU_CACHE to a "
            "writable folder"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CacheError(
            f"{folder} is not a folder that only you can open: somebody else may have put it there; set "
            "WHISPER_NPU_CACHE to a writable folder"
        )
    return folder
