"""Joules per minute of audio, MEASURED with the processor's own sensors, less what the machine draws idle.

Idle is measured before the model is loaded, and again when the work has ended; the mean of both is
subtracted. Between the two the model is loaded once, one pass over all recordings warms up, and `repeats`
passes are measured, each stage for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep

from whisper_npu.audio import load_audio
from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.timings import (
    machine,
    machine_line,
    short,
    spread_document,
    with_spread,
)
from whisper_npu.energy.meter import Energy, Meter, Used
from whisper_npu.energy.sensors import Sensor
from whisper_npu.errors import EnergyError, UsageError
from whisper_npu.npu.device import Device
from whisper_npu.page import Page, Table, page_as_markdown
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.took import RunOn

# Seconds between the work and the second measurement of idle. The driver lets an NPU sleep after 5 s:
# github.com/amd/xdna-driver, issue 535.
SETTLE_SECONDS = 6.0
IDLE_RANGE = (1.0, 3600.0)  # seconds
STAGES = ("audio", "mel", "encoder", "decode", "other")


@dataclass(frozen=True)
class Idle:
    """What the machine took while this program slept."""

    before: Used
    after: Used

    @property
    def package_watts(self) -> float:
        return (self.before.package_watts + self.after.package_watts) / 2

    @property
    def cores_watts(self) -> float | None:
        before, after = self.before.cores_watts, self.after.cores_watts
        return None if before is None or after is None else (before + after) / 2


@dataclass(frozen=True)
class Row:
    """A stage, or all of them, in every repeat. What is over idle may be below 0 where a stage is short."""

    name: str
    used: tuple[Used, ...]  # one per repeat
    idle: Idle
    audio_seconds: float | None  # None: what it did was not for a length of audio

    @property
    def seconds(self) -> list[float]:
        return [used.seconds for used in self.used]

    @property
    def package_j(self) -> list[float]:
        return [used.joules.package for used in self.used]

    @property
    def over_idle_j(self) -> list[float]:
        return [used.joules.package - self.idle.package_watts * used.seconds for used in self.used]

    @property
    def over_idle_w(self) -> list[float]:
        return [used.package_watts - self.idle.package_watts for used in self.used]

    @property
    def over_idle_j_per_minute(self) -> list[float] | None:
        if not self.audio_seconds:
            return None
        return [60 * joules / self.audio_seconds for joules in self.over_idle_j]

    @property
    def cores_j(self) -> list[float] | None:
        """None where the sensor does not tell the cores from the rest."""
        cores = [used.joules.cores for used in self.used]
        known = [joules for joules in cores if joules is not None]
        return known if len(known) == len(cores) else None

    @property
    def outside_cores_j(self) -> list[float] | None:
        """DERIVED: package less cores less idle. The NPU is in it, and so are memory controller and GPU."""
        idle_w = self.idle.cores_watts
        if self.cores_j is None or idle_w is None:
            return None
        triples = zip(self.over_idle_j, self.cores_j, self.seconds, strict=True)
        return [over_idle - (cores - idle_w * seconds) for over_idle, cores, seconds in triples]


@dataclass(frozen=True)
class Result:
    """All that was measured."""

    ran_on: RunOn
    idle: Idle
    load: Energy
    passes: tuple[Energy, ...]  # one per repeat
    recordings: int
    audio_seconds: float
    why_no_cores: str

    @property
    def total(self) -> Row:
        """Of one pass, loading excluded."""
        return Row("total", tuple(p.total for p in self.passes), self.idle, self.audio_seconds)

    @property
    def rows(self) -> list[Row]:
        """load, every stage, total."""
        load = Row("load (once)", (self.load.total,), self.idle, None)
        stages = [
            Row(name, tuple(p.stages[name] for p in self.passes), self.idle, self.audio_seconds)
            for name in STAGES
            if all(name in p.stages and p.stages[name].seconds > 0 for p in self.passes)
        ]
        return [load, *stages, self.total]


def check_arguments(audio: Sequence[str], idle_seconds: float) -> None:
    """Before a sensor or a device is looked for.

    audio: files. Raises UsageError for stdin or `idle_seconds` out of range, AudioError for what `load_audio`
    does not read.
    """
    if not IDLE_RANGE[0] <= idle_seconds <= IDLE_RANGE[1]:
        raise UsageError(f"idle is {idle_seconds:g} s, must be {IDLE_RANGE[0]:g} to {IDLE_RANGE[1]:g}")
    for path in audio:
        if path == "-":
            raise UsageError("a benchmark reads its recordings several times: name files, not -")
        load_audio(path)


def run_energy(
    audio: Sequence[str],
    device: Device,
    sensor: Sensor,
    *,
    model: str,
    kernel: str,
    repeats: int,
    idle_seconds: float,
    progress: Callable[[str], None],
    sleep: Callable[[float], None] = sleep,
    clock: Callable[[], float] = perf_counter,
) -> Result:
    """Measure idle, load the model, transcribe all recordings 1 + `repeats` times, measure idle again.

    audio, idle_seconds: as `check_arguments` takes them. Raises EnergyError where the sensor fails or stands
    still, and what `load_model` raises.
    """

    def idle(when: str) -> Used:
        progress(f"measuring idle for {idle_seconds:g} s {when}: let the machine rest")
        return _measured(sensor, clock, lambda meter: sleep(idle_seconds)).total

    before = idle("before the work")
    progress(f"loading {model}")
    loaded: Model

    def load(meter: Meter) -> None:
        nonlocal loaded
        with meter.stage("load"):
            loaded = load_model(model, device=device, kernel=kernel, progress=progress)

    loading = _measured(sensor, clock, load)
    audio_seconds = 0.0

    def work(meter: Meter) -> None:
        nonlocal audio_seconds
        loaded.within(meter.stage)
        audio_seconds = sum(loaded.transcribe(path).transcript.duration for path in audio)

    passes = []
    for repeat in range(repeats + 1):
        progress(f"{f'repeat {repeat} of {repeats}' if repeat else 'warm-up'}: {len(audio)} recordings")
        measured = _measured(sensor, clock, work)
        if repeat:
            passes.append(measured)
    sleep(SETTLE_SECONDS)
    return Result(
        ran_on=loaded.ran_on,
        idle=Idle(before, idle("after the work")),
        load=loading,
        passes=tuple(passes),
        recordings=len(audio),
        audio_seconds=audio_seconds,
        why_no_cores=sensor.why_no_cores,
    )


def _measured(sensor: Sensor, clock: Callable[[], float], work: Callable[[Meter], object]) -> Energy:
    with Meter(sensor, clock) as meter:
        work(meter)
    energy = meter.energy
    if energy is None:
        why = meter.failure or "did not move while it was read, as in some virtual machines"
        raise EnergyError(f"energy cannot be measured: {sensor.description}: {why}")
    return energy


def write_files(result: Result, files: Files) -> None:
    files.write_tables(as_markdown(result), as_document(result), _lines(result))


def as_markdown(result: Result) -> str:
    return page_as_markdown(page(result))


def page(result: Result) -> Page:
    """For people: what was measured, every stage, and the sums per minute of audio."""
    ran_on, idle, load, total = result.ran_on, result.idle, result.load, result.total
    recordings = f"{result.recordings} recording{'' if result.recordings == 1 else 's'}"
    return (
        f"{ran_on.model}, {ran_on.kernel} ({ran_on.kernel_choice}), {recordings}, "
        f"{result.audio_seconds:.2f} s of audio.\n"
        f"MEASURED on {ran_on.device_description}\n({machine_line()}); "
        f"median of {len(result.passes)} repeats after one to warm up.\n"
        f"Energy of the whole package by {load.description}: {load.method}.\n"
        f"Idle: {short(idle.before.package_watts)} W in {idle.before.seconds:.1f} s before, "
        f"{short(idle.after.package_watts)} W in {idle.after.seconds:.1f} s after; their mean is "
        "subtracted in the columns over idle.\n\n",
        Table([_cells(row, total.cores_j is not None) for row in result.rows], left=("stage",)),
        f"\n{_sums(result)}",
    )


def _sums(result: Result) -> str:
    total, text = result.total, ""
    per_minute = total.over_idle_j_per_minute
    if per_minute is not None:
        with_idle = [60 * joules / result.audio_seconds for joules in total.package_j]
        text += (
            f"MEASURED: {with_spread(per_minute)} J per minute of audio over idle, "
            f"{with_spread(with_idle)} J with idle; loading is in neither.\n"
        )
    if total.cores_j is not None:
        return text + (
            "DERIVED: outside the cores = package less cores less idle. The NPU is in it, and so are memory\n"
            "controller, fabric and GPU: no sensor tells them apart.\n"
        )
    return text + f"The cores apart from the rest: not measured ({result.why_no_cores}).\n"


def _cells(row: Row, with_cores: bool) -> dict[str, str]:
    cells = {
        "stage": row.name,
        "MEASURED s": with_spread(row.seconds),
        "MEASURED J": with_spread(row.package_j),
        "J over idle": with_spread(row.over_idle_j),
        "W over idle": with_spread(row.over_idle_w),
        "J over idle per minute of audio": with_spread(row.over_idle_j_per_minute or []),
    }
    if with_cores:
        cells["MEASURED J, cores"] = with_spread(row.cores_j or [])
        cells["DERIVED J outside cores, over idle"] = with_spread(row.outside_cores_j or [])
    return cells


def _figures(row: Row) -> dict[str, list[float]]:
    """The row's figures by their names for programs, without those that nothing measured."""
    figures = {
        "measured_seconds": row.seconds,
        "package_measured_j": row.package_j,
        "package_over_idle_measured_j": row.over_idle_j,
        "package_over_idle_measured_w": row.over_idle_w,
        "package_over_idle_measured_j_per_audio_minute": row.over_idle_j_per_minute,
        "cores_measured_j": row.cores_j,
        "outside_cores_over_idle_derived_j": row.outside_cores_j,
    }
    return {name: values for name, values in figures.items() if values is not None}


