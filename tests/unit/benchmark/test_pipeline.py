"""The whole pipeline on real speech: stages, operations and their trace."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.trace_format import ROUNDING, checked
from tests.support.weights import require_weights
from whisper_npu.apps.cli import run

SPEECH = str(SAMPLES / "sns-0930.wav")


@pytest.mark.parametrize(("audio", "code", "said"), [("no.wav", 1, "no such file"), ("-", 2, "name files")])
def test_a_recording_that_cannot_be_read_is_said_before_a_model_is_loaded(
    audio: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["benchmark", "pipeline", SPEECH, audio, "--model", "no-model"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("whisper-npu: error: ")
    assert said in captured.err


@pytest.mark.slow
@pytest.mark.weights
def test_one_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "trace", "markdown")}
    paths["plot"] = tmp_path / "out.svg"
    files = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    model = require_weights("tiny.en")
    arguments = ["--model", model, "--kernel", "64x512", "--repeats", "2", *files]
    assert run(["benchmark", "pipeline", SPEECH, *arguments]) == 0
    out = capsys.readouterr().out
    shown, _, wrote = out.rpartition("\nwrote ")
    assert max(map(len, shown.splitlines())) <= 80
    assert set(wrote.strip().split(", ")) == set(map(str, paths.values()))
    markdown = paths["markdown"].read_text(encoding="utf-8")
    for text in (shown, markdown):
        assert "163.7 s" in text
        assert "encoder: pack" in text
    assert paths["plot"].stat().st_size

    document = json.loads(paths["json"].read_text(encoding="utf-8"))
    stages = document["measured_stages"]
    assert {"load", "audio", "mel", "encoder", "decode", "encoder: pack"} <= set(stages)
    assert len(stages["encoder"]["repeats"]) == 2
    report = document["report"]
    assert report["schema"] == "whisper-npu/report"
    assert report["encoder"]["windows"] == 1
    operations = {o["name"]: o["dispatches"] for o in document["operations"]}
    assert operations == {o["name"]: o["dispatches"] for o in report["encoder"]["operations"]}

    with paths["csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"stage", "operation"}

    events = checked(paths["trace"].read_text(encoding="utf-8"))
    runs = [e for e in events if e["cat"] == "runs"]
    assert [e["name"] for e in runs] == ["warm-up", "repeat 1 of 2", "repeat 2 of 2"]
    encoders = [e for e in events if e["name"] == "encoder"]
    assert len(encoders) == 3
    products = [e for e in events if e["cat"] == "operations"]
    assert len(products) == 3 * sum(o["calls"] for o in report["encoder"]["operations"])
    for product in products:  # each within an encoder's span
        end = product["ts"] + product["dur"]
        assert any(
            e["ts"] - ROUNDING <= product["ts"] and end <= e["ts"] + e["dur"] + ROUNDING for e in encoders
        )
    last = [e for e in events if e["cat"] == "device" and e["ts"] >= runs[-1]["ts"]]
    assert sum(e["args"]["dispatches"] for e in last) == report["encoder"]["dispatches"]
