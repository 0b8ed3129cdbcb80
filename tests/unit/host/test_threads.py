"""The host's threads: everything is done once, BLAS keeps to one thread inside, errors come out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from whisper_npu import open_device
from whisper_npu.errors import DeviceError, UsageError
from whisper_npu.host import threads as module
from whisper_npu.host.threads import Threads, cores, split


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Threads:
    return Threads(request.param)


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@given(size=st.integers(1, 500), most=st.integers(1, 600))
def test_pieces_cover_everything_once_and_are_nearly_equal(size: int, most: int) -> None:
    pieces = split(size, most)
    assert [n for piece in pieces for n in range(size)[piece]] == list(range(size))
    lengths = [piece.stop - piece.start for piece in pieces]
    assert max(lengths) <= most
    assert max(lengths) - min(lengths) <= 1
    assert len(pieces) == -(-size // most)


def test_every_item_is_worked_on_once(threads: Threads) -> None:
    done: list[int] = []
    threads.parallel_for(done.append, range(1000))
    assert sorted(done) == list(range(1000))
    threads.parallel_for(done.append, [])


def test_work_is_spread_over_threads() -> None:
    together = threading.Barrier(3, timeout=30)  # which three must reach at once
    Threads(3).parallel_for(lambda _: together.wait(), range(3))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_threads_work_than_were_asked_for(count: int) -> None:
    """Each item leaves time for others to take the next one."""
    found: set[int] = set()

    def work(item: int) -> None:
        found.add(threading.get_ident())
        sleep(0.001)

    Threads(count).parallel_for(work, range(60))
    assert threading.get_ident() in found
    assert len(found) <= count


def test_an_error_comes_out_when_all_have_stopped(threads: Threads) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 5:
            raise ValueError("five")
        done.append(item)

    with pytest.raises(ValueError, match="five"):
        threads.parallel_for(work, range(20))
    assert 5 not in done
    threads.parallel_for(done.append, [100, 101])  # and the pool still works
    assert done[-2:] in ([100, 101], [101, 100])


@pytest.mark.parametrize("block_bytes", [1, 1000, 10**9])
def test_rows_come_in_blocks_of_all_arrays(
    threads: Threads, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    x = np.arange(77 * 5, dtype=np.float32).reshape(77, 5)
    y, z = np.zeros_like(x), np.zeros((77, 2), np.float32)

    def work(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
        assert len(x) == len(y) == len(z) <= max(1, block_bytes // 20)
        y += x
        z += x[:, :2]

    threads.parallel_for_rows(work, x, y, z)
    assert np.array_equal(y, x)
    assert np.array_equal(z, x[:, :2])


def test_blas_has_one_thread_inside_and_its_own_number_outside() -> None:
    before = blas_threads()
    seen: list[set[int]] = []
    two = [Threads(2), Threads(2)]
    with ThreadPoolExecutor(2) as callers:  # at once, and yet neither restores the other's limit
        for _ in range(20):
            list(callers.map(lambda t: t.parallel_for(lambda _: seen.append(blas_threads()), range(3)), two))
    assert all(number == {1} for number in seen)
    assert blas_threads() == before


def test_blas_has_one_thread_where_there_is_nothing_to_share_too(threads: Threads) -> None:
    before = blas_threads()
    seen: list[set[int]] = []
    threads.parallel_for(lambda _: seen.append(blas_threads()), range(1))
    for number in (1, 2):
        with threads.exclusively(number):
            seen.append(blas_threads())
    assert seen == [{1}, {1}, {2}]
    assert blas_threads() == before


def test_closed_threads_say_so() -> None:
    threads = Threads(2)
    threads.close()
    with pytest.raises(DeviceError, match="was closed"):
        threads.parallel_for(print, range(3))
    with pytest.raises(DeviceError, match="was closed"):
        threads.parallel_for_blocks(print, 1, 1)
    with pytest.raises(DeviceError, match="was closed"), threads.exclusively(1):
        pass


def test_blas_gets_its_number_back_after_an_error() -> None:
    def fail(item: int) -> None:
        raise ValueError(item)

    before = blas_threads()
    with pytest.raises(ValueError, match=r"[01]"):
        Threads(2).parallel_for(fail, range(2))
    assert blas_threads() == before


def test_by_default_there_is_one_for_each_core() -> None:
    assert Threads().count == cores() >= 1


@pytest.mark.parametrize("count", [-1, 1025, 2.0, "2", True])
def test_a_number_that_is_none_of_threads_is_refused(count: Any) -> None:
    with pytest.raises(UsageError, match=f"threads is {count!r}, must be a whole number from 1"):
        Threads(count)
    with pytest.raises(UsageError, match="must be a whole number from 1"):
        open_device("emulator", threads=count)


def test_no_number_and_zero_are_one_thread_per_core() -> None:
    assert Threads(0).count == Threads().count == cores()
    assert Threads(np.int64(2)).count == 2


def test_a_device_has_the_threads_that_were_asked_for() -> None:
    with open_device("emulator", threads=3) as device:
        assert device.threads.count == 3


def test_scratch_is_used_again_by_its_thread_alone() -> None:
    scratch = Threads(1).scratch
    first = scratch.array("a", (3, 4), np.float32)
    again = scratch.array("a", (2, 3), np.uint16)
    assert again.shape == (2, 3)
    assert np.shares_memory(first, again)
    assert not np.shares_memory(first, scratch.array("b", (3, 4), np.float32))
    larger = scratch.array("a", (30, 4), np.float32)
    assert np.shares_memory(larger, scratch.array("a", (30, 4), np.float32))
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(scratch.array, "a", (30, 4), np.float32).result()
    assert not np.shares_memory(larger, theirs)
