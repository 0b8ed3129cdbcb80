"""A trace of what ran when, for ui.perfetto.dev and chrome://tracing. Times are MEASURED wall time.

Format: Trace Event Format, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from whisper_npu.kernels.matmul.kernel import MatmulPlan
from whisper_npu.npu.device import Run


class Lane(Enum):
    """A row of the trace, whose spans do not overlap. The value is the name that is shown."""

    RUNS = "runs"
    RECORDINGS = "recordings"
    STAGES = "stages"
    OPERATIONS = "operations: pack, dispatch, unpack"
    DEVICE = "device: dispatches, one span per product"

    @property
    def thread(self) -> int:
        return list(Lane).index(self) + 1


@dataclass(frozen=True)
class Span:
    """A piece of work. start, end: seconds on perf_counter's clock."""

    lane: Lane
    name: str
    start: float
    end: float
    details: dict[str, object] = field(default_factory=dict)


class Recorder:
    """Collects spans. Pass `on_run` and `on_stage` to `Model.observe`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, span: Span) -> None:
        self.spans.append(span)

    def on_stage(self, stage: str, start: float, end: float) -> None:
        if stage != "transcribe":
            self.add(Span(Lane.STAGES, stage, start, end))
            return
        inside = [s for s in self.spans if s.lane is Lane.STAGES and start <= s.start < end]
        self.spans += [Span(Lane.STAGES, "decode", *gap) for gap in _gaps(inside, start, end)]

    def on_run(self, run: Run) -> None:
        plan, stats = run.plan, run.stats
        details: dict[str, object] = {
            "shape": str(plan.problem if isinstance(plan, MatmulPlan) else plan.op),
            "kernel": plan.contract.name,
            "dispatches": stats.dispatches,
            "bytes_to_device": stats.bytes_to_device,
            "bytes_from_device": stats.bytes_from_device,
        }
        self.add(Span(Lane.OPERATIONS, run.name, run.start, run.end, details))
        packed = run.start + stats.pack_measured_s
        name = f"{stats.dispatches} x {plan.contract.name}"
        self.add(Span(Lane.DEVICE, name, packed, min(packed + stats.kernel_measured_s, run.end), details))


def as_trace(spans: Sequence[Span], title: str) -> str:
    """The spans as JSON; time starts at the earliest one.

    title: the name shown for the process, for example the device.
    """
    origin = min((span.start for span in spans), default=0.0)
    names = [_name("process_name", 0, title)]
    names += [_name("thread_name", lane.thread, lane.value) for lane in Lane]
    events = [_event(span, origin) for span in sorted(spans, key=lambda s: (s.start, s.lane.thread))]
    return json.dumps({"traceEvents": names + events, "displayTimeUnit": "ms"}, ensure_ascii=False) + "\n"


def _event(span: Span, origin: float) -> dict[str, object]:
    start, end = (
        round(1e9 * (at - origin)) for at in (span.start, span.end)
    )  # ns, so that rounding keeps ends together
    return {
        "name": span.name,
        "cat": span.lane.name.lower(),
        "ph": "X",
        "ts": start / 1000,  # us
        "dur": (end - start) / 1000,
        "pid": 1,
        "tid": span.lane.thread,
        "args": span.details,
    }


def _name(kind: str, thread: int, name: str) -> dict[str, object]:
    return {"name": kind, "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}}


def _gaps(spans: Iterable[Span], start: float, end: float) -> list[tuple[float, float]]:
    """The intervals from start to end that no span covers; spans do not overlap."""
    gaps = []
    for span in sorted(spans, key=lambda s: s.start):
        gaps.append((start, span.start))
        start = span.end
    return [(a, b) for a, b in [*gaps, (start, end)] if a < b]
