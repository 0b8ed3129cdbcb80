"""The terminal that a person reads: how wide it is, and whether it shows colours and signs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

WIDTH, NARROWEST = 80, 40  # columns that text is laid out for: at most, and at least
_CODES = {"bold": "1", "red": "31", "green": "32"}


@dataclass(frozen=True)
class Screen:
    """What to lay text out for. The default is what a pipe or a file gets."""

    width: int = WIDTH
    colours: bool = False
    signs: bool = False  # beyond ASCII

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Screen:
        """The terminal behind a stream; the default where there is none.

        NO_COLOR (no-color.org) and TERM=dumb are obeyed.
        """
        if not stream.isatty():
            return cls()
        is_dumb = environ.get("TERM") == "dumb"
        return cls(
            width=min(max(_columns(stream, environ), NARROWEST), WIDTH),
            colours=not is_dumb and not environ.get("NO_COLOR"),
            signs=not is_dumb and (stream.encoding or "").lower().startswith("utf"),
        )

    def styled(self, text: str, style: str) -> str:
        """style: bold, red or green; the text as it is where there are no colours."""
        return f"\033[{_CODES[style]}m{text}\033[0m" if self.colours else text


PLAIN = Screen()


def _columns(stream: TextIO, environ: Mapping[str, str]) -> int:
    told = environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH  # some terminals say 0
    except (OSError, ValueError):
        return WIDTH
