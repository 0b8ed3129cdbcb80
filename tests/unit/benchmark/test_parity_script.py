"""scripts/parity.py: what its table says of two fidelities."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from whisper_npu import extras
from whisper_npu.benchmark.wer import WordErrorRate
from whisper_npu.npu.emulator.device import Fidelity

SCRIPT = Path(__file__).parents[3] / "scripts/parity.py"


def test_a_row_shows_the_worst_window_the_worst_position_and_what_fast_said() -> None:
    script = run_path(str(SCRIPT))
    expected = [np.eye(3, dtype=np.float32), np.ones((3, 3), np.float32)]
    turned = expected[0].copy()
    turned[2] = [0, 1, 0]  # one of three positions is at a right angle
    errors = WordErrorRate(1, 4)
    fast = script["Heard"]([2 * x for x in expected], ["a", "b"], errors, 3.0)
    exact = script["Heard"]([turned, 2 * expected[1]], ["a", "c"], errors, 9.0)
    rows = [
        script["row"]("m", "layer", fidelity, heard, expected, fast, 2)
        for fidelity, heard in ((Fidelity.FAST, fast), (Fidelity.EXACT, exact))
    ]
    assert [list(row.values())[:3] for row in rows] == [["m", "layer", "fast"], ["m", "layer", "exact"]]
    assert [row["least cosine"] for row in rows] == ["1.000000", "0.666667"]
    percentile = (1 + np.quantile([1, 1, 0], 0.01)) / 2  # mean of both windows
    assert [row["1st percentile of positions"] for row in rows] == ["1.0000", f"{percentile:.4f}"]
    assert [row["at the worst position"] for row in rows] == ["1.000", "0.000"]
    assert [row["apart from fast"] for row in rows] == ["0.0e+00", f"{(7 / 12) ** 0.5:.1e}"]
    assert [row["texts as in fast"] for row in rows] == ["2 of 2", "1 of 2"]
    assert [row["MEASURED s per window"] for row in rows] == ["1.50", "4.50"]
    assert rows[0]["word errors"] == str(errors)


def test_without_jiwer_one_line_says_so_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--manifest", "/no/such.tsv"])
    assert run_path(str(SCRIPT))["main"]() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("parity.py needs jiwer, which is not installed: pip install 'whisper-npu[wer]'")
