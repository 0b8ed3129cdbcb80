"""Traces: the format, and what is between the stages."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.contracts import MATMUL_64X64
from tests.support.products import Multiply
from tests.support.trace_format import checked
from whisper_npu.benchmark.trace import Lane, Recorder, Span, as_trace
from whisper_npu.npu.device import Device


def test_products_are_spans_on_two_lanes(device: Device) -> None:
    recorder = Recorder()
    multiply = Multiply(device, MATMUL_64X64)
    for name in ("first", "second"):
        multiply(np.ones((70, 65), np.float32), np.ones((65, 130), np.float32), name)
    for run in multiply.take_runs():
        recorder.on_run(run)
    events = checked(as_trace(recorder.spans, "a test"))
    operations = [e for e in events if e["cat"] == "operations"]
    dispatches = [e for e in events if e["cat"] == "device"]
    assert [e["name"] for e in operations] == ["first", "second"]
    for operation, dispatch in zip(operations, dispatches, strict=True):
        assert operation["ts"] <= dispatch["ts"]
        assert dispatch["ts"] + dispatch["dur"] <= operation["ts"] + operation["dur"] + 2e-3
        assert dispatch["name"] == "12 x matmul_64x64"
        assert dispatch["args"] == {
            "shape": "(70,65)@(65,130)",
            "kernel": "matmul_64x64",
            "dispatches": 12,
            "bytes_to_device": 12 * 2 * 64 * 64 * 2,
            "bytes_from_device": 12 * 64 * 64 * 4,
        }


def test_what_is_neither_mel_nor_encoder_is_decoding() -> None:
    recorder = Recorder()
    recorder.on_stage("encoder", 1.0, 2.0)  # of an earlier recording
    recorder.on_stage("mel", 10.0, 11.0)
    recorder.on_stage("encoder", 12.0, 14.0)
    recorder.on_stage("transcribe", 10.0, 15.0)
    decode = [(s.start, s.end) for s in recorder.spans if s.name == "decode"]
    assert decode == [(11.0, 12.0), (14.0, 15.0)]
    checked(as_trace(recorder.spans, "a test"))


def test_no_spans_are_a_trace_too() -> None:
    assert checked(as_trace([], "nothing")) == []


def test_the_checker_sees_spans_that_overlap() -> None:
    overlapping = [Span(Lane.RUNS, "a", 0.0, 2.0), Span(Lane.RUNS, "b", 1.0, 3.0)]
    with pytest.raises(AssertionError):
        checked(as_trace(overlapping, "wrong"))
