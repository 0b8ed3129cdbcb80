"""What an operator watches, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import whisper_npu
from whisper_npu.apps.server.queue import Queue

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"  # the label of every path that the server does not have

# host, origin, key, body, busy: refused by the gate. The others: a request that is wrong in itself, a
# recording that cannot be read or is too long, a full queue, work that took too long, a client that went
# away, a device that failed, a defect of ours.
ErrorKind = Literal[
    "host",
    "origin",
    "key",
    "body",
    "busy",
    "request",
    "audio",
    "queue_full",
    "timeout",
    "client_gone",
    "device",
    "internal",
]

# Real-time factors: an NPU or a fast CPU lies at the low end, an emulated device at the high one.
REAL_TIME_FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
WAITS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0)  # seconds


class Metrics:
    """The counts of one server, in a registry of their own; to be called from any thread."""

    def __init__(self, model: str, device: str, device_description: str, endpoints: Collection[str]) -> None:
        """endpoints: the paths that are told apart; all others are one."""
        self._endpoints = frozenset(endpoints)
        self._registry = CollectorRegistry()
        registry = self._registry
        info = Gauge(
            "whisper_npu_info",
            "Always 1; its labels say what runs",
            ["version", "model", "device", "device_description"],
            registry=registry,
        )
        info.labels(whisper_npu.__version__, model, device, device_description).set(1)
        self._requests = Counter(
            "whisper_npu_requests",
            "Requests answered, by path and status; 499: the client went away before an answer",
            ["endpoint", "status"],
            registry=registry,
        )
        self._in_flight = Gauge(
            "whisper_npu_requests_in_flight",
            "Requests being received, waiting or worked on",
            registry=registry,
        )
        self._queue = Gauge(
            "whisper_npu_queue_length", "Requests that wait for the device", registry=registry
        )
        self._busy = Gauge("whisper_npu_device_busy", "1 while a request has the device", registry=registry)
        self._waits = Histogram(
            "whisper_npu_queue_wait_seconds",
            "Seconds that a request waited for the device",
            buckets=WAITS,
            registry=registry,
        )
        self._audio = Counter("whisper_npu_audio_seconds", "Seconds of audio transcribed", registry=registry)
        self._work = Counter(
            "whisper_npu_work_seconds", "Seconds of work on that audio, waits not counted", registry=registry
        )
        self._real_time_factors = Histogram(
            "whisper_npu_real_time_factor",
            "Seconds of work per second of audio, of each recording; below 1 is faster than speech",
            buckets=REAL_TIME_FACTORS,
            registry=registry,
        )
        self._dispatches = Counter("whisper_npu_dispatches", "Dispatches to the device", registry=registry)
        self._errors = Counter(
            "whisper_npu_errors", "Requests that failed, by the kind of reason", ["kind"], registry=registry
        )
        for kind in get_args(ErrorKind):
            self._errors.labels(kind)

    def request(self, endpoint: str, status: int) -> None:
        self._requests.labels(endpoint if endpoint in self._endpoints else OTHER, str(status)).inc()

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        with self._in_flight.track_inprogress():
            yield

    def waited(self, seconds: float) -> None:
        self._waits.observe(seconds)

    def done(self, audio_seconds: float, wall_seconds: float, dispatches: int) -> None:
        """One recording is transcribed. wall_seconds: of work, the wait not counted."""
        self._audio.inc(audio_seconds)
        self._work.inc(wall_seconds)
        self._dispatches.inc(dispatches)
        if audio_seconds > 0:
            self._real_time_factors.observe(wall_seconds / audio_seconds)

    def error(self, kind: ErrorKind) -> None:
        self._errors.labels(kind).inc()

    def text(self, queue: Queue) -> bytes:
        """All of them, for a response of CONTENT_TYPE."""
        self._queue.set(queue.waiting)
        self._busy.set(queue.busy)
        return generate_latest(self._registry)
