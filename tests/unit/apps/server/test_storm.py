"""scripts/server_storm.py on a small model: many hostile clients at once, and it notices what goes wrong."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra server is not installed")
pytest.importorskip("httpx")  # which the script's neighbours need

ROOT = Path(__file__).parents[4]
CLIENTS = 75  # each kind is there at least once


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory and open files are read from /proc, and clients have addresses of their own")
    spec = importlib.util.spec_from_file_location("server_storm", ROOT / "scripts/server_storm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))  # which it extends
        patch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
        spec.loader.exec_module(module)
        yield module


def test_a_storm_leaves_a_server_that_serves(script: ModuleType, tmp_path: Path) -> None:
    recordings = [(ROOT / "samples/sns-0930.wav").read_bytes()]
    assert len(script.kinds(recordings[0])) <= CLIENTS
    asked = argparse.Namespace(clients=CLIENTS, seconds=1.0, patient="no", seed=0)
    model, files = tmp_path / "model", tmp_path / "server"
    files.mkdir()
    command = [sys.executable, "-m", "tests.support.served_small", str(model), "0", "{key}"]
    with script.Server(files, command) as server:
        report = asyncio.run(script.storm(server, recordings, asked))
        assert {name: one.wrong for name, one in report.results.items() if one.wrong} == {}, server.log()
        assert report.wrong == [], server.log()
    assert report.latencies


def outcome(script: ModuleType, kind: Any) -> Any:
    result = script.Result()
    asyncio.run(script.one(None, kind, result))
    return result


def test_what_is_not_as_it_should_be_is_told(script: ModuleType) -> None:
    async def answered(client: Any) -> int:
        return 500

    async def broken(client: Any) -> int:
        raise script.Wrong("a transcript of something else")

    async def cut(client: Any) -> int:
        raise ConnectionResetError

    assert outcome(script, script.Kind("good", answered, (200,))).wrong == ["ended with 500"]
    assert outcome(script, script.Kind("good", answered, (500,))).wrong == []
    assert outcome(script, script.Kind("good", broken, (200,))).wrong == ["a transcript of something else"]
    assert outcome(script, script.Kind("good", cut, (200,))).wrong == [
        "ended with closed (ConnectionResetError)"
    ]


@pytest.mark.parametrize("content", [b"", b"Internal Server Error", b'{"detail": "x"}', b'{"error": null}'])
def test_an_error_without_openai_s_body_is_told(script: ModuleType, content: bytes) -> None:
    with pytest.raises(script.Wrong):
        script.check_error({"content-type": "application/json"}, content)


def test_percentiles(script: ModuleType) -> None:
    ordered = [float(n) for n in range(1, 201)]
    assert (script.percentile(ordered, 50), script.percentile(ordered, 99)) == (100.0, 198.0)
    assert script.percentile([3.0], 99) == 3.0


class Left:
    """A server of which only its log and its folder for temporary files are known."""

    def __init__(self, folder: Path, log: str) -> None:
        self.temporary, self._log = folder, log

    def log(self) -> str:
        return self._log


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("2026-01-31 12:00:00 GET / 200 0.001 s\n", []),
        ("  Traceback (most recent call last):\n", ["the log has a traceback"]),
        ("a wrong key: the-storm-s-secret-key\n", ["the log has the key"]),
        ("GET /\x1b[31m 404\n", ["the log has a raw escape"]),
        ("GET /a\nforged 404\n", ["the log has a forged line"]),
    ],
)
def test_what_the_log_should_not_have_is_told(
    script: ModuleType, tmp_path: Path, log: str, told: list[str]
) -> None:
    held = script.Held(100.0, 50.0, 20, 8)
    assert script.left_behind(Left(tmp_path, log), held, held, 100.0) == told


def test_what_is_left_behind_is_told(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "upload").touch()
    before, after = script.Held(100.0, 50.0, 20, 8), script.Held(300.0, 250.0, 60, 8)
    told = script.left_behind(Left(tmp_path, ""), before, after, 900.0)
    for words in ("900 MB of memory", "300 MB of memory are kept", "60 files are open", "temporary files"):
        assert any(line.startswith(words) for line in told)
