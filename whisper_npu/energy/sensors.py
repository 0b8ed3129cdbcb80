"""The sensors of energy that Linux has: RAPL's counters and amdgpu's socket power, read from sysfs.

RAPL counts microjoules per package: docs.kernel.org/power/powercap/powercap.html. amdgpu tells the power of
the socket of an APU, CPU included, in microwatts: docs.kernel.org/gpu/amdgpu/thermal.html.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.errors import EnergyError, SensorError

ROOT = Path("/")
UNBELIEVABLE_W = 2000.0  # no package draws as much: a counter that grows faster was reset, as in suspend
LONGEST_GAP = 5.0  # seconds between two samples of a power: over more the trapezoid would be a guess
COUNTER_PERIOD = 0.1  # seconds within which a counter certainly grows; most are written every millisecond

# Model-specific registers of AMD: bits 12:8 of the first are the exponent of the unit, 1/2^n J; the second
# counts one core's energy in 32 bits. Source: github.com/amd/amd_energy, README.
MSR_RAPL_POWER_UNIT = 0xC0010299
MSR_CORE_ENERGY = 0xC001029A


@dataclass(frozen=True)
class Joules:
    """Energy of all packages together, and the part of it that their cores took."""

    package: float
    cores: float | None  # None: the cores' counters cannot be read

    def __add__(self, other: Joules) -> Joules:
        cores = None if self.cores is None or other.cores is None else self.cores + other.cores
        return Joules(self.package + other.package, cores)


class Sensor(ABC):
    """Something that tells the energy of the processor's package. Called by one thread at a time."""

    source: str  # a short name for programs
    description: str
    method: str  # how joules come about
    interval: float  # seconds between two calls of `joules` at most
    has_cores: bool
    why_no_cores: str = ""  # with the remedy, where there is one

    @abstractmethod
    def start(self) -> None:
        """Count from now on. Raises SensorError."""

    @abstractmethod
    def joules(self, seconds: float) -> Joules:
        """The energy since the previous call or `start`, which was `seconds` ago. Raises SensorError."""


class Counter:
    """A counter of energy that grows until it wraps at `wraps_at`, in units of `joules_per_unit`."""

    def __init__(self, name: str, read: Callable[[], int], wraps_at: int, joules_per_unit: float) -> None:
        self._name = name
        self._read = read
        self._wraps_at = wraps_at
        self._joules_per_unit = joules_per_unit
        self._previous = 0

    def start(self) -> None:
        self._previous = self._read()

    def joules(self, seconds: float) -> float:
        """Since the previous call, `seconds` ago, in which it wrapped once at most. Raises SensorError."""
        value = self._read()
        joules = (value - self._previous) % self._wraps_at * self._joules_per_unit
        self._previous = value
        most = UNBELIEVABLE_W * (seconds + COUNTER_PERIOD)
        if most >= self._wraps_at * self._joules_per_unit:
            raise SensorError(f"{self._name}: was not read for {seconds:.0f} s and may have wrapped twice")
        if joules > most:
            raise SensorError(
                f"{self._name}: grew by {joules:.0f} J in {seconds:.3f} s: it was reset, as in suspend"
            )
        return joules


class Rapl(Sensor):
    """The energy counters of all packages, and of all of their cores where these can be read."""

    source = "rapl"
    method = "counters read at every stage's start and end"
    interval = 0.5  # far below what a wrap takes: 65 kJ of 32 bits last 20 minutes at 54 W

    def __init__(
        self, packages: Sequence[Counter], names: str, cores: Sequence[Counter], why_no_cores: str = ""
    ) -> None:
        self.description = f"RAPL, {names}"
        self.has_cores = bool(cores)
        self.why_no_cores = why_no_cores
        self._packages = packages
        self._cores = cores

    def start(self) -> None:
        for counter in (*self._packages, *self._cores):
            counter.start()

    def joules(self, seconds: float) -> Joules:
        package = sum(counter.joules(seconds) for counter in self._packages)
        cores = sum(counter.joules(seconds) for counter in self._cores)
        return Joules(package, cores if self.has_cores else None)


