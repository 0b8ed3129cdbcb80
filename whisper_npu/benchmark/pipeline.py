"""The whole pipeline on recordings: every stage and every operation of the encoder, over several repeats.

The model is loaded once. One pass over all recordings warms up, then `repeats` passes are MEASURED. Each pass
gives one `whisper_npu.report.Report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from whisper_npu.audio import load_audio
from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.timings import Timings, machine, machine_line, short
from whisper_npu.benchmark.trace import Lane, Recorder, Span, as_trace
from whisper_npu.errors import UsageError
from whisper_npu.npu.cost import BASELINE, profiles
from whisper_npu.npu.device import Device
from whisper_npu.output import write_atomically
from whisper_npu.page import Page, Table, page_as_markdown
from whisper_npu.report import FileResult, Operation, Report, as_document, modelled_basis
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model


@dataclass(frozen=True)
class Pipeline:
    """The reports of all repeats, which did the same work, and what ran when."""

    reports: tuple[Report, ...]
    spans: tuple[Span, ...]

    @property
    def last(self) -> Report:
        return self.reports[-1]

    @property
    def stages(self) -> dict[str, Timings]:
        """MEASURED seconds per stage; `load` was measured once."""
        stages = {
            name: Timings(tuple(report.stages[name] for report in self.reports)) for name in self.last.stages
        }
        stages["load"] = Timings((self.last.load_seconds or 0.0,))
        for name in self.last.encoder_stages:
            stages[f"encoder: {name}"] = Timings(tuple(r.encoder_stages[name] for r in self.reports))
        return stages

    @property
    def total(self) -> Timings:
        """MEASURED seconds of one pass, loading included."""
        return Timings(tuple(report.total_seconds for report in self.reports))

    def operation_timings(self, name: str) -> tuple[Timings, Timings]:
        """MEASURED seconds of one operation: packing; inside the device."""
        same = [
            operation for report in self.reports for operation in report.operations if operation.name == name
        ]
        return Timings(tuple(o.stats.pack_measured_s for o in same)), Timings(
            tuple(o.stats.kernel_measured_s for o in same)
        )


def run_pipeline(
    audio: Sequence[str],
    device: Device,
    *,
    model: str,
    kernel: str,
    repeats: int,
    progress: Callable[[str], None],
) -> Pipeline:
    """Transcribe all recordings 1 + `repeats` times.

    audio: files. Raises UsageError for stdin, AudioError before the model is loaded, and what `load_model`
    raises.
    """
    for path in audio:
        if path == "-":
            raise UsageError("a benchmark reads its recordings several times: name files, not -")
        load_audio(path)
    progress(f"loading {model}")
    recorder = Recorder()
    start = perf_counter()
    loaded = load_model(model, device=device, kernel=kernel, progress=progress)
    load_seconds = perf_counter() - start
    recorder.on_stage("load", start, start + load_seconds)
    loaded.observe(recorder.on_run, recorder.on_stage)
    ran_on = loaded.ran_on
    reports = []
    for repeat in range(repeats + 1):
        name = f"repeat {repeat} of {repeats}" if repeat else "warm-up"
        progress(f"{name}: {len(audio)} recordings")
        start = perf_counter()
        results = tuple(_transcribed(path, loaded, recorder) for path in audio)
        end = perf_counter()
        recorder.add(Span(Lane.RUNS, name, start, end))
        if repeat:
            reports.append(Report(ran_on, results, load_seconds, load_seconds + end - start))
    return Pipeline(tuple(reports), tuple(recorder.spans))


def _transcribed(path: str, model: Model, recorder: Recorder) -> FileResult:
    start = perf_counter()
    done = model.transcribe(path)
    details: dict[str, object] = {"audio_seconds": done.transcript.duration, "text": done.text.strip()}
    recorder.add(Span(Lane.RECORDINGS, path, start, perf_counter(), details))
    return FileResult.of(path, done.transcript, done.took)


def write_files(pipeline: Pipeline, files: Files) -> None:
    """Write all files except the plot, which plot.py draws."""
    rows = _lines(pipeline)
    files.write_tables(as_markdown(pipeline), as_benchmark_document(pipeline), rows)
    if files.trace:
        title = f"whisper-npu, {pipeline.last.ran_on.model} on {pipeline.last.ran_on.device_description}"
        write_atomically(files.trace, as_trace(pipeline.spans, title))


def as_markdown(pipeline: Pipeline) -> str:
    return page_as_markdown(page(pipeline))


def page(pipeline: Pipeline) -> Page:
    """For people: stages, operations, and the total against the baseline's."""
    last, total = pipeline.last, pipeline.total
    ran_on = last.ran_on
    stages = [
        {"stage": name, "MEASURED s (spread)": str(timings)}
        for name, timings in [*pipeline.stages.items(), ("total", total)]
    ]
    recordings = f"{len(last.files)} recording{'' if len(last.files) == 1 else 's'}"
    return (
        f"{ran_on.model}, {ran_on.kernel} ({ran_on.kernel_choice}), {recordings}, {last.audio_seconds:.2f} s "
        f"of audio, {last.windows} windows.\nMEASURED on {ran_on.device_description}\n({machine_line()}); "
        f"median of {len(pipeline.reports)} repeats after one to warm up; load was measured once.\n\n",
        Table(stages, left=("stage",)),
        "\n",
        Table([_operation_cells(pipeline, o) for o in last.operations], left=("operation",)),
        f"\n- kernel: the device, here the {ran_on.clock} ({ran_on.device})\n"
        + "- MODELLED s: what the dispatches would take on an NPU, optimistic to cautious; not measured\n"
        + "".join(
            f"  - {p.name}: {last.modelled_seconds(p).in_units(1)} s in total; {modelled_basis(last, p)}\n"
            for p in profiles(ran_on.target)
        )
        + f"\nThe baseline took {BASELINE.seconds} s (measured by its author, NPU) for one product "
        f"{BASELINE.problem}.\nThis whole pipeline, {last.stats.calls:,} products and all the rest, took "
        f"{short(total.median)} s, {total.median / BASELINE.seconds:.3g} of that,\n"
        f"MEASURED on the {ran_on.device}.\n",
    )


