"""The report in words: what is measured, what is modelled, and beside what."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from whisper_npu.npu.contract import MATMUL_64X512
from whisper_npu.npu.cost import BASELINE_2025, XDNA1_PROFILE, Start, modelled_run_seconds
from whisper_npu.npu.device import Enters
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.matmul import Matmul, Product, merged
from whisper_npu.npu.plan import Problem, tiled_plan
from whisper_npu.npu.planner import Choice, Gemm
from whisper_npu.report import COLUMNS, FileResult, Report, RunOn, as_document, as_text
from whisper_npu.transcription.model import EncoderRun, Transcription
from whisper_npu.transcription.result import Transcript

RAN_ON = RunOn(
    "base",
    "a folder",
    "emulator",
    "emulator (fast)",
    "CPU",
    "matmul_64x512",
    "asked for",
    compute_type="int8_float32",
)


def product(operation: str, M: int) -> Product:
    plan = tiled_plan(Problem(M, 512, 512), MATMUL_64X512)
    return Product(
        operation, plan, 1, plan.dispatches, plan.bytes_to_device, plan.bytes_from_device, 0.25, 0.5, 0
    )


def report(*products: Product, seconds: float = 10.0) -> Report:
    transcript = Transcript(segments=(), language="en", language_probability=1.0, duration=20.0)
    run = EncoderRun(windows=1, products=products, total_seconds=3.0)
    done = Transcription(transcript, run, audio_seconds=0.5, mel_seconds=0.25, decode_seconds=2.0)
    return Report(RAN_ON, (FileResult("a.wav", done),), load_seconds=1.0, total_seconds=seconds)


def test_the_report_says_why_the_kernel_was_chosen() -> None:
    reason = (
        "gemm_96x64x48 for all: 38 dispatches, 115 ms MODELLED (xdna1); " + "64x512 for all: 21,500; " * 5
    )
    chosen = replace(
        RAN_ON, kernel="gemm_96x64x48", kernel_choice="chosen by modelled cost", kernel_reason=reason
    )
    done = replace(report(product("attention.out", 1500)), ran_on=chosen)
    text = as_text(done)
    assert "kernel   gemm_96x64x48, chosen by modelled cost\n         gemm_96x64x48 for all: 38" in text
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert as_document(done)["kernel"] == {
        "name": "gemm_96x64x48",
        "choice": "chosen by modelled cost",
        "reason": reason,
    }


def test_a_kernel_that_was_asked_for_has_no_reason() -> None:
    done = report(product("attention.out", 1500))
    assert as_document(done)["kernel"] == {"name": "matmul_64x512", "choice": "asked for", "reason": None}
    assert "kernel   matmul_64x512, asked for\ndecoder  CTranslate2" in as_text(done)


def test_stages_add_up_to_the_total() -> None:
    r = report(product("attention.out", 1500))
    assert r.stages == {"load": 1.0, "audio": 0.5, "mel": 0.25, "encoder": 3.0, "decode": 2.0, "other": 3.25}
    assert r.encoder_stages == {"pack": 0.25, "kernel": 0.5, "host": 2.25}
    assert r.real_time_factor == 0.5


def test_dispatches_stand_beside_those_of_the_baselines_kernel() -> None:
    r = report(product("attention.out", 1500), product("attention.out", 750))
    assert r.dispatches == 24 * 8 + 12 * 8
    assert r.dispatches_64x64 == 8 * r.dispatches
    assert [o.calls for o in r.operations] == [2]


def test_records_of_one_operation_and_plan_are_added() -> None:
    both = merged([product("a", 1500), product("b", 1500), product("a", 1500)])
    assert [(p.operation, p.calls, p.kernel_seconds) for p in both] == [("a", 2, 1.0), ("b", 1, 0.5)]


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
    assert f"{seconds:.2f} s in all, {said}, on the emulator" in as_text(report(seconds=seconds))


def test_measured_and_modelled_are_told_apart_and_lines_are_short() -> None:
    text = as_text(report(product("attention.out", 1500)))
    assert "\ndecoder  CTranslate2, int8_float32\n" in text
    measured, modelled = text.index("MEASURED"), text.index("MODELLED")
    assert measured < text.index("encoder: pack 0.25") < modelled < text.index("baseline-2025")
    assert max(map(len, text.splitlines())) <= COLUMNS


SCHEMA = Path(__file__).parents[2] / "docs/report.schema.json"
QKV, SCORES, CONTEXT = Problem(40, 32, 96), Problem(40, 16, 40, 2), Problem(40, 40, 16, 2)


@pytest.mark.parametrize(("second", "changes"), [({CONTEXT}, 6), ({SCORES, CONTEXT}, 6), (set(), 0)])
def test_changes_of_overlay_are_modelled_as_they_were_executed(second: set[Problem], changes: int) -> None:
    """Three windows of qkv, scores, context, out: there and back once in each, none between two windows."""
    kernels = Gemm((16, 8, 16)), Gemm((32, 8, 16))
    contracts = {p: kernels[p in second].contract(p) for p in (QKV, SCORES, CONTEXT)}
    matmul = Matmul(Emulator(), Choice(kernels, contracts=contracts))
    x, weight = np.ones((40, 32), np.float32), np.ones((32, 96), np.float32)
    heads, turned = np.ones((2, 40, 16), np.float32), np.ones((2, 16, 40), np.float32)
    names = "attention.scores", "attention.context"
    executed: list[Product] = []
    for _ in range(3):
        matmul(x, weight, "attention.qkv")
        matmul.chain(heads, turned, lambda part: None, heads, enters=Enters.A, operations=names)
        matmul(x, weight, "attention.out")
        executed += matmul.take_products()
    assert [p.operation for p in executed[:4]] == ["attention.qkv", *names, "attention.out"]

    done = report(*executed)
    plans = [p.plan for p in executed]
    assert done.overlay_changes == changes
    for profile in (BASELINE_2025, XDNA1_PROFILE):
        awake = modelled_run_seconds(plans, profile, Start.AWAKE)
        assert done.modelled_seconds(profile) == pytest.approx(awake)
    document = as_document(done)
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    modelled, encoder = document["modelled_npu_seconds"], document["encoder"]
    assert isinstance(modelled, dict)
    assert isinstance(encoder, dict)
    assert modelled["baseline-2025"]["overlay_change_seconds"] == 0
    assert modelled["xdna1"]["overlay_change_seconds"] == pytest.approx(changes * 1.4e-3)
    assert sum(o["overlay_changes"] for o in encoder["operations"]) == encoder["overlay_changes"] == changes
    charged = f"; {changes} changes of overlay, 1.4 ms each"
    assert (charged in modelled["xdna1"]["basis"]) == (changes > 0)
    text = " ".join(as_text(done).split())
    assert text.count("overlay") == (changes > 0)
    assert (charged in text) == (changes > 0)
