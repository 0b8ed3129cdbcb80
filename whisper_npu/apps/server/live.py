"""Somebody who speaks live: a WebSocket with sound coming in, and lines going out.

Three tasks share a session of the live engine. One reads: it takes messages in, ahead of the work, so that
it knows at once when a client has gone, and pings are answered. One hears: it gives the session what was
read, no faster than the work keeps up. The last one tells: it takes work out of the session, has it done in
the device's queue, and sends the line. When all is told, or one of them fails, the others are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from whisper_npu.apps.json_line import json_line
from whisper_npu.apps.line_message import line_message
from whisper_npu.apps.server.addresses import client_of
from whisper_npu.apps.server.key import ApiKey, wrong_key
from whisper_npu.apps.server.live_messages import (
    BYTES_PER_SAMPLE,
    LONGEST_MESSAGE,
    Close,
    End,
    Heard,
    MessageError,
    Start,
    close_of,
    done,
    error_message,
    read_sound,
    read_text,
    ready,
    samples_of,
)
from whisper_npu.apps.server.live_work import LiveWork
from whisper_npu.apps.server.read_ahead import ReadAhead
from whisper_npu.apps.server.refusals import ClientGoneError, Refusal, refusal_of
from whisper_npu.apps.server.served import Served
from whisper_npu.apps.server.work import Spent
from whisper_npu.audio import SAMPLE_RATE
from whisper_npu.live.feeding import AHEAD
from whisper_npu.live.session import Session
from whisper_npu.npu.device import Device

PATH = "/v1/listen"
# What sending to a client raises that has gone, or takes nothing.
_NOBODY_THERE = (WebSocketDisconnect, OSError, RuntimeError, asyncio.TimeoutError)
_NUMBERS = count(1)  # so that each session is a client of its own to the queue
_BYTES_PER_SECOND = BYTES_PER_SAMPLE * SAMPLE_RATE
_PIECE = _BYTES_PER_SECOND  # bytes of sound heard at once, so that sessions share the thread that hears


@dataclass(frozen=True)
class LivePatience:
    """Seconds."""

    start: float = 10.0  # for the message that has the key, where one is needed
    silence: float = 60.0  # without any message: the client has gone, and nobody has said so
    behind: float = AHEAD  # of speech that waits for the device, before no more is listened to
    ahead: float = 1000.0  # of sound that waits to be listened to, before no more is read: 32 MB
    send: float = 60.0  # in which a client takes nothing of what is sent to it


class _RefusedError(Exception):
    """Ends a session with this refusal."""

    def __init__(self, refusal: Refusal, close: Close) -> None:
        super().__init__(refusal.message)
        self.refusal, self.close = refusal, close


class _SilenceError(MessageError):
    """No message came for too long."""


async def no_websocket(request: Request) -> Response:
    """Whatever else is asked for at PATH."""
    message = f"this address is a WebSocket: connect to it with ws: or wss:, such as ws://HOST:PORT{PATH}"
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}  # RFC 9110, 15.5.22
    refusal = Refusal(426, message, "request", code="websocket_needed", headers=upgrade)
    refusal.note(request.scope)
    return refusal.response()


async def listen(websocket: WebSocket) -> None:
    """The route at PATH. The gate has looked at who asks."""
    state = websocket.app.state
    await Conversation(websocket, state.live, state.served, state.live_patience).run()


class Conversation:
    """One WebSocket, from its first message to its last."""

    def __init__(self, websocket: WebSocket, work: LiveWork, served: Served, patience: LivePatience) -> None:
        self._websocket, self._served, self._patience = websocket, served, patience
        self._work, self._service = work, work.service
        self._client = f"{client_of(websocket.scope)} live {next(_NUMBERS)}"
        self._news = asyncio.Event()  # the session may have work
        self._caught_up = asyncio.Event()  # some work is done
        self._is_open = True
        self._is_too_long = False
        self._spent = Spent()

    async def run(self) -> None:
        with self._work.conversation():
            await self._websocket.accept()
            try:
                await self._service.unless_stopped(self._talk())
                await self._close(Close.DONE)
            except Exception as error:
                await self._end(error)

    async def _talk(self) -> None:
        start, first = await self._started()
        with self._work.session():
            await self._service.read(lambda: self._service.model.check(start.options))
            session = Session(start.options, start.live)
            await self._send(ready(self._served.id, self._device))
            await self._listen(session, first)
            if self._is_too_long:
                limit = self._service.settings.max_audio_seconds
                raise MessageError(f"a session lasts {limit:g} s at most (max_audio_seconds)", Close.POLICY)
            seconds, dispatches = self._spent.seconds, self._spent.dispatches
            await self._send(done(self._device, session.seconds_heard, seconds, dispatches))

    async def _started(self) -> tuple[Start, Heard | End | None]:
        """How to listen, and what came instead of `start`, if it was left out."""
        has_key = self._websocket.scope["state"].get("has_key", True)
        patience = self._patience
        admit = None if has_key else self._check_key
        first = await self._next(patience.silence if has_key else patience.start, "no message came", admit)
        start = first if isinstance(first, Start) else Start()
        if admit is not None and start is not first:
            admit(None)
        self._served.check(start.model)
        return start, None if isinstance(first, Start) else first

    def _check_key(self, given: str | None) -> None:
        key = ApiKey(self._service.settings.api_key or "")
        if given is None or not key.is_it(given):
            how = "send the header `Authorization: Bearer KEY`, or api_key in the message start,"
            raise _RefusedError(wrong_key(is_given=bool(given), how=how), Close.POLICY)

    async def _listen(self, session: Session, first: Heard | End | None) -> None:
        """Reads, hears and tells, until all is told. Raises what ended it otherwise."""
        ahead = ReadAhead(round(self._patience.ahead * _BYTES_PER_SECOND))
        telling = asyncio.ensure_future(self._tell(session))
        others = (self._read(session, ahead, first), self._hear(session, ahead))
        tasks = {telling, *map(asyncio.ensure_future, others)}
        pending = tasks
        try:
            while not telling.done():
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)

    # Reading.

    async def _read(self, session: Session, ahead: ReadAhead, first: Heard | End | None) -> None:
        """Does not return: once all is read, it is here that a client is missed which goes away."""
        what = first or await self._sound(session, ahead)
        while isinstance(what, Heard):
            await ahead.put(what.sound)
            what = await self._sound(session, ahead)
        if isinstance(what, Start):
            raise MessageError("start must be the first message", Close.NOT_TAKEN, "type")
        await ahead.end()
        await self._next(None, "")
        raise MessageError("nothing may come after end", Close.NOT_TAKEN, "type")

    async def _sound(self, session: Session, ahead: ReadAhead) -> Start | Heard | End:
        """The next message, which may be late while there is still something to hear or to tell."""
        while True:
            try:
                return await self._next(self._patience.silence, "no sound came")
            except _SilenceError:
                if not ahead and not session.seconds_behind:
                    raise

    async def _next(
        self, patience: float | None, otherwise: str, admit: Callable[[str | None], None] | None = None
    ) -> Start | Heard | End:
        """The next message. admit: as for `read_text`. Raises MessageError, ClientGoneError."""
        try:
            message = await asyncio.wait_for(self._websocket.receive(), patience)
        except asyncio.TimeoutError:
            raise _SilenceError(f"{otherwise} for {patience:g} s", Close.POLICY) from None
        if message["type"] == "websocket.disconnect":
            self._is_open = False
            raise self._gone(message.get("code"))
        data = message.get("bytes")
        return read_text(message["text"], admit) if data is None else read_sound(data)

    # Hearing.

    async def _hear(self, session: Session, ahead: ReadAhead) -> None:
        limit, began = self._service.settings.max_audio_seconds, monotonic()
        while not self._is_too_long and (sound := await ahead.take(_PIECE)):
            await self._work.listen(session.feed, samples_of(sound))
            self._websocket.scope["state"]["audio_seconds"] = session.seconds_heard
            self._news.set()
            self._is_too_long = max(session.seconds_heard, monotonic() - began) > limit
            while session.seconds_behind > self._patience.behind:
                self._caught_up.clear()
                await self._caught_up.wait()
        await ahead.end()  # the client may not know yet that it was too long
        await self._work.listen(session.end)
        self._news.set()

    # Telling.

    async def _tell(self, session: Session) -> None:
        """Returns when all is told."""
        while not session.is_done:
            self._news.clear()
            work = await self._work.listen(session.take)
            if work is None:
                if not session.is_done:
                    await self._news.wait()
                continue
            line, spent = await self._work.line(work, self._client)
            self._spent = self._spent + spent
            self._caught_up.set()
            if line is not None:
                await self._send(line_message(line))
        self._caught_up.set()

    async def _send(self, message: Mapping[str, Any]) -> None:
        """Raises ClientGoneError, also where it is there and takes nothing."""
        text = json_line(message)
        try:
            await asyncio.wait_for(self._websocket.send_text(text), self._patience.send)
        except _NOBODY_THERE:
            self._is_open = False
            raise ClientGoneError from None

    # The end.

    @property
    def _device(self) -> Device:
        return self._service.model.device_at_work

    async def _end(self, error: Exception) -> None:
        """Tells why, if anybody is there to hear it."""
        refusal = error.refusal if isinstance(error, _RefusedError) else refusal_of(error)
        close = error.close if isinstance(error, _RefusedError) else close_of(error, refusal)
        refusal.note(self._websocket.scope)
        if self._is_open:
            with suppress(ClientGoneError):
                await self._send(error_message(refusal))
                await self._close(close, refusal.code)

    def _gone(self, code: int | None) -> Exception:
        """Why the connection is closed already; code: with which that was."""
        if code not in (Close.PROTOCOL, Close.MALFORMED, Close.TOO_LARGE):
            return ClientGoneError()
        self._websocket.scope["state"]["closed"] = code  # for the log
        if code == Close.TOO_LARGE:
            return MessageError(f"a message has {LONGEST_MESSAGE} bytes at most", Close.TOO_LARGE)
        return MessageError("what came is no WebSocket's frame, or no UTF-8", Close(code))

    async def _close(self, code: Close, reason: str | None = None) -> None:
        with suppress(*_NOBODY_THERE):  # it may have gone in this moment
            await asyncio.wait_for(self._websocket.close(int(code), reason), self._patience.send)
