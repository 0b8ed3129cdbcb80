"""How long final lines took."""

from __future__ import annotations

import pytest

from whisper_npu.live.latency import Latencies
from whisper_npu.live.line import Line


def final(end: float, text: str = "yes") -> Line:
    return Line(0, 0.0, end, text, is_final=True)


def test_it_is_from_the_end_of_speech_to_the_line() -> None:
    latencies = Latencies.of([(final(1.0), 102.5), (final(3.0), 104.0), (final(5.0), 106.2)], began=100.0)
    assert latencies.seconds == pytest.approx((1.5, 1.0, 1.2))
    assert latencies.median == pytest.approx(1.2)
    assert latencies.percentile_95 == pytest.approx(1.5)
    assert str(latencies) == "1.20 s (median), 1.50 s (95th percentile) of 3 lines"


def test_partial_lines_and_those_without_text_do_not_count() -> None:
    partial = Line(0, 0.0, 1.0, "ye", is_final=False)
    latencies = Latencies.of([(partial, 9.0), (final(1.0, ""), 9.0), (final(1.0), 2.0)], began=0.0)
    assert str(latencies) == "1.00 s (median), 1.00 s (95th percentile) of 1 line"


def test_nothing_was_said() -> None:
    latencies = Latencies.of([], began=0.0)
    assert (latencies.median, latencies.percentile_95) == (None, None)
    assert str(latencies) == "no line, so no latency"


@pytest.mark.parametrize(("n", "expected"), [(20, 19), (100, 95), (101, 96)])
def test_the_95th_percentile_is_one_of_them(n: int, expected: int) -> None:
    assert Latencies(tuple(float(i) for i in range(n, 0, -1))).percentile_95 == expected
