"""What a run took by a sensor of energy, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import perf_counter

from whisper_npu.energy.sensors import Joules, Sensor
from whisper_npu.errors import SensorError

OTHER = "other"  # what lies outside of every stage


@dataclass(frozen=True)
class Used:
    """MEASURED energy of the whole machine's packages for some seconds, whoever caused it."""

    seconds: float
    joules: Joules

    def __add__(self, other: Used) -> Used:
        return Used(self.seconds + other.seconds, self.joules + other.joules)

    @property
    def package_watts(self) -> float:
        return self.joules.package / self.seconds

    @property
    def cores_watts(self) -> float | None:
        return None if self.joules.cores is None else self.joules.cores / self.seconds


@dataclass(frozen=True)
class Energy:
    """MEASURED energy of a run, by stage in the order of the work."""

    source: str
    description: str
    method: str
    stages: dict[str, Used]

    @property
    def total(self) -> Used:
        first, *rest = self.stages.values()
        return sum(rest, first)


class Meter:
    """Reads a sensor while it is open, as a context manager, and adds up joules by stage.

    The sensor is read where a stage starts or ends, and in between by a thread, as often as the sensor
    demands. Without a sensor it does nothing and has no thread. One thread at a time enters stages.
    """

    def __init__(self, sensor: Sensor | None, clock: Callable[[], float] = perf_counter) -> None:
        """clock: monotonic, in seconds."""
        self._sensor = sensor
        self._clock = clock
        self._lock = Lock()
        self._current = OTHER
        self._stages: dict[str, Used] = {}
        self._previous = 0.0
        self._closed = Event()
        self._thread: Thread | None = None  # while it is open and the sensor can be read
        self.failure: str | None = None  # why it could not be read to the end

    def __enter__(self) -> Meter:
        if self._sensor is not None:
            self._previous = self._clock()
            try:
                self._sensor.start()
            except SensorError as error:
                self.failure = str(error)
                return self
            self._thread = Thread(target=self._sample_until_closed, name="whisper-npu-energy", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self.sample()
            self._thread = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is used meanwhile is this stage's, but for what a stage inside it uses."""
        outer = self._enter(name)
        try:
            yield
        finally:
            self._enter(outer)

    def sample(self) -> None:
        """Read the sensor now; what was used since the last time is the current stage's."""
        self._enter(None)

    @property
    def energy(self) -> Energy | None:
        """So far. None without a sensor, or where it failed or stood still meanwhile."""
        if self._sensor is None or self.failure is not None:
            return None
        with self._lock:
            stages = dict(self._stages)
        if sum(used.joules.package for used in stages.values()) <= 0:
            return None
        return Energy(self._sensor.source, self._sensor.description, self._sensor.method, stages)

    def _enter(self, stage: str | None) -> str:
        """Read the sensor, go on with this stage (None: the same one), and return the one until now."""
        with self._lock:
            outer = self._current
            if self._thread is not None and self._sensor is not None and self.failure is None:
                now = self._clock()
                seconds, self._previous = now - self._previous, now
                try:
                    used = Used(seconds, self._sensor.joules(seconds))
                except SensorError as error:
                    self.failure = str(error)
                else:
                    before = self._stages.get(outer)
                    self._stages[outer] = used if before is None else before + used
            self._current = outer if stage is None else stage
            return outer

    def _sample_until_closed(self) -> None:
        assert self._sensor is not None
        while not self._closed.wait(self._sensor.interval):
            self.sample()
