"""What is said, on the screen: final lines on stdout, and on a terminal below them the one that is spoken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from whisper_npu.apps.cli.terminal import Stderr, encodable
from whisper_npu.apps.cli.transcript import TranscriptPrinter
from whisper_npu.apps.json_line import json_line
from whisper_npu.apps.line_message import line_message
from whisper_npu.errors import shown
from whisper_npu.live.line import Line
from whisper_npu.output.cues import speech_line
from whisper_npu.screen import cells, knows_codes

_ERASED = "\r\x1b[2K"
_CUT = "... "  # in place of the beginning of a line that is too long


class LiveLines:
    """stdout: None where it is closed. quiet: neither partial lines nor notes.

    Printing raises OSError where stdout fails; where stderr does, the work goes on.
    """

    def __init__(
        self, stdout: TextIO | None, stderr: TextIO | None, *, timestamps: bool, as_json: bool, quiet: bool
    ) -> None:
        self._stdout, self._stderr = stdout, Stderr(stderr)
        self._as_json, self._quiet = as_json, quiet
        self._printer = TranscriptPrinter(stdout, self.above, headings=False, timestamps=timestamps)
        self._shows_partial = not quiet and knows_codes(stderr, os.environ)
        self._has_partial = False  # on the screen

    def show(self, line: Line) -> None:
        if self._as_json:
            self._message(line_message(line))
        if line.is_final:
            with self.above():  # it has gone from the screen, even if nothing takes its place
                if not self._as_json:
                    for segment in line.segments:
                        self._printer.segment(segment)
        else:
            self._partial(line)

    def without_stdout(self) -> None:
        """It fails: only stderr is left."""
        self._stdout = None
        self._printer = TranscriptPrinter(None, self.above, headings=False)

    @contextmanager
    def above(self) -> Iterator[None]:
        """For printing: within it there is no partial line on the screen."""
        if self._has_partial:
            self._stderr.write(_ERASED)
            self._has_partial = False
        yield

    def note(self, text: str) -> None:
        """A line for people, on stderr; nothing if quiet."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """The same, also if quiet: something is lost."""
        with self.above():
            self._stderr.print(shown(text))

    def _message(self, fields: dict[str, Any]) -> None:
        if self._stdout is None:
            return
        text = json_line(fields)
        if encodable(text, self._stdout) != text:
            text = json.dumps(fields)  # with JSON's own escapes nothing is lost
        with self.above():
            print(text, file=self._stdout, flush=True)

    def _partial(self, line: Line) -> None:
        stream, columns = self._stderr.stream, self._stderr.columns
        if not self._shows_partial or stream is None or columns is None:
            return
        text = encodable(shown(speech_line(line.text)), stream)
        self._has_partial = True
        self._stderr.write(_ERASED + end_of(text, columns - 1))  # in the last column some terminals wrap


def end_of(text: str, columns: int) -> str:
    """A text, or as much of its end as fits: there the newest words are."""
    if cells(text) <= columns:
        return text
    room = columns - len(_CUT)
    if room <= 0:
        return ""
    first = max(0, len(text) - room)  # no character is narrower, but for marks upon others
    while cells(text[first:]) > room:
        first += 1
    return _CUT + text[first:].lstrip()
