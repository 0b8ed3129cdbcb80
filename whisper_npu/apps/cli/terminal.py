"""Messages on stdout and stderr, whatever their encodings lack and wherever they lead."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from whisper_npu.errors import shown
from whisper_npu.page import wrap
from whisper_npu.screen import Screen, cells, columns, is_terminal

CONTINUED = "    "  # begins the second line of one that is too long for a terminal


def encodable(text: str, stream: TextIO) -> str:
    """The text with ? for every character that the stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)


def give_up(stream: TextIO | None) -> None:
    """Nothing more can be written to it: without this Python would fail once more when it flushes at exit."""
    with suppress(OSError, ValueError):
        if stream is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class Stderr:
    """Standard error for messages that may get lost: where it is closed or broken, the work goes on."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    @property
    def columns(self) -> int | None:
        """How wide the terminal is at this moment; None where it is none."""
        if self.stream is None or not is_terminal(self.stream):
            return None
        return columns(self.stream, os.environ)

    def print(self, text: str) -> None:
        """On a terminal lines that are too long are wrapped between words."""
        if self.stream is None:
            return
        text, width = encodable(text, self.stream), self.columns
        self.write(f"{text}\n" if width is None else fitting(text, width))

    def write(self, text: str) -> None:
        """Raises nothing; after an error nothing more is written."""
        if self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            broken, self.stream = self.stream, None
            give_up(broken)


def fitting(text: str, width: int) -> str:
    """The text, with a line break at its end and between words of lines that are wider."""
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line] if cells(line) <= width else wrap(line, width, rest=CONTINUED)
    return "".join(f"{line}\n" for line in lines)


def say(step: str) -> None:
    """On stderr, in one line: what a command does that takes a while."""
    Stderr(sys.stderr).print(f"whisper-npu: {shown(step)}")


def print_wrapped(line: str) -> None:
    """On stdout: wrapped on a terminal, in one line elsewhere."""
    if is_terminal(sys.stdout):
        line = "\n".join(wrap(line, Screen.of(sys.stdout, os.environ).width, rest=CONTINUED))
    print(line, flush=True)
