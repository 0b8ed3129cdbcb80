"""Who may ask at all, and how much they may send: checked before the application sees a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from whisper_npu.apps.server import headers as own_headers
from whisper_npu.apps.server.addresses import Host, KnownHosts, Origin, client_of
from whisper_npu.apps.server.incoming_body import Ending, IncomingBody, Patience
from whisper_npu.apps.server.key import ApiKey, wrong_key
from whisper_npu.apps.server.queue import Queue
from whisper_npu.apps.server.refusals import CLIENT_GONE, ClientGoneError, Refusal, refusal_of
from whisper_npu.errors import shown

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from whisper_npu.apps.server.metrics import Metrics
    from whisper_npu.apps.server.settings import ServerSettings

BEING_SENT = 8  # requests that may send their bodies while the queue is full; of one client half as many
EXPOSED = ", ".join(
    (own_headers.DEVICE, own_headers.DESCRIPTION, own_headers.DISPATCHES, own_headers.WARNINGS, "Retry-After")
)
_OPTIONS_IN_ADDRESS = Refusal(
    400, "options in the address mean nothing here; they go into the message start", "request"
)


@dataclass(frozen=True)
class _Asking:
    """A request's head, and who asks."""

    method: str
    path: str
    scheme: str
    headers: Headers
    is_of_page: bool
    client: str

    is_websocket: bool = False

    @property
    def is_preflight(self) -> bool:
        return self.method == "OPTIONS" and "access-control-request-method" in self.headers


