"""The report in words: what is measured, what is modelled, and beside what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tests.support.contracts import MATMUL_64X512
from whisper_npu.energy.meter import Energy, Used
from whisper_npu.energy.sensors import Joules
from whisper_npu.kernels.gemm.kernel import Gemm
from whisper_npu.kernels.matmul.kernel import tiled_plan
from whisper_npu.npu.cost import BASELINE_2025, Start, modelled_run_seconds
from whisper_npu.npu.device import Run, Stats, merged
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.planner import Choice
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Attention, Linear, Matmul
from whisper_npu.report import COLUMNS, FEWEST_COLUMNS, FileResult, Report, as_document, as_text
from whisper_npu.transcription.took import EncoderRun, RunOn, Took
from whisper_npu.transcription.transcript import Transcript

RAN_ON = RunOn(
    "base",
    "a folder",
    "emulator",
    "emulator (fast)",
    "CPU",
    NPU1,
    "matmul_64x512",
    "asked for",
    compute_type="int8_float32",
)


def executed(name: str, M: int) -> Run:
    plan = tiled_plan(Matmul(M, 512, 512), MATMUL_64X512)
    stats = Stats(
        calls=1,
        dispatches=plan.dispatches,
        submissions=plan.submissions,
        bytes_to_device=plan.bytes_to_device,
        bytes_from_device=plan.bytes_from_device,
        pack_measured_s=0.25,
        kernel_measured_s=0.5,
    )
    return Run(name, plan, stats)


def report(*runs: Run, seconds: float = 10.0) -> Report:
    transcript = Transcript(segments=(), language="en", language_probability=1.0, duration=20.0)
    encoder = EncoderRun(windows=1, runs=runs, total_seconds=3.0)
    took = Took(encoder, audio_seconds=0.5, mel_seconds=0.25, decode_seconds=2.0)
    return Report(
        RAN_ON, (FileResult.of("a.wav", transcript, took),), load_seconds=1.0, total_seconds=seconds
    )


def test_the_report_says_why_the_kernel_was_chosen() -> None:
    reason = (
        "gemm_96x64x48 for all: 38 dispatches, 115 ms MODELLED (xdna1); " + "64x512 for all: 21,500; " * 5
    )
    chosen = replace(
        RAN_ON, kernel="gemm_96x64x48", kernel_choice="chosen by modelled cost", kernel_reason=reason
    )
    done = replace(report(executed("attention.out", 1500)), ran_on=chosen)
    text = as_text(done)
    assert "kernel   gemm_96x64x48, chosen by modelled cost\n         gemm_96x64x48 for all: 38" in text
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert as_document(done)["kernel"] == {
        "name": "gemm_96x64x48",
        "choice": "chosen by modelled cost",
        "reason": reason,
    }


def test_a_kernel_that_was_asked_for_has_no_reason() -> None:
    done = report(executed("attention.out", 1500))
    assert as_document(done)["kernel"] == {"name": "matmul_64x512", "choice": "asked for", "reason": None}
    assert "kernel   matmul_64x512, asked for\ndecoder  CTranslate2" in as_text(done)


def test_stages_add_up_to_the_total() -> None:
    r = report(executed("attention.out", 1500))
    assert r.stages == {"load": 1.0, "audio": 0.5, "mel": 0.25, "encoder": 3.0, "decode": 2.0, "other": 3.25}
    assert r.encoder_stages == {"pack": 0.25, "kernel": 0.5, "host": 2.25}
    assert r.real_time_factor == 0.5


def test_what_overlapped_counts_in_two_stages_and_once_in_the_total() -> None:
    one = report(executed("attention.out", 1500))
    assert one.files[0].took is not None
    encoder = replace(one.files[0].took.encoder, overlapped_seconds=2.5)
    took = replace(one.files[0].took, encoder=encoder)
    r = replace(one, files=(replace(one.files[0], took=took),))
    assert (took.encoder.waited_seconds, took.total_seconds) == (0.5, 3.25)
    assert r.stages == one.stages | {"other": 5.75}
    assert sum(r.stages.values()) - r.overlapped_seconds == r.total_seconds
    assert as_document(r)["measured_seconds"]["overlapped"] == 2.5  # type: ignore[index]
    assert "  2.50 s of the encoder beside other stages: it worked ahead\n" in as_text(r)
    assert "worked ahead" not in as_text(one)


def test_dispatches_stand_beside_those_of_the_baselines_kernel() -> None:
    r = report(executed("attention.out", 1500), executed("attention.out", 750))
    assert r.stats.dispatches == 24 * 8 + 12 * 8
    assert r.dispatches_64x64 == 8 * r.stats.dispatches
    assert [o.stats.calls for o in r.operations] == [2]


def test_records_of_one_operation_and_plan_are_added() -> None:
    both = merged([executed("a", 1500), executed("b", 1500), executed("a", 1500)])
    assert [(run.name, run.stats.calls, run.stats.kernel_measured_s) for run in both] == [
        ("a", 2, 1.0),
        ("b", 1, 0.5),
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (10.0, "16.4 times less"),
        (150.0, "1.1 times less"),
        (163.7, "1.0 times less"),
        (327.4, "2.0 times more"),
    ],
)
def test_the_total_stands_beside_the_baseline(seconds: float, said: str) -> None:
    text = as_text(report(executed("attention.out", 1500), seconds=seconds))
    assert f"This whole run took {seconds:.2f} s, {said} than that one product, on the emulator:\n" in text
    assert "loading, 1 product in 1 window of the encoder, decoding, all else." in text


def test_measured_and_modelled_are_told_apart_and_lines_are_short() -> None:
    text = as_text(report(executed("attention.out", 1500)))
    assert "\ndecoder  CTranslate2, int8_float32\n" in text
    measured, modelled = text.index("MEASURED"), text.index("MODELLED")
    assert measured < text.index("encoder: pack 0.25") < modelled < text.index("baseline-2025")
    assert max(map(len, text.splitlines())) <= COLUMNS


SCHEMA = Path(__file__).parents[2] / "docs/report.schema.json"
QKV, ATTENTION, OUT = (
    Linear(40, 32, 96, name="attention.qkv"),
    Attention(40, 32, 2),
    Linear(40, 32, 32, name="attention.out"),
)
SCORES, CONTEXT = ATTENTION.scores, ATTENTION.context


@pytest.mark.parametrize(("second", "changes"), [({CONTEXT}, 6), ({SCORES, CONTEXT}, 6), (set(), 0)])
def test_changes_of_overlay_are_modelled_as_they_were_executed(second: set[Matmul], changes: int) -> None:
    """Three windows of qkv, scores, context, out: there and back once in each, none between two windows."""
    kernels = Gemm(NPU1, (16, 8, 16)), Gemm(NPU1, (32, 8, 16))
    plans = {op: kernels[op in second].plan(op) for op in (QKV.product, SCORES, CONTEXT)}
    device = Emulator().prepared(kernel=Choice(kernels, plans=plans))
    x, context, y = (np.ones((40, 32), np.float32) for _ in range(3))
    qkv = np.ones((40, 96), np.float32)
    runs: list[Run] = []
    for _ in range(3):
        with device.recording() as recording:
            weights = {"weight": np.ones((32, 96), np.float32), "bias": np.ones(96, np.float32)}
            device.run(QKV, {"x": x, **weights, "y": qkv})
            device.run(ATTENTION, {"qkv": qkv, "y": context})
            weights = {"weight": np.ones((32, 32), np.float32), "bias": np.ones(32, np.float32)}
            device.run(OUT, {"x": context, **weights, "y": y})
        runs += recording.runs
    names = ["attention.qkv", "attention.scores", "attention.context", "attention.out"]
    assert [run.name for run in runs] == 3 * names

    done = report(*runs)
    executed_plans = [run.plan for run in runs]
    assert done.stats.overlay_changes == changes
    for profile in (BASELINE_2025, NPU1.profile):
        awake, modelled = (
            modelled_run_seconds(executed_plans, profile, Start.AWAKE),
            done.modelled_seconds(profile),
        )
        assert modelled.cautious_s == pytest.approx(awake.cautious_s)
        assert modelled.optimistic_s == pytest.approx(awake.optimistic_s)
    document = as_document(done)
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    by_profile, encoder = document["modelled_npu_seconds"], document["encoder"]
    assert isinstance(by_profile, dict)
    assert isinstance(encoder, dict)
    assert set(by_profile["baseline-2025"]["overlay_change_seconds"].values()) == {0}
    in_changes = by_profile["xdna1"]["overlay_change_seconds"]
    assert in_changes["cautious"] == pytest.approx(changes * 3.4e-3)
    assert in_changes["optimistic"] == pytest.approx(changes * 1.4e-3)
    assert sum(o["overlay_changes"] for o in encoder["operations"]) == encoder["overlay_changes"] == changes
    charged = f"; {changes} changes of overlay, 1.4 to 3.4 ms each"
    assert (charged in by_profile["xdna1"]["basis"]) == (changes > 0)
    text = " ".join(as_text(done).split())
    assert text.count("overlay") == (changes > 0)
    assert (charged in text) == (changes > 0)


def with_energy(cores: float | None) -> Report:
    stages = {
        "other": Used(1.0, Joules(6.0, cores)),
        "load": Used(1.0, Joules(15.0, cores)),
        "encoder": Used(3.0, Joules(60.5, cores)),
    }
    return replace(
        report(executed("attention.out", 1500)),
        energy=Energy("rapl", "RAPL, package-0", "counters read", stages),
    )


@pytest.mark.parametrize("cores", [None, 4.0])
def test_energy_is_measured_by_stage_and_per_minute_of_audio(cores: float | None) -> None:
    done = with_energy(cores)
    document = as_document(done)
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    found = document["measured_energy"]
    assert isinstance(found, dict)
    assert (
        found["package_measured_j"] == sum(s["package_measured_j"] for s in found["stages"].values()) == 81.5
    )
    assert found["package_measured_j_per_audio_minute"] == pytest.approx(3 * 81.5)  # of 20 s
    assert list(found["stages"]) == ["load", "encoder", "other"]  # as in measured_seconds
    assert found.get("cores_measured_j") == (cores and 3 * cores)
    assert None not in found.values()

    text = as_text(done)
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert text.index("MEASURED") < text.index("energy of the package") < text.index("MODELLED")
    line = " ".join(text.split())
    assert "by RAPL, package-0: load 15.0, encoder 60.5, other 6.0, total 81.5 J in 5.00 s" in line
    assert "244.5 J per minute of audio" in line
    assert ("12.0 J of it by the cores" in line) == (cores is not None)


def test_nothing_is_said_about_energy_that_was_not_measured() -> None:
    done = report(executed("attention.out", 1500))
    assert "energy" not in json.dumps(as_document(done))
    assert "energy" not in as_text(done)


def test_energy_without_audio_has_no_figure_per_minute() -> None:
    done = replace(with_energy(None), files=())
    found = as_document(done)["measured_energy"]
    assert isinstance(found, dict)
    assert "package_measured_j_per_audio_minute" not in found
    assert "per minute" not in as_text(done)


@pytest.mark.parametrize("width", [40, 60, 72, 80, 96, 200])
def test_the_report_is_as_wide_as_asked_for(width: int) -> None:
    reason = "gemm_96x64x48 for all: 38 dispatches, 115 ms MODELLED (xdna1); " * 3
    done = replace(with_energy(4.0), ran_on=replace(RAN_ON, kernel_reason=reason))
    lines = as_text(done, width).splitlines()
    most = min(max(width, FEWEST_COLUMNS), COLUMNS)
    assert max(map(len, lines)) <= most
    assert max(map(len, lines)) > most - 12
    assert " ".join(" ".join(lines).split()) == " ".join(as_text(done).split())


def test_a_run_that_encoded_nothing_has_a_report() -> None:
    silent = report()
    silent = replace(silent, files=tuple(replace(f, took=_without_windows(f)) for f in silent.files))
    text = as_text(silent)
    assert "encoder, 0 windows" in text
    assert "total 10.00 s for 20.00 s of audio" in text
    assert "The baseline took 163.7 s" in text
    jsonschema.validate(as_document(silent), json.loads(SCHEMA.read_text(encoding="utf-8")))


def _without_windows(file: FileResult) -> Took:
    assert file.took is not None
    return replace(file.took, encoder=EncoderRun(windows=0, runs=(), total_seconds=0.0))


def test_only_the_seconds_of_clips_count_as_audio() -> None:
    done = report(executed("attention.out", 1500))
    one = done.files[0]
    assert one.took is not None
    done = replace(done, files=(replace(one, took=replace(one.took, heard_seconds=5.0)), *done.files))
    document = as_document(done)
    assert document["audio_seconds"] == 25.0
    assert document["real_time_factor"] == 0.4
    files = document["files"]
    assert isinstance(files, list)
    assert [file["audio_seconds"] for file in files] == [5.0, 20.0]
