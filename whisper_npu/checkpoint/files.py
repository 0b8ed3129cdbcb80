"""Reading a checkpoint's small files, and digests of its large ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whisper_npu.errors import CheckpointError, one_line

_CHUNK = 1 << 22  # bytes: so large that hashing, not reading, takes the time


def chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes in order. Raises CheckpointError if it cannot be read."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or one_line(error)}") from error


def sha256(path: Path) -> str:
    """The file's sha256 in hex. Raises CheckpointError if it cannot be read."""
    digest = hashlib.sha256()
    for chunk in chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def identity(file: Path) -> str:
    """A text that changes when the file does. Hashing a model would cost as much time as a cache saves."""
    real = file.resolve()
    status = real.stat()
    return f"{real} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError if the file holds anything else."""
    try:
        value = json.loads(b"".join(chunks(path)).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, or not JSON
        raise CheckpointError(
            f"{path}: expected a JSON object, found text that does not parse ({one_line(error)}); "
            "copy the file again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path}: expected a JSON object, found a {type(value).__name__}; copy the file again"
        )
    return value