def as_document(result: Result) -> dict[str, object]:
    """All results for programs. A figure that nothing measured is absent."""
    ran_on = result.ran_on
    load, *stages, total = result.rows
    return {
        "schema": "whisper-npu/benchmark-energy",
        "schema_version": 1,
        "machine": machine(),
        "device": {
            "name": ran_on.device,
            "description": ran_on.device_description,
            "clock": ran_on.clock,
        },
        "model": ran_on.model,
        "kernel": ran_on.kernel,
        "source": result.load.source,
        "sensor": result.load.description,
        "method": result.load.method,
        "idle": {
            "before": _idle_document(result.idle.before),
            "after": _idle_document(result.idle.after),
            "subtracted_package_w": result.idle.package_watts,
        },
        "recordings": result.recordings,
        "audio_seconds": result.audio_seconds,
        "repeats": len(result.passes),
        "load": _row_document(load),
        "stages": {row.name: _row_document(row) for row in stages},
        "total": _row_document(total),
    }


def _row_document(row: Row) -> dict[str, object]:
    return {name: spread_document(values) for name, values in _figures(row).items()}


def _idle_document(idle: Used) -> dict[str, object]:
    document: dict[str, object] = {"seconds": idle.seconds, "package_measured_w": idle.package_watts}
    if idle.cores_watts is not None:
        document["cores_measured_w"] = idle.cores_watts
    return document


def _lines(result: Result) -> list[dict[str, object]]:
    """The CSV's lines: one per figure of a row."""
    return [
        {
            "stage": row.name,
            "figure": name,
            "median": spread["median"],
            "min": spread["min"],
            "max": spread["max"],
            "repeats": len(values),
            "sensor": result.load.description,
            "measured_on": result.ran_on.device_description,
        }
        for row in result.rows
        for name, values in _figures(row).items()
        for spread in [spread_document(values)]
    ]
