"""`benchmark energy` on a made-up machine: what is subtracted, what is divided, and what is not said."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.sensors import Constant
from tests.support.sysfs import WRAPS_AT, Machine
from tests.support.weights import require_weights
from tests.unit.test_report import RAN_ON
from whisper_npu.apps.cli import run
from whisper_npu.benchmark import energy
from whisper_npu.benchmark.energy import (
    SETTLE_SECONDS,
    Result,
    as_document,
    as_markdown,
    page,
    run_energy,
    write_files,
)
from whisper_npu.benchmark.files import Files
from whisper_npu.energy.sensors import open_sensor
from whisper_npu.errors import EnergyError
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.page import page_as_text
from whisper_npu.transcription.stages import Stage

SPEECH = str(SAMPLES / "sns-0930.wav")
AUDIO_SECONDS = 30.0  # of each recording, as far as the made-up model tells


class MadeUpModel:
    """Takes 2 s for each recording's encoder and 1 s for the rest, in which the package draws more."""

    ran_on = RAN_ON

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.calls: list[str] = []

    def within(self, stage: Stage) -> None:
        self.stage = stage

    def transcribe(self, path: str) -> object:
        self.calls.append(path)
        with self.stage("decode"):
            with self.stage("encoder"), self.drawing(50.0, cores=20.0):
                self.machine.advance(2.0)
            with self.drawing(30.0, cores=24.0):
                self.machine.advance(1.0)
        return SimpleNamespace(transcript=SimpleNamespace(duration=AUDIO_SECONDS))

    @contextmanager
    def drawing(self, package: float, cores: float) -> Iterator[None]:
        watts = {"intel-rapl:0": package, "intel-rapl:0:0": cores}
        before = {place: zone.watts for place, zone in self.machine.zones.items()}
        for place, zone in self.machine.zones.items():
            zone.watts = watts[place]
        yield
        for place, zone in self.machine.zones.items():
            zone.watts = before[place]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Its package draws 4 W before the work; its counter wraps while it is measured."""
    machine = Machine(tmp_path / "machine")
    machine.cpu("GenuineIntel")
    machine.zone("intel-rapl:0", "package-0", 4.0, energy=WRAPS_AT - 200e6)
    return machine


def measure(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    idle_after: float = 4.0,
    repeats: int = 2,
    awake_seconds: float = 0.0,
) -> Result:
    """awake_seconds: that the package draws 9 W more after the work, before it is idle."""
    model = MadeUpModel(machine)

    def load_model(*_: object, **__: object) -> MadeUpModel:
        machine.advance(5.0)
        return model

    slept = []

    def sleep(seconds: float) -> None:
        nonlocal awake_seconds
        slept.append(seconds)
        awake = min(awake_seconds, seconds) if model.calls else 0.0
        if awake:
            awake_seconds -= awake
            machine.zones["intel-rapl:0"].watts = idle_after + 9.0
            machine.advance(awake)
        if model.calls:
            machine.zones["intel-rapl:0"].watts = idle_after
        machine.advance(seconds - awake)

    monkeypatch.setattr(energy, "load_model", load_model)
    with Emulator() as device:
        result = run_energy(
            [SPEECH, SPEECH],
            device,
            open_sensor(machine.root),
            model="base",
            kernel="auto",
            repeats=repeats,
            idle_seconds=10.0,
            progress=lambda step: None,
            sleep=sleep,
            clock=machine.clock,
        )
    assert len(model.calls) == 2 * (1 + repeats)  # the warm-up too
    assert slept == [10.0, SETTLE_SECONDS, 10.0]  # the driver lets an NPU sleep before idle is measured again
    return result


def medians(figures: Any) -> dict[str, float]:
    return {name: spread["median"] for name, spread in figures.items()}


def test_idle_is_subtracted_for_the_seconds_of_each_stage(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle is 4 W before and 6 W after: 5 W are subtracted."""
    document = as_document(measure(machine, monkeypatch, idle_after=6.0))
    assert document["idle"] == {
        "before": {"seconds": pytest.approx(10.0), "package_measured_w": pytest.approx(4.0)},
        "after": {"seconds": pytest.approx(10.0), "package_measured_w": pytest.approx(6.0)},
        "subtracted_package_w": pytest.approx(5.0),
    }
    stages: Any = document["stages"]
    assert medians(stages["encoder"]) == pytest.approx(
        {
            "measured_seconds": 4.0,
            "package_measured_j": 200.0,
            "package_over_idle_measured_j": 180.0,
            "package_over_idle_measured_w": 45.0,
            "package_over_idle_measured_j_per_audio_minute": 180.0,
        }
    )
    assert medians(stages["decode"])["package_over_idle_measured_j"] == pytest.approx(50.0)
    assert medians(document["total"]) == pytest.approx(
        {
            "measured_seconds": 6.0,
            "package_measured_j": 260.0,
            "package_over_idle_measured_j": 230.0,
            "package_over_idle_measured_w": 230.0 / 6,
            "package_over_idle_measured_j_per_audio_minute": 230.0,
        }
    )
    load = medians(document["load"])
    assert load["package_measured_j"] == pytest.approx(20.0)
    assert not any("minute" in figure for figure in load)
    assert document["repeats"] == 2


