"""What the server's process holds after many requests of all kinds: no more than after a few."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra server is not installed")
pytest.importorskip("httpx")

ROOT = Path(__file__).parents[4]
MARGIN_MB = 8  # by which memory may grow from 20 requests to 200: 44 kB for each


@pytest.fixture(scope="module")
def script() -> ModuleType:
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


Held = Callable[..., dict[int, Any]]


@pytest.fixture
def held(script: ModuleType, tmp_path: Path) -> Held:
    def held(*after: int, leaked: int = 0) -> dict[int, Any]:
        command = [sys.executable, "-m", "tests.support.served_small", str(tmp_path), str(leaked)]
        recordings = [script.encoded_as_all(ROOT / "samples/sns-0880.wav")]
        with script.Served("a small server", command, {"PYTHONPATH": str(ROOT)}) as server:
            return dict(script.held_after(server, recordings, after, in_flight=4))

    return held


def test_200_requests_leave_no_more_behind_than_20(held: Held) -> None:
    early, late = held(20, 200).values()
    assert late.anonymous_mb < early.anonymous_mb + MARGIN_MB
    assert late.files <= early.files
    assert late.threads <= early.threads


def test_a_leak_would_be_seen(held: Held) -> None:
    """500 kB of each request, after 32 of them. 200 kB would be four times the margin after 180."""
    early, late = held(20, 52, leaked=500_000).values()
    assert late.anonymous_mb > early.anonymous_mb + MARGIN_MB
