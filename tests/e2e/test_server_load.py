"""scripts/server_load.py: both servers answer, and its ratios are those of its measurements."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.weights import require_weights

pytest.importorskip("uvicorn", reason="the extra server is not installed")
pytest.importorskip("httpx")

SCRIPT = Path(__file__).parents[2] / "scripts/server_load.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("server_load", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (19, 19), (20, 19), (21, 20), (100, 95)])
def test_at_most_one_in_twenty_takes_longer(script: ModuleType, count: int, expected: int) -> None:
    assert script.percentile_95(range(count, 0, -1)) == expected


def test_a_server_that_does_not_start_is_an_error(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="this one ended with status 3"):
        script.Served("this one", [sys.executable, "-c", "raise SystemExit(3)"])


def test_an_answer_that_is_no_transcript_is_an_error(script: ModuleType) -> None:
    import httpx

    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(429, text="the queue is full")),
        base_url="http://127.0.0.1",
    )
    with pytest.raises(SystemExit, match=r"talk\.wav: status 429: the queue is full"):
        script.transcribed(client, script.Recording("talk.wav", b"", 1.0), 5)


def test_ratios_are_medians_over_pairs_of_turns(script: ModuleType) -> None:
    sides = [script.Side(name, None) for name in script.SIDES]
    for side, turns in zip(sides, ((6.0, 30.0, 8.0), (2.0, 15.0, 2.0)), strict=True):
        side.turns[2] = [script.Turn(turn, turn, (turn, turn), 1.0) for turn in turns]
    ratios = script.ratios(2, sides)
    assert ratios == pytest.approx({"rate": 1 / 3, "latency": 3, "latency_95": 3, "cpu": 3})


@pytest.mark.weights
@pytest.mark.slow
def test_both_sides_answer_and_are_compared(tmp_path: Path) -> None:
    written = tmp_path / "load.json"
    options = ["--model", require_weights("tiny.en"), "--audio", str(SAMPLES / "sns-0880.wav")]
    options += ["--in_flight", "2", "--beam_size", "1", "--requests", "2", "--repeats", "1", "--threads", "1"]
    options += ["--compute_type", "float32", "--json", str(written)]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=True)
    assert "MEASURED" in done.stdout
    (run,) = json.loads(written.read_text(encoding="utf-8"))["runs"]
    assert run["ran_on"]["whisper-npu"].startswith("emulator")
    assert run["ran_on"]["faster-whisper"].startswith("plain faster-whisper")
    assert (run["texts_equal"], run["texts_that_changed"]) == (1, [])
    ours, theirs = run["sides"]["whisper-npu"], run["sides"]["faster-whisper"]
    pairs = list(zip(ours["2"], theirs["2"], strict=True))
    assert [len(turn["latencies"]) for pair in pairs for turn in pair] == [2, 2]
    ratios = run["ours_over_theirs"]["2"]
    assert ratios["rate"] == pytest.approx(median(b["seconds"] / a["seconds"] for a, b in pairs))
    assert ratios["latency"] == pytest.approx(median(middle(a) / middle(b) for a, b in pairs))


def middle(turn: Any) -> float:
    return median(turn["latencies"])
