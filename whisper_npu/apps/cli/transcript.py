"""The text on stdout: what was said, when, in which recording, and how sure the model is."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import exp
from typing import TYPE_CHECKING, NamedTuple, TextIO

from whisper_npu.apps.cli.terminal import encodable
from whisper_npu.errors import shown
from whisper_npu.output.cues import speech_line
from whisper_npu.screen import columns, is_terminal, shows_colours

if TYPE_CHECKING:
    from whisper_npu.transcription.transcript import Segment

# From red over yellow to green in the colour cube of 256-colour terminals, 16 + 36 r + 6 g + b.
_RED_TO_YELLOW = [16 + 36 * 5 + 6 * green for green in range(6)]
_YELLOW_TO_GREEN = [16 + 36 * red + 6 * 5 for red in range(4, 0, -1)]
CONFIDENCE_COLOURS = (*_RED_TO_YELLOW, *_YELLOW_TO_GREEN)


class Part(NamedTuple):
    """A part of a line. probability: 0 to 1, that it is what was said; None: it gets no colour."""

    text: str
    probability: float | None = None


class TranscriptPrinter:
    """Prints segments as they are decoded, each flushed.

    A terminal gets lines wrapped between words, and colours if asked for; a file or pipe gets one line for
    each segment, without escape codes.

    stdout: None where it is closed. above: within it nothing else is on the screen, as `Progress.above`.
    headings: name each recording, for more than one. timestamps: print start and end of each segment.
    colors: colour words by their probability, or segments by theirs where they have no words.
    """

    def __init__(
        self,
        stdout: TextIO | None,
        above: Callable[[], AbstractContextManager[None]],
        *,
        headings: bool,
        timestamps: bool = False,
        colors: bool = False,
    ) -> None:
        self._stdout = stdout
        self._above = above
        self._headings = headings
        self._timestamps = timestamps
        self._colours = colors and shows_colours(stdout, os.environ)
        self._is_first = True

    def recording(self, name: str) -> None:
        """Its segments come next."""
        if self._headings:
            # As head and tail name several files.
            self._print_line(("" if self._is_first else "\n") + f"==> {shown(name)} <==")
        self._is_first = False

    def segment(self, segment: Segment) -> None:
        """Segments without text are left out."""
        text = speech_line(segment.text).strip()
        if not text:
            return
        stamp = f"[{timestamp(segment.start)} --> {timestamp(segment.end)}] " if self._timestamps else ""
        self._print([Part(stamp), *(parts(segment) if self._colours else [Part(text)])])

    def _print_line(self, text: str) -> None:
        """As it is, however long."""
        if self._stdout is not None:
            with self._above():
                print(encodable(text, self._stdout), file=self._stdout, flush=True)

    def _print(self, line: list[Part]) -> None:
        """On a terminal wrapped between words."""
        if self._stdout is None or not is_terminal(self._stdout):
            self._print_line("".join(part.text for part in line))
            return
        from rich.console import Console
        from rich.text import Text

        text = Text()
        for part in line:
            style = "" if part.probability is None else f"color({colour(part.probability)})"
            text.append(encodable(part.text, self._stdout), style=style)
        console = Console(
            file=self._stdout,
            width=columns(self._stdout, os.environ),
            height=1,  # of no interest, but without it rich looks for a width of its own
            force_terminal=True,  # known to be one; without styles it gets no escape codes
        )
        with self._above():
            console.print(text, overflow="fold", highlight=False)


def parts(segment: Segment) -> list[Part]:
    """A segment's words, or where it has none all of it, with their probabilities."""
    if not segment.words:
        return [Part(speech_line(segment.text).strip(), exp(min(0.0, segment.avg_logprob)))]
    found: list[Part] = []
    for word in segment.words:
        if found and word.word[:1].isspace():
            found.append(Part(" "))
        found.append(Part(speech_line(word.word).strip(), word.probability))
    return found


def colour(probability: float) -> int:
    """A colour's number of 256. As in whisper.cpp, cubed: most words are near one."""
    step = int(probability**3 * len(CONFIDENCE_COLOURS))
    return CONFIDENCE_COLOURS[max(0, min(len(CONFIDENCE_COLOURS) - 1, step))]


def timestamp(seconds: float) -> str:
    """As openai/whisper prints it: `01:02.500`, with hours where there are any."""
    milliseconds = round(1000 * seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    return f"{hours:02d}:{clock}" if hours else clock


def detected(language: str, probability: float, name: str | None = None) -> str:
    """For stderr. language: its English name. name: of the recording, where there are several."""
    start = "" if name is None else f"{shown(name)}: "
    return f"{start}detected {language} ({100 * probability:.0f} %)"
