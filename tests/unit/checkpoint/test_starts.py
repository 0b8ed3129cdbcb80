"""Starts that are killed, come at the same time, or may not write: the model is there all the same."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkpoints import tiny_config, tiny_tensors, tiny_tokenizer, write_checkpoint
from tests.support.fake_hub import FakeHub, fake_hub
from whisper_npu import load_model
from whisper_npu.checkpoint import load_checkpoint
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
def test_after_kill_9_at_each_rename_and_fsync_and_at_8_moments_the_next_start_leaves_nothing(
    checkpoint: Path, tmp_path: Path
) -> None:
    first, *others = starts(checkpoint, tmp_path, 8)
    assert len(others) > 38
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


FROM_HUB = """
import sys
from pathlib import Path
from whisper_npu.checkpoint import load_checkpoint
checkpoint = load_checkpoint("org/small", cache_dir=Path(sys.argv[1]), model_dir=Path(sys.argv[2]))
print(sorted(path.name for path in checkpoint.decoder_folder.iterdir() if path.is_file()))
"""


def from_hub(hub: FakeHub, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FROM_HUB, str(folder / "cache"), str(folder / "models")],
        env={**os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def hub(checkpoint: Path, tmp_path: Path) -> Iterator[FakeHub]:
    converted = load_checkpoint(checkpoint, cache_dir=tmp_path / "converted").decoder_folder
    with fake_hub("org/small", converted) as hub:
        yield hub


def test_processes_that_start_cold_at_once_download_once(hub: FakeHub, tmp_path: Path) -> None:
    processes = [from_hub(hub, tmp_path) for _ in range(2)]
    ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    assert hub.fetched["model.bin"] == 1


def test_after_a_download_that_was_killed_the_next_start_has_the_model_and_no_half_of_it(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.go_on.clear()
    with from_hub(hub, tmp_path) as process:
        assert hub.in_the_middle.wait(60)
        process.kill()
    hub.go_on.set()
    with from_hub(hub, tmp_path) as again:
        said = again.communicate()
    assert again.returncode == 0, said
    assert list((tmp_path / "models").rglob("*.incomplete")) == []
