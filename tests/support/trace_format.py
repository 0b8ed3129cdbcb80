"""What chrome://tracing and Perfetto require of a trace, checked."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

ROUNDING = 2e-3  # us; times are written with three decimals


def checked(text: str) -> list[dict[str, Any]]:
    """The complete events of a trace, in the order of their start, after every check."""
    trace = json.loads(text)
    assert set(trace) == {"traceEvents", "displayTimeUnit"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events = trace["traceEvents"]
    for event in events:
        assert isinstance(event["name"], str)
        assert event["name"]
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        assert isinstance(event["args"], dict)
        assert event["ph"] in ("X", "M")
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
        else:
            assert isinstance(event["cat"], str)
            for key in ("ts", "dur"):
                assert type(event[key]) in (int, float)
                assert event[key] >= 0
    complete = sorted((e for e in events if e["ph"] == "X"), key=lambda e: e["ts"])
    named = {e["tid"] for e in events if e["name"] == "thread_name"}
    lanes = {e["tid"] for e in complete}
    assert lanes <= named
    for lane in lanes:
        own = [e for e in complete if e["tid"] == lane]
        for event, following in pairwise(own):
            assert event["ts"] + event["dur"] <= following["ts"] + ROUNDING, (event, following)
    return complete
