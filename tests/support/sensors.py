"""A sensor for tests that let real time pass."""

from __future__ import annotations

from pathlib import Path

from whisper_npu.energy.sensors import Joules, Sensor


class Constant(Sensor):
    """A package that always draws 10 W, 6 of them in its cores."""

    source = "rapl"
    description = "a test's package"
    method = "10 W at all times"
    interval = 0.01
    has_cores = True

    def __init__(self, root: Path = Path()) -> None:
        pass

    def start(self) -> None:
        pass

    def joules(self, seconds: float) -> Joules:
        return Joules(10.0 * seconds, 6.0 * seconds)
