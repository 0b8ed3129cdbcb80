"""The line at the foot of a terminal that shows how far a run is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import IO, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from whisper_npu.apps.cli.tally import Tally, left, of_all, percent, seconds_done, speed
from whisper_npu.apps.cli.terminal import Stderr, encodable
from whisper_npu.screen import columns, shows_colours

SHORTEST_TITLE, LONGEST_TITLE = 8, 32  # columns
SHORTEST_BAR, LONGEST_BAR = 5, 30
# What gives way first where the terminal is narrow.
LEAST_NEEDED = ("title", "elapsed", "bar", "seconds", "speed", "of_all", "left", "percent")
LEAST_NEEDED_IN_A_STEP = ("bar", "seconds", "speed", "left", "elapsed", "percent", "of_all")


@dataclass(frozen=True)
class Marks:
    spinner: str
    done: str
    open: str
    cut: str  # of a name that is too long


FINE = Marks("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━", "─", "…")
ASCII = Marks("|/-\\", "#", "-", "~")


class ProgressBar:
    """Draws one line over the last one. It hides no cursor, so that no way of ending can lose it."""

    every = 0.2  # seconds

    def __init__(self, stderr: Stderr) -> None:
        assert stderr.stream is not None
        self._stream = stderr.stream
        self._marks = FINE if encodable(str(FINE), self._stream) == str(FINE) else ASCII
        self._frames = count()
        self._is_drawn = False
        # rich looks for terminals itself, or in variables; what this one is, is known already.
        self._console = Console(
            file=cast(IO[str], _File(stderr)),
            force_terminal=True,
            no_color=not shows_colours(self._stream, os.environ),
            highlight=False,
            markup=False,
            emoji=False,
        )

    def changed(self, tally: Tally, name: str, step: str | None) -> None:
        self.tick(tally, name, step)

    def tick(self, tally: Tally, name: str, step: str | None) -> None:
        width = max(1, columns(self._stream, os.environ) - 1)  # a full line would wrap on some terminals
        spinner = self._marks.spinner[next(self._frames) % len(self._marks.spinner)]
        line = composed(tally, name, step, spinner, width, self._marks)
        self._console.size = ConsoleDimensions(width, 1)  # or rich would look for a width of its own
        with self._console:  # one write for all of it
            self._console.control(Control(ControlType.CARRIAGE_RETURN))
            self._console.print(line, end="", no_wrap=True, overflow="crop")
            self._console.control(Control((ControlType.ERASE_IN_LINE, 0)))
        self._is_drawn = True

    def clear(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            self._console.control(
                Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)),
            )


def composed(
    tally: Tally, name: str, step: str | None, spinner: str, width: int, marks: Marks = FINE
) -> Text:
    """As much as fits into `width` columns."""
    title = name if step is None else step
    texts = {  # in the order of the line
        "spinner": spinner,
        "of_all": of_all(tally),
        "title": title,
        "bar": "",
        "percent": percent(tally) if tally.has_begun else "",
        "seconds": seconds_done(tally) if tally.has_begun else "",
        "speed": speed(tally),
        "left": left(tally),
        "elapsed": clock(tally.elapsed),
    }
    widths = {key: cell_len(text) for key, text in texts.items() if text}
    widths["title"] = min(cell_len(title), LONGEST_TITLE if step else SHORTEST_TITLE)
    if texts["percent"]:
        widths["bar"] = SHORTEST_BAR
    for key in LEAST_NEEDED_IN_A_STEP if step else LEAST_NEEDED:
        if _room(widths, width) >= 0:
            break
        widths.pop(key, None)
    for key, longest in (("title", min(cell_len(title), LONGEST_TITLE)), ("bar", LONGEST_BAR)):
        if key in widths:
            widths[key] = max(0, min(longest, widths[key] + _room(widths, width)))
    line = Text()
    for key, text in texts.items():
        if key not in widths:
            continue
        line.append(" " if line else "")
        if key == "bar":
            done = round((tally.fraction or 0.0) * widths["bar"])
            line.append(marks.done * done, style="cyan")
            line.append(marks.open * (widths["bar"] - done), style="bright_black")
        elif key == "title":
            line.append(_shortened(title, widths["title"], marks.cut))
        else:
            line.append(text, style="cyan" if key == "spinner" else "")
    return line


def _room(widths: Mapping[str, int], width: int) -> int:
    """Columns that are left, below 0 if there are too few; one is between any two texts."""
    return width - sum(widths.values()) - (len(widths) - 1)


def clock(seconds: float) -> str:
    """`0:07`, `1:02:03`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _shortened(title: str, width: int, cut: str) -> str:
    """Of a path that is too long, its last part; the beginning of what is still too long."""
    if cell_len(title) > width:
        title = os.path.basename(title)
    return title if cell_len(title) <= width else set_cell_size(title, max(0, width - 1)) + cut


class _File:
    """What rich needs of a file."""

    def __init__(self, stderr: Stderr) -> None:
        self._stderr = stderr
        self.encoding = stderr.stream.encoding if stderr.stream else "utf-8"

    def write(self, text: str) -> None:
        if self._stderr.stream is not None:
            self._stderr.write(encodable(text, self._stderr.stream))

    def flush(self) -> None:
        """`Stderr.write` has done it."""

    def isatty(self) -> bool:
        return True