class SocketPower(Sensor):
    """The power of an APU's socket (PPT) as amdgpu tells it, integrated by trapezoids."""

    source = "amdgpu-ppt"
    method = "power sampled every 0.1 s and at every stage's start and end, integrated by trapezoids"
    interval = 0.1
    has_cores = False
    why_no_cores = "amdgpu tells the power of the whole socket only"

    def __init__(self, path: Path) -> None:
        self.description = f"amdgpu's PPT, {path.name}"
        self._path = path
        self._watts = 0.0

    def start(self) -> None:
        self._watts = self._read()

    def joules(self, seconds: float) -> Joules:
        before, self._watts = self._watts, self._read()
        if seconds > LONGEST_GAP:
            raise SensorError(f"{self._path}: was not read for {seconds:.0f} s")
        return Joules((before + self._watts) / 2 * seconds, None)

    def _read(self) -> float:
        watts = read_number(self._path) / 1e6
        if not 0 < watts < UNBELIEVABLE_W:
            raise SensorError(f"{self._path}: says {watts:g} W, which no socket draws")
        return watts


@dataclass(frozen=True)
class Readable:
    """Whether this machine tells its energy, and what stands in the way if not, in one line each."""

    by: str | None  # None: nothing can be read
    why_not_rapl: str | None  # with the remedy; None where RAPL is read
    why_no_cores: str | None  # None where the cores can be told from the rest, or nothing can be read


def readable(root: Path = ROOT) -> Readable:
    """What `open_sensor` would read. Takes milliseconds."""
    try:
        sensor = open_sensor(root)
    except EnergyError as error:
        return Readable(None, str(error), None)
    why_not = None if sensor.source == Rapl.source else _why_not_rapl(root)
    return Readable(sensor.description, why_not, sensor.why_no_cores or None)


def find_sensor(root: Path = ROOT) -> Sensor | None:
    """As `open_sensor`; None where nothing can be read."""
    try:
        return open_sensor(root)
    except EnergyError:
        return None


def open_sensor(root: Path = ROOT) -> Sensor:
    """RAPL where it can be read, otherwise amdgpu's PPT.

    root: the folder that holds sys, proc and dev. Raises EnergyError with the reason and the remedy.
    """
    try:
        return _open_rapl(root)
    except SensorError as why_not_rapl:
        try:
            return _open_socket_power(root)
        except SensorError as why_no_power:
            raise EnergyError(f"energy cannot be measured here: {why_not_rapl}; {why_no_power}") from None


def _why_not_rapl(root: Path) -> str | None:
    try:
        _open_rapl(root)
    except SensorError as error:
        return str(error)
    return None


def read_number(path: Path) -> int:
    """The number in a file of sysfs. Raises SensorError with the reason, and who may read it."""
    try:
        return int(path.read_text(encoding="ascii"))
    except PermissionError:
        raise SensorError(f"{path} {_who_may_read(path)}") from None
    except FileNotFoundError:
        raise SensorError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "holds no number"
        raise SensorError(f"{path}: {reason}") from None


def _who_may_read(path: Path) -> str:
    if path.name != "energy_uj":
        return "may not be read by this user"
    counters = f"{path.parent.parent}/intel-rapl:*/energy_uj"
    return (
        "may be read by root only (since Linux 5.10, against CVE-2020-8694): run as root, or let everyone "
        f"read it until the next start by sudo chmod a+r {counters}"
    )


def _open_rapl(root: Path) -> Rapl:
    """Top-level zones named package-N. `psys` counts the packages again, intel-rapl-mmio a second time."""
    folder = root / "sys/class/powercap"
    zones = [zone for zone in _entries(folder) if re.fullmatch(r"intel-rapl:\d+", zone.name)]
    packages = [zone for zone in zones if _name(zone).startswith("package-")]
    if not packages:
        raise SensorError(
            f"no RAPL package in {folder} (virtual machines and containers show none; elsewhere try "
            "sudo modprobe intel_rapl_msr, which is AMD's driver too)"
        )
    counters = [_zone_counter(zone) for zone in packages]
    cores, why_not = _cores(root, packages)
    rapl = Rapl(counters, ", ".join(map(_name, packages)), cores, why_not)
    rapl.start()
    return rapl


