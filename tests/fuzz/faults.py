"""A reader whose `load_audio` does what must not be, to see that it is noticed.

    python -m tests.fuzz.faults FAULT WARM_UP

Only recordings named faulty.wav are so unlucky.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz import reader

FAULTY = "faulty.wav"


def _raises() -> None:
    raise RuntimeError("of a library")


def _leaves_a_file() -> np.ndarray:
    os.close(tempfile.mkstemp()[0])
    return np.zeros(10, np.float32)


def _leaves_a_descriptor() -> np.ndarray:
    os.dup(0)
    return np.zeros(10, np.float32)


def _prints() -> np.ndarray:
    os.write(1, b"[mp3] header missing\n")
    return np.zeros(10, np.float32)


def _takes_memory() -> np.ndarray:
    return np.ones(reader.MEMORY + 2**25, np.uint8)[:10].astype(np.float32)


def _hangs() -> None:
    faulthandler.dump_traceback_later(0.1, exit=True)  # instead of in a minute
    time.sleep(60)


# What the reader says of it: how it comes about.
FAULTS: dict[str, Callable[[], object]] = {
    "RuntimeError: of a library": _raises,
    "float64": lambda: np.zeros(10),
    "no numbers": lambda: np.full(10, np.nan, np.float32),
    "the process grew": _takes_memory,
    "MemoryError": lambda: np.empty(2**31, np.uint8),
    "temporary files": _leaves_a_file,
    "descriptors": _leaves_a_descriptor,
    "bytes on stderr": _prints,
    "Segmentation fault": lambda: ctypes.string_at(0),
    "Timeout": _hangs,
}


def main(fault: Callable[[], object]) -> None:
    read = reader.load_audio

    def load_audio(path: str, **options: Any) -> Any:
        return fault() if path.endswith(FAULTY) else read(path, **options)

    reader.load_audio = load_audio
    reader.main()


if __name__ == "__main__":
    chosen = FAULTS[sys.argv.pop(1)]
    main(chosen)
