"""The gate behind uvicorn, over sockets: clients that are slow, rude, or do not listen while they speak."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="the extra server is not installed")
pytest.importorskip("prometheus_client", reason="the extra server is not installed")

client = pytest.importorskip("websockets.sync.client", reason="the extra server is not installed")

from uvicorn.server import ServerState  # noqa: E402

from whisper_npu.apps.server.connection import Connection, LiveConnection, most_connections  # noqa: E402
from whisper_npu.apps.server.gate import Gate  # noqa: E402
from whisper_npu.apps.server.incoming_body import Patience  # noqa: E402
from whisper_npu.apps.server.metrics import Metrics  # noqa: E402
from whisper_npu.apps.server.settings import ServerSettings  # noqa: E402

LIMIT_MB = 1
LONG = 5_000_000  # bytes: more than the limit, and than the buffers of a connection hold
IMPATIENT = 0.2  # seconds
HANDSHAKE = (
    "GET /long HTTP/1.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
MANY_HEADERS = [f"X-Number: {number}" for number in range(300)]  # more than one may have that is upgraded
LONGEST_WAIT = 20  # seconds, for what comes at once
GAVE_UP = threading.Event()  # the application heard that a WebSocket's client takes nothing


class Impatient(Connection):
    head_seconds = IMPATIENT
    stall_seconds = IMPATIENT


class ImpatientLive(LiveConnection):
    stall_seconds = IMPATIENT


async def flood(send: Any, messages: int) -> None:
    for _ in range(messages):
        await send({"type": "websocket.send", "bytes": bytes(LONG)})
    await send({"type": "websocket.close"})


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body was; at /slow after a while, and at /long with many zeros before it.

    A WebSocket at /slow is answered after a while, one at /long until the client does not take it.
    """
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await asyncio.sleep(2 * IMPATIENT)
        sending = asyncio.ensure_future(flood(send, 1 if scope["path"] == "/slow" else 1000))
        while (await receive())["type"] != "websocket.disconnect":
            pass
        GAVE_UP.set()
        sending.cancel()
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * IMPATIENT)
    content = str(size).encode().rjust(4 * LONG if scope["path"] == "/long" else 1, b"0")
    headers = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def serving(connection: type[Connection], patience: Patience) -> Iterator[tuple[str, int]]:
    settings = ServerSettings(max_upload_mb=LIMIT_MB, api_key="secret")
    gate = Gate(
        application,
        settings,
        Metrics("tiny", "emulator", "", []),
        ["/slow", "/long"],
        websocket_paths=["/slow", "/long"],
        patience=patience,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            gate, http=connection, ws=ImpatientLive, log_config=None, access_log=False, lifespan="off"
        )
    )
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(Connection, Patience()) as found:
        yield found


@pytest.fixture(scope="module")
def impatient() -> Iterator[tuple[str, int]]:
    with serving(Impatient, Patience(silence=IMPATIENT)) as found:
        yield found


class Client:
    """A socket that is spoken to by hand."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=LONGEST_WAIT)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, *lines: str, body: bytes = b"") -> None:
        """The head, whole, and the body, however long that takes, before anything is read."""
        self.socket.sendall("\r\n".join([*lines, "Host: localhost", "", ""]).encode() + body)

    def read_all(self) -> bytes:
        """To the end of the connection."""
        parts = []
        while part := self.socket.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def read_answer(self) -> bytes:
        """One answer of a connection that stays open: all that comes up to the end of its content."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        lines = head.decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        content = b""
        while len(content) < length:
            content += self.socket.recv(length - len(content))
        return head + content


KEY = "Authorization: Bearer secret"


def ask_and_check_that_it_serves(address: tuple[str, int]) -> None:
    with Client(address) as client:
        client.send("POST /v1 HTTP/1.1", KEY, "Content-Length: 3", body=b"abc")
        assert client.read_answer().endswith(b"\r\n\r\n3")


def chunked(size: int) -> bytes:
    return f"{size:x}\r\n".encode() + b"x" * size + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        ([KEY, f"Content-Length: {LONG}"], b"x" * LONG, b"413"),
        ([KEY, "Transfer-Encoding: chunked"], chunked(LONG), b"413"),
        ([f"Content-Length: {LONG}"], b"x" * LONG, b"401"),
        (["Origin: http://evil.example", "Transfer-Encoding: chunked"], chunked(LONG), b"403"),
    ],
)
def test_a_client_that_sends_all_before_it_reads_gets_its_answer(
    address: tuple[str, int], lines: list[str], body: bytes, status: bytes
) -> None:
    """Not a reset connection, which says nothing."""
    with Client(address) as client:
        client.send("POST /v1 HTTP/1.1", *lines, body=body)
        answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.endswith(b"}}")
    assert b"connection: close" in answer
    ask_and_check_that_it_serves(address)


