"""Sensors on a made-up sysfs: which files count, what a counter tells when it wraps, and who may read it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sysfs import WRAPS_AT, Machine, put, read_register
from whisper_npu.energy.sensors import (
    UNBELIEVABLE_W,
    Counter,
    Joules,
    Rapl,
    Sensor,
    SocketPower,
    find_sensor,
    open_sensor,
    readable,
)
from whisper_npu.errors import EnergyError, SensorError


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.cpu("GenuineIntel")
    return machine


def used(sensor: Sensor, machine: Machine, seconds: float) -> Joules:
    sensor.start()
    machine.advance(seconds)
    return sensor.joules(seconds)


def test_a_package_and_its_cores(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 20.0)
    machine.zone("intel-rapl:0:0", "core", 12.0)
    machine.zone("intel-rapl:0:1", "uncore", 3.0)
    sensor = open_sensor(machine.root)
    assert (sensor.source, sensor.description) == ("rapl", "RAPL, package-0")
    joules = used(sensor, machine, 3.0)
    assert joules.package == pytest.approx(60.0)
    assert joules.cores == pytest.approx(36.0)


def test_packages_are_added_and_nothing_is_counted_twice(machine: Machine) -> None:
    """psys contains the packages, and intel-rapl-mmio is another way to the first of them."""
    machine.zone("intel-rapl:0", "package-0", 20.0)
    machine.zone("intel-rapl:1", "package-1", 5.0)
    machine.zone("intel-rapl:2", "psys", 70.0)
    machine.zone("intel-rapl-mmio:0", "package-0", 20.0)
    machine.zone("intel-rapl:0:0", "core", 8.0)
    machine.zone("intel-rapl:1:0", "core", 2.0)
    machine.zone("intel-rapl:1:1", "dram", 4.0)
    joules = used(open_sensor(machine.root), machine, 2.0)
    assert (joules.package, joules.cores) == (pytest.approx(50.0), pytest.approx(20.0))


def test_psys_alone_is_not_a_package(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "psys", 70.0)
    with pytest.raises(EnergyError, match="no RAPL package"):
        open_sensor(machine.root)


def test_cores_of_one_package_of_two_are_not_the_cores(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 20.0)
    machine.zone("intel-rapl:1", "package-1", 5.0)
    machine.zone("intel-rapl:0:0", "core", 8.0)
    sensor = open_sensor(machine.root)
    assert used(sensor, machine, 2.0).cores is None
    assert sensor.why_no_cores == "RAPL has no counter for the cores alone"


def test_amds_core_zone_is_one_core_and_is_not_taken_for_all(machine: Machine) -> None:
    machine.cpu("AuthenticAMD")
    machine.zone("intel-rapl:0", "package-0", 20.0)
    machine.zone("intel-rapl:0:0", "core", 1.5)
    sensor = open_sensor(machine.root)
    assert not sensor.has_cores
    assert used(sensor, machine, 2.0) == Joules(pytest.approx(40.0), None)
    assert "no cores in" in sensor.why_no_cores

    machine.core(0, "0,2", 1.5)
    shutil.rmtree(machine.root / "dev")
    assert "sudo modprobe msr" in open_sensor(machine.root).why_no_cores


def test_amds_cores_are_added_each_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUs 0 and 2 are threads of one core, 1 and 3 of another; one counter wraps meanwhile."""
    monkeypatch.setattr(os, "pread", read_register)
    machine.cpu("AuthenticAMD")
    machine.zone("intel-rapl:0", "package-0", 20.0)
    machine.core(0, "0,2", 1.5, joules=7.0)
    machine.core(2, "0,2", 1.5, joules=7.0)
    machine.core(1, "1,3", 4.0, joules=2**16 - 3.0)
    machine.core(3, "1,3", 4.0, joules=2**16 - 3.0)
    put(machine.root / "sys/devices/system/cpu/cpufreq/boost", "1\n")
    put(machine.root / "sys/devices/system/cpu/cpu4/online", "0\n")
    joules = used(open_sensor(machine.root), machine, 2.0)
    assert joules.package == pytest.approx(40.0)
    assert joules.cores == pytest.approx(2 * (1.5 + 4.0), abs=1e-4)


@given(
    before=st.integers(0, WRAPS_AT - 1),
    steps=st.lists(st.floats(0.0, 400.0), min_size=1, max_size=50),
)
def test_a_counter_adds_up_through_its_wraps(before: int, steps: list[float]) -> None:
    """Watts of one second each: together they may be several wraps."""
    value = float(before)
    counter = Counter("package-0", lambda: int(value) % WRAPS_AT, WRAPS_AT, 1e-6)
    counter.start()
    found = 0.0
    for watts in steps:
        value += 1e6 * watts
        found += counter.joules(1.0)
    assert found == pytest.approx(sum(steps), abs=1e-5 * len(steps))


def test_a_zone_that_wraps(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 100.0, energy=WRAPS_AT - 150e6)
    sensor = open_sensor(machine.root)
    sensor.start()
    found = []
    for _ in range(4):
        machine.advance(1.0)
        found.append(sensor.joules(1.0).package)
    assert found == pytest.approx([100.0] * 4)


@pytest.mark.parametrize("seconds", [WRAPS_AT * 1e-6 / UNBELIEVABLE_W, 1800.0])
def test_a_counter_that_was_not_read_for_long_tells_nothing(seconds: float) -> None:
    counter = Counter("package-0", lambda: 7, WRAPS_AT, 1e-6)
    counter.start()
    with pytest.raises(SensorError, match="may have wrapped twice"):
        counter.joules(seconds)


def test_a_counter_that_was_reset_tells_nothing() -> None:
    """As after suspend: 40 kJ before, 1 J after, which looks like a wrap with 25 kJ in a second."""
    values = iter([40_000_000_000, 1_000_000])
    counter = Counter("package-0", lambda: next(values), WRAPS_AT, 1e-6)
    counter.start()
    with pytest.raises(SensorError, match="it was reset, as in suspend"):
        counter.joules(1.0)


def test_a_step_of_the_counter_within_a_short_time_is_believed() -> None:
    """A counter is written every millisecond or so: two readings 10 us apart may see all of that."""
    values = iter([0, 50_000])
    counter = Counter("package-0", lambda: next(values), WRAPS_AT, 1e-6)
    counter.start()
    assert counter.joules(1e-5) == pytest.approx(0.05)


def test_amdgpus_power_is_integrated_where_there_is_no_rapl(machine: Machine) -> None:
    path = machine.amdgpu(10.0)
    sensor = open_sensor(machine.root)
    assert (sensor.source, sensor.description) == ("amdgpu-ppt", "amdgpu's PPT, power1_input")
    sensor.start()
    put(path, "20000000\n")
    assert sensor.joules(2.0) == Joules(pytest.approx(30.0), None)
    assert sensor.joules(0.5) == Joules(pytest.approx(10.0), None)
    with pytest.raises(SensorError, match="was not read for 60 s"):
        sensor.joules(60.0)


def test_rapl_is_preferred_to_amdgpus_power(machine: Machine) -> None:
    machine.amdgpu(10.0)
    machine.zone("intel-rapl:0", "package-0", 20.0)
    assert open_sensor(machine.root).source == "rapl"


def test_the_average_is_read_where_there_is_no_instantaneous_power(machine: Machine) -> None:
    machine.amdgpu(10.0, file="power1_average")
    assert used(open_sensor(machine.root), machine, 1.0).package == pytest.approx(10.0)


def test_the_power_of_a_graphics_card_is_not_the_packages(machine: Machine) -> None:
    machine.amdgpu(200.0, number=1, apu=False)
    assert find_sensor(machine.root) is None
    machine.amdgpu(15.0, number=10)
    assert used(open_sensor(machine.root), machine, 1.0).package == pytest.approx(15.0)


