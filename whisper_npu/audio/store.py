"""Where the samples of a recording lie while it is transcribed: short ones in memory, long ones on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from threading import Lock
from types import TracebackType
from typing import Any, Protocol
from weakref import finalize

import numpy as np
import numpy.typing as npt

from whisper_npu.audio.levels import Levels
from whisper_npu.errors import AudioError

Samples = npt.NDArray[np.float32]

IN_MEMORY = 2**24  # bytes: 4 minutes at 16 kHz; longer recordings go to disk
_ITEM = np.dtype(np.float32).itemsize
_BLOCK = 2**20  # samples that are read at once to be measured


def peak_of(samples: Samples) -> float:
    """The largest magnitude; 0 of no samples."""
    return max(float(np.max(samples, initial=0)), -float(np.min(samples, initial=0)))


class SampleSource(Protocol):
    """Samples at 16 kHz that are read piece by piece."""

    @property
    def n_samples(self) -> int: ...

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32."""
        ...


def _within(start: int, stop: int, n_samples: int) -> tuple[int, int]:
    """In order, and between 0 and `n_samples`."""
    start = min(max(0, start), n_samples)
    return start, min(max(start, stop), n_samples)


class InMemory:
    """An array as a source."""

    def __init__(self, samples: Samples) -> None:
        """samples: (n_samples,) at 16 kHz."""
        self._samples = samples

    @cached_property
    def peak(self) -> float:
        """The loudest sample's magnitude."""
        return peak_of(self._samples)

    @cached_property
    def levels(self) -> Levels:
        levels = Levels()
        levels.add(self._samples)
        return levels

    @property
    def n_samples(self) -> int:
        return len(self._samples)

    def samples(self, start: int, stop: int) -> Samples:
        start, stop = _within(start, stop, self.n_samples)
        return self._samples if (start, stop) == (0, self.n_samples) else self._samples[start:stop]


class Store:
    """Samples that are added block by block and read in any order, by any thread. A context manager.

    A recording of any length takes `IN_MEMORY` bytes of memory at most. What is longer lies in a file without
    a name, which disappears with this object, or with the process: 230 MB for an hour, less for silence. The
    file's folder is $TMPDIR, or else /var/tmp: many systems keep /tmp in memory.
    """

    def __init__(self, name: str) -> None:
        """name: the recording's, for messages."""
        self._name = name
        self._file: Any = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=roomy_folder())  # noqa: SIM115  # `close`
        self._close = finalize(self, self._file.close)  # also where a decoder fails and drops it
        self._one_at_a_time = Lock()
        self.n_samples = 0
        self.peak = 0.0  # the loudest one's magnitude
        self.levels = Levels()

    def add(self, block: Samples) -> None:
        """Raises AudioError where the disk is full."""
        with self._one_at_a_time:
            try:
                if (self.n_samples + len(block)) * _ITEM > IN_MEMORY:
                    self._file.rollover()
                self._file.seek(self.n_samples * _ITEM)
                if block.any():  # a file has no bytes where nothing was written, and reads zeros there
                    self._file.write(np.ascontiguousarray(block).data)
            except OSError as error:
                raise self._no_room(error) from error
            self.n_samples += len(block)
            self.peak = max(self.peak, peak_of(block))
            self.levels.add(block)

    def set_length(self, n_samples: int) -> None:
        """Cut off what is too much; what is missing is silence."""
        with self._one_at_a_time:
            try:
                self._file.seek(n_samples * _ITEM)
                self._file.truncate()
            except OSError as error:
                raise self._no_room(error) from error
            self.levels.add_silence(max(0, n_samples - self.n_samples))
            self.n_samples = n_samples

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32, a copy."""
        start, stop = _within(start, stop, self.n_samples)
        with self._one_at_a_time:
            try:
                self._file.seek(start * _ITEM)
                found = np.frombuffer(bytearray(self._file.read((stop - start) * _ITEM)), np.float32)
            except OSError as error:
                raise AudioError(f"{self._name}: its samples cannot be read again ({error})") from error
        return np.pad(found, (0, stop - start - len(found)))  # silence at the end was not written

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _no_room(self, error: OSError) -> AudioError:
        return AudioError(
            f"{self._name}: its samples do not fit into {roomy_folder() or tempfile.gettempdir()} "
            f"({error.strerror}); set TMPDIR to a folder with more space: an hour takes 230 MB"
        )


class Excerpt:
    """A part of what is kept elsewhere, as a source of its own. Nothing is copied."""

    def __init__(self, kept_in: Store | InMemory | Excerpt, start: int, stop: int) -> None:
        """From sample `start` to before sample `stop`, as far as there are any."""
        self._kept_in = kept_in
        self._start, self._stop = _within(start, stop, kept_in.n_samples)

    @property
    def n_samples(self) -> int:
        return self._stop - self._start

    @cached_property
    def peak(self) -> float:
        """The loudest sample's magnitude."""
        return max(map(peak_of, self._blocks()), default=0.0)

    @cached_property
    def levels(self) -> Levels:
        levels = Levels()
        for block in self._blocks():
            levels.add(block)
        return levels

    def samples(self, start: int, stop: int) -> Samples:
        start, stop = _within(start, stop, self.n_samples)
        return self._kept_in.samples(self._start + start, self._start + stop)

    def _blocks(self) -> Iterator[Samples]:
        for start in range(0, self.n_samples, _BLOCK):
            yield self.samples(start, start + _BLOCK)


def roomy_folder() -> str | None:
    """Where there is room for a recording: /tmp often lies in memory. None: Python's own choice."""
    elsewhere = "/var/tmp"
    if os.environ.get("TMPDIR") or not os.access(elsewhere, os.W_OK):
        return None
    return elsewhere
