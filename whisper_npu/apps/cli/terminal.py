"""Messages on stdout and stderr, whatever their encodings lack and wherever they lead."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
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


class StdoutLostError(Exception):
    """Standard output cannot be written, and nothing else was asked for."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


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
    line = shown(line)
    if is_terminal(sys.stdout):
        line = "\n".join(wrap(line, Screen.of(sys.stdout, os.environ).width, rest=CONTINUED))
    print_text(f"{line}\n")


def print_lines(text: str) -> None:
    """On stdout, and a line break at the end: what comes from outside is escaped, but for its line breaks."""
    print_text(f"{lines_shown(text)}\n")


def lines_shown(text: str) -> str:
    """As `shown`, of several lines."""
    return "\n".join(shown(line) for line in text.split("\n"))


def print_text(text: str) -> None:
    """On stdout, as it is but for characters that its encoding lacks."""
    if sys.stdout is not None:
        print(encodable(text, sys.stdout), end="", flush=True)


def print_json(document: Mapping[str, object]) -> None:
    """On stdout, for programs: what its encoding lacks as JSON's own escapes, so that nothing is lost."""
    from whisper_npu.output import as_json

    if sys.stdout is None:
        return
    text = as_json(document)
    if encodable(text, sys.stdout) != text:
        text = json.dumps(json.loads(text), indent=2) + "\n"
    print_text(text)


def print_for_scripts(path: Path) -> None:
    """On stdout, for scripts: its bytes as they are; on a terminal fit to be seen."""
    if sys.stdout is None:
        return
    if is_terminal(sys.stdout):
        print_lines(str(path))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        sys.stdout.buffer.flush()
