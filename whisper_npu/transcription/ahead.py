"""The encoder at windows that the decoder will ask for, while the decoder is still at those before them.

Between the two lies a queue of at most `most` windows, for audio features take memory:
(n_audio_ctx, n_audio_state) float32 each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock, Thread, current_thread
from typing import Generic, TypeVar

import numpy as np

from whisper_npu.dtypes import F32

T = TypeVar("T")


@dataclass(eq=False)
class _Window(Generic[T]):
    mel: F32
    encoded: Future[T] = field(default_factory=Future)


class Ahead(Generic[T]):
    """Encodes what is expected in a thread, one window after the other, in order.

    The thread ends where nothing is left to encode, or no room for it, and another one goes on from there. So
    nobody waits for ever, also where this is never closed.
    """

    def __init__(self, encode: Callable[[F32], T], most: int) -> None:
        """most: windows that are encoded, or being encoded, and not taken yet."""
        assert most > 0
        self._encode, self._most = encode, most
        # Reentrant: garbage collection may close this within the thread that has the lock.
        self._lock = RLock()
        self._windows: list[_Window[T]] = []  # expected and not taken, in order
        self._begun = 0  # that many of them, the first ones
        self._thread: Thread | None = None
        self._paused = False  # the thread ends after the window that it is at
        self._failed = False  # nothing is begun behind a window that failed
        self._process = os.getpid()

    def expect(self, mels: Iterable[F32]) -> None:
        """These are taken next, behind what is expected already. Returns at once."""
        with self._lock:
            self._windows += [_Window(mel) for mel in mels]
            self._start()

    def is_next(self, mel: F32) -> bool:
        """Whether this window is the next to be taken."""
        with self._lock:
            return bool(self._windows) and np.array_equal(self._windows[0].mel, mel)

    def take(self) -> T:
        """What `encode` returned for the next window, or raised: then nothing is encoded any more."""
        encoded = self._windows[0].encoded.result()
        with self._lock:
            self._windows.pop(0)
            self._begun -= 1
            self._start()
        return encoded

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile nothing is encoded here: the caller has a window that cannot wait."""
        self._pause()
        try:
            yield
        finally:
            with self._lock:
                self._paused = False
                self._start()

    def close(self) -> list[T]:
        """Returns when the thread has ended: what was encoded and never taken."""
        if os.getpid() != self._process:  # a fork has no thread, and may have the lock as it was held
            return []
        with self._lock:
            dropped = self._windows[: self._begun]
            self._windows, self._begun = [], 0
        self._pause()
        return [one.encoded.result() for one in dropped if one.encoded.done() and not one.encoded.exception()]

    def _start(self) -> None:
        """Locked."""
        if self._thread is None and self._has_next():
            thread = Thread(target=self._work, name="whisper-npu ahead")
            thread.start()
            self._thread = thread

    def _has_next(self) -> bool:
        """Locked."""
        return not (self._paused or self._failed) and self._begun < min(self._most, len(self._windows))

    def _work(self) -> None:
        while (window := self._next()) is not None:
            self._encode_one(window)

    def _next(self) -> _Window[T] | None:
        with self._lock:
            if not self._has_next():
                self._thread = None
                return None
            self._begun += 1
            return self._windows[self._begun - 1]

    def _encode_one(self, window: _Window[T]) -> None:
        try:
            window.encoded.set_result(self._encode(window.mel))
        except BaseException as error:  # raised where the window is taken
            self._failed = True
            window.encoded.set_exception(error)
            del window  # the error's traceback holds this frame

    def _pause(self) -> None:
        """Returns when the thread has ended."""
        with self._lock:
            self._paused = True
            thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join()
