"""Starts that are killed, come at the same time, or may not write: the model is there all the same."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkpoints import tiny_config, tiny_tensors, tiny_tokenizer, write_checkpoint
from whisper_npu import load_model
from whisper_npu.errors import WhisperNpuError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = tiny_config(vocab_size=1788, max_source_positions=40)
    tokenizer = tiny_tokenizer(multilingual=True)
    return write_checkpoint(tmp_path / "hf", config, tiny_tensors(config), tokenizer_json=tokenizer)


def starts(checkpoint: Path, folder: Path, *numbers: int) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "tests.support.killed_starts", str(checkpoint), str(folder)]
    done = subprocess.run([*command, *map(str, numbers)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_after_kill_9_at_each_rename_and_fsync_and_at_30_moments_the_next_start_leaves_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    first, *others = starts(checkpoint, tmp_path, 30)
    assert len(others) > 60
    assert [start for start in others if start["left"]] == []
    assert {start["entries"] for start in others} == {first["entries"]}


COLD = """
import sys
from pathlib import Path
from whisper_npu import load_model
sys.stdin.readline()
load_model(Path(sys.argv[1]), device="emulator", compute_type="float32", cache_dir=sys.argv[2],
           progress=lambda step: print(step, flush=True)).close()
"""


def test_processes_that_start_cold_at_once_all_succeed_and_convert_once(
    checkpoint: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COLD, str(checkpoint), str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    steps = [step for said, _ in ended for step in said.splitlines()]
    assert sum("converting" in step for step in steps) == 1
    assert sum("storing the decoder" in step for step in steps) == 1
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == []


def test_a_cache_that_cannot_be_written_costs_time_only_and_a_line_says_so(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    load_model(
        checkpoint,
        device="emulator",
        compute_type="float32",
        cache_dir=tmp_path / "file/cache",
        progress=said.append,
    ).close()
    assert any("for this run only, which the next start does again: cache folder" in line for line in said)


def test_a_full_disk_is_one_line(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the cache and of the temporary folder."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    monkeypatch.setattr("whisper_npu.checkpoint.convert.convert", full)
    with pytest.raises(WhisperNpuError, match=r"No space left on device.*WHISPER_NPU_CACHE"):
        load_model(checkpoint, device="emulator", cache_dir=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []
