"""The meter: joules by stage, its thread, and what it says when the sensor fails."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from tests.support.sysfs import WRAPS_AT, Machine, put
from whisper_npu.energy.meter import Meter
from whisper_npu.energy.sensors import Joules, Sensor, open_sensor
from whisper_npu.errors import SensorError


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.cpu("GenuineIntel")
    machine.zone("intel-rapl:0", "package-0", 20.0, energy=WRAPS_AT - 250e6)  # wraps within 12.5 s
    machine.zone("intel-rapl:0:0", "core", 12.0)
    return machine


def test_joules_go_to_the_stage_in_which_they_were_used(machine: Machine) -> None:
    with Meter(open_sensor(machine.root), machine.clock) as meter:
        machine.advance(1.0)
        with meter.stage("decode"):
            machine.advance(2.0)
            with meter.stage("encoder"):
                machine.zones["intel-rapl:0"].watts = 50.0
                machine.advance(3.0)
                meter.sample()
                machine.advance(1.0)
            machine.zones["intel-rapl:0"].watts = 20.0
            machine.advance(4.0)
            with meter.stage("encoder"):
                machine.advance(0.5)
        machine.advance(0.25)
    machine.advance(100.0)  # the meter is closed
    energy = meter.energy
    assert energy is not None
    assert {name: used.seconds for name, used in energy.stages.items()} == pytest.approx(
        {"other": 1.25, "decode": 6.0, "encoder": 4.5}
    )
    assert {name: used.joules.package for name, used in energy.stages.items()} == pytest.approx(
        {"other": 25.0, "decode": 120.0, "encoder": 210.0}
    )
    assert energy.stages["encoder"].joules.cores == pytest.approx(54.0)
    assert energy.total.joules == Joules(pytest.approx(355.0), pytest.approx(12.0 * 11.75))
    assert energy.total.package_watts == pytest.approx(355.0 / 11.75)


def test_a_stage_that_fails_has_ended(machine: Machine) -> None:
    def fail() -> None:
        with meter.stage("audio"):
            machine.advance(1.0)
            raise ValueError("bad")

    with Meter(open_sensor(machine.root), machine.clock) as meter:
        with pytest.raises(ValueError, match="bad"):
            fail()
        machine.advance(2.0)
    assert meter.energy is not None
    assert meter.energy.stages["audio"].seconds == pytest.approx(1.0)
    assert meter.energy.stages["other"].seconds == pytest.approx(2.0)


def test_power_is_integrated_between_samples(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    path = machine.amdgpu(10.0)
    with Meter(open_sensor(tmp_path), machine.clock) as meter, meter.stage("encoder"):
        for watts in (30, 30, 10):
            machine.advance(1.0)
            put(path, f"{watts}000000\n")
            meter.sample()
    assert meter.energy is not None
    assert meter.energy.stages["encoder"].joules == Joules(pytest.approx(70.0), None)
    assert "trapezoids" in meter.energy.method


def test_without_a_sensor_there_is_no_thread_and_no_energy() -> None:
    before = threading.active_count()
    with Meter(None) as meter, meter.stage("encoder"):
        assert threading.active_count() == before
        meter.sample()
    assert (meter.energy, meter.failure) == (None, None)


def test_its_thread_ends_with_it(machine: Machine) -> None:
    before = set(threading.enumerate())
    with Meter(open_sensor(machine.root), machine.clock):
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) == before


def test_a_file_that_vanishes_leaves_no_figure(machine: Machine) -> None:
    with Meter(open_sensor(machine.root), machine.clock) as meter:
        machine.advance(1.0)
        with meter.stage("encoder"):
            shutil.rmtree(machine.root / "sys/class/powercap/intel-rapl:0")
            machine.advance(1.0)
        machine.advance(1.0)
    assert meter.energy is None
    assert meter.failure is not None
    assert "does not exist" in meter.failure


def test_a_file_that_vanished_before_the_start_leaves_no_figure(machine: Machine) -> None:
    sensor = open_sensor(machine.root)
    shutil.rmtree(machine.root / "sys/class/powercap/intel-rapl:0")
    with Meter(sensor, machine.clock) as meter:
        machine.advance(1.0)
    assert meter.energy is None
    assert "does not exist" in (meter.failure or "")


def test_a_counter_that_stands_still_leaves_no_figure(machine: Machine) -> None:
    machine.zones["intel-rapl:0"].watts = 0.0
    with Meter(open_sensor(machine.root), machine.clock) as meter:
        machine.advance(5.0)
    assert (meter.energy, meter.failure) == (None, None)


class Counted(Sensor):
    """A joule per reading; tells when it was read so often, and fails after that."""

    source = description = method = "counted"
    interval = 0.001
    has_cores = False

    def __init__(self, readings: int) -> None:
        self._left = readings
        self.done = threading.Event()

    def start(self) -> None:
        pass

    def joules(self, seconds: float) -> Joules:
        if self._left == 0:
            self.done.set()
            raise SensorError("read often enough")
        self._left -= 1
        return Joules(1.0, None)


def test_the_sensor_is_read_while_a_stage_lasts() -> None:
    sensor = Counted(readings=5)
    with Meter(sensor) as meter, meter.stage("encoder"):
        assert sensor.done.wait(60)  # nothing but the meter's thread reads it
    assert meter.failure == "read often enough"
