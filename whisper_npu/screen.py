"""The terminal that a person reads: how wide it is, and whether it shows colours and signs.

Whatever is laid out for a terminal asks here. `environ`: the environment's variables, as os.environ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

WIDTH, NARROWEST = 80, 40  # columns that text is laid out for: at most, and at least
ERASED = "\r\x1b[2K"  # the line at which the cursor is
_CODES = {"bold": "1", "red": "31", "green": "32"}


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody may be looking at it. A closed stream is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def knows_codes(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether it is a terminal that obeys escape codes, so that a line on it can be written over."""
    terminal = environ.get("TERM", "" if os.name == "posix" else "windows")
    return is_terminal(stream) and terminal.strip().lower() not in ("", "dumb", "unknown")


def shows_colours(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether it may get colours: not where NO_COLOR (no-color.org) is set."""
    return knows_codes(stream, environ) and not environ.get("NO_COLOR")


def columns(stream: TextIO, environ: Mapping[str, str]) -> int:
    """How wide it is at this moment: what COLUMNS says, or else the terminal, or else WIDTH."""
    told = environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH  # some terminals say 0
    except (OSError, ValueError):
        return WIDTH


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # 20 ms

    return cell_len(text)


@dataclass(frozen=True)
class Screen:
    """What to lay text out for. The default is what a pipe or a file gets."""

    width: int = WIDTH
    colours: bool = False
    signs: bool = False  # beyond ASCII

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Screen:
        """The terminal behind a stream; the default where there is none."""
        if not is_terminal(stream):
            return cls()
        return cls(
            width=min(max(columns(stream, environ), NARROWEST), WIDTH),
            colours=shows_colours(stream, environ),
            signs=knows_codes(stream, environ) and (stream.encoding or "").lower().startswith("utf"),
        )

    def styled(self, text: str, style: str) -> str:
        """style: bold, red or green; the text as it is where there are no colours."""
        return f"\033[{_CODES[style]}m{text}\033[0m" if self.colours else text


PLAIN = Screen()
