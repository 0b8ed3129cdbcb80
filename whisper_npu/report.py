"""What ran where, how often and how long: the report of one run, as text and as JSON.

Seconds are MEASURED, on this machine, or MODELLED, for an NPU, and every number says which. The JSON's
fields are described in docs/report.md; `SCHEMA_VERSION` changes when one is removed or changes its meaning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from whisper_npu import __version__
from whisper_npu.energy.meter import Energy, Used
from whisper_npu.home import at_home
from whisper_npu.kernels.matmul.kernel import MatmulPlan, matmul_64x64, tiled_plan
from whisper_npu.npu.cost import BASELINE, Modelled, dispatches_seconds, overlay_change, profiles, total
from whisper_npu.npu.device import Run, Stats, merged
from whisper_npu.npu.planner import products
from whisper_npu.npu.targets import Profile, Target
from whisper_npu.ops import Matmul
from whisper_npu.output import as_json, write_atomically
from whisper_npu.page import wrap
from whisper_npu.screen import WIDTH
from whisper_npu.transcription.took import RunOn, Took
from whisper_npu.transcription.transcript import Transcript

SCHEMA_VERSION = 2
COLUMNS, FEWEST_COLUMNS = 96, 60  # of the report for people
INTERRUPTED = "interrupted"  # in place of an error


@dataclass(frozen=True)
class Said:
    """What a report keeps of a transcript: a run over 500 recordings holds no segments of those before."""

    text: str
    language: str
    duration: float  # of the recording, in seconds


@dataclass(frozen=True)
class FileResult:
    """One recording: transcribed, or failed with one line, or transcribed and then not written.

    error: INTERRUPTED for the one in which the user ended the run.
    resumed_at: seconds from the recording's start that an earlier run had done. All figures are without them.
    warnings: as a `Transcription`'s.
    """

    path: str
    said: Said | None
    took: Took | None
    error: str | None = None
    resumed_at: float | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: str,
        transcript: Transcript,
        took: Took,
        *,
        error: str | None = None,
        resumed_at: float | None = None,
        warnings: tuple[str, ...] = (),
    ) -> FileResult:
        said = Said(transcript.text, transcript.language, transcript.duration)
        return cls(path, said, took, error, resumed_at, warnings)

    @property
    def is_interrupted(self) -> bool:
        return self.error == INTERRUPTED

    @property
    def audio_seconds(self) -> float | None:
        """Seconds of audio that were to be transcribed: its clips, of an interrupted one as far as done."""
        if self.said is None or self.took is None:
            return None
        heard = self.took.heard_seconds
        return self.said.duration if heard is None else heard


@dataclass(frozen=True)
class Operation:
    """All products of one name, whatever their shapes, or all ops that are made whole."""

    name: str
    runs: tuple[Run, ...]

    @property
    def stats(self) -> Stats:
        return sum((run.stats for run in self.runs), Stats())

    @property
    def _products(self) -> list[tuple[Run, Matmul]]:
        """Each that the runs make, as often as a run makes it."""
        return [
            (run, problem)
            for run in self.runs
            for problem in (
                [run.plan.problem] if isinstance(run.plan, MatmulPlan) else products([run.plan.op])
            )
        ]

    @property
    def products(self) -> int:
        return sum(run.stats.calls for run, _ in self._products)

    @property
    def dispatches_64x64(self) -> int:
        """What the baseline's kernel would have needed for the same products."""
        return sum(
            run.stats.calls * tiled_plan(problem, matmul_64x64(run.plan.contract.target)).dispatches
            for run, problem in self._products
        )

    def modelled_seconds(self, profile: Profile) -> Modelled:
        """MODELLED NPU time of its dispatches, and of the changes of overlay before them."""
        work = total(
            dispatches_seconds(run.plan.contract, run.stats.dispatches, run.stats.submissions, profile)
            for run in self.runs
        )
        return work + overlay_change(profile) * self.stats.overlay_changes