def test_a_monitor_below_the_card_is_found(machine: Machine) -> None:
    machine.amdgpu(15.0)
    card = machine.root / "sys/class/drm/card1/device/hwmon"
    card.parent.mkdir(parents=True)
    (machine.root / "sys/class/hwmon").rename(card)
    assert used(open_sensor(machine.root), machine, 1.0).package == pytest.approx(15.0)


@pytest.mark.parametrize("watts", [0.0, 65535.0])
def test_a_power_that_no_socket_draws_is_not_believed(watts: float, machine: Machine) -> None:
    machine.amdgpu(watts)
    with pytest.raises(EnergyError, match="which no socket draws"):
        open_sensor(machine.root)


def deny(monkeypatch: pytest.MonkeyPatch, denied: Path) -> None:
    """As for a user who may not read the file; root may read everything, and tests may run as root."""
    read_text = Path.read_text

    def read(path: Path, *arguments: str, **keywords: str) -> str:
        if path == denied:
            raise PermissionError(13, os.strerror(13), str(path))
        return read_text(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "read_text", read)


def test_who_may_read_a_counter_is_explained(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = machine.zone("intel-rapl:0", "package-0", 20.0)
    deny(monkeypatch, zone.folder / "energy_uj")
    with pytest.raises(EnergyError) as failed:
        open_sensor(machine.root)
    for said in ("root only", "CVE-2020-8694", "sudo chmod a+r ", "intel-rapl:*/energy_uj"):
        assert said in str(failed.value)
    assert "\n" not in str(failed.value)

    machine.amdgpu(10.0)
    found = readable(machine.root)
    assert found.by == "amdgpu's PPT, power1_input"
    assert found.why_not_rapl is not None
    assert "root only" in found.why_not_rapl


def test_a_package_that_may_not_be_read_is_not_left_out(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.zone("intel-rapl:0", "package-0", 20.0)
    deny(monkeypatch, machine.zone("intel-rapl:1", "package-1", 5.0).folder / "energy_uj")
    assert find_sensor(machine.root) is None


def test_what_is_readable_is_said_in_words(machine: Machine) -> None:
    nothing = readable(machine.root)
    assert nothing.by is None
    assert nothing.why_not_rapl is not None
    assert "sudo modprobe intel_rapl_msr" in nothing.why_not_rapl
    machine.zone("intel-rapl:0", "package-0", 20.0)
    found = readable(machine.root)
    assert (found.by, found.why_not_rapl) == ("RAPL, package-0", None)
    assert found.why_no_cores == "RAPL has no counter for the cores alone"


@pytest.mark.parametrize("content", ["", "many\n"])
def test_a_file_without_a_number_is_no_sensor(content: str, machine: Machine) -> None:
    zone = machine.zone("intel-rapl:0", "package-0", 20.0)
    put(zone.folder / "energy_uj", content)
    with pytest.raises(EnergyError, match="holds no number"):
        open_sensor(machine.root)


def test_a_range_of_zero_is_no_range(machine: Machine) -> None:
    machine.zone("intel-rapl:0", "package-0", 20.0, wraps_at=1)
    put(machine.root / "sys/class/powercap/intel-rapl:0/max_energy_range_uj", "0\n")
    with pytest.raises(EnergyError, match="must be above 0"):
        open_sensor(machine.root)


def test_a_file_that_vanishes_is_an_error_of_the_sensor(machine: Machine) -> None:
    zone = machine.zone("intel-rapl:0", "package-0", 20.0)
    path = machine.amdgpu(10.0)
    rapl, power = open_sensor(machine.root), SocketPower(path)
    assert isinstance(rapl, Rapl)
    power.start()
    shutil.rmtree(zone.folder)
    path.unlink()
    for sensor in (rapl, power):
        with pytest.raises(SensorError, match="does not exist"):
            sensor.joules(1.0)
