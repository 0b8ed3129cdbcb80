"""`whisper-npu serve`: its options, its errors, and one life of the process."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile

from tests.support.checkpoints import tiny_config, tiny_tensors, tiny_tokenizer, write_checkpoint
from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.serve import serve
from whisper_npu.apps.cli.serve_options import SERVER
from whisper_npu.apps.server.settings import ServerSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = tiny_config(vocab_size=1788)
    tokenizer = tiny_tokenizer(multilingual=True)
    return write_checkpoint(tmp_path / "tiny", config, tiny_tensors(config), tokenizer_json=tokenizer)


def failed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and the only line on stderr."""
    code = run(["serve", *arguments])
    error = capsys.readouterr().err
    assert error.startswith("whisper-npu: error: "), error
    assert error.count("\n") == 1, error
    return code, error


def test_its_options_are_the_server_s_settings() -> None:
    names = {field.name for field in fields(ServerSettings)}
    assert {option.name for option in SERVER} == names | {"api_key_file"}
    defaults = ServerSettings()
    for option in SERVER:
        if option.default is not None:
            assert option.default == getattr(defaults, str(option.name))
    assert all(option.configurable for option in serve.options)


def test_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_npu.extras.find_spec", lambda name: None)
    code, error = failed([], capsys)
    assert code == 1
    assert "fastapi, which is not installed: pip install 'whisper-npu[server]'" in error
    monkeypatch.setattr("whisper_npu.extras.find_spec", lambda name: None if name == "websockets" else name)
    code, error = failed([], capsys)
    assert code == 1
    assert "websockets, which is not installed: pip install 'whisper-npu[server]'" in error


@pytest.fixture
def extra() -> None:
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "websockets"):
        pytest.importorskip(package, reason="the extra server is not installed")


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--host", "192.0.2.1"], 1, "is not an address of this machine"),
        (["--host", "no such host"], 1, "there is no such address or name"),
        (["--model", "tiny.enn"], 2, "did you mean tiny.en"),
        (["--port", "70000"], 2, "from 0 to 65535"),
        (["--max_upload_mb", "0"], 2, "max_upload_mb is 0, must be above 0"),
        (["--api_key", "two words"], 2, "api_key must be one word"),
        (["--api_key", "a", "--api_key_file", "b"], 2, "leave one out"),
        (["--api_key_file", "/nonexistent"], 2, "No such file"),
        (["--api_key_file", "/dev/null"], 2, "--api_key_file /dev/null must hold one word"),
        (["--api_key", ""], 2, "api_key must be one word"),
        (["--allowed_origins", "example.com"], 2, "allowed_origins has 'example.com'"),
    ],
)
def test_what_is_wrong(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = failed(["--port", "0", "--model", "tiny.en", *arguments], capsys)
    assert found[0] == code
    assert message in found[1]


@pytest.mark.usefixtures("extra")
def test_a_variable_without_a_key_leaves_nothing_open(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPER_NPU_API_KEY", "")
    code, error = failed(["--port", "0", "--model", "tiny.en"], capsys)
    assert (code, "api_key must be one word" in error) == (2, True)


@pytest.mark.usefixtures("extra")
def test_a_key_file_that_everybody_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n")
    for mode, warned in ((0o604, True), (0o640, False)):
        file.chmod(mode)
        run(
            ["serve", "--port", "0", "--host", "192.0.2.1", "--model", "tiny.en", "--api_key_file", str(file)]
        )
        assert ("can read" in capsys.readouterr().err) == warned


@pytest.mark.usefixtures("extra")
def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, error = failed(["--port", str(other.getsockname()[1]), "--model", "tiny.en"], capsys)
    assert code == 1
    assert "is in use on 127.0.0.1; take another, or 0 for a free one" in error


def test_a_config_file_is_for_both_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setenv("WHISPER_NPU_CONFIG", str(config))
    monkeypatch.setenv("WHISPER_NPU_API_KEY", "secret")
    config.write_text('port = 9000\nlanguage = "de"\nallowed_hosts = ["a.example", "b.example"]\n')
    assert run(["config"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"port +9000 +\(config file\)", shown)
    assert re.search(r"allowed_hosts +a\.example,b\.example", shown)
    assert re.search(r"api_key +\(not shown\)", shown)
    assert "secret" not in shown
    ctx = serve.make_context("serve", [])
    assert (ctx.params["port"], ctx.params["allowed_hosts"]) == (9000, ("a.example", "b.example"))
    config.write_text("prot = 9000\n")
    for command in (["serve"], ["transcribe", "a.wav"]):
        assert run(command) == 2
        assert "did you mean port" in capsys.readouterr().err


class Process:
    """A server of its own process."""

    def __init__(
        self, *arguments: str, cache: Path, program: tuple[str, ...] = ("-m", "whisper_npu")
    ) -> None:
        command = [sys.executable, *program, "serve", "--port", "0", *arguments]
        environ = {**os.environ, "WHISPER_NPU_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
        self.lines: list[str] = []
        self.address = ""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if found := re.search(r"listening on (http://\S+) ", line):
                self.address = found[1]
                break

    def end(self) -> tuple[int, str]:
        """The exit code, and what else stood on stderr."""
        self._process.send_signal(signal.SIGTERM)
        _, rest = self._process.communicate(timeout=60)
        return self._process.returncode, rest

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def process(folder: Path, tmp_path: Path) -> Iterator[Process]:
    started = Process("--model", str(folder), "--device", "cpu", "--api_key", "secret", cache=tmp_path / "c")
    yield started
    started.kill()


@pytest.mark.usefixtures("extra")
def test_a_life(process: Process) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", process.address), process.lines
    with urlopen(f"{process.address}/health") as answer:
        health: dict[str, Any] = json.load(answer)
    assert (health["status"], health["model"], health["device"]) == ("ok", "tiny", "emulator")
    code, rest = process.end()
    assert code == 0
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GET /health 200 \d\.\d{3} s$", rest, re.MULTILINE)
    assert rest.endswith("whisper-npu: ended\n")
    assert "Traceback" not in rest
    assert "secret" not in "".join(process.lines) + rest


WITH_AN_ENDLESS_CALL = """
import time
from whisper_npu.__main__ import main
from whisper_npu.apps.server import work
work.open_audio = lambda *given, **more: time.sleep(3600)
work.PATIENCE_AT_END = 0.1
main()
"""


@pytest.mark.usefixtures("extra")
def test_its_end_while_a_call_cannot_be_interrupted(folder: Path, tmp_path: Path) -> None:
    httpx = pytest.importorskip("httpx", reason="httpx is not installed")
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000), 16_000, format="WAV")
    program = ("-c", WITH_AN_ENDLESS_CALL)
    process = Process("--model", str(folder), "--device", "cpu", cache=tmp_path / "c", program=program)
    answers: list[Any] = []

    def ask() -> None:
        address = f"{process.address}/v1/audio/transcriptions"
        answers.append(httpx.post(address, files={"file": file.getvalue()}, timeout=60))

    try:
        asking = Thread(target=ask)
        asking.start()
        with httpx.Client(base_url=process.address) as client:
            while "device_busy 1.0" not in client.get("/metrics").text:
                pass
        code, rest = process.end()
    finally:
        process.kill()
    asking.join()
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "stopping")
    assert code == 0
    assert rest.endswith("whisper-npu: ended\n")
    assert "Traceback" not in rest