@dataclass(frozen=True)
class Report:
    """One run of the program over some recordings.

    n_asked: how many recordings were to be transcribed, where an interrupt left some of them out of `files`.
    """

    ran_on: RunOn
    files: tuple[FileResult, ...]
    load_seconds: float | None  # None: the model was loaded before, for other recordings too
    total_seconds: float
    energy: Energy | None = None  # None where it could not be read
    n_asked: int | None = None
    operations: tuple[Operation, ...] = field(init=False)

    def __post_init__(self) -> None:
        runs = merged(run for took in self.took for run in took.encoder.runs)
        names = dict.fromkeys(run.name for run in runs)  # in the order of the work
        operations = (Operation(n, tuple(run for run in runs if run.name == n)) for n in names)
        object.__setattr__(self, "operations", tuple(operations))

    @property
    def took(self) -> list[Took]:
        """What each recording took that was transcribed."""
        return [file.took for file in self.files if file.took]

    @property
    def failed(self) -> list[FileResult]:
        return [file for file in self.files if file.error and not file.is_interrupted]

    @property
    def n_recordings(self) -> int:
        return len(self.files) if self.n_asked is None else self.n_asked

    @property
    def n_done(self) -> int:
        return sum(file.error is None for file in self.files)

    @property
    def is_interrupted(self) -> bool:
        """In a recording, or between two."""
        return len(self.files) < self.n_recordings or any(file.is_interrupted for file in self.files)

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that were to be transcribed, of the recordings that were."""
        return sum(file.audio_seconds or 0.0 for file in self.files)

    @property
    def windows(self) -> int:
        return sum(took.encoder.windows for took in self.took)

    @property
    def stats(self) -> Stats:
        return sum((operation.stats for operation in self.operations), Stats())

    @property
    def products(self) -> int:
        return sum(o.products for o in self.operations)

    @property
    def dispatches_64x64(self) -> int:
        return sum(o.dispatches_64x64 for o in self.operations)

    def overlay_change_seconds(self, profile: Profile) -> Modelled:
        """MODELLED: the part of `modelled_seconds` in which the array is configured anew."""
        return overlay_change(profile) * self.stats.overlay_changes

    @property
    def stages(self) -> dict[str, float]:
        """MEASURED seconds of each stage, in the order of the work; `other` is start-up and writing."""
        done = self.took
        stages = {} if self.load_seconds is None else {"load": self.load_seconds}
        stages |= {
            "audio": sum(t.audio_seconds for t in done),
            "mel": sum(t.mel_seconds for t in done),
            "encoder": sum(t.encoder.total_seconds for t in done),
            "decode": sum(t.decode_seconds for t in done),
        }
        return stages | {"other": self.total_seconds + self.overlapped_seconds - sum(stages.values())}

    @property
    def overlapped_seconds(self) -> float:
        """MEASURED seconds of `encoder` beside other stages: those add up to as many more than the total."""
        return sum(t.encoder.overlapped_seconds for t in self.took)

    @property
    def encoder_stages(self) -> dict[str, float]:
        """MEASURED seconds: the parts of the encoder stage."""
        runs = [took.encoder for took in self.took]
        return {
            "pack": sum(r.pack_seconds for r in runs),
            "kernel": sum(r.kernel_seconds for r in runs),
            "host": sum(r.host_seconds for r in runs),
        }

    def modelled_seconds(self, profile: Profile) -> Modelled:
        """MODELLED NPU time of the encoder's dispatches, changes of overlay included."""
        return total(o.modelled_seconds(profile) for o in self.operations)

    @property
    def energy_stages(self) -> dict[str, Used]:
        """MEASURED energy of each stage of `stages`, as far as it had any."""
        used = self.energy.stages if self.energy else {}
        return {name: used[name] for name in self.stages if name in used}

    @property
    def joules_per_audio_minute(self) -> float | None:
        """MEASURED joules of the packages, idle included; None where nothing measured or no audio."""
        if self.energy is None or not self.audio_seconds:
            return None
        return 60 * self.energy.total.joules.package / self.audio_seconds

    @property
    def real_time_factor(self) -> float | None:
        """MEASURED seconds of the run per second of audio; None without audio."""
        return self.total_seconds / self.audio_seconds if self.audio_seconds else None

    def to_dict(self) -> dict[str, object]:
        """For programs; docs/report.md describes every field."""
        return as_document(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as JSON, and return its path. Raises OutputError."""
        target = at_home(path)
        write_atomically(target, as_json(as_document(self)))
        return target

    def __str__(self) -> str:
        """For people."""
        return as_text(self)


def as_document(report: Report) -> dict[str, object]:
    """The report for programs; docs/report.md describes every field."""
    ran_on = report.ran_on
    return {
        "schema": "whisper-npu/report",
        "schema_version": SCHEMA_VERSION,
        "whisper_npu_version": __version__,
        "model": {"name": ran_on.model, "weights": ran_on.weights},
        "device": {"name": ran_on.device, "description": ran_on.device_description, "clock": ran_on.clock},
        "device_switched": ran_on.switch and ran_on.switch.to_dict(),
        "kernel": {"name": ran_on.kernel, "choice": ran_on.kernel_choice, "reason": ran_on.kernel_reason},
        "decoder": {"compute_type": ran_on.compute_type},
        "encoder": {
            "windows": report.windows,
            "dispatches": report.stats.dispatches,
            "dispatches_64x64": report.dispatches_64x64,
            "overlay_changes": report.stats.overlay_changes,
            "operations": [_operation(operation, ran_on.target) for operation in report.operations],
        },
        "measured_seconds": {
            "load": None,
            **report.stages,
            **{f"encoder_{name}": seconds for name, seconds in report.encoder_stages.items()},
            "overlapped": report.overlapped_seconds,
            "total": report.total_seconds,
        },
        **_energy_document(report),
        "modelled_npu_seconds": {
            profile.name: {
                "seconds": report.modelled_seconds(profile).as_document,
                "overlay_change_seconds": report.overlay_change_seconds(profile).as_document,
                "basis": modelled_basis(report, profile),
            }
            for profile in profiles(ran_on.target)
        },
        "audio_seconds": report.audio_seconds,
        "real_time_factor": report.real_time_factor,
        "baseline": {
            "problem": [BASELINE.problem.M, BASELINE.problem.K, BASELINE.problem.N],
            "dispatches": BASELINE.dispatches,
            "measured_seconds": BASELINE.seconds,
            "total_over_baseline": report.total_seconds / BASELINE.seconds,
        },
        "files": [_file(file) for file in report.files],
    }


def _energy_document(report: Report) -> dict[str, object]:
    """Nothing where nothing could be read."""
    energy, per_minute = report.energy, report.joules_per_audio_minute
    if energy is None:
        return {}
    document = {
        "source": energy.source,
        "sensor": energy.description,
        "method": energy.method,
        **_used(energy.total),
        "stages": {name: _used(used) for name, used in report.energy_stages.items()},
    }
    if per_minute is not None:
        document["package_measured_j_per_audio_minute"] = per_minute
    return {"measured_energy": document}


def _used(used: Used) -> dict[str, object]:
    document: dict[str, object] = {"seconds": used.seconds, "package_measured_j": used.joules.package}
    if used.joules.cores is not None:
        document["cores_measured_j"] = used.joules.cores
    return document


def _operation(operation: Operation, target: Target) -> dict[str, object]:
    stats = operation.stats
    return {
        "name": operation.name,
        "calls": stats.calls,
        "kernels": list(dict.fromkeys(run.plan.contract.name for run in operation.runs)),
        "dispatches": stats.dispatches,
        "dispatches_64x64": operation.dispatches_64x64,
        "overlay_changes": stats.overlay_changes,
        "bytes_to_device": stats.bytes_to_device,
        "bytes_from_device": stats.bytes_from_device,
        "measured_pack_seconds": stats.pack_measured_s,
        "measured_kernel_seconds": stats.kernel_measured_s,
        "modelled_npu_seconds": {p.name: operation.modelled_seconds(p).as_document for p in profiles(target)},
        "products": [_product(run, run.plan) for run in operation.runs if isinstance(run.plan, MatmulPlan)],
    }


def _product(run: Run, plan: MatmulPlan) -> dict[str, object]:
    return {
        "problem": [plan.problem.M, plan.problem.K, plan.problem.N],
        "heads": plan.problem.batch,
        "kernel": plan.contract.name,
        "loops": [{"name": loop.name, "count": loop.count} for loop in plan.loops],
        "calls": run.stats.calls,
        "dispatches": run.stats.dispatches,
    }


def _file(file: FileResult) -> dict[str, object]:
    done = file.said
    return {
        "path": file.path,
        "error": file.error,
        "warnings": list(file.warnings),
        "audio_seconds": file.audio_seconds,
        "resumed_at_seconds": file.resumed_at,
        "language": done and done.language,
        "text": done and done.text,
    }


_MODELLED = "MODELLED time of the same dispatches on an NPU, not measured: optimistic to cautious"


def as_text(report: Report, width: int = COLUMNS) -> str:
    """The report for people, in `width` columns, from FEWEST_COLUMNS to COLUMNS, but for long names."""
    width = min(max(width, FEWEST_COLUMNS), COLUMNS)
    lines = [
        *_heading(report.ran_on, width),
        "",
        *_dispatches(report, width),
        "",
        f"MEASURED on this machine, kernels on the {report.ran_on.clock} ({report.ran_on.device})",
        *_wrapped(_measured(report), width, "    "),
        *_wrapped([_MODELLED], width, "  "),
        *(line for profile in profiles(report.ran_on.target) for line in _modelled(report, profile, width)),
        *_wrapped(_beside_baseline(report), width, "  "),
        *_wrapped(_resumed(report), width, "  "),
        *_not_done(report),
    ]
    return "".join(f"{line}\n" for line in lines)


def _wrapped(lines: list[str], width: int, rest: str) -> list[str]:
    """rest: what begins the second line of one that is too long."""
    return [part for line in lines for part in wrap(line, width, rest=rest)]


def _heading(ran_on: RunOn, width: int) -> list[str]:
    indent = " " * len("decoder  ")
    lines = [
        f"model    {ran_on.model} ({ran_on.weights})",
        f"device   {ran_on.device_description}",
        *([indent + str(ran_on.switch)] if ran_on.switch else []),
        f"kernel   {ran_on.kernel}, {ran_on.kernel_choice}",
        *([indent + ran_on.kernel_reason] if ran_on.kernel_reason else []),
        f"decoder  CTranslate2, {ran_on.compute_type}",
    ]
    return _wrapped(lines, width, indent)


def _dispatches(report: Report, width: int) -> list[str]:
    """A table: what each operation of the encoder needed."""
    name_width = 24
    column_width = min(14, (width - name_width) // 3)

    def row(name: str, *values: int | str) -> str:
        texts = [value if isinstance(value, str) else f"{value:,}" for value in values]
        return f"{name:<{name_width}}" + "".join(f"{text:>{column_width}}" for text in texts)

    return [
        row(f"encoder, {_count(report.windows, 'window')}", "products", "dispatches", "with 64x64"),
        *(row(f"  {o.name}", o.products, o.stats.dispatches, o.dispatches_64x64) for o in report.operations),
        row("  in all", report.products, report.stats.dispatches, report.dispatches_64x64),
    ]


def _measured(report: Report) -> list[str]:
    parts = report.encoder_stages
    return [
        "  " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in report.stages.items()) + " s",
        "  encoder: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items()) + " s",
        *_overlapped(report),
        f"  total {report.total_seconds:.2f} s for {report.audio_seconds:.2f} s of audio"
        + (f": real-time factor {report.real_time_factor:.2f}" if report.real_time_factor else ""),
        *_energy_line(report),
    ]


def _overlapped(report: Report) -> list[str]:
    seconds = report.overlapped_seconds
    return [f"  {seconds:.2f} s of the encoder beside other stages: it worked ahead"] if seconds else []


def _energy_line(report: Report) -> list[str]:
    energy, per_minute = report.energy, report.joules_per_audio_minute
    if energy is None:
        return []
    total, cores = energy.total, energy.total.joules.cores
    stages = ", ".join(f"{name} {used.joules.package:.1f}" for name, used in report.energy_stages.items())
    return [
        f"  energy of the package, idle included, by {energy.description}: {stages}, "
        f"total {total.joules.package:.1f} J in {total.seconds:.2f} s"
        + (f", {cores:.1f} J of it by the cores" if cores is not None else "")
        + (f": {per_minute:.1f} J per minute of audio" if per_minute is not None else "")
    ]


def _modelled(report: Report, profile: Profile, width: int) -> list[str]:
    seconds = f"  {profile.name:<14}{report.modelled_seconds(profile).in_units(1):>14} s   "
    indent = len(seconds) if width >= WIDTH else 4  # below the text, where that leaves it room
    return wrap(seconds + modelled_basis(report, profile), width, rest=" " * indent)


def modelled_basis(report: Report, profile: Profile) -> str:
    """What the profile charges; changes of overlay where the run had any that it charges for."""
    if not report.overlay_change_seconds(profile).cautious_s:
        return profile.basis
    changes = _count(report.stats.overlay_changes, "change")
    each = overlay_change(profile).in_units(1e3)
    return f"{profile.basis}; {changes} of overlay, {each} ms each"


def _beside_baseline(report: Report) -> list[str]:
    """What is compared is named: everything that this run did, and one product."""
    seconds, windows = report.total_seconds, _count(report.windows, "window")
    whole, loading = ("This", "") if report.load_seconds is None else ("This whole", "loading, ")
    if seconds <= BASELINE.seconds:
        times = f"{BASELINE.seconds / seconds:.1f} times less"
    else:
        times = f"{seconds / BASELINE.seconds:.1f} times more"
    return [
        f"The baseline took {BASELINE.seconds} s (measured by its author, NPU) for one product "
        f"{BASELINE.problem}.",
        f"{whole} run took {seconds:.2f} s, {times} than that one product, on the {report.ran_on.device}:",
        f"{loading}{_count(report.products, 'product')} in {windows} of the encoder, decoding, all else.",
    ]


def _resumed(report: Report) -> list[str]:
    count = sum(file.resumed_at is not None for file in report.files)
    return [f"{_count(count, 'file')} resumed: all figures are of this run only"] if count else []


def _not_done(report: Report) -> list[str]:
    lines = []
    if report.failed:
        lines.append(f"{len(report.failed)} of {_count(report.n_recordings, 'file')} failed")
    if report.is_interrupted:
        lines.append(f"interrupted, {report.n_done} of {_count(report.n_recordings, 'file')} done")
    return lines


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
