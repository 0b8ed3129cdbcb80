"""Who may ask at all, and how much they may send: checked before the application sees a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response

from whisper_npu.apps.server.addresses import client_of
from whisper_npu.apps.server.admission import Admission, Asking
from whisper_npu.apps.server.headers import with_ours
from whisper_npu.apps.server.incoming_body import Ending, IncomingBody, Patience
from whisper_npu.apps.server.queue import Queue
from whisper_npu.apps.server.refusals import CLIENT_GONE, ClientGoneError, Refusal, refusal_of
from whisper_npu.apps.server.websocket_gate import WebSocketGate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from whisper_npu.apps.server.metrics import Metrics
    from whisper_npu.apps.server.settings import ServerSettings

BEING_SENT = 8  # requests that may send their bodies while the queue is full; of one client half as many


class Gate:
    """ASGI middleware around the whole application: `app.add_middleware(Gate, ...)`.

    In this order: the Host header (DNS rebinding), Origin and Sec-Fetch-Site (pages of other sites), the API
    key, the size and speed of the body. Every answer gets security headers and those that say what runs, and
    is counted, with how it was refused if it was. An exception that nothing within handles becomes an answer
    with status 500.

    WebSocketGate does the same for a WebSocket.
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
        self._patience = patience or Patience()
        self._limit = settings.max_upload_bytes
        self._admission = Admission(settings)
        self._websockets = WebSocketGate(app, self._admission, metrics, websocket_paths, every_answer)
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
            await self._websockets(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path = scope["path"]
        asking = Asking(
            method=scope["method"],
            path=path,
            scheme=scope["scheme"],
            headers=headers,
            is_of_page=path in self._page_paths,
            client=client_of(scope),
        )
        has_body = headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers
        body = IncomingBody(receive, has_body, self._limit, self._patience)
        answer = _Answer(
            send,
            body,
            asking,
            self._admission.is_guest(asking),
            self._every_answer(),
            scope.get("http_version", "1.1"),
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

    def _refusal(self, asking: Asking, has_body: bool) -> Refusal | None:
        return (
            self._admission.wrong_host(asking)
            or self._admission.wrong_origin(asking)
            or self._admission.wrong_key(asking)
            or self._wrong_length(asking)
            or (self._no_place(asking) if has_body else None)
        )

    def _wrong_length(self, asking: Asking) -> Refusal | None:
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

    def _no_place(self, asking: Asking) -> Refusal | None:
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
        asking: Asking,
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
            raw = with_ours(given, self._asking, self._is_guest, self._every_answer, status)
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