class Gate:
    """ASGI middleware around the whole application: `app.add_middleware(Gate, ...)`.

    In this order: the Host header (DNS rebinding), Origin and Sec-Fetch-Site (pages of other sites), the API
    key, the size and speed of the body. Every answer gets security headers and those that say what runs, and
    is counted, with how it was refused if it was. An exception that nothing within handles becomes an answer
    with status 500.

    A WebSocket has to pass the same checks before it is accepted. Since a browser cannot give one a key, one
    without `Authorization` passes: `has_key` in its state is then False, and the application asks for it.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        metrics: Metrics,
        page_paths: Collection[str] = ("/",),
        queue_paths: Collection[str] = (),
        websocket_paths: Collection[str] = (),
        patience: Patience | None = None,
        every_answer: Callable[[], Mapping[str, str]] = dict,
        queue: Queue | None = None,
    ) -> None:
        """page_paths: the page and its files, which need no key, no more than /health does.

        queue_paths: whose requests want a place in the queue. websocket_paths: all others are no WebSockets.
        every_answer: gives headers of each answer.
        """
        self._app = app
        self._metrics = metrics
        self._page_paths = frozenset(page_paths)
        self._queue_paths = frozenset(queue_paths)
        self._websocket_paths = frozenset(websocket_paths)
        self._patience = patience or Patience()
        self._limit = settings.max_upload_bytes
        self._hosts = KnownHosts(settings.host, settings.allowed_hosts)
        self._every_origin = "*" in settings.allowed_origins
        self._origins = {Origin.parse(text) for text in settings.allowed_origins} - {None}
        self._key = None if settings.api_key is None else ApiKey(settings.api_key)
        self._every_answer = every_answer
        self._queue = queue or Queue(settings.max_queue)
        self._most_bodies = settings.max_queue + 1 + BEING_SENT
        self._most_of_one = settings.max_queue + 1 + BEING_SENT // 2
        self._bodies: Counter[str] = Counter()  # requests with a body under way, by client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with self._metrics.in_flight():
                await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._open(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path = scope["path"]
        asking = _Asking(
            scope["method"], path, scope["scheme"], headers, path in self._page_paths, client_of(scope)
        )
        has_body = headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers
        body = IncomingBody(receive, has_body, self._limit, self._patience)
        answer = _Answer(
            send, body, asking, self._is_guest(asking), self._every_answer(), scope.get("http_version", "1.1")
        )
        state = scope.setdefault("state", {})
        counted = False
        try:
            refusal = self._refusal(asking, has_body)
            if refusal is not None:
                await self._refuse(scope, answer, refusal)
            elif asking.is_preflight:
                await answer.pass_on_whole(_preflight(headers))
            else:
                if has_body:
                    counted = True
                    self._bodies[asking.client] += 1
                await self._run(scope, body, answer)
        finally:
            if counted:
                self._bodies -= Counter([asking.client])
            if answer.status is None:
                refusal_of(ClientGoneError()).note(scope)
            self._metrics.request(path, answer.status or CLIENT_GONE)
            if "refused" in state:
                self._metrics.error(state["refused"])

    async def _run(self, scope: Scope, body: IncomingBody, answer: _Answer) -> None:
        try:
            await self._app(scope, body.receive, answer.send)
        except Exception as error:
            if answer.status is not None:
                raise  # nothing can be said any more: the server closes the connection
            if not body.is_cut_off:
                await self._refuse(scope, answer, refusal_of(error))
        if answer.status is None and body.ending is Ending.TOO_LARGE:
            await self._refuse(scope, answer, self._too_large())
        elif answer.status is None and body.ending is Ending.TOO_SLOW:
            await self._refuse(scope, answer, _too_slow())

    async def _refuse(self, scope: Scope, answer: _Answer, refusal: Refusal) -> None:
        refusal.note(scope)
        await answer.pass_on_whole(refusal.response())

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket."""
        headers, path = Headers(scope=scope), scope["path"]
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        asking = _Asking("GET", path, scheme, headers, False, client_of(scope), is_websocket=True)
        is_guest = self._is_guest(asking)
        state = scope.setdefault("state", {})
        refusal = self._websocket_refusal(asking, bool(scope.get("query_string")))
        status = 101 if refusal is None else refusal.status

        async def marked(message: Message) -> None:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                given = list(message.get("headers", []))
                raw = _with_ours(given, asking, is_guest, self._every_answer(), status)
                message = {**message, "headers": raw}
            await send(message)

        try:
            if refusal is None:
                state["has_key"] = self._key is None or "authorization" in headers
                await self._app(scope, receive, marked)
            else:
                refusal.note(scope)
                await _reject(scope, marked, refusal)
        finally:
            self._metrics.request(path, status)
            if "refused" in state:
                self._metrics.error(state["refused"])

    def _websocket_refusal(self, asking: _Asking, has_query: bool) -> Refusal | None:
        return (
            self._wrong_host(asking)
            or self._wrong_origin(asking)
            or (self._wrong_key(asking) if "authorization" in asking.headers else None)
            or self._no_websocket(asking)
            or (_OPTIONS_IN_ADDRESS if has_query else None)
        )

    def _no_websocket(self, asking: _Asking) -> Refusal | None:
        if asking.path in self._websocket_paths:
            return None
        there = ", ".join(sorted(self._websocket_paths)) or "nowhere"
        return Refusal(404, f"there is no WebSocket at this address; there is one at {there}", "request")

    def _refusal(self, asking: _Asking, has_body: bool) -> Refusal | None:
        return (
            self._wrong_host(asking)
            or self._wrong_origin(asking)
            or self._wrong_key(asking)
            or self._wrong_length(asking)
            or (self._no_place(asking) if has_body else None)
        )

    def _wrong_host(self, asking: _Asking) -> Refusal | None:
        given = asking.headers.getlist("host")
        host = Host.parse(given[0]) if len(given) == 1 else None
        if host is None:
            return Refusal(
                400, "the request must have one Host header, with a name or address", "host", code="bad_host"
            )
        if host in self._hosts:
            return None
        return Refusal(
            421,
            f"this server does not answer to the name {_quoted(host.name)}; if it is its name, start it with "
            f"--allowed_hosts {_quoted(host.name)}",
            "host",
            code="host_not_allowed",
        )

    def _is_guest(self, asking: _Asking) -> bool:
        """Whether a page of another site asks that may."""
        given = asking.headers.getlist("origin")
        if len(given) != 1:
            return False
        origin = Origin.parse(given[0])
        return origin is not None and (self._every_origin or origin in self._origins)

    def _wrong_origin(self, asking: _Asking) -> Refusal | None:
        given = asking.headers.getlist("origin")
        site = asking.headers.get("sec-fetch-site")
        if self._is_guest(asking) or (
            site in (None, "same-origin", "none") and self._is_own(asking, given, site)
        ):
            return None
        is_link = asking.headers.get("sec-fetch-mode") == "navigate" and asking.method in ("GET", "HEAD")
        if is_link and asking.is_of_page and not given:
            return None  # it gives the other site nothing, and asks for nothing
        origin = Origin.parse(given[0]) if len(given) == 1 else None
        name = _quoted(given[0]) if origin else "another site"
        to_allow = name if origin else "and the page's origin, such as https://example.com"
        return Refusal(
            403,
            f"a web page of {name} may not use this server; to let it, start the server with "
            f"--allowed_origins {to_allow}",
            "origin",
            code="origin_not_allowed",
        )

    def _is_own(self, asking: _Asking, given: list[str], site: str | None) -> bool:
        if not given:
            return True
        origin = Origin.parse(given[0]) if len(given) == 1 else None
        host = Host.parse(asking.headers["host"])
        if origin is None or host is None or not origin.is_at(host):
            return False
        # Behind a proxy with TLS the schemes differ; then the browser, which knows both, must say so. Of a
        # WebSocket not every browser does, but a page at https has this very name from that proxy.
        is_behind_proxy = asking.is_websocket and origin.scheme == "https"
        return origin.scheme == asking.scheme or site == "same-origin" or is_behind_proxy

    def _wrong_key(self, asking: _Asking) -> Refusal | None:
        is_open = asking.is_of_page or asking.path == "/health" or asking.is_preflight
        if self._key is None or is_open:
            return None
        given = asking.headers.getlist("authorization")
        scheme, _, key = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
        if self._key.is_it(key.strip()) and scheme.lower() == "bearer":
            return None
        return wrong_key(is_given=bool(key), how="send the header `Authorization: Bearer KEY`")

    def _wrong_length(self, asking: _Asking) -> Refusal | None:
        given = asking.headers.getlist("content-length")
        if not given:
            return None
        digits = given[0].strip()
        is_number = digits.isascii() and digits.isdigit()
        if len(given) > 1 or not is_number or "transfer-encoding" in asking.headers:
            return Refusal(
                400,
                "Content-Length must be one number, and without Transfer-Encoding",
                "body",
                code="bad_length",
            )
        if len(digits) > 18 or int(digits) > self._limit:
            return self._too_large()
        return None

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"the request's body is larger than the {self._limit / 1e6:g} MB that this server takes "
            "(--max_upload_mb)",
            "body",
            code="body_too_large",
        )

    def _no_place(self, asking: _Asking) -> Refusal | None:
        """Told before the body is sent: it may have 200 MB."""
        if asking.path in self._queue_paths:
            full = self._queue.full_for(asking.client)
            if full is not None:
                return refusal_of(full)
        everybody, own = self._bodies.total(), self._bodies[asking.client]
        if everybody < self._most_bodies and own < self._most_of_one:
            return None
        return Refusal(
            429,
            f"too many requests are under way: {everybody}, at most {self._most_bodies} may be, and {own} of "
            f"this client, at most {self._most_of_one} may be",
            "busy",
            code="too_many_requests",
            headers={"Retry-After": str(self._queue.seconds_to_next())},
        )


