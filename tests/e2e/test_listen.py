"""`whisper-npu listen` as a process, with real speech and real weights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.e2e.conftest import SAMPLES
from tests.support.weights import require_weights
from whisper_npu.benchmark.word_errors import read_manifest

ROOT = Path(__file__).parents[2]


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "whisper_npu", "listen", "--model", "tiny.en", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        # A shell ignores Ctrl-C for its background jobs, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.weights
def test_a_recording_at_its_own_pace(tmp_path: Path) -> None:
    require_weights("tiny.en")
    pytest.importorskip("jiwer")
    (tmp_path / "said.txt").write_text("He might even have been made amiable himself.", encoding="utf-8")
    process = started(tmp_path, "--from", str(SAMPLES / "sns-0930.wav"), "--reference", "said.txt")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out == "He might even have been made amiable himself.\n"
    assert (tmp_path / "sns-0930.live.txt").read_text("utf-8") == out
    assert {path.name for path in tmp_path.iterdir()} == {"said.txt", "sns-0930.live.txt"}
    assert "word error rate against the reference: 0.0 % (0 of 8 words)" in err
    found = re.search(r"final text: median ([\d.]+) s, 95th percentile ([\d.]+) s \(MEASURED\)", err)
    assert found
    assert float(found[1]) <= float(found[2])
    assert "3.3 s heard, tiny.en on the CPU (emulated NPU), " in err


@pytest.mark.weights
def test_however_a_process_ends_what_was_printed_is_saved(tmp_path: Path) -> None:
    require_weights("tiny.en")
    times = 20  # several times what is read ahead of the work
    clips = [soundfile.read(path)[0] for path in sorted(SAMPLES.glob("*.wav"))] * times
    n_words = times * sum(len(one.text.split()) for one in read_manifest(SAMPLES / "expected.tsv"))
    talk = np.concatenate([part for clip in clips for part in (clip, np.zeros(16_000))])
    soundfile.write(tmp_path / "talk.wav", talk, 16_000)
    options = ("--from", "talk.wav", "--fast", "--partial_every", "0", "--quiet", "--reference", "none")
    options += ("--beam_size", "1")
    for number, name in (
        (signal.SIGINT, "talk.live.txt"),
        (signal.SIGKILL, "talk.live-2.partial.txt"),
        (signal.SIGPIPE, "talk.live-3.txt"),
    ):
        process = started(tmp_path, *options)
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        if number == signal.SIGPIPE:  # as head -1 does
            process.stdout.close()
            process.wait()
            kept = (tmp_path / name).read_text("utf-8")
            assert kept.startswith(first)
        else:
            process.send_signal(number)
            printed = first + process.stdout.read()
            process.wait()
            kept = (tmp_path / name).read_text("utf-8")
            # A line is saved before it is printed; the last one may be cut off by the kill.
            assert kept == printed or (number == signal.SIGKILL and kept.startswith(printed))
            process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        assert 0 < len(kept.split()) < n_words / 2  # it ended soon
    assert {path.name for path in tmp_path.iterdir()} == {
        "talk.wav",
        "talk.live.txt",
        "talk.live-2.partial.txt",
        "talk.live-3.txt",
    }
