"""One line for each request and live session: what was asked for and how it ended, not what was said."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whisper_npu.apps.server.refusals import CLIENT_GONE
from whisper_npu.errors import shown

LOG = logging.getLogger(__name__)
LONGEST_PATH = 200  # characters
LONGEST_METHOD = 20


class LogFormatter(logging.Formatter):
    """Each record with its time, and nothing in it that could pass for another record or move the cursor.

    What a client sent may stand in a traceback: its lines are indented, and controls are escaped.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return "\n  ".join(shown(line) for line in super().format(record).splitlines())


class RequestLog:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        status = CLIENT_GONE  # unless an answer begins
        state = scope.setdefault("state", {})

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.close":
                status = message.get("code", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            pass  # uvicorn ends, and would print a traceback
        except Exception:
            status = 500
            raise
        finally:
            status = state.get("closed", status)  # by the server under a WebSocket, for what came
            LOG.info("%s", _line(scope, status, perf_counter() - start, state.get("audio_seconds")))


def _line(scope: Scope, status: int, seconds: float, audio_seconds: float | None) -> str:
    audio = "" if audio_seconds is None else f", {audio_seconds:.1f} s of audio"
    method = scope.get("method", "WEBSOCKET")
    asked = f"{method[:LONGEST_METHOD]} {scope['path'][:LONGEST_PATH]}"
    return f"{shown(asked)} {status} {seconds:.3f} s{audio}"
