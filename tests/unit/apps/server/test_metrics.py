"""The metrics: what a Prometheus server reads of them, and what the docs say."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")

from prometheus_client.parser import text_string_to_metric_families

import whisper_npu
from whisper_npu.apps.server.metrics import ALL, OTHER, Metrics, table
from whisper_npu.apps.server.queue import Queue

DOCS = Path(__file__).parents[4] / "docs" / "server.md"
ENDPOINTS = ("/", "/health", "/v1/audio/transcriptions")


def new() -> Metrics:
    return Metrics("tiny.en", "emulator", 'an "emulated" NPU\n', ENDPOINTS)


def read(metrics: Metrics, queue: Queue | None = None) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and the values of the labels -> value."""
    text = metrics.text(queue or Queue(1)).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_counted() -> None:
    metrics = new()
    metrics.request("/health", 200)
    metrics.request("/health", 200)
    metrics.request("/v1/audio/transcriptions", 413)
    metrics.error("audio")
    metrics.waited(0.3)
    metrics.worked(audio_seconds=60.0, wall_seconds=9.0, dispatches=480)
    metrics.done(audio_seconds=60.0, wall_seconds=9.0)
    metrics.done(audio_seconds=0.0, wall_seconds=0.5)  # nothing in it: it has no factor
    metrics.worked(audio_seconds=0.0, wall_seconds=0.5, dispatches=0)
    with metrics.in_flight():
        series = read(metrics)
    assert series["whisper_npu_requests_total", ("/health", "200")] == 2
    assert series["whisper_npu_requests_total", ("/v1/audio/transcriptions", "413")] == 1
    assert series["whisper_npu_requests_in_flight", ()] == 1
    assert series["whisper_npu_errors_total", ("audio",)] == 1
    assert series["whisper_npu_errors_total", ("device",)] == 0  # is there before the first one
    assert series["whisper_npu_audio_seconds_total", ()] == 60
    assert series["whisper_npu_work_seconds_total", ()] == 9.5
    assert series["whisper_npu_dispatches_total", ()] == 480
    assert series["whisper_npu_real_time_factor_sum", ()] == pytest.approx(0.15)
    assert series["whisper_npu_real_time_factor_bucket", ("0.1",)] == 0
    assert series["whisper_npu_real_time_factor_bucket", ("0.2",)] == 1
    assert series["whisper_npu_queue_wait_seconds_bucket", ("0.1",)] == 0
    assert series["whisper_npu_queue_wait_seconds_bucket", ("0.5",)] == 1
    info = (whisper_npu.__version__, "tiny.en", "emulator", 'an "emulated" NPU\n')
    assert [value for (name, labels), value in series.items() if sorted(labels) == sorted(info)] == [1]
    assert read(metrics)["whisper_npu_requests_in_flight", ()] == 0


def test_strangers_paths_are_one_label() -> None:
    metrics = new()
    for number in range(1000):
        metrics.request(f"/wp-admin/{number}", 404)
    requests = {
        labels: value
        for (name, labels), value in read(metrics).items()
        if name == "whisper_npu_requests_total"
    }
    assert requests == {(OTHER, "404"): 1000}


def test_the_queue_is_read_when_asked() -> None:
    metrics = new()

    async def story() -> None:
        queue = Queue(3)
        assert read(metrics, queue)["whisper_npu_device_busy", ()] == 0
        async with queue.turn("A"):
            waiting = asyncio.create_task(queue.turn("B").__aenter__())
            await asyncio.sleep(0)
            assert read(metrics, queue)["whisper_npu_queue_length", ()] == 1
            assert read(metrics, queue)["whisper_npu_device_busy", ()] == 1
            waiting.cancel()

    asyncio.run(story())


def test_two_servers_in_one_process_count_for_themselves() -> None:
    one, other = new(), new()
    one.request("/", 200)
    assert ("whisper_npu_requests_total", ("/", "200")) in read(one)
    assert ("whisper_npu_requests_total", ("/", "200")) not in read(other)


def test_threads_lose_no_count() -> None:
    metrics = new()

    def work() -> None:
        for _ in range(500):
            metrics.worked(1.0, 0.5, 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(metrics)["whisper_npu_dispatches_total", ()] == 4000


def test_the_table_has_every_metric_as_it_is() -> None:
    text = new().text(Queue(1)).decode()
    types = {(line.split()[2], line.split()[3]) for line in text.splitlines() if line.startswith("# TYPE ")}
    assert {(one.name, one.type) for one in ALL} == types
    assert all(one.name.startswith("whisper_npu_") for one in ALL)
    rows = table().splitlines()[2:]
    assert len(rows) == len(ALL)
    for row, one in zip(rows, ALL, strict=True):
        assert row.startswith(f"| `{one.name}` ")
        assert one.meaning in row
        for label in one.labels:
            assert f"`{label}`" in row
            assert f'{label}="' in text or one.name == "whisper_npu_requests_total"


def test_the_docs_have_the_table() -> None:
    assert table() in DOCS.read_text(encoding="utf-8")
