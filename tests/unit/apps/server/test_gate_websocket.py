"""The gate before a WebSocket: the checks of a request, before it is accepted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra `server` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")

from whisper_npu.apps.server.gate import Gate
from whisper_npu.apps.server.metrics import Metrics
from whisper_npu.apps.server.queue import Queue
from whisper_npu.apps.server.settings import ServerSettings

PATH = "/listen"
KEY = ("Authorization", "Bearer open-sesame")
HOST = ("Host", "localhost:8000")
REJECTS = {"websocket.http.response": {}}
Message = MutableMapping[str, Any]


class Server:
    """A gate before an application that accepts."""

    def __init__(self, **settings: Any) -> None:
        self.metrics = Metrics("tiny", "emulator", "an emulated NPU", [PATH])
        self.gate = Gate(
            self._accept,
            ServerSettings(**settings),
            self.metrics,
            websocket_paths=[PATH],
            every_answer=lambda: {"X-Runs-On": "emulator"},
        )
        self.has_key: bool | None = None  # as the application was told

    async def _accept(self, scope: Any, receive: Any, send: Any) -> None:
        self.has_key = scope["state"]["has_key"]
        await send({"type": "websocket.accept"})

    def open(
        self,
        *headers: tuple[str, str],
        path: str = PATH,
        query: str = "",
        scheme: str = "ws",
        extensions: Any = REJECTS,
    ) -> list[Message]:
        """What is sent for a WebSocket. The Host is ours unless the headers say another."""
        has_host = any(name == "Host" for name, _ in headers)
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "scheme": scheme,
            "client": ("127.0.0.1", 50000),
            "extensions": extensions,
            "headers": [
                (name.lower().encode(), value.encode())
                for name, value in [*([] if has_host else [HOST]), *headers]
            ],
        }
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("nothing is read before it is accepted")

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.gate(scope, receive, send))
        return sent

    def count(self, series: str) -> float:
        lines = self.metrics.text(Queue(1)).decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{series} ")), 0.0)


def headers_of(message: Message) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in message["headers"]}


def refused(server: Server, sent: list[Message], status: int, code: str | None, kind: str) -> str:
    """Checks that it was, before the application saw it; returns the message."""
    assert server.has_key is None
    assert [one["type"] for one in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == status, sent[1]
    headers = headers_of(sent[0])
    assert headers["content-type"] == "application/json"
    assert headers["x-runs-on"] == "emulator"
    assert "content-length" not in headers
    assert server.count(f'whisper_npu_errors_total{{kind="{kind}"}}') == 1
    error = json.loads(sent[1]["body"])["error"]
    assert error["code"] == code
    return str(error["message"])


def accepted(server: Server, sent: list[Message]) -> None:
    (message,) = sent
    assert message["type"] == "websocket.accept"
    assert headers_of(message)["x-runs-on"] == "emulator"
    assert server.count(f'whisper_npu_requests_total{{endpoint="{PATH}",status="101"}}') == 1


def test_a_program_is_accepted() -> None:
    server = Server()
    accepted(server, server.open())
    assert server.has_key is True  # for none is needed


def test_a_name_that_another_site_pointed_here_is_refused() -> None:
    server = Server()
    sent = server.open(("Host", "evil.example"), ("Origin", "http://evil.example"))
    assert "evil.example" in refused(server, sent, 421, "host_not_allowed", "host")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://evil.example", "http://localhost:9000", "null", "http://127.0.0.1:8000"],
)
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    server = Server()
    message = refused(server, server.open(("Origin", origin)), 403, "origin_not_allowed", "origin")
    assert "--allowed_origins" in message


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_the_browsers_word_for_another_site_is_enough(site: str) -> None:
    server = Server()
    sent = server.open(("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", site))
    refused(server, sent, 403, "origin_not_allowed", "origin")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost", "http://localhost"),
        ("localhost", "https://localhost"),  # of a proxy with TLS, to which the browser speaks
    ],
)
def test_our_own_page_is_accepted(host: str, origin: str) -> None:
    server = Server()
    accepted(server, server.open(("Host", host), ("Origin", origin)))


def test_a_page_that_was_allowed_is_accepted() -> None:
    server = Server(allowed_origins=("https://example.com",))
    accepted(server, server.open(("Origin", "https://example.com")))


def test_an_insecure_page_does_not_come_through_tls() -> None:
    server = Server()
    sent = server.open(("Host", "localhost:80"), ("Origin", "http://localhost"), scheme="wss")
    refused(server, sent, 403, "origin_not_allowed", "origin")


@pytest.mark.parametrize("given", ["Bearer wrong", "Bearer", "Basic open-sesame", ""])
def test_a_wrong_key_is_refused(given: str) -> None:
    server = Server(api_key="open-sesame")
    refused(server, server.open(("Authorization", given)), 401, "invalid_api_key", "key")


def test_the_right_key_is_known_and_a_missing_one_is_asked_for() -> None:
    server = Server(api_key="open-sesame")
    accepted(server, server.open(KEY))
    assert server.has_key is True
    server = Server(api_key="open-sesame")
    accepted(server, server.open())
    assert server.has_key is False


def test_only_the_path_with_a_websocket_has_one() -> None:
    server = Server()
    assert PATH in refused(server, server.open(path="/"), 404, None, "request")


def test_options_in_the_address_are_refused() -> None:
    server = Server()
    message = refused(server, server.open(query="language=en"), 400, None, "request")
    assert "message start" in message


def test_a_server_that_cannot_answer_one_closes_it() -> None:
    server = Server()
    sent = server.open(("Host", "evil.example"), extensions={})
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert server.count('whisper_npu_errors_total{kind="host"}') == 1
