"""Hostile recordings in one run of the command line: each gives a text or one line, and none ends the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.hostile import Hostile
from tests.fuzz.lines import is_line
from tests.fuzz.readers import write
from tests.fuzz.recordings import hostile_recordings, in_the_suite
from tests.fuzz.seeds import EVERYTHING, SEEDS
from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from tests.support.weights import require_weights
from whisper_npu.apps.cli import run

pytestmark = pytest.mark.fuzz

_CHOSEN = (
    "wav/LIST size 4 GB less 16",
    "wav/data size 1 GB",
    "wav/fmt behind the data",
    "wav/65535 channels",
    "wav/0 Hz",
    "wav/some samples NaN",
    "wav/some samples 1e30",
    "wav/some samples 3.4e38",
    "wav/silence",
    "wav/one sample",
    "wav/header only",
    "wav/title with terminal escapes",
    "wav-gsm/as it is",
    "flac/2^36-1 samples",
    "flac/cut at half",
    "aiff/rate NaN",
    "caf/pakt says 2^63-1",
    "mp3/two with tags, joined",
    "mp3/a tag of 256 MB claimed",
    "mp3-vbr/overwritten in the middle",
    "ogg-opus/1 % of bits flipped",
    "m4a/5,000 boxes in each other",
    "m4a-faststart/cut at half",
    "mkv/rate NaN",
    "mkv-pcm/cut at 2 %",
    "text/m3u8 to file:///etc/passwd",
    "file/zip of 20 MB of zeros",
    "file/empty",
    "noise/number 0",
    "wav-16/as it is",
)


class _Endless(list[Window]):
    """The same words in every window."""

    def pop(self, _: Any = None) -> Window:
        return Window([(0.0, " the", 1.0)])


def _written(recordings: Iterable[Hostile], folder: Path) -> dict[str, Hostile]:
    return {write(recording, folder).name: recording for recording in recordings}


def _check(code: int, said: str, folder: Path, recordings: dict[str, Hostile]) -> None:
    """What a run with `-f txt -o out --report report.json` said, and left in this folder."""
    assert code == 1
    assert "Traceback" not in said
    lines = said.splitlines()
    assert all(is_line(line) for line in lines), said
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [file["path"] for file in report["files"]] == list(recordings)
    for file in report["files"]:
        recording, text = recordings[file["path"]], folder / "out" / f"{Path(file['path']).stem}.txt"
        assert text.exists() == (file["error"] is None), recording.name
        if file["error"] is None:
            assert not recording.expected.refused, recording.name
        else:
            assert recording.expected.seconds is None, (recording.name, file["error"])
            assert sum(file["error"] in line for line in lines) == 1, recording.name


def test_one_run_takes_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path / "model", n_audio_ctx=100)
    decoder = ScriptedDecoder(model)
    decoder.windows = _Endless()
    monkeypatch.setattr(model._whisper, "model", decoder)
    monkeypatch.setattr("whisper_npu.apps.cli.work.load_model", lambda *_, **__: model)
    monkeypatch.chdir(tmp_path)
    recordings = _written((one for one in hostile_recordings() if one.name in _CHOSEN), tmp_path)
    assert len(recordings) == len(_CHOSEN)
    code = run([*recordings, "-f", "txt", "-o", "out", "--report", "report.json"])
    _check(code, capsys.readouterr().err, tmp_path, recordings)


if EVERYTHING:

    @pytest.mark.weights
    @pytest.mark.parametrize("seed", SEEDS[:2])
    def test_a_real_model_takes_them_all(seed: int, tmp_path: Path) -> None:
        """In a process of its own. It takes minutes."""
        weights = require_weights("tiny.en")
        chosen = [one for one in in_the_suite(hostile_recordings(seed)) if not one.n_zeros]
        recordings = _written(chosen[seed::8], tmp_path)
        command = [sys.executable, "-m", "whisper_npu", *recordings, "--model", weights]
        done = subprocess.run(
            [*command, "-f", "txt", "-o", "out", "--report", "report.json"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
        _check(done.returncode, done.stderr, tmp_path, recordings)
