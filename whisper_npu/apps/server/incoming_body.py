"""A request's body as it arrives: no larger than allowed, and not for ever."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive


class Ending(Enum):
    """How it is with a body."""

    OPEN = "more is to come"
    COMPLETE = "all of it is here"
    GONE = "the client went away"
    TOO_LARGE = "it has more bytes than allowed"
    TOO_SLOW = "its bytes come too slowly"


@dataclass(frozen=True)
class Patience:
    """How long to wait for a client's bytes; time in which nobody asked for them is not counted."""

    silence: float = 30.0  # seconds without a byte
    start: float = 60.0  # seconds in all, before a slow body counts as too slow
    bytes_per_second: float = 1000.0  # and what it must bring on top
    rest: float = 4.0  # seconds to take in what is sent to a request that is refused
    rest_silence: float = 2.0


class IncomingBody:
    """Stands between the application and the server's `receive`.

    A body that is too large or too slow looks to the application as if the client had gone away: it ends its
    work by the way that it needs anyway, and `ending` says what it was.
    """

    def __init__(self, receive: Receive, has_body: bool, limit: int, patience: Patience) -> None:
        """limit: in bytes."""
        self._receive = receive
        self._limit = limit
        self._patience = patience
        self._bytes = 0
        self._waited = 0.0  # seconds
        self.ending = Ending.OPEN if has_body else Ending.COMPLETE

    @property
    def is_cut_off(self) -> bool:
        """Whether the application was told that the client is gone."""
        return self.ending not in (Ending.OPEN, Ending.COMPLETE)

    @property
    def may_go_on(self) -> bool:
        """Whether the client may still be sending."""
        return self.ending not in (Ending.COMPLETE, Ending.GONE)

    async def receive(self) -> Message:
        if self.ending is Ending.OPEN:
            return await self._next()
        if self.ending is Ending.COMPLETE:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.ending = Ending.GONE
            return message
        return {"type": "http.disconnect"}

    async def _next(self) -> Message:
        patience = self._patience
        left = patience.start + self._bytes / patience.bytes_per_second - self._waited
        asked = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), min(patience.silence, left))
        except asyncio.TimeoutError:
            self.ending = Ending.TOO_SLOW
            return {"type": "http.disconnect"}
        self._waited += time.monotonic() - asked
        if message["type"] == "http.disconnect":
            self.ending = Ending.GONE
            return message
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limit:
            self.ending = Ending.TOO_LARGE
            return {"type": "http.disconnect"}
        if not message.get("more_body", False):
            self.ending = Ending.COMPLETE
        return message

    async def take_in_the_rest(self) -> None:
        """Reads and forgets what is still sent, for a while.

        A connection that is closed while bytes come in is reset, and many clients then lose the answer that
        they already have (RFC 9112, 9.6).
        """
        if self.ending in (Ending.COMPLETE, Ending.GONE, Ending.TOO_SLOW):
            return
        end = time.monotonic() + self._patience.rest
        while (left := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), min(left, self._patience.rest_silence))
            except asyncio.TimeoutError:
                return
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return