def _cores(root: Path, packages: Sequence[Path]) -> tuple[list[Counter], str]:
    """Counters that together are all cores, or none of them and why.

    On AMD the zone `core` is one core: powercap reads a register that each core has for itself, on one of
    them. Source: Linux, drivers/powercap/intel_rapl_msr.c, rapl_msr_priv_amd; measured by
    github.com/kevzakaria/omarchy-energy-meter, README. There the registers of all cores are read.
    """
    try:
        if re.search("AuthenticAMD|HygonGenuine", _text(root / "proc/cpuinfo")):
            return _core_registers(root), ""
        zones = [
            [zone for zone in _entries(package.parent) if zone.name.startswith(f"{package.name}:")]
            for package in packages
        ]
        cores = [[zone for zone in inner if _name(zone) == "core"] for inner in zones]
        if not all(cores):
            return [], "RAPL has no counter for the cores alone"
        counters = [_zone_counter(zone) for inner in cores for zone in inner]
        for counter in counters:
            counter.start()
        return counters, ""
    except SensorError as error:
        return [], str(error)


def _zone_counter(zone: Path) -> Counter:
    wraps_at = read_number(zone / "max_energy_range_uj")
    if wraps_at <= 0:
        raise SensorError(f"{zone / 'max_energy_range_uj'}: is {wraps_at}, must be above 0")
    return Counter(str(zone), lambda: read_number(zone / "energy_uj"), wraps_at, 1e-6)


def _core_registers(root: Path) -> list[Counter]:
    """One counter per core of AMD; two hardware threads of one core share it."""
    threads = [
        entry
        for entry in _entries(root / "sys/devices/system/cpu")
        if re.fullmatch(r"cpu\d+", entry.name) and os.path.isdir(entry / "topology")  # absent if offline
    ]
    first_of_core = {_text(cpu / "topology/thread_siblings_list"): cpu.name[3:] for cpu in reversed(threads)}
    counters = []
    for number in first_of_core.values():
        path = root / "dev/cpu" / number / "msr"
        unit = 0.5 ** (_register(path, MSR_RAPL_POWER_UNIT) >> 8 & 0x1F)
        counter = Counter(str(path), _reader(path), 2**32, unit)
        counter.start()
        counters.append(counter)
    if not counters:
        raise SensorError(f"no cores in {root / 'sys/devices/system/cpu'}")
    return counters


def _reader(path: Path) -> Callable[[], int]:
    return lambda: _register(path, MSR_CORE_ENERGY) & 0xFFFFFFFF


def _register(path: Path, number: int) -> int:
    """A model-specific register of the CPU to which the file belongs. Raises SensorError."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            content = os.pread(file, 8, number)
        finally:
            os.close(file)
    except OSError as error:
        raise SensorError(
            f"the energy of all cores is in {path}: {error.strerror}; it needs root and sudo modprobe msr"
        ) from None
    if len(content) != 8:
        raise SensorError(f"{path}: has no register {number:#x}")
    return int.from_bytes(content, "little")


def _open_socket_power(root: Path) -> SocketPower:
    """Of an APU: amdgpu shows the northbridge's voltage, in1, for no other (Linux, amdgpu_pm.c).

    A graphics card's amdgpu tells the power of the card, which no part of Whisper uses.
    """
    folder = root / "sys/class/hwmon"
    monitors = [entry for entry in _entries(folder) if _name(entry) == "amdgpu"]
    drm = root / "sys/class/drm"
    monitors += [m for card in _entries(drm) for m in _entries(card / "device/hwmon") if _name(m) == "amdgpu"]
    reasons = []
    for monitor in monitors:
        if not os.path.exists(monitor / "in1_label"):
            continue
        for name in ("power1_input", "power1_average"):  # instantaneous where the driver has it
            if not os.path.exists(monitor / name):
                continue
            sensor = SocketPower(monitor / name)
            try:
                sensor.start()
            except SensorError as error:
                reasons.append(str(error))
            else:
                return sensor
    raise SensorError(reasons[0] if reasons else f"no socket power of an APU by amdgpu in {folder}")


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, cpu2 before cpu10; nothing where the folder is missing."""
    try:
        return sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name))
    except OSError:
        return []


def _name(folder: Path) -> str:
    try:
        return _text(folder / "name")
    except SensorError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise SensorError(f"{path}: {error.strerror}") from None