def test_idle_is_measured_after_the_npu_has_gone_to_sleep(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which its driver lets it 5 s after the last dispatch (github.com/amd/xdna-driver, issue 535)."""
    result = measure(machine, monkeypatch, awake_seconds=5.0)
    assert result.idle.after.package_watts == pytest.approx(4.0)


def test_what_is_outside_the_cores_is_derived_and_named_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over idle (4 W, 1.5 of them in the cores) the encoder takes 46 W, of which 18.5 W are the cores'."""
    machine.zone("intel-rapl:0:0", "core", 1.5)
    result = measure(machine, monkeypatch)
    stages: Any = as_document(result)["stages"]
    encoder = medians(stages["encoder"])
    assert encoder["cores_measured_j"] == pytest.approx(80.0)
    assert encoder["outside_cores_over_idle_derived_j"] == pytest.approx(4 * (46.0 - 18.5))
    text = as_markdown(result)
    assert "DERIVED J outside cores, over idle" in text
    assert "The NPU is in it" in text
    for width in (45, 80):
        assert max(map(len, page_as_text(page(result), width).splitlines())) <= width


def test_without_the_cores_nothing_is_derived(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    result = measure(machine, monkeypatch)
    text = as_markdown(result)
    assert "DERIVED" not in text
    assert "not measured (RAPL has no counter for the cores alone)" in text
    assert "derived" not in json.dumps(as_document(result))
    assert "null" not in json.dumps(as_document(result))


def test_files(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = measure(machine, monkeypatch)
    files = Files(markdown=tmp_path / "a.md", json=tmp_path / "a.json", csv=tmp_path / "a.csv")
    write_files(result, files)
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == as_markdown(result)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["source"] == "rapl"
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["stage"], row["figure"]): float(row["median"]) for row in csv.DictReader(file)}
    assert rows["encoder", "package_measured_j"] == pytest.approx(200.0)


def test_a_counter_that_stands_still_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.zones["intel-rapl:0"].watts = 0.0
    with pytest.raises(EnergyError, match="did not move"):
        measure(machine, monkeypatch)


def test_a_sensor_that_fails_meanwhile_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = machine.zones["intel-rapl:0"]
    advance = machine.advance

    def vanish(seconds: float) -> None:
        (zone.folder / "energy_uj").unlink()
        monkeypatch.setattr(machine, "advance", advance)
        machine.now += seconds

    monkeypatch.setattr(machine, "advance", vanish)
    with pytest.raises(EnergyError, match=r"RAPL, package-0: .*energy_uj does not exist"):
        measure(machine, monkeypatch)


def test_where_nothing_can_be_read_one_line_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("whisper_npu.energy.sensors.open_sensor", lambda: open_sensor(tmp_path))
    assert run(["benchmark", "energy", SPEECH]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("whisper-npu: error: energy cannot be measured here: no RAPL package in ")
    assert "sudo modprobe intel_rapl_msr" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([SPEECH, "--idle", "0"], 2, "idle is 0 s, must be 1 to 3600"),
        ([SPEECH, "--idle", "-1"], 2, "idle is -1 s"),
        ([SPEECH, "--idle", "nan"], 2, "nan must be a number"),
        (["-"], 2, "name files"),
        (["no.wav"], 1, "no such file"),
    ],
)
def test_a_call_that_cannot_be_measured_fails_before_a_sensor_is_looked_for(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("whisper_npu.energy.sensors.open_sensor", lambda: open_sensor(tmp_path))
    assert run(["benchmark", "energy", *arguments, "--model", "no-model"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.weights
def test_one_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a real model and real time, at 10 W throughout: nothing is over idle."""
    monkeypatch.setattr("whisper_npu.energy.sensors.open_sensor", Constant)
    monkeypatch.setattr(energy, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(energy, "IDLE_RANGE", (0.0, 1.0))
    path = tmp_path / "out.json"
    model = require_weights("tiny.en")
    arguments = ["--model", model, "--repeats", "1", "--idle", "0.01", "--json", str(path)]
    assert run(["benchmark", "energy", SPEECH, *arguments]) == 0
    out = capsys.readouterr().out
    assert "J per minute of audio over idle" in " ".join(out.split())
    stages = {line.split()[0] for line in out.splitlines() if line}
    assert {"audio", "mel", "encoder", "decode", "total"} <= stages
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["idle"]["subtracted_package_w"] == pytest.approx(10.0)
    for figures in (document["load"], document["total"], *document["stages"].values()):
        assert medians(figures)["package_over_idle_measured_j"] == pytest.approx(0.0, abs=1e-6)
        assert medians(figures)["outside_cores_over_idle_derived_j"] == pytest.approx(0.0, abs=1e-6)
    assert medians(document["total"])["package_measured_j"] == pytest.approx(
        10.0 * document["total"]["measured_seconds"]["median"]
    )