def test_a_client_that_asks_before_it_sends_is_told_no(address: tuple[str, int]) -> None:
    with Client(address) as client:
        client.send("POST /v1 HTTP/1.1", KEY, "Content-Length: 5000000", "Expect: 100-continue")
        assert client.read_answer().startswith(b"HTTP/1.1 413")


def test_a_client_that_asks_before_it_sends_is_told_yes(address: tuple[str, int]) -> None:
    with Client(address) as client:
        client.send("POST /v1 HTTP/1.1", KEY, "Content-Length: 3", "Expect: 100-continue")
        assert client.socket.recv(12) == b"HTTP/1.1 100"


def test_a_client_that_stops_in_the_middle_is_told_so(impatient: tuple[str, int]) -> None:
    with Client(impatient) as client:
        client.send("POST /v1 HTTP/1.1", KEY, "Content-Length: 100", body=b"half")
        assert client.read_all().startswith(b"HTTP/1.1 408")
    ask_and_check_that_it_serves(impatient)


def test_a_client_that_goes_away_in_the_middle_harms_nobody(address: tuple[str, int]) -> None:
    for _ in range(10):
        with Client(address) as client:
            client.send("POST /v1 HTTP/1.1", KEY, "Content-Length: 100", body=b"half")
    ask_and_check_that_it_serves(address)


def test_several_requests_on_one_connection(address: tuple[str, int]) -> None:
    with Client(address) as client:
        for size in (1, 2):
            client.send("POST /v1 HTTP/1.1", KEY, f"Content-Length: {size}", body=b"x" * size)
            assert client.read_answer().endswith(f"\r\n\r\n{size}".encode())


