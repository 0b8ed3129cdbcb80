"""uvicorn in front of the application: where it listens, and how it ends."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from whisper_npu.apps.server.connection import Connection, LiveConnection
from whisper_npu.apps.server.live_messages import LONGEST_MESSAGE
from whisper_npu.apps.server.live_work import LiveWork
from whisper_npu.apps.server.work import Service
from whisper_npu.errors import WhisperNpuError, shown

SECONDS_TO_END = 5  # for answers that are being sent when the server is told to end


class ListenError(WhisperNpuError):
    """An address at which this process cannot listen."""


class Server(uvicorn.Server):
    """When it is told to end, it ends the work on all requests: it does not wait for them."""

    def __init__(self, app: FastAPI, on_started: Callable[[], None]) -> None:
        """on_started: called once connections are taken."""
        self._service: Service = app.state.service
        self._live: LiveWork = app.state.live
        self._on_started = on_started
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                log_config=None,
                access_log=False,  # ours says how long it took
                server_header=False,
                proxy_headers=False,  # anybody can send them, and the queue is fair by address
                ws=LiveConnection,
                ws_max_size=LONGEST_MESSAGE,
                ws_ping_timeout=None,  # while a client is slowed down, its pongs are not read
                ws_per_message_deflate=False,  # sound gains nothing by it, and a bomb a lot
                timeout_graceful_shutdown=SECONDS_TO_END,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop()
        await self._live.goodbye()
        await super().shutdown(sockets)

    @property
    def at_work(self) -> bool:
        """Whether, at the end, a thread is in a call that could not be interrupted."""
        return self._service.at_work


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address and does not listen yet. Raises ListenError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(f"--host {shown(host)}: there is no such address or name") from error
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else it is taken for a minute at its end
        made.bind(address)
    except OSError as error:
        made.close()
        raise ListenError(_reason(error, host, port)) from error
    return made


def _reason(error: OSError, host: str, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"--port {port} is in use on {shown(host)}; take another, or 0 for a free one"
        case errno.EACCES | errno.EPERM:
            return f"--port {port} may not be used by this user; take one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"--host {shown(host)} is not an address of this machine; 0.0.0.0 is all of them"
    return f"--host {shown(host)} --port {port} cannot be used: {error.strerror}"
