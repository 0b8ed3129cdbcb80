"""Who may open a WebSocket, checked before it is accepted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from whisper_npu.apps.server.addresses import client_of
from whisper_npu.apps.server.admission import Admission, Asking
from whisper_npu.apps.server.headers import with_ours
from whisper_npu.apps.server.refusals import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from whisper_npu.apps.server.metrics import Metrics

_OPTIONS_IN_ADDRESS = Refusal(
    400, "options in the address mean nothing here; they go into the message start", "request"
)


class WebSocketGate:
    """Gate's part for them: the same checks as for a request, and the same headers.

    Since a browser cannot give one a key, one without `Authorization` passes: `has_key` in its state is then
    False, and the application asks for it.
    """

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        metrics: Metrics,
        paths: Collection[str],
        every_answer: Callable[[], Mapping[str, str]],
    ) -> None:
        """paths: all others are no WebSockets. every_answer: gives headers of each answer."""
        self._app = app
        self._admission = admission
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._every_answer = every_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        scheme = "https" if scope.get("scheme") == "wss" else "http"
        asking = Asking(
            method="GET",
            path=path,
            scheme=scheme,
            headers=headers,
            is_of_page=False,
            client=client_of(scope),
            is_websocket=True,
        )
        is_guest = self._admission.is_guest(asking)
        state = scope.setdefault("state", {})
        refusal = self._refusal(asking, has_query=bool(scope.get("query_string")))
        status = 101 if refusal is None else refusal.status

        async def marked(message: Message) -> None:
            if message["type"] in ("websocket.accept", "websocket.http.response.start"):
                given = list(message.get("headers", []))
                raw = with_ours(given, asking, is_guest, self._every_answer(), status)
                message = {**message, "headers": raw}
            await send(message)

        try:
            if refusal is None:
                state["has_key"] = not self._admission.needs_key or "authorization" in headers
                await self._app(scope, receive, marked)
            else:
                refusal.note(scope)
                await _reject(scope, marked, refusal)
        finally:
            self._metrics.request(path, status)
            if "refused" in state:
                self._metrics.error(state["refused"])

    def _refusal(self, asking: Asking, *, has_query: bool) -> Refusal | None:
        return (
            self._admission.wrong_host(asking)
            or self._admission.wrong_origin(asking)
            or (self._admission.wrong_key(asking) if "authorization" in asking.headers else None)
            or self._no_websocket(asking)
            or (_OPTIONS_IN_ADDRESS if has_query else None)
        )

    def _no_websocket(self, asking: Asking) -> Refusal | None:
        if asking.path in self._paths:
            return None
        there = ", ".join(sorted(self._paths)) or "nowhere"
        return Refusal(404, f"there is no WebSocket at this address; there is one at {there}", "request")


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
