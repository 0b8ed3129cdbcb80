"""Reading files that somebody else wrote: checkpoints, kernels, what lies in a cache.

Whoever made such a file may want it to hang, crash or fill the memory of those who read it. So only regular
files are opened, no more is read than the file may hold, and JSON ends in an object or in a ValueError.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON = 64 << 20  # bytes; the largest tokenizer.json of a Whisper has 2.5 million
_MAX_DIGITS = 400  # of an integer: transformers writes 31 for "no limit"


def open_regular(path: Path | str, *, follow_links: bool = True) -> BinaryIO:
    """A regular file, opened to read bytes. A model in the hub's cache is made of links.

    Raises OSError, also for a folder, a device, a socket, and for a pipe, which would have to be waited for.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags if follow_links else flags | os.O_NOFOLLOW)
    except ValueError as error:  # a NUL within the name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path | str, at_most: int) -> bytes:
    """All bytes of a regular file. Raises OSError, also where it holds more than `at_most`."""
    with open_regular(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise OSError(errno.EFBIG, f"it holds more than {at_most:,} bytes", str(path))
    return content


def read_object(path: Path | str) -> dict[str, Any]:
    """The JSON object in a file. Raises OSError as `read_regular` does, and ValueError as `json_object`."""
    return json_object(read_regular(path, MAX_JSON))


def json_object(content: bytes) -> dict[str, Any]:
    """The JSON object in UTF-8. Raises ValueError for everything else; see `json_value`."""
    value = json_value(content)
    if not isinstance(value, dict):
        raise ValueError(f"it is {_A[type(value)]}, not an object")
    return value


def json_value(content: bytes) -> Any:
    """What JSON in UTF-8 says; NaN and infinities, which JSON does not have, are null.

    Raises ValueError for what is no JSON or no UTF-8, is nested too deeply, has an integer of some hundred
    digits, or names a member twice: another reader could take the other one.
    """
    try:
        return json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_members,
            parse_constant=lambda _: None,
            parse_int=_integer,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"it names {name[:60]!r} twice")
            seen.add(name)
    return members


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"it has an integer of {len(digits):,} digits")
    return int(digits)


def _finite(digits: str) -> float | None:
    return value if math.isfinite(value := float(digits)) else None


_A = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
