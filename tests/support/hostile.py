"""Files that were made to hang, crash or mislead whoever reads them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

NESTED = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
NO_OBJECTS: dict[str, bytes] = {
    "nothing": b"",
    "nested 200,000 deep": NESTED,
    "a list nested 200,000 deep": b"[" * 200_000,
    "an integer of 5,000 digits": b'{"d_model": ' + b"9" * 5_000 + b"}",
    "a member twice": b'{"d_model": 24, "d_model": 25}',
    "a list": b"[1]",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "latin-1": '{"a": "ä"}'.encode("latin-1"),
    "half of it": b'{"d_model": 24, "num_mel_bins"',
    "NUL bytes": bytes(1_000),
    "comments": b'{"a": 1} // b',
}


def is_fifo(path: Path) -> None:
    os.mkfifo(path)


def is_folder(path: Path) -> None:
    path.mkdir()


def is_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def is_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


def is_loop(path: Path) -> None:
    path.symlink_to(path.name)


NO_FILES: tuple[Callable[[Path], None], ...] = (is_fifo, is_folder, is_device, is_socket, is_loop)

_NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.sampled_from([0, -1, 1, 2**31, 2**32, 2**63]), st.floats(), st.booleans()
)
_TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "../x", "/etc/passwd", "a\0b", "x" * 5000, "\ud800"])
)
_VALUES = st.recursive(
    st.one_of(st.none(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def changed_json(draw: st.DrawFn, value: Any) -> bytes:
    """JSON like `value`, with some of its members changed, removed or added, or some of its bytes."""
    changed = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, changed)
    content = bytearray(json.dumps(changed).encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 9)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


def _change(draw: st.DrawFn, inside: Any) -> None:
    while isinstance(inside, (dict, list)) and inside:
        key = draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        if isinstance(inside[key], (dict, list)) and inside[key] and draw(st.booleans()):
            inside = inside[key]
        elif draw(st.integers(0, 4)) == 0:
            del inside[key]
            return
        else:
            inside[key] = draw(_VALUES)
            return
    if isinstance(inside, dict):
        inside[draw(_TEXTS)] = draw(_VALUES)


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes, head: int) -> bytes:
    """Some bytes changed, most of them within the first `head`; or cut, or with more behind."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        end = head if draw(st.integers(0, 3)) else len(changed)
        changed[draw(st.integers(0, min(end, len(changed)) - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 5)) == 0:
        del changed[draw(st.integers(0, len(changed))) :]
    return bytes(changed + draw(st.sampled_from([b"", b"", b"", b"x"])))
