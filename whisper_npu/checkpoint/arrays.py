"""A checkpoint's arrays, read when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import CheckpointError


class ArraysOnDemand(Mapping[str, NDArray[Any]]):
    """Each array is read whenever it is asked for, and not kept: large ones fill the memory."""

    def __init__(self, where: Path | str, read: Mapping[str, Callable[[], NDArray[Any]]]) -> None:
        """where: what errors name; read: for each name a function that reads the array."""
        self._where = where
        self._read = read

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Raises CheckpointError where a value is not a finite number."""
        array = self._read[name]()
        check_finite(self._where, name, array)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


def check_finite(where: Path | str, name: str, array: NDArray[Any]) -> None:
    """Raises CheckpointError where a value is not a finite number."""
    if not np.isfinite(array).all():
        raise CheckpointError(
            f"{where}: {name} of the encoder holds infinities or values that are not numbers; the "
            "file is damaged or its training diverged: copy or train it again"
        )
