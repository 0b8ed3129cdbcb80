"""How long final lines took."""

from __future__ import annotations

import pytest

from whisper_npu.live.latency import Latencies


def test_of_some() -> None:
    latencies = Latencies((1.5, 1.0, 1.2))
    assert latencies.median == 1.2
    assert latencies.percentile_95 == 1.5


def test_nothing_was_said() -> None:
    latencies = Latencies(())
    assert (latencies.median, latencies.percentile_95) == (None, None)


@pytest.mark.parametrize(("n", "expected"), [(20, 19), (100, 95), (101, 96)])
def test_the_95th_percentile_is_one_of_them(n: int, expected: int) -> None:
    assert Latencies(tuple(float(i) for i in range(n, 0, -1))).percentile_95 == expected
