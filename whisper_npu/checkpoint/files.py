"""Reading a checkpoint's small files, and digests of its large ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whisper_npu.errors import CheckpointError, one_line
from whisper_npu.untrusted import MAX_JSON, json_object, json_value, open_regular, read_regular

_CHUNK = 1 << 22  # bytes: so large that hashing, not reading, takes the time


def chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes in order. Raises CheckpointError if it cannot be read."""
    try:
        with open_regular(path) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise _unreadable(path, error) from error


def read_small(path: Path) -> bytes:
    """A file of a checkpoint other than its weights. Raises CheckpointError if it cannot be read."""
    try:
        return read_regular(path, MAX_JSON)
    except OSError as error:
        raise _unreadable(path, error) from error


def sha256(path: Path) -> str:
    """The file's sha256 in hex. Raises CheckpointError if it cannot be read."""
    digest = hashlib.sha256()
    for chunk in chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def identity(file: Path) -> str:
    """A text that changes when the file does. Hashing a model would cost as much time as a cache saves.

    Raises CheckpointError if the file is gone.
    """
    try:
        real = file.resolve()
        status = real.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return f"{real} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError if the file holds anything else."""
    try:
        return json_object(read_small(path))
    except ValueError as error:
        raise _no_json(path, "object", error) from error


def read_json_list(path: Path) -> list[Any]:
    """The list in a JSON file. Raises CheckpointError if the file holds anything else."""
    try:
        value = json_value(read_small(path))
        if not isinstance(value, list):
            raise ValueError("it is none")
        return value
    except ValueError as error:
        raise _no_json(path, "list", error) from error


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read: {error.strerror or one_line(error)}")


def _no_json(path: Path, wanted: str, error: ValueError) -> CheckpointError:
    return CheckpointError(
        f"{path}: expected a JSON {wanted}, found text that does not parse ({one_line(error)}); "
        "copy the file again"
    )
