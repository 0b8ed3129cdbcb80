"""A worker of an archive: real speech, and processes that are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.e2e.conftest import SAMPLES
from tests.support.archive import RATE, done_alone, model_folder, noise, recording, source
from tests.support.weights import require_weights
from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.worker import Worker
from whisper_npu.apps.cli import run
from whisper_npu.benchmark.wer import EnglishNormalizer, word_error_rate
from whisper_npu.dtypes import F32

pytestmark = pytest.mark.slow


@pytest.mark.weights
def test_real_speech_is_written_as_transcribe_writes_it_and_cut_in_pauses(
    tmp_path: Path, speech: dict[str, F32], said: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    formats, sample = ("txt", "srt", "vtt", "tsv", "json", "lrc"), SAMPLES / "sns-0890.wav"
    model = require_weights("tiny.en")
    assert run(["transcribe", "--model", model, str(sample), "-f", "all", "-o", str(tmp_path / "cli")]) == 0
    out = tmp_path / "archive"
    asked = AskedArchive(out=str(out), model=model, formats=formats, part_minutes=0.1)
    pause = np.zeros(RATE // 2, np.float32)
    soundfile.write(
        tmp_path / "joined.wav", np.concatenate([np.r_[one, pause] for one in speech.values()]), RATE
    )
    with Worker(asked) as worker:
        done_alone(worker, source(sample))
        line = json.loads(done_alone(worker, source(tmp_path / "joined.wav")).line)
    for fmt in formats:
        name = f"{sample.stem}.{fmt}"
        assert (out / name).read_bytes() == (tmp_path / "cli" / name).read_bytes(), fmt
    assert line["parts"] == 5
    normalize = EnglishNormalizer(None)
    assert word_error_rate([" ".join(said.values())], [line["text"]], normalize).rate <= 0.08


def test_a_process_that_is_killed_loses_what_it_had_in_hand_and_no_more(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "model")
    recordings = [
        recording(tmp_path / "in" / name, noise(seconds, seed))
        for seed, (name, seconds) in enumerate([("a.wav", 2), ("b.wav", 12), ("c.wav", 7)])
    ]
    paths = [one.url for one in recordings]

    def started(out: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.support.archive", str(tmp_path / out), model, "3", *paths]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    whole = started("whole")
    all_tasks, _ = whole.communicate()
    assert whole.returncode == 0
    assert all_tasks.split().count("Transcribe") == 6
    done: list[str] = []
    for n_lines in (3, 4):  # within the parts of the second recording, and of the third
        process = started("killed")
        assert process.stdout is not None
        done += [process.stdout.readline().strip() for _ in range(n_lines)]
        process.kill()
        process.communicate()
    last = started("killed")
    left, _ = last.communicate()
    assert last.returncode == 0
    done += left.split()
    assert done.count("Transcribe") <= 6 + 2  # at most what was in hand is done twice
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def contents(out: Path) -> dict[str, Any]:
    """All files, without the seconds in records, and whatever was left half written."""
    found: dict[str, Any] = {}
    for path in out.rglob("*"):
        if path.parent.name == "done":
            record = json.loads(path.read_text("utf-8"))
            del record["seconds"]
            found[path.name] = record
        elif path.is_file() and path.suffix != ".tmp":
            found[str(path.relative_to(out))] = path.read_text("utf-8")
    return found
