"""--on_device_error on the command line, with an NPU of stand-ins that fails in a recording."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support import stand_in_kernels
from tests.support.checkpoints import write_tiny
from tests.support.contracts import MATMUL_64X64
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.npu import build
from whisper_npu.apps.cli import run
from whisper_npu.npu.trials import Trials
from whisper_npu.npu.xrt import device as xrt


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeXrt:
    fake = FakeXrt()
    build(tmp_path / "kernels", MATMUL_64X64, fake)
    root = stand_in_kernels.write_npu(tmp_path / "root")
    opened = partial(xrt.open_npu, root=root, trials=Trials(tmp_path / "trials", "this"))
    monkeypatch.setitem(sys.modules, "pyxrt", fake.module)
    monkeypatch.setattr(xrt, "open_npu", opened)
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(tmp_path / "kernels"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "model", max_source_positions=1500)
    samples = np.random.default_rng(0).standard_normal(16_000) / 20
    soundfile.write("a.wav", samples, 16_000)
    return fake


def transcribe(*options: str) -> int:
    asked = ["a.wav", "--model", "model", "--device", "npu", "--kernel", "64x64", "--report", "report.json"]
    return run([*asked, "--language", "en", "--temperature", "0", *options])


@pytest.mark.parametrize(
    ("fault", "why"), [(Fault.ERROR, "ended with ERROR"), (Fault.GARBAGE, "cannot be right")]
)
def test_it_fails_or_goes_on_and_says_so(
    fake: FakeXrt, capsys: pytest.CaptureFixture[str], fault: Fault, why: str
) -> None:
    fake.inject(fault, at=100)
    assert transcribe("--check_results", "all") == 1
    assert why in capsys.readouterr().err
    fake.inject(fault, at=100)
    assert transcribe("--check_results", "all", "--on_device_error", "emulate") == 0
    said = capsys.readouterr().err
    (note,) = [line for line in said.splitlines() if "note: the device failed" in line]
    assert "in the window at 0.0 s, and the emulator on this CPU goes on" in note
    assert why in note
    document = json.loads(Path("report.json").read_text("utf-8"))
    (warning,) = document["files"][0]["warnings"]
    assert warning in note
    switched = document["device_switched"]
    assert (switched["window"], switched["seconds"]) == (1, 0.0)
    assert why in switched["why"]
    assert document["device"]["name"] == "npu, then emulator"
    assert fake.problems() == []


def test_results_may_be_believed(fake: FakeXrt, capsys: pytest.CaptureFixture[str]) -> None:
    fake.inject(Fault.GARBAGE, at=100)
    assert transcribe("--check_results", "off") == 0
    assert transcribe("--check_results", "perhaps") == 2
    assert "--check_results" in capsys.readouterr().err
