"""What an operator watches, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import whisper_npu
from whisper_npu.apps.server.queue import Queue
from whisper_npu.markdown import as_table

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"  # the label of every path that the server does not have

ErrorKind = Literal[
    "host",  # refused by the gate: the Host header
    "origin",  # refused by the gate: a page of another site
    "key",  # refused by the gate: no API key, or a wrong one
    "body",  # refused by the gate: too large, too slow, a wrong length
    "busy",  # refused: too many requests with a recording, or live sessions, under way
    "queue_full",  # refused by the queue
    "request",  # wrong in itself
    "audio",  # a recording that cannot be read, or is too long
    "timeout",  # work that took too long
    "stopping",  # the server was told to end
    "client_gone",  # nobody is there to read the answer
    "device",  # it failed
    "memory",  # there is too little
    "storage",  # no space is left for uploads
    "internal",  # a defect of ours
]


@dataclass(frozen=True)
class Described:
    """One metric."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()


INFO = Described(
    "whisper_npu_info",
    "gauge",
    "Always 1; the labels say what runs",
    ("version", "model", "device", "device_description"),
)
REQUESTS = Described(
    "whisper_npu_requests_total",
    "counter",
    f"Requests answered; endpoint {OTHER}: no path of the server; status 499: the client went away before; "
    "101: a live session, counted when it ends",
    ("endpoint", "status"),
)
IN_FLIGHT = Described(
    "whisper_npu_requests_in_flight", "gauge", "Requests being received, waiting or worked on"
)
LIVE = Described("whisper_npu_live_sessions", "gauge", "Live sessions that are open")
QUEUE_LENGTH = Described("whisper_npu_queue_length", "gauge", "Requests that wait for the device")
BUSY = Described("whisper_npu_device_busy", "gauge", "1 while a request has the device, else 0")
WAITS = Described(
    "whisper_npu_queue_wait_seconds", "histogram", "Seconds that a request waited for the device"
)
AUDIO = Described(
    "whisper_npu_audio_seconds_total",
    "counter",
    "Seconds of audio transcribed, of recordings that were given up as far as they came",
)
WORK = Described(
    "whisper_npu_work_seconds_total",
    "counter",
    "Seconds of work, also on what failed or was given up; waiting not counted",
)
REAL_TIME_FACTORS = Described(
    "whisper_npu_real_time_factor",
    "histogram",
    "Seconds of work per second of audio, one observation per whole recording; below 1 is faster than speech",
)
DISPATCHES = Described(
    "whisper_npu_dispatches_total",
    "counter",
    "Dispatches to the device, also for what failed or was given up",
)
ERRORS = Described(
    "whisper_npu_errors_total",
    "counter",
    "Requests that failed, were refused or whose client went away, one each, and failures of the device "
    f"that no client waited for; kind: {', '.join(get_args(ErrorKind))}",
    ("kind",),
)
ALL = (
    INFO,
    REQUESTS,
    IN_FLIGHT,
    LIVE,
    QUEUE_LENGTH,
    BUSY,
    WAITS,
    AUDIO,
    WORK,
    REAL_TIME_FACTORS,
    DISPATCHES,
    ERRORS,
)

# The upper ends of the histograms' buckets. A device that is faster than speech lies at the low end of the
# factors, an emulated one at the high end.
UP_TO_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
UP_TO_FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0)


class Metrics:
    """The counts of one server, in a registry of their own; to be called from any thread."""

    def __init__(self, model: str, device: str, device_description: str, endpoints: Collection[str]) -> None:
        """endpoints: the paths that are told apart; all others are one, whatever clients ask for.

        One that ends in /{id} is for all below it.
        """
        self._endpoints = frozenset(endpoints)
        registry = self._registry = CollectorRegistry()
        self._model = model
        self._info = _gauge(INFO, registry)
        self.works_on(device, device_description)
        self._requests = _counter(REQUESTS, registry)
        self._in_flight = _gauge(IN_FLIGHT, registry)
        self._live = _gauge(LIVE, registry)
        self._queue_length = _gauge(QUEUE_LENGTH, registry)
        self._busy = _gauge(BUSY, registry)
        self._waits = _histogram(WAITS, UP_TO_SECONDS, registry)
        self._audio = _counter(AUDIO, registry)
        self._work = _counter(WORK, registry)
        self._real_time_factors = _histogram(REAL_TIME_FACTORS, UP_TO_FACTORS, registry)
        self._dispatches = _counter(DISPATCHES, registry)
        self._errors = _counter(ERRORS, registry)
        for kind in get_args(ErrorKind):
            self._errors.labels(kind)  # 0 is there from the start, so that a rate sees the first one

    def works_on(self, device: str, device_description: str) -> None:
        """What works from here on: another device, once one has failed."""
        self._info.clear()
        self._info.labels(whisper_npu.__version__, self._model, device, device_description).set(1)

    def request(self, endpoint: str, status: int) -> None:
        """endpoint: the path."""
        self._requests.labels(self._label(endpoint), str(status)).inc()

    def _label(self, path: str) -> str:
        if path in self._endpoints:
            return path
        above = (one for one in self._endpoints if one.endswith("/{id}"))
        return next((one for one in above if path.startswith(one.removesuffix("{id}"))), OTHER)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        with self._in_flight.track_inprogress():
            yield

    def live_sessions(self, number: int) -> None:
        """So many are open."""
        self._live.set(number)

    def waited(self, seconds: float) -> None:
        self._waits.observe(seconds)

    def worked(self, audio_seconds: float, wall_seconds: float, dispatches: int) -> None:
        """The work on a recording has ended, in whatever way. wall_seconds: of work, waiting not counted."""
        self._audio.inc(audio_seconds)
        self._work.inc(wall_seconds)
        self._dispatches.inc(dispatches)

    def done(self, audio_seconds: float, wall_seconds: float) -> None:
        """All of a recording is transcribed."""
        if audio_seconds > 0:
            self._real_time_factors.observe(wall_seconds / audio_seconds)

    def error(self, kind: ErrorKind) -> None:
        self._errors.labels(kind).inc()

    def text(self, queue: Queue) -> bytes:
        """All of them, for a response of CONTENT_TYPE."""
        self._queue_length.set(queue.waiting)
        self._busy.set(queue.busy)
        return generate_latest(_WithoutBirths(self._registry))


class _WithoutBirths(Collector):
    """All of a registry but the series `_created`, half of the text: when each counter was made."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def table() -> str:
    """Every metric with its type, labels and meaning, in Markdown, as docs/server.md has it."""
    rows = [
        {
            "metric": f"`{one.name}`",
            "type": one.type,
            "labels": ", ".join(f"`{label}`" for label in one.labels),
            "meaning": one.meaning,
        }
        for one in ALL
    ]
    return as_table(rows, left={"metric", "type", "labels", "meaning"})


def _gauge(described: Described, registry: CollectorRegistry) -> Gauge:
    return Gauge(described.name, described.meaning, described.labels, registry=registry)


def _counter(described: Described, registry: CollectorRegistry) -> Counter:
    return Counter(described.name, described.meaning, described.labels, registry=registry)


def _histogram(described: Described, up_to: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(described.name, described.meaning, buckets=up_to, registry=registry)
