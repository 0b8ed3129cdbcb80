"""A client's connection: uvicorn's own, which gives up on clients that say nothing, or do not listen."""

from __future__ import annotations

import json
import logging
import resource
import socket
import struct
from asyncio import AbstractEventLoop, TimerHandle, Transport
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from whisper_npu.apps.server.refusals import Refusal
from whisper_npu.errors import one_line

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

LOG = logging.getLogger(__name__)
FILES_TO_SPARE = 32  # descriptors that are no connection's: the model's, the device's, those of libraries
MOST_UNREAD = 2**16  # bytes that a client has not taken, with which it gets no more pongs
FIRST_PROBE, LAST_PROBE = 0.25, 30.0  # seconds until a client that sends no more is asked whether it is there

_NO_HTTP = Refusal(400, "this is no HTTP request that the server can read", "request", code="bad_http")
_TOO_MANY = Refusal(
    503,
    "too many connections are open; close those that are idle, or ask again later",
    "busy",
    code="too_many_connections",
    headers={"Retry-After": "5"},
)


class Connection(H11Protocol):
    """For `uvicorn.Config(http=Connection)`.

    uvicorn closes a connection that is idle between two requests, but waits for ever for the first request,
    for the rest of a head that has begun, and for a client that does not read its answer. Whoever opens
    connections and says little would use up the process' files. IncomingBody takes care of bodies.
    """

    head_seconds = 30.0
    rest_seconds = 2.0  # in which what is still sent to one that is refused is taken in
    stall_seconds = 60.0  # in which a client takes nothing of an answer that waits for it
    _is_refused = False  # it has got its last answer, and what it still sends is not looked at
    _is_half_closed = False  # the client sends nothing more, and may still listen
    _is_upgraded = False  # it is a LiveConnection's

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self._head, self._probing = _Timer(self.loop), _Timer(self.loop)
        self._stall = _Stall(self.loop, transport)
        transport.set_write_buffer_limits(0)  # so that pause_writing tells of all that waits
        if len(self.connections) > most_connections():
            self._say(_TOO_MANY)
            transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if not self._is_refused:
            self._watch()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio has None mean False
        """A client that has sent a whole request may shut down its side, and still gets the answer.

        One that has closed its socket looks the same. They are told apart by an interim answer, which every
        HTTP/1.1 client reads past (RFC 9110, 15.2): where nobody listens it is answered by a reset, and the
        next one fails. An answer that has begun is a stream of events: it is told to say something often.
        """
        has_all = self._is_answering and not self.cycle.more_body and not self._is_refused
        if not has_all or self.scope["http_version"] != "1.1":
            return False  # the connection is closed, and the request is one whose client has gone
        if not self._is_half_closed:
            self._is_half_closed = True
            self._begin_to_probe()
        return True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_half_closed:
            if self._is_answering:  # the next one that it had sent
                self._begin_to_probe()
            else:
                self.timeout_keep_alive_handler()  # no other request can come

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall.start(self.stall_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stall.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._is_upgraded = True
        self._stop_timers()
        super().handle_websocket_upgrade(event)

    def _stop_timers(self) -> None:
        for timer in (self._head, self._stall, self._probing):
            timer.stop()

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP: uvicorn's answer is plain text, and fails where another one has begun.

        A connection that is closed while bytes come in is reset, and the client may lose the answer
        (RFC 9112, 9.6): they are taken in for a while.
        """
        self._say(_NO_HTTP)
        if not self.transport.is_closing():
            self._is_refused = True
            self.transport.write_eof()
            self._head.start(self.rest_seconds, self.transport.close)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_answering or self._is_upgraded:
            self._head.stop()
        elif not self._head.runs:
            self._head.start(self.head_seconds, self._give_up)

    def _give_up(self) -> None:
        if not self._is_answering:
            self.timeout_keep_alive_handler()

    def _begin_to_probe(self) -> None:
        self.scope["state"]["half_closed"] = True  # for the stream of events, if it is one
        self._probe(FIRST_PROBE)

    def _probe(self, next_one: float) -> None:
        if self.transport.is_closing() or not self._is_answering or self.cycle.response_started:
            return
        interim = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
        self.transport.write(self.conn.send(interim) or b"")
        self._probing.start(next_one, lambda: self._probe(min(2 * next_one, LAST_PROBE)))

    def _say(self, refusal: Refusal) -> None:
        """The last answer, which is no application's, if none has begun."""
        LOG.info("%s %d", refusal.code, refusal.status)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            content = json.dumps(refusal.body).encode()
            headers = {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                "Connection": "close",
                **refusal.headers,
            }
            response = h11.Response(status_code=refusal.status, headers=[*headers.items()])
            for event in (response, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self._is_answering:
            self.cycle.disconnected = True  # nothing that the application says can be sent any more
            self.cycle.message_event.set()


class LiveConnection(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=LiveConnection)`: a WebSocket, which waits for a client that does not read.

    Not for ever: as with an answer, the connection is then reset.
    """

    rest_seconds = 2.0  # as in Connection
    stall_seconds = 60.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in Connection
        super().connection_made(transport)
        self._stall = _Stall(self.loop, transport)
        self._message = bytearray()  # that comes in pieces

    def data_received(self, data: bytes) -> None:
        """The first data are a whole head; uvicorn leaves one alone of which websockets makes nothing."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self._refuse(_NO_HTTP)

    def handle_connect(self, event: Request) -> None:
        """What websockets itself refuses has an answer in OpenAI's form too."""
        response = self.conn.accept(event)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            super().handle_connect(event)
            return
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        message = one_line(Exception((response.body or b"").decode("ascii", "replace")))
        headers = {name: value for name, value in response.headers.raw_items() if name.lower() == "upgrade"}
        headers["Sec-WebSocket-Version"] = "13"  # which would be right: RFC 6455, 4.4
        self._refuse(Refusal(response.status_code, message, "request", code="bad_handshake", headers=headers))

    def handle_ping(self) -> None:
        """Whoever reads no pongs gets no more of them; RFC 6455, 5.5.3, lets a pong be left out."""
        pongs = b"".join(self.conn.data_to_send())
        if self.transport.get_write_buffer_size() < MOST_UNREAD:
            self.transport.write(pongs)

    def handle_cont(self, event: Frame) -> None:
        """A piece of a message, joined to those before: a list of empty ones would have no end."""
        if self.frames:
            self._message = bytearray(self.frames.pop())
        self._message += event.data
        if event.fin:
            self.frames = [bytes(self._message)]
            self._message.clear()
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Text that is none ends it; uvicorn would log a traceback for it."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.conn.send_close(1007)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """The connection is closed; what is still sent is taken in for a while.

        A connection that is closed while bytes come in is reset, and the client may never see why.
        """
        if self.close_sent:
            return
        self.close_sent = True
        closing = self.conn.close_sent
        assert closing is not None
        gone = {"type": "websocket.disconnect", "code": closing.code, "reason": closing.reason}
        self.queue.put_nowait(gone)  # type: ignore[arg-type]  # a dict of uvicorn's own
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.rest_seconds, self.transport.close)

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # by a refusal; uvicorn would log that there was none

    def _refuse(self, refusal: Refusal) -> None:
        LOG.info("%s %d", refusal.code, refusal.status)
        self.transport.write(_whole(refusal))
        self.transport.close()

    def pause_writing(self) -> None:
        self.writable.clear()  # not all versions of uvicorn do so
        self._stall.start(self.stall_seconds)

    def resume_writing(self) -> None:
        self._stall.stop()
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stall.stop()
        super().connection_lost(exc)
        self.writable.set()  # whoever waits is told that the client has gone


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _whole(refusal: Refusal) -> bytes:
    """As HTTP's answer on a connection that then is closed."""
    content = json.dumps(refusal.body).encode()
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in refusal.headers.items()),
    )
    return "\r\n".join([*head, "", ""]).encode() + content


def most_connections() -> int:
    """How many may be open at a time: each may bring a recording, which is a file too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, files // 2 - FILES_TO_SPARE)


class _Timer:
    """Calls once after a while, unless it is stopped or started again before."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, call: Callable[[], None]) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, self._ring, call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self, call: Callable[[], None]) -> None:
        self._handle = None
        call()


class _Stall:
    """Resets a connection whose client takes nothing of what waits for it."""

    def __init__(self, loop: AbstractEventLoop, transport: Transport) -> None:
        self._timer, self._transport = _Timer(loop), transport
        self._unsent = 0  # bytes when the client was looked after last

    def start(self, seconds: float) -> None:
        """To be called when something waits; the client must have taken some of it after so long."""
        self._unsent = self._transport.get_write_buffer_size()
        self._timer.start(seconds, lambda: self._check(seconds))

    def stop(self) -> None:
        self._timer.stop()

    def _check(self, seconds: float) -> None:
        before, unsent = self._unsent, self._transport.get_write_buffer_size()
        if unsent < before:
            self.start(seconds)
            return
        sock: socket.socket = self._transport.get_extra_info("socket")
        # A reset, or the kernel would keep what is unsent, and go on offering it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
