"""A machine's files about its energy, under a folder, and the time and energy that pass on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

WRAPS_AT = 65_532_610_987  # uJ: 32 bits of 15.26 uJ, as AMD's packages have
UNIT_EXPONENT = 16  # of AMD's registers: 1/2^16 J


@dataclass
class Zone:
    """A RAPL zone with a constant power. energy: in uJ since the start, without wraps."""

    folder: Path
    watts: float
    energy: float
    wraps_at: int = WRAPS_AT

    def show(self) -> None:
        put(self.folder / "energy_uj", f"{int(self.energy) % self.wraps_at}\n")


@dataclass
class Machine:
    """Counters stand still but for `advance`, which lets seconds pass."""

    root: Path
    now: float = 1000.0
    zones: dict[str, Zone] = field(default_factory=dict)
    cores: dict[int, tuple[float, float]] = field(default_factory=dict)  # CPU: watts, joules so far

    def clock(self) -> float:
        return self.now

    def zone(
        self, place: str, name: str, watts: float, *, energy: float = 5e6, wraps_at: int = WRAPS_AT
    ) -> Zone:
        """place: a folder's name in /sys/class/powercap, such as intel-rapl:0:0. energy: uJ at the start."""
        folder = self.root / "sys/class/powercap" / place
        put(folder / "name", f"{name}\n")
        put(folder / "max_energy_range_uj", f"{wraps_at}\n")
        zone = self.zones[place] = Zone(folder, watts, energy, wraps_at)
        zone.show()
        return zone

    def amdgpu(self, watts: float, *, number: int = 3, file: str = "power1_input", apu: bool = True) -> Path:
        """One of amdgpu's hardware monitors; returns the file of its power."""
        folder = self.root / f"sys/class/hwmon/hwmon{number}"
        put(folder / "name", "amdgpu\n")
        if apu:
            put(folder / "in1_label", "vddnb\n")
        put(folder / file, f"{int(watts * 1e6)}\n")
        return folder / file

    def cpu(self, vendor: str) -> None:
        put(self.root / "proc/cpuinfo", f"processor\t: 0\nvendor_id\t: {vendor}\n\n")

    def core(self, cpu: int, threads: str, watts: float, joules: float = 0.0) -> None:
        """A hardware thread of AMD's, with its core's registers. threads: all of the core's, as "0,4".

        The registers are read through `read_register`.
        """
        put(self.root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", f"{threads}\n")
        self.cores[cpu] = watts, joules
        self._show_core(cpu)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for zone in self.zones.values():
            zone.energy += 1e6 * zone.watts * seconds
            if zone.folder.exists():
                zone.show()
        for cpu, (watts, joules) in self.cores.items():
            self.cores[cpu] = watts, joules + watts * seconds
            self._show_core(cpu)

    def passing(self, seconds: float) -> Callable[..., None]:
        """What takes these seconds, whatever it is given."""
        return lambda *_: self.advance(seconds)

    def _show_core(self, cpu: int) -> None:
        path = self.root / f"dev/cpu/{cpu}/msr"
        path.parent.mkdir(parents=True, exist_ok=True)
        counted = int(self.cores[cpu][1] * 2**UNIT_EXPONENT) % 2**32
        unit = UNIT_EXPONENT << 8 | 3
        path.write_bytes(unit.to_bytes(8, "little") + counted.to_bytes(8, "little"))


def read_register(file: int, size: int, number: int, pread: Callable[..., bytes] = os.pread) -> bytes:
    """os.pread for `Machine.core`: the driver's file has a register per offset, an ordinary file a byte."""
    return pread(file, size, 8 * (number - 0xC0010299))


def put(path: Path, text: str) -> None:
    """Write a file in one step, for a thread may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="ascii")
    new.replace(path)
