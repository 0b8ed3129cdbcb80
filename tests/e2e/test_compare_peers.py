"""scripts/compare_peers.py: what it measures, and that its ratios are those of its measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.conftest import SAMPLES
from tests.weights import require_weights

pytestmark = [pytest.mark.weights, pytest.mark.slow]

SCRIPT = Path(__file__).parents[2] / "scripts/compare_peers.py"
SECONDS = ("cold", "warm", "cold_cpu", "warm_cpu")


def test_every_side_is_measured_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("jiwer")
    written = tmp_path / "peers.json"
    options = ["--model", require_weights("tiny.en"), "--audio", str(SAMPLES / "sns-0930.wav")]
    options += ["--repeats", "2", "--threads", "1", "--json", str(written)]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    assert "MEASURED" in done.stdout
    assert "not installed:" in done.stdout
    (run,) = json.loads(written.read_text(encoding="utf-8"))["runs"]
    for compute_type in ("float32", "int8"):
        ours, theirs = (run["sides"][f"{name} {compute_type}"] for name in ("whisper-npu", "faster-whisper"))
        assert len(ours) == len(theirs) == 2
        for measured in (*ours, *theirs):
            assert "made amiable himself" in measured["text"]
            assert all(measured[key] > 0 for key in (*SECONDS, "peak_mb"))
        ratios = run["ours_over_theirs"][f"faster-whisper {compute_type}"]
        for key in (*SECONDS, "peak_mb"):
            pairs = zip(ours, theirs, strict=True)
            assert ratios[key] == pytest.approx(median(a[key] / b[key] for a, b in pairs))
        assert run["word_error_rates"][f"whisper-npu {compute_type}"].startswith("0.0 %")


def test_a_side_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    written = tmp_path / "peers.json"
    options = ["--model", require_weights("tiny.en"), "--audio", str(SAMPLES / "sns-0880.wav")]
    options += ["--kernel", "no_such_kernel", "--repeats", "1", "--json", str(written)]
    done = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True)
    (run,) = json.loads(written.read_text(encoding="utf-8"))["runs"]
    assert set(run["failed"]) == {"whisper-npu float32", "whisper-npu int8"}
    assert "whisper-npu int8 failed: " in done.stdout
    assert len(run["sides"]["faster-whisper int8"]) == 1
    assert not run["sides"]["whisper-npu int8"]
