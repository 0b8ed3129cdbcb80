"""Pages that are given back come again with what was in them; whatever cannot come again is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whisper_npu.host.memory import give_back_free_memory, give_back_pages


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "weight.npy", np.arange(10_000, dtype=np.float32))
    return tmp_path / "weight.npy"


def test_pages_of_a_file_are_read_again(file: Path) -> None:
    mapped = np.load(file, mmap_mode="r")
    for array in (mapped, mapped[10:].reshape(-1, 10), np.asarray(mapped)):
        expected = array.copy()
        give_back_pages(array)
        assert np.array_equal(array, expected)


def test_what_was_written_over_a_file_in_memory_alone_stays(file: Path) -> None:
    copied = np.load(file, mmap_mode="c")
    copied[:] = 7
    give_back_pages(copied)
    assert (copied == 7).all()


@pytest.mark.parametrize("array", [np.ones(3), np.frombuffer(b"abc", np.uint8)], ids=["own", "of bytes"])
def test_what_lies_in_no_file_stays(array: NDArray[Any]) -> None:
    expected = array.copy()
    give_back_pages(array)
    give_back_free_memory()
    assert np.array_equal(array, expected)
