"""The transcript on stdout and progress on stderr, without disturbing each other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from whisper_npu.audio import SAMPLE_RATE
from whisper_npu.errors import error_line
from whisper_npu.transcription.result import Segment


class Progress:
    """A progress bar if stderr is a terminal, otherwise one line per step; nothing if quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        # rich would redirect stdout to its own console, which here is stderr.
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),  # file names may contain brackets
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, step: str) -> None:
        """Show what the program does now."""
        self._show(step, total=None, state="")

    @contextmanager
    def recording(self, name: str, n_samples: int) -> Iterator[Callable[[Segment], None]]:
        """Show the progress of one recording. Call the function it yields with each segment, to print it."""
        total = n_samples / SAMPLE_RATE
        self._show(f"transcribing {name}", total=total, state=f"{total:.1f} s")

        def on_segment(segment: Segment) -> None:
            self._above_the_bar(segment.text.strip(), sys.stdout)
            if self._task is not None:
                state = f"{segment.end:.1f} of {total:.1f} s"
                self._bar.update(self._task, completed=min(segment.end, total), state=state)

        yield on_segment

    def fail(self, message: str) -> None:
        """Print one line for a recording that failed, even if quiet."""
        self._above_the_bar(error_line(message), sys.stderr)

    def _show(self, step: str, *, total: float | None, state: str) -> None:
        if self._bar.disable:
            if not self._quiet:
                print(f"whisper-npu: {step}{state and f' ({state})'}", file=sys.stderr, flush=True)
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(step, total=total, state=state)

    def _above_the_bar(self, line: str, stream: object) -> None:
        self._bar.stop()
        print(line, file=stream, flush=True)  # type: ignore[call-overload]
        self._bar.start()
