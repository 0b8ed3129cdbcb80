"""The gate: who may ask, how much they may send, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.asgi import DISCONNECT, Message, Reply, ask, chunks, request

pytest.importorskip("starlette", reason="the extra `server` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")

from whisper_npu.apps.server.gate import Gate
from whisper_npu.apps.server.incoming_body import Patience
from whisper_npu.apps.server.metrics import Metrics
from whisper_npu.apps.server.queue import Queue
from whisper_npu.apps.server.settings import ServerSettings

POST = "/v1/audio/transcriptions"
HOST = ("Host", "localhost:8000")
SHORT = Patience(silence=0.05, rest=0.1, rest_silence=0.05)


class Application:
    """Reads the whole body and says how long it was; keeps what it saw."""

    def __init__(self) -> None:
        self.asked = 0
        self.saw: list[str] = []  # the types of the messages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        size = 0
        while True:
            message = await receive()
            self.saw.append(message["type"])
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
        content = str(size).encode()
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class Server:
    """A gate before an Application."""

    def __init__(self, app: Any = None, patience: Patience = SHORT, **settings: Any) -> None:
        self.app = Application() if app is None else app
        self.metrics = Metrics("tiny", "emulator", "an emulated NPU", [POST])
        self.gate = Gate(
            self.app, ServerSettings(**settings), self.metrics, {"/", "/page.css"}, patience=patience
        )

    def get(self, path: str = "/v1/models", *headers: tuple[str, str | bytes], **more: Any) -> Reply:
        """The Host is ours unless the headers say another."""
        has_host = any(name == "Host" for name, _ in headers)
        more = {"body": chunks(b""), **more}
        return ask(self.gate, path=path, headers=[*([] if has_host else [HOST]), *headers], **more)

    def post(self, body: list[Message], *headers: tuple[str, str | bytes], **more: Any) -> Reply:
        return self.get(POST, *headers, method="POST", body=body, **more)

    def count(self, series: str) -> float:
        for line in self.metrics.text(Queue(1)).decode().splitlines():
            if line.startswith(f"{series} "):
                return float(line.split()[-1])
        return 0.0


def refused(reply: Reply, status: int, code: str) -> str:
    """Checks that it was, in OpenAI's form; returns the message."""
    assert reply.status == status, reply.content
    assert reply.is_complete
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(reply.content))
    assert reply.headers["cache-control"] == "no-store"
    error = json.loads(reply.content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    return str(error["message"])


# Hosts


OURS = [
    "localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:8000", "192.168.1.17:8000",
    "[::1]", "[::1]:8000", "[fe80::1]:80", "[::ffff:127.0.0.1]", socket.gethostname(),
    f"{socket.gethostname().split('.')[0]}.local:8000",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_the_machines_own_names_and_addresses_are_answered(host: str) -> None:
    assert Server().get("/v1/models", ("Host", host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8000", "local", "0x7f000001", "2130706433"],
)
def test_another_name_is_refused_and_the_option_is_named(host: str) -> None:
    server = Server()
    reply = server.get("/", ("Host", host))
    assert f"--allowed_hosts {host.split(':')[0]}" in refused(reply, 421, "host_not_allowed")
    assert server.app.asked == 0
    assert server.count('whisper_npu_errors_total{kind="host"}') == 1


@pytest.mark.parametrize(
    "hosts",
    [
        [], ["localhost", "localhost"], ["localhost", "evil.example"], [""], ["localhost:"],
        ["localhost:70000"], ["localhost:80:80"],
        ["[::1"], ["::1"], ["[localhost]"], ["[127.0.0.1]"], ["a b"], ["user@localhost"],
        ["localhost/"], ["localhost,evil.example"], ["."], [b"\xff"], [" localhost"],
    ],
)  # fmt: skip
def test_a_host_header_that_is_none_is_refused(hosts: list[str | bytes]) -> None:
    reply = ask(Server().gate, headers=[("Host", host) for host in hosts])
    refused(reply, 400, "bad_host")


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("box.example.com", True), ("a.lab.example.com", True), ("a.b.lab.example.com:81", True),
        ("lab.example.com", False), ("evillab.example.com", False), ("example.com", False),
    ],
)  # fmt: skip
def test_allowed_hosts(host: str, is_ours: bool) -> None:
    server = Server(allowed_hosts=("Box.example.com", "*.lab.example.com"))
    assert server.get("/v1/models", ("Host", host)).status == (200 if is_ours else 421)


def test_the_name_that_it_is_bound_to_is_answered() -> None:
    assert Server(host="whisper.lan").get("/v1/models", ("Host", "Whisper.lan:8000")).status == 200


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_header_makes_it_fail(host: str, origin: str) -> None:
    server = Server()
    assert server.get("/", ("Host", host.encode())).status in (200, 400, 421)
    assert server.get("/", ("Origin", f"http://{origin}".encode())).status in (200, 403)


# Origins


@pytest.mark.parametrize(
    "origin",
    [
        "null", "https://evil.example", "http://localhost:3000", "http://127.0.0.1:8000", "https://localhost:8000",
        "http://localhost", "file://", "localhost:8000", "http://localhost:8000.evil.example", "",
        "http://localhost:8000/", "http://localhost:8000, http://evil.example",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_pages_of_other_sites_are_refused(origin: str, method: str) -> None:
    server = Server()
    for path in ("/", "/health", POST):
        reply = server.get(path, ("Origin", origin), method=method)
        assert "--allowed_origins" in refused(reply, 403, "origin_not_allowed")
        assert not any(name.startswith("access-control") for name in reply.headers)
    assert server.app.asked == 0


@pytest.mark.parametrize(
    ("host", "origin", "scheme"),
    [
        ("localhost:8000", "http://localhost:8000", "http"), ("localhost", "http://localhost", "http"),
        ("localhost:80", "http://localhost", "http"), ("localhost", "http://LOCALHOST:80", "http"),
        ("[::1]:8000", "http://[::1]:8000", "http"), ("localhost", "https://localhost", "https"),
    ],
)  # fmt: skip
def test_its_own_page_may_do_all(host: str, origin: str, scheme: str) -> None:
    own = [("Host", host), ("Origin", origin)]
    for headers in (own, [*own, ("Sec-Fetch-Site", "same-origin")]):
        reply = Server().post(chunks(b"abc"), *headers, scheme=scheme)
        assert reply.content == b"3"
        assert not any(name.startswith("access-control") for name in reply.headers)
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"


def test_behind_a_proxy_with_tls_the_browser_vouches_for_the_page() -> None:
    server = Server(allowed_hosts=("box.example.com",))
    page = [("Host", "box.example.com"), ("Origin", "https://box.example.com")]
    assert server.post(chunks(b""), *page, ("Sec-Fetch-Site", "same-origin")).status == 200
    for site in ("same-site", "cross-site", "none"):
        assert server.post(chunks(b""), *page, ("Sec-Fetch-Site", site)).status == 403
    assert server.post(chunks(b""), *page).status == 403
    other = [("Host", "box.example.com"), ("Origin", "https://evil.example")]
    assert server.post(chunks(b""), *other, ("Sec-Fetch-Site", "same-origin")).status == 403


def test_two_origins_are_refused() -> None:
    own = ("Origin", "http://localhost:8000")
    assert Server().get("/", own, own).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Nonsense"])
def test_what_another_site_may_do_without_an_origin(site: str) -> None:
    """A link to the page is harmless; nothing else needs to work."""
    server = Server()
    fetched = ("Sec-Fetch-Site", site)
    link = (fetched, ("Sec-Fetch-Mode", "navigate"))
    for path in ("/", "/page.css"):
        for method in ("GET", "HEAD"):
            assert server.get(path, *link, method=method).status == 200
    refusals = [
        server.get("/", *link, method="POST"),  # a form
        server.get("/", fetched, ("Sec-Fetch-Mode", "no-cors")),  # an image, a script
        server.get("/v1/models", *link),
        server.get("/health", *link),
        server.get("/metrics", fetched, ("Sec-Fetch-Mode", "no-cors")),
        server.post(chunks(b""), *link),
    ]
    for reply in refusals:
        refused(reply, 403, "origin_not_allowed")


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_what_the_user_or_the_page_asks_is_answered(site: str) -> None:
    assert Server().get("/metrics", ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate")).status == 200


@pytest.mark.parametrize("origin", ["null", "app://", "file://", "app://obsidian.md"])
def test_the_hint_for_an_origin_can_be_followed(origin: str) -> None:
    headers = [("Origin", origin), ("Authorization", "Bearer secret")]
    told = refused(Server(api_key="secret").get("/v1/models", *headers), 403, "origin_not_allowed")
    assert told.endswith(f"--allowed_origins {origin}")
    reply = Server(api_key="secret", allowed_origins=(origin,)).get("/v1/models", *headers)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, origin)


GUEST = "https://app.example.com"


@pytest.mark.parametrize("origin", [GUEST, "HTTPS://App.example.com:443", "app://obsidian.md"])
def test_an_allowed_page_gets_cors_answers(origin: str) -> None:
    server = Server(allowed_origins=(GUEST, "app://obsidian.md"), api_key="secret")
    page = [("Origin", origin), ("Sec-Fetch-Site", "cross-site")]
    preflight = server.get(
        POST,
        *page,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, x-stainless-os"),
        method="OPTIONS",
        body=(),
    )
    assert (preflight.status, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == origin
    assert preflight.headers["access-control-allow-methods"] == "GET, POST"
    assert preflight.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert server.app.asked == 0

    reply = server.post(chunks(b"abc"), *page, ("Authorization", "Bearer secret"))
    assert reply.content == b"3"
    for one in (reply, server.post(chunks(b"abc"), *page)):  # the page may read why it is refused
        assert one.headers["access-control-allow-origin"] == origin
        assert "X-Whisper-NPU-Dispatches" in one.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in one.headers
        assert one.headers["cross-origin-resource-policy"] == "cross-origin"
        assert one.headers["vary"] == "Origin"
    assert one.status == 401

    others = ["https://example.com", "http://app.example.com", "https://app.example.com:8443", "null"]
    for other in others:
        assert server.get("/", ("Origin", other)).status == 403


def test_every_origin_and_host_with_a_key() -> None:
    server = Server(allowed_origins=("*",), allowed_hosts=("*",), api_key="secret")
    key = ("Authorization", "Bearer secret")
    host = ("Host", "a.example:1")
    reply = server.get("/v1/models", host, ("Origin", "https://b.example"), key)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "https://b.example"
    assert server.get("/v1/models", host, ("Origin", "null"), key).status == 200


# The API key


def test_only_the_page_and_health_need_no_key() -> None:
    server = Server(api_key="secret")
    for path in ("/", "/page.css", "/health"):
        assert server.get(path).status == 200
    closed = [
        "/v1/models",
        "/metrics",
        POST,
        "/inference",
        "/nothing",
        "/health/",
        "//",
        "/page.css/..",
        "/HEALTH",
    ]
    for path in closed:
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            reply = server.get(path, method=method)
            assert "Bearer KEY" in refused(reply, 401, "invalid_api_key")
            assert reply.headers["www-authenticate"] == 'Bearer realm="whisper-npu"'
    assert server.app.asked == 3
    assert server.count('whisper_npu_errors_total{kind="key"}') == len(closed) * 4


@pytest.mark.parametrize(
    "given",
    ["Bearer secret", "bearer secret", "BEARER   secret", " Bearer secret ", b"Bearer secret"],
)
def test_the_right_key(given: str | bytes) -> None:
    assert Server(api_key="secret").get("/v1/models", ("Authorization", given)).status == 200


@pytest.mark.parametrize(
    "given",
    [
        "", "Bearer", "Bearer ", "secret", "Basic secret", "Bearer secre", "Bearer secrets", "Bearer SECRET",
        "Bearer secret secret", "Bearersecret", "Bearer\tsecret", "Bearer sécret", b"Bearer \xff\x00",
        "Bearer ключ".encode(), "Bearer " + "s" * 100_000,
    ],
)  # fmt: skip
def test_a_wrong_key(given: str | bytes) -> None:
    reply = Server(api_key="secret").get("/v1/models", ("Authorization", given))
    refused(reply, 401, "invalid_api_key")
    assert b"secret" not in reply.content


def test_two_keys_are_refused() -> None:
    key = ("Authorization", "Bearer secret")
    refused(Server(api_key="secret").get("/v1/models", key, key), 401, "invalid_api_key")


def test_a_wrong_key_is_told_before_the_body_is_read() -> None:
    server = Server(api_key="secret")
    reply = server.post(chunks(b"a" * 1000, b"b"), ("Content-Length", "1001"))
    refused(reply, 401, "invalid_api_key")
    assert server.app.asked == 0


# Bodies


def megabytes(count: float) -> bytes:
    return b"x" * int(count * 1e6)


def test_a_body_up_to_the_limit_passes() -> None:
    server = Server(max_upload_mb=1)
    for headers in ([("Content-Length", "1000000")], [("Transfer-Encoding", "chunked")]):
        reply = server.post(chunks(megabytes(0.5), megabytes(0.5)), *headers)
        assert reply.content == b"1000000"
        assert "connection" not in reply.headers


@pytest.mark.parametrize("length", ["1000001", "9" * 18, "9" * 10_000])
def test_an_announced_body_that_is_too_large_is_refused_before_it_is_read(length: str) -> None:
    server = Server(max_upload_mb=1)
    reply = server.post([], ("Content-Length", length))
    assert "1 MB" in refused(reply, 413, "body_too_large")
    assert reply.headers["connection"] == "close"
    assert server.app.asked == 0


def test_a_chunked_body_is_cut_off_at_the_limit() -> None:
    server = Server(max_upload_mb=1)
    sent = chunks(*[megabytes(0.3)] * 10)
    reply = server.post(sent, ("Transfer-Encoding", "chunked"))
    assert "--max_upload_mb" in refused(reply, 413, "body_too_large")
    # It ended as with a client that is gone, and what it said then was not heard.
    assert server.app.saw == ["http.request"] * 3 + ["http.disconnect"]
    # The rest is taken in, so that the client comes to read the answer, which is on its way already.
    assert reply.bytes_taken == 3_000_000
    assert reply.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_length_that_lies_changes_nothing() -> None:
    server = Server(max_upload_mb=1)
    reply = server.post(chunks(megabytes(0.9), megabytes(0.9)), ("Content-Length", "5"))
    refused(reply, 413, "body_too_large")


def test_a_body_without_end_is_given_up() -> None:
    def endless() -> Any:
        while True:
            yield {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    server = Server(max_upload_mb=0.01)
    reply = server.post(endless(), ("Transfer-Encoding", "chunked"))
    refused(reply, 413, "body_too_large")
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "lengths",
    [
        ["-1"],
        ["+5"],
        ["0x5"],
        ["5.0"],
        ["five"],
        ["5 5"],
        ["5", "5"],
        ["5", "6"],
        [""],
        [b"\xd9\xa5"],
        ["1_0"],
    ],
)
def test_a_bad_content_length(lengths: list[str | bytes]) -> None:
    server = Server()
    reply = server.post(chunks(b"hello"), *[("Content-Length", length) for length in lengths])
    refused(reply, 400, "bad_length")
    assert server.app.asked == 0


def test_length_and_transfer_encoding_together_are_refused() -> None:
    both = [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
    refused(Server().post(chunks(b"hello"), *both), 400, "bad_length")


def test_a_client_that_sends_nothing_more_is_given_up() -> None:
    server = Server()
    for sent in ([], chunks(b"half", b"")[:1]):
        reply = server.post(sent, ("Content-Length", "100"))
        refused(reply, 408, "body_too_slow")
        assert reply.headers["connection"] == "close"
    assert server.app.saw[-1] == "http.disconnect"
    assert server.count('whisper_npu_errors_total{kind="body"}') == 2


def test_a_client_that_sends_a_byte_now_and_then_is_given_up() -> None:
    server = Server(patience=Patience(silence=60, start=0.3, bytes_per_second=1e6))
    sent = 0

    async def trickle() -> Message:
        nonlocal sent
        sent += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def story() -> Reply:
        reply = Reply()

        async def send(message: Message) -> None:
            reply.messages.append(message)

        headers = [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": "POST", "path": POST, "scheme": "http", "headers": headers}
        await server.gate(scope, trickle, send)
        return reply

    refused(asyncio.run(story()), 408, "body_too_slow")
    assert sent > 1


def test_after_the_body_nobody_is_hurried() -> None:
    """An application that waits for the client to go away waits as long as its work takes."""
    gone: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["more_body"] is False
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receive(), 4 * SHORT.silence)
        gone.append("no")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})

    assert Server(app).post(chunks(b"abc"), ("Content-Length", "3")).content == b"done"
    assert gone == ["no"]


def test_half_a_body_and_away_leaves_nothing_behind() -> None:
    server = Server()
    for _ in range(100):  # more than are let in at a time
        reply = server.post([*chunks(b"half", b"")[:1], DISCONNECT], ("Content-Length", "100"))
        assert reply.messages == []
    assert server.app.saw[-1] == "http.disconnect"
    assert server.count(f'whisper_npu_requests_total{{endpoint="{POST}",status="499"}}') == 100
    assert server.count("whisper_npu_requests_in_flight") == 0
    assert server.post(chunks(b"abc"), ("Content-Length", "3")).content == b"3"


def test_so_many_bodies_at_a_time() -> None:
    """One client may fill the queue and send half as many more as may all clients together."""
    server = Server(max_queue=1, patience=Patience())
    headers = [HOST, ("Content-Length", "3")]

    async def story() -> list[int | None]:
        free = asyncio.Event()

        async def post(address: str) -> Reply:
            async def app(scope: Any, receive: Any, send: Any) -> None:
                await free.wait()
                await Application()(scope, receive, send)

            server.gate._app = app
            return await request(server.gate, "POST", POST, headers, chunks(b"abc"), client=(address, 1))

        tasks = [asyncio.create_task(post(address)) for address in ["10.0.0.1"] * 8 + ["10.0.0.2"] * 6]
        for _ in range(10):
            await asyncio.sleep(0)  # all that may are within the application
        free.set()
        replies = await asyncio.gather(*tasks)
        for reply in replies:
            if reply.status == 429:
                refused(reply, 429, "too_many_requests")
                assert reply.headers["retry-after"] == "1"
        again = await post("10.0.0.3")
        return [*(reply.status for reply in replies), again.status]

    assert asyncio.run(story()) == [200] * 6 + [429] * 2 + [200] * 4 + [429] * 2 + [200]


def test_a_full_queue_is_told_before_the_body_is_read() -> None:
    """To those who want a place in it; of 200 MB not one byte has to be sent for that."""
    queue = Queue(0)
    app = Application()
    gate = Gate(app, ServerSettings(max_queue=0), Metrics("", "", "", []), queue_paths=[POST], queue=queue)
    headers = [HOST, ("Content-Length", "3")]

    async def story() -> None:
        async with queue.turn("another"):
            reply = await request(gate, "POST", POST, headers, [])
            refused(reply, 429, "queue_full")
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.headers["connection"] == "close"
            assert app.asked == 0
            assert (await request(gate, "GET", POST, [HOST], chunks(b""))).status == 200
            assert (await request(gate, "POST", "/other", headers, chunks(b"abc"))).content == b"3"
        assert (await request(gate, "POST", POST, headers, chunks(b"abc"))).content == b"3"

    asyncio.run(story())


# Answers


def test_every_answer_has_the_security_headers() -> None:
    server = Server(api_key="secret")
    replies = [
        server.get("/"),
        server.get("/health"),
        server.get("/v1/models"),
        server.get("/", ("Host", "x.y")),
    ]
    assert [reply.status for reply in replies] == [200, 200, 401, 421]
    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert [reply.headers["cache-control"] for reply in replies] == [
        "max-age=60",
        *["no-store"] * 3,
    ]


def test_a_defect_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError("secret detail")

    server = Server(app)
    with caplog.at_level(logging.ERROR):
        reply = server.get("/v1/\x1b[31m")
    message = refused(reply, 500, "internal")
    assert "secret" not in message
    assert "secret detail" in caplog.text
    assert server.count('whisper_npu_errors_total{kind="internal"}') == 1


def test_a_defect_in_the_middle_of_an_answer_ends_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise ZeroDivisionError

    server = Server(app)
    with pytest.raises(ZeroDivisionError):
        server.get()
    assert server.count("whisper_npu_requests_in_flight") == 0


def test_an_answer_streams() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        for part in (b"a", b"b"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    reply = Server(app).get()
    assert [message.get("body") for message in reply.messages] == [None, b"a", b"b", None]


def test_the_client_that_goes_away_is_seen() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    server = Server(app)
    assert server.get(body=[*chunks(b""), DISCONNECT]).messages == []
    assert server.count('whisper_npu_requests_total{endpoint="other",status="499"}') == 1


def test_the_lifespan_passes() -> None:
    server = Server()

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        pass

    asyncio.run(server.gate({"type": "lifespan"}, receive, send))
    assert server.app.saw == ["lifespan.startup"]
