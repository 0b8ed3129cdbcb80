"""What the server's process holds after many requests of all kinds: no more than after a few."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("uvicorn", reason="the extra server is not installed")
pytest.importorskip("httpx")

ROOT = Path(__file__).parents[4]
MARGIN_MB = 8  # by which memory may grow from 20 requests to 200: 44 kB for each


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/server_memory.py, which sends the requests and reads what the process holds."""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory and open files are read from /proc, which only Linux has")
    spec = importlib.util.spec_from_file_location("server_memory", ROOT / "scripts/server_memory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))  # which it extends
        patch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
        spec.loader.exec_module(module)
        yield module


def started(script: ModuleType, folder: Path, leaked: int = 0) -> Any:
    command = [sys.executable, "-m", "tests.support.served_small", str(folder), str(leaked)]
    return script.Served("a small server", command, {"PYTHONPATH": str(ROOT)})


def held_after(script: ModuleType, server: Any, *requests: int) -> list[Any]:
    recordings = [script.encoded_as_all(ROOT / "samples/sns-0880.wav")]
    return [held for _, held in script.held_after(server, recordings, requests, in_flight=4)]


@pytest.fixture(scope="module")
def server(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with started(script, tmp_path_factory.mktemp("model")) as server:
        yield server


def test_200_requests_leave_no_more_behind_than_20(script: ModuleType, server: Any) -> None:
    early, late = held_after(script, server, 20, 200)
    assert late.anonymous_mb < early.anonymous_mb + MARGIN_MB
    assert late.files <= early.files
    assert late.threads <= early.threads


def test_a_leak_would_be_seen(script: ModuleType, tmp_path: Path) -> None:
    """500 kB of each request, after 32 of them. 200 kB would be four times the margin after 180."""
    with started(script, tmp_path, leaked=500_000) as server:
        early, late = held_after(script, server, 20, 52)
    assert late.anonymous_mb > early.anonymous_mb + MARGIN_MB


def test_a_long_recording_that_is_given_up_leaves_nothing_behind(script: ModuleType, server: Any) -> None:
    """Its samples have 19 MB, its log-mel 15 MB."""
    (before,) = held_after(script, server, 20)  # all kinds, so that everything is there that is loaded once
    long = io.BytesIO()
    soundfile.write(long, np.zeros(300 * 16_000, np.float32), 16_000, format="WAV")
    with script.client_of(server) as client, script.streaming(client, long.getvalue()) as response:
        assert any('"seconds_done"' in line for line in response.iter_lines())  # and is left right after that
    script.wait_for_rest(server)
    assert script.held_by(server.process.pid).anonymous_mb < before.anonymous_mb + MARGIN_MB