def test_http_1_0_without_a_host_is_refused(address: tuple[str, int]) -> None:
    with Client(address) as client:
        client.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_all().startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("said", [b"", b"GET /slow HT", b"GET /slow HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_connection_that_comes_to_no_request_is_closed(impatient: tuple[str, int], said: bytes) -> None:
    with Client(impatient) as client:
        client.socket.sendall(said)
        assert client.read_all() == b""


def test_work_may_take_longer_than_a_head(impatient: tuple[str, int]) -> None:
    with Client(impatient) as client:
        for _ in range(2):
            client.send("GET /slow HTTP/1.1")
            assert client.read_answer().endswith(b"\r\n\r\n0")
        client.socket.sendall(b"GET /slow")  # the next head is watched like the first
        assert client.read_all() == b""


def test_between_two_requests_a_connection_may_rest_longer_than_a_head(impatient: tuple[str, int]) -> None:
    with Client(impatient) as client:
        for _ in range(2):
            client.send("GET /slow HTTP/1.1")
            assert client.read_answer().endswith(b"\r\n\r\n0")
            time.sleep(1.5 * IMPATIENT)


# Clients that shut down their side.


def test_a_client_that_has_said_all_gets_its_answer(address: tuple[str, int]) -> None:
    """Interim answers come before it, by which the server finds out whether anybody listens."""
    with Client(address) as client:
        client.send("POST /slow HTTP/1.1", "Content-Length: 3", body=b"abc")
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"HTTP/1.1 200" in answer
    assert answer.endswith(b"\r\n\r\n3")


def test_all_requests_that_a_client_has_sent_are_answered(address: tuple[str, int]) -> None:
    with Client(address) as client:
        for _ in range(3):
            client.send("GET /slow HTTP/1.1")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_all().count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "said", [b"GET /slow HT", b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_half_a_request_and_no_more_has_no_answer(address: tuple[str, int], said: bytes) -> None:
    with Client(address) as client:
        client.socket.sendall(said)
        client.socket.shutdown(socket.SHUT_WR)
        assert b"200" not in client.read_all()


# What is no HTTP, and what is too much.


def told(answer: bytes) -> dict[str, Any]:
    """The error of an answer in OpenAI's form."""
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head
    assert b"connection: close" in head.lower()
    error: dict[str, Any] = json.loads(content)["error"]
    return error


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
    ],
)
def test_what_is_no_http_has_an_answer_in_openai_s_form(
    address: tuple[str, int], said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        with Client(address) as client:
            client.socket.sendall(said)
            answer = client.read_all()
        assert answer.startswith(b"HTTP/1.1 400")
        assert told(answer)["code"] == "bad_http"
        ask_and_check_that_it_serves(address)
    assert caplog.text == ""


def test_nonsense_behind_an_answer_ends_the_connection(
    address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        with Client(address) as client:
            client.send("POST /v1 HTTP/1.1", "Transfer-Encoding: chunked")  # without the key
            assert client.read_answer().startswith(b"HTTP/1.1 401")
            with suppress(ConnectionError):
                client.socket.sendall(b"nonsense\r\n" * 100)
                assert client.read_all() in (b"", b"0\r\n\r\n")
        ask_and_check_that_it_serves(address)
    assert caplog.text == ""


def test_connections_beyond_the_limit_are_told_so(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the process has no descriptor left for what it works on."""
    with Client(address) as first:
        first.send("GET /slow HTTP/1.1")
        assert first.read_answer().startswith(b"HTTP/1.1 200")
        monkeypatch.setattr("whisper_npu.apps.server.connection.most_connections", lambda: 1)
        with Client(address) as second:
            answer = second.read_all()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 5" in answer
        assert told(answer)["code"] == "too_many_connections"
        first.send("GET /slow HTTP/1.1")
        assert first.read_answer().startswith(b"HTTP/1.1 200")


def test_each_connection_may_bring_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    assert most_connections() == 480


# Clients that do not read.


def test_a_client_that_does_not_read_is_given_up(impatient: tuple[str, int]) -> None:
    with Client(impatient) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send("GET /long HTTP/1.1")
        time.sleep(8 * IMPATIENT)
        read = 0
        with suppress(ConnectionError):
            while part := client.socket.recv(2**20):
                read += len(part)
        assert read < 4 * LONG
    with Client(impatient) as client:
        client.send("GET /slow HTTP/1.1")
        assert client.read_answer().startswith(b"HTTP/1.1 200")


def test_a_client_that_reads_slowly_gets_all(impatient: tuple[str, int]) -> None:
    with Client(impatient) as client:
        client.send("GET /long HTTP/1.1", "Connection: close")
        read = 0
        while part := client.socket.recv(2**20):
            read += len(part)
            time.sleep(IMPATIENT / 8)
        assert read > 4 * LONG


def test_a_websocket_may_last_longer_than_a_head(impatient: tuple[str, int]) -> None:
    host, port = impatient
    with client.connect(f"ws://{host}:{port}/slow", max_size=None) as websocket:
        assert len(websocket.recv(LONGEST_WAIT)) == LONG


def test_a_websocket_that_does_not_read_is_given_up(impatient: tuple[str, int]) -> None:
    GAVE_UP.clear()
    with Client(impatient) as client:
        client.send(*HANDSHAKE)
        assert GAVE_UP.wait(LONGEST_WAIT)


class Deaf(asyncio.Transport):
    """To a client that takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.unread = 0

    def write(self, data: Any) -> None:
        self.unread += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


PING = b"\x89\xfd" + bytes(4) + bytes(125)  # masked with zeros: RFC 6455, 5.2
EMPTY_PIECE = b"\x00\x80" + bytes(4)


@pytest.mark.parametrize("frame", [PING, EMPTY_PIECE])
def test_what_a_client_sends_and_does_not_read_takes_no_memory(frame: bytes) -> None:
    received: list[Any] = []

    async def accepting(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while True:
            received.append(await receive())

    async def flooded() -> tuple[int, int]:
        config = uvicorn.Config(accepting, lifespan="off", log_config=None)
        config.load()
        connection, transport = LiveConnection(config, ServerState(), {}), Deaf()
        connection.connection_made(transport)
        connection.data_received("\r\n".join([*HANDSHAKE, "Host: localhost", "", ""]).encode())
        await asyncio.sleep(0)
        connection.data_received(b"\x02\x81" + bytes(4) + b"a")  # a message begins
        tracemalloc.start()
        for _ in range(100):
            connection.data_received(frame * 100)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        connection.data_received(b"\x80\x81" + bytes(4) + b"b")  # and ends
        await asyncio.sleep(0)
        for task in connection.tasks:
            task.cancel()
        return transport.unread, grown

    unread, grown = asyncio.run(flooded())
    assert [message["type"] for message in received] == ["websocket.connect", "websocket.receive"]
    assert received[1]["bytes"] == b"ab"
    assert unread < 100_000
    assert grown < 20_000


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /long HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"], b"4"),  # no version, no key
        (["POST /long HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"], b"4"),
        (["GET /long HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", *MANY_HEADERS], b"400"),
    ],
)
def test_an_upgrade_that_is_none_is_answered(
    address: tuple[str, int], lines: list[str], status: bytes
) -> None:
    with Client(address) as client:
        client.send(*lines)
        answer = client.read_all()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Sec-WebSocket-Version: 13" in answer or b"bad_http" in answer
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}
