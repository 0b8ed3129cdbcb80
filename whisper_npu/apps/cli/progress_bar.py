"""The line at the foot of a terminal that shows how far a run is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import IO, cast

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from whisper_npu.apps.cli.progress import left, of_all, percent, seconds_done, speed
from whisper_npu.apps.cli.tally import Tally
from whisper_npu.apps.cli.terminal import Stderr, columns, encodable

SHORTEST_NAME, LONGEST_NAME = 8, 32  # columns
SHORTEST_BAR, LONGEST_BAR = 5, 30


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
        # rich looks for terminals itself, or in variables; whether this is one is known already.
        self._console = Console(
            file=cast(IO[str], _File(stderr)), force_terminal=True, highlight=False, markup=False, emoji=False
        )

    def changed(self, tally: Tally, name: str, step: str | None) -> None:
        self.tick(tally, name, step)

    def tick(self, tally: Tally, name: str, step: str | None) -> None:
        width = columns(self._stream) - 1  # a full line would wrap on some terminals
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
    """As much as fits into `width` columns, in the order in which a person needs it."""
    title = name if step is None else step
    texts = {
        "percent": percent(tally) if tally.has_begun else "",
        "left": "" if step else left(tally),
        "of_all": of_all(tally),
        "elapsed": clock(tally.elapsed),
        "speed": speed(tally) if step is None else "",
        "seconds": seconds_done(tally) if tally.has_begun else "",
    }
    room = width - cell_len(spinner)
    shortest_name = min(cell_len(title), SHORTEST_NAME if step is None else LONGEST_NAME)
    least = {"bar": SHORTEST_BAR, "name": shortest_name} | {key: cell_len(t) for key, t in texts.items()}
    by_need = ["percent", "left", "of_all", "speed", "seconds", "bar", "elapsed", "name"]
    if step is not None:
        by_need = ["name", "of_all", "percent", "elapsed", "seconds", "bar"]
    if not texts["percent"]:
        by_need.remove("bar")
    widths: dict[str, int] = {}
    for key in by_need:
        if least[key] and least[key] + 1 <= room:
            widths[key] = least[key]
            room -= least[key] + 1
    if "name" not in widths and step is not None:  # not even the step fits: as much of it as there is room
        widths, room = {"name": max(0, width - cell_len(spinner) - 1)}, 0
    for key, longest in (("name", min(cell_len(title), LONGEST_NAME)), ("bar", LONGEST_BAR)):
        if key in widths:
            more = max(0, min(room, longest - widths[key]))
            widths[key] += more
            room -= more
    line = Text(spinner, style="cyan")
    for key in ("of_all", "name", "bar", "percent", "seconds", "speed", "left", "elapsed"):
        if key not in widths:
            continue
        line.append(" ")
        if key == "name":
            line.append(_shortened(title, widths[key], marks.cut), style="default")
        elif key == "bar":
            done = round((tally.fraction or 0.0) * widths[key])
            line.append(marks.done * done, style="cyan")
            line.append(marks.open * (widths[key] - done), style="bright_black")
        else:
            line.append(texts[key], style="default")
    return line


def clock(seconds: float) -> str:
    """`0:07`, `1:02:03`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _shortened(title: str, width: int, cut: str) -> str:
    return title if cell_len(title) <= width else set_cell_size(title, width - 1) + cut


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
