"""Ctrl-C while somebody speaks: the first one ends listening, and not the work on what was said."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ended_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Within it the first Ctrl-C, SIGTERM or SIGHUP calls `stop`; a later one does what it did before.

    SIGHUP never does: when a terminal is closed, both the kernel and the shell send one.
    """
    before: dict[int, Any] = {}
    has_stopped = False

    def handle(number: int, frame: Any) -> None:
        nonlocal has_stopped
        if has_stopped and number != signal.SIGHUP:
            if callable(before[number]):
                before[number](number, frame)
            raise KeyboardInterrupt
        has_stopped = True
        stop()

    if threading.current_thread() is threading.main_thread():
        for number in map(int, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's & want it
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
