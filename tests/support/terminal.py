"""A terminal to write to, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

_CODE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Terminal:
    """The user's side of a pseudo-terminal; the program's side is `stream`."""

    def __init__(self, ours: int, stream: TextIO) -> None:
        self._ours = ours
        self.stream = stream
        self.raw = ""  # all that was written so far

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self) -> str:
        """What was written since the last call, with its escape codes."""
        self.stream.flush()
        new = b""
        while True:
            try:
                new += os.read(self._ours, 65_536)
            except BlockingIOError:
                break
        text = new.decode(self.stream.encoding)
        self.raw += text
        return text

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        self.read()
        return on_screen(self.raw)


@contextmanager
def terminal(columns: int = 80, encoding: str = "utf-8") -> Iterator[Terminal]:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    with open(theirs, "w", encoding=encoding) as stream:
        opened = Terminal(ours, stream)
        opened.resize(columns)
        yield opened
    os.close(ours)


def on_screen(raw: str) -> list[str]:
    """The lines that are left after every carriage return and every erasure; no other code may occur."""
    lines, column = [""], 0
    position = 0
    while position < len(raw):
        code = _CODE.match(raw, position)
        if code:
            position = code.end()
            if code[2] == "K":
                lines[-1] = "" if code[1] == "2" else lines[-1][:column]
            else:
                assert code[2] == "m", f"{code[0]!r} is not expected"
            continue
        character = raw[position]
        position += 1
        if character == "\n":
            lines.append("")
            column = 0
        elif character == "\r":
            column = 0
        else:
            assert character != "\x1b"
            lines[-1] = lines[-1][:column].ljust(column) + character + lines[-1][column + 1 :]
            column += 1
    return lines if lines[-1] else lines[:-1]


def of_256_colours(patch: pytest.MonkeyPatch) -> None:
    """What the environment tells of the terminal, whatever it is where the tests run."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        patch.delenv(name, raising=False)
    patch.setenv("TERM", "xterm-256color")
