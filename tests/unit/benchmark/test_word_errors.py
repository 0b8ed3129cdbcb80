"""Manifests, and word error rates of real speech."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.weights import require_weights
from whisper_npu.apps.cli import run
from whisper_npu.benchmark.word_errors import read_manifest
from whisper_npu.errors import UsageError

EXPECTED = SAMPLES / "expected.tsv"


def test_rows_of_another_group_are_left_out(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text("path\ttext\tgroup\na.wav\ta\treal\nb.wav\tb\tsynthetic\nc.wav\tc\t\n")
    assert [reference.name for reference in read_manifest(manifest)] == ["a.wav", "c.wav"]
    assert read_manifest(manifest)[0].path == tmp_path / "a.wav"
    assert len(read_manifest(EXPECTED)) == 5  # without a column group


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,text\na.wav,a\n", "no column path and text"),
        ("path\ttext\n", "no row"),
        ("", "no column"),
        ("path\ttext\na.wav\n", "without path or text"),
        (b"path\ttext\n\xff\xfe\t\n", "cannot be read"),
        (None, "No such file"),
    ],
)
def test_a_manifest_that_is_none(content: str | bytes | None, said: str, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.tsv"
    if content is not None:
        manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said):
        read_manifest(manifest)


def test_missing_audio_is_said_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.tsv").write_text("path\ttext\nno.wav\tno\n")
    assert run(["benchmark", "wer", str(tmp_path / "manifest.tsv"), "--model", "no-model"]) == 1
    assert "no.wav" in capsys.readouterr().err


def test_without_jiwer_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jiwer", None)
    assert run(["benchmark", "wer", str(EXPECTED)]) == 1
    assert "pip install 'whisper-npu[wer]'" in capsys.readouterr().err


@pytest.mark.weights
def test_a_text_without_words_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.tsv").write_text(f"path\ttext\n{SAMPLES / 'sns-0930.wav'}\t[music]\n")
    assert (
        run(["benchmark", "wer", str(tmp_path / "manifest.tsv"), "--model", require_weights("tiny.en")]) == 2
    )
    assert "no word is left" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.weights
def test_each_recording_and_the_total_beside_faster_whisper(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "wer.json"), "--csv", str(tmp_path / "wer.csv")]
    model = require_weights("tiny.en")
    arguments = ["--model", model, "--kernel", "64x512", "--against", "faster-whisper", *files]
    assert run(["benchmark", "wer", str(EXPECTED), *arguments]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.partition("\nwrote ")[0].splitlines())) <= 80
    out = " ".join(out.split())
    assert "word error rate 2.9 % (2 of 70 words)" in out
    assert "EnglishTextNormalizer" in out
    (found,) = json.loads((tmp_path / "wer.json").read_text(encoding="utf-8"))["runs"]
    assert (found["errors"], found["words"]) == (2, 70)
    assert found["against_word_error_rate"] == pytest.approx(2 / 70)
    assert found["measured_seconds_over_against"] > 0
    with (tmp_path / "wer.csv").open(encoding="utf-8", newline="") as file:
        errors = {row["path"]: int(row["errors"]) for row in csv.DictReader(file)}
    assert errors == {
        "sns-0870.wav": 0,
        "sns-0880.wav": 2,
        "sns-0890.wav": 0,
        "sns-0920.wav": 0,
        "sns-0930.wav": 0,
    }
