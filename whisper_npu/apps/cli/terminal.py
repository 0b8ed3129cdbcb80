"""Streams that people look at: what they can show, and what must not reach them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

DEFAULT_COLUMNS = 80


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody may be looking at it. A closed stream is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def can_redraw(stream: TextIO | None, environment: Mapping[str, str]) -> bool:
    """Whether a line on it can be written over: a terminal that knows escape codes."""
    terminal = environment.get("TERM", "" if os.name == "posix" else "windows")
    return is_terminal(stream) and terminal.lower() not in ("", "dumb", "unknown")


def columns(stream: TextIO) -> int:
    """The width of the terminal behind a stream, as it is at this moment."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


def printable(text: str) -> str:
    """One line without control characters, with which a text or a file's name could steer the terminal."""
    line = " ".join(text.splitlines()).replace("\t", " ")
    return "".join(c for c in line if unicodedata.category(c) != "Cc").strip()


def encodable(text: str, stream: TextIO) -> str:
    """The text with ? for every character that the stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)


class Stderr:
    """Standard error for messages that may get lost: where it is closed or broken, the work goes on."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    def print(self, line: str) -> None:
        if self.stream is not None:
            self.write(encodable(line, self.stream) + "\n")

    def write(self, text: str) -> None:
        """Raises nothing; after an error nothing more is written."""
        if self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            broken, self.stream = self.stream, None
            with suppress(OSError, ValueError):  # or Python would fail once more when it flushes at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, broken.fileno())
                os.close(nowhere)
