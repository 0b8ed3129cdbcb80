"""Sound that has come in, and is not listened to yet.

A client that sends faster than the work goes on must be read all the same: its pings and its goodbye come
behind the sound. As bytes in one piece, however small the messages were, sound takes no more memory than it
has bytes.
"""

from __future__ import annotations

import asyncio


class ReadAhead:
    """For one event loop: one task puts in what comes, another one takes it out."""

    def __init__(self, most: int) -> None:
        """most: bytes that may wait, one message more at the utmost."""
        self._most = most
        self._waiting = bytearray()
        self._has_ended = False
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._waiting)

    async def put(self, sound: bytes) -> None:
        """Waits while too much waits. After `end` it is dropped."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._waiting) < self._most or self._has_ended)
            if not self._has_ended:
                self._waiting += sound
                self._changed.notify_all()

    async def take(self, most: int) -> bytes:
        """At most so many bytes, once there are some; none when it has ended, and all are taken."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._has_ended)
            sound = bytes(self._waiting[:most])
            del self._waiting[:most]
            self._changed.notify_all()
            return sound

    async def end(self) -> None:
        """Nothing more comes."""
        async with self._changed:
            self._has_ended = True
            self._changed.notify_all()
