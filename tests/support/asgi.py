"""Requests to an ASGI application, as low as its messages: what no HTTP client would send, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
DISCONNECT: Message = {"type": "http.disconnect"}


@dataclass
class Reply:
    """What the application sent."""

    messages: list[Message] = field(default_factory=list)
    bytes_taken: int = 0  # of the request's body

    @property
    def status(self) -> int | None:
        return self.messages[0]["status"] if self.messages else None

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; a name that comes twice fails."""
        raw = self.messages[0]["headers"]
        found = {name.decode(): value.decode("latin-1") for name, value in raw}
        assert len(found) == len(raw), raw
        return found

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)


def chunks(*bodies: bytes) -> list[Message]:
    """A whole body in these pieces."""
    return [
        {"type": "http.request", "body": body, "more_body": index + 1 < len(bodies)}
        for index, body in enumerate(bodies)
    ]


def ask(
    app: Application,
    method: str = "GET",
    path: str = "/",
    headers: Iterable[tuple[str, str | bytes]] = (("Host", "localhost:8000"),),
    body: Iterable[Message] = (),
    scheme: str = "http",
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
) -> Reply:
    """One request in an event loop of its own; TimeoutError if the application does not end.

    body: its messages; when they are used up nothing more comes, as from a client that says nothing.
    """

    async def in_time() -> Reply:
        return await asyncio.wait_for(request(app, method, path, headers, body, scheme, client), 20)

    return asyncio.run(in_time())


async def request(
    app: Application,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str | bytes]],
    body: Iterable[Message] = (),
    scheme: str = "http",
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
) -> Reply:
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in headers
        ],
        "client": client,
        "server": ("127.0.0.1", 8000),
    }
    reply = Reply()
    left = iter(body)

    async def receive() -> Message:
        message = next(left, None)
        if message is None:
            await asyncio.Event().wait()  # for ever
            raise AssertionError
        reply.bytes_taken += len(message.get("body", b""))
        return message

    async def send(message: Message) -> None:
        reply.messages.append(message)

    await app(scope, receive, send)
    return reply
