"""The process's standard input, output and error: any of them may be closed, or have any encoding."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper


def prepare() -> None:
    """Meant to be called once, before any file is opened.

    What is closed leads nowhere: otherwise the next file that is opened would get its number, and whatever a
    library prints would go into that file. `sys.stdout` and so on stay None, so that one can ask.
    What an encoding lacks is printed as ?.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_nowhere(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _open_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    os.set_inheritable(descriptor, True)  # as standard streams are