def _operation_cells(pipeline: Pipeline, operation: Operation) -> dict[str, str]:
    pack, kernel = pipeline.operation_timings(operation.name)
    return {
        "operation": operation.name,
        "products": f"{operation.stats.calls:,}",
        "dispatches": f"{operation.stats.dispatches:,}",
        "with 64x64": f"{operation.dispatches_64x64:,}",
        "MEASURED pack s (spread)": str(pack),
        "MEASURED kernel s (spread)": str(kernel),
    } | {
        f"MODELLED s {p.name}": operation.modelled_seconds(p).in_units(1)
        for p in profiles(pipeline.last.ran_on.target)
    }


def as_benchmark_document(pipeline: Pipeline) -> dict[str, object]:
    """The results for programs; `report` is the last repeat's, with the fields of docs/report.md."""
    operations = []
    for operation in pipeline.last.operations:
        pack, kernel = pipeline.operation_timings(operation.name)
        operations.append(
            {
                "name": operation.name,
                "dispatches": operation.stats.dispatches,
                "measured_pack_seconds": pack.as_document,
                "measured_kernel_seconds": kernel.as_document,
                "modelled_npu_seconds": {
                    p.name: operation.modelled_seconds(p).as_document
                    for p in profiles(pipeline.last.ran_on.target)
                },
            }
        )
    return {
        "schema": "whisper-npu/benchmark-pipeline",
        "schema_version": 2,
        "machine": machine(),
        "repeats": len(pipeline.reports),
        "measured_stages": {name: timings.as_document for name, timings in pipeline.stages.items()},
        "measured_total": pipeline.total.as_document,
        "total_over_baseline": pipeline.total.median / BASELINE.seconds,
        "operations": operations,
        "report": as_document(pipeline.last),
    }


def _lines(pipeline: Pipeline) -> list[dict[str, object]]:
    """The CSV's lines: one per stage, and per part of an operation."""
    timings = [("stage", name, "", t) for name, t in [*pipeline.stages.items(), ("total", pipeline.total)]]
    for operation in pipeline.last.operations:
        pack, kernel = pipeline.operation_timings(operation.name)
        timings += [
            ("operation", operation.name, "pack", pack),
            ("operation", operation.name, "kernel", kernel),
        ]
    return [
        {
            "kind": kind,
            "name": name,
            "part": part,
            "measured_on": pipeline.last.ran_on.device_description,
            "measured_seconds": t.median,
            "measured_seconds_min": t.low,
            "measured_seconds_max": t.high,
            "repeats": len(t.seconds),
        }
        for kind, name, part, t in timings
    ]