class _Answer:
    """Stands between the application and the server's `send`."""

    def __init__(
        self,
        send: Send,
        body: IncomingBody,
        asking: _Asking,
        is_guest: bool,
        every_answer: Mapping[str, str],
        http_version: str,
    ) -> None:
        self._send = send
        self._body = body
        self._asking = asking
        self._is_guest = is_guest
        self._every_answer = every_answer
        self._http_version = http_version
        self.status: int | None = None  # None: nothing is said yet

    async def send(self, message: Message) -> None:
        """For the application; what it says first to a client that it takes for gone reaches nobody."""
        if self._body.is_cut_off and self.status is None:
            return
        await self._pass_on(message)

    async def pass_on_whole(self, response: Response) -> None:
        head = {"status": response.status_code, "headers": response.raw_headers}
        await self._pass_on({"type": "http.response.start", **head})
        await self._pass_on({"type": "http.response.body", "body": response.body})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given, status = list(message.get("headers", [])), message["status"]
            raw = _with_ours(given, self._asking, self._is_guest, self._every_answer, status)
            if self._body.may_go_on and self._http_version.startswith("1"):
                # Else the rest of the body would be read to its end, if it has one.
                raw.append((b"connection", b"close"))
            message = {**message, "headers": raw}
        elif (
            message["type"] == "http.response.body"
            and not message.get("more_body", False)
            and self._body.may_go_on
        ):
            await self._send({**message, "more_body": True})
            await self._body.take_in_the_rest()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def _with_ours(
    raw: list[tuple[bytes, bytes]],
    asking: _Asking,
    is_guest: bool,
    every_answer: Mapping[str, str],
    status: int,
) -> list[tuple[bytes, bytes]]:
    headers = MutableHeaders(raw=raw)
    headers.update(every_answer)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "cross-origin" if is_guest else "same-origin"
    if is_guest:
        headers["Access-Control-Allow-Origin"] = asking.headers["origin"]
        headers["Access-Control-Expose-Headers"] = EXPOSED
    headers.add_vary_header("Origin")
    if not asking.is_of_page or status >= 400:
        headers["Cache-Control"] = "no-store"
    return headers.raw


async def _reject(scope: Scope, send: Send, refusal: Refusal) -> None:
    """The answer to a WebSocket that is not accepted."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})  # policy violation (RFC 6455, 7.4.1)
        return
    response = refusal.response()
    # The server counts the length itself, and some add theirs to ours.
    raw = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    await send({"type": "websocket.http.response.start", "status": response.status_code, "headers": raw})
    await send({"type": "websocket.http.response.body", "body": response.body})


def _preflight(headers: Headers) -> Response:
    """What a page of an allowed origin may send."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "Authorization"),
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=allowed)


def _too_slow() -> Refusal:
    return Refusal(408, "the request's body came too slowly, or not at all", "body", code="body_too_slow")


def _quoted(text: str) -> str:
    return shown(text if len(text) <= 100 else text[:97] + "...")
