"""One device and many who want it: a fair queue with a bounded length."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil

from whisper_npu.errors import WhisperNpuError

FIRST_GUESS = 5.0  # seconds of a turn, before one has ended
NEWEST = 0.25  # how much the newest turn counts in the estimate of the next one


class QueueFullError(WhisperNpuError):
    """No place is left for this client."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds  # when a place is likely to be free; at least 1


@dataclass(eq=False)
class _Waiter:
    """One request: it waits, then has its turn."""

    client: str
    since: float
    position: int = 0  # turns that end before its own begins; 0: it is its turn
    news: asyncio.Event = field(default_factory=asyncio.Event)  # the position changed, or it is refused
    refused: QueueFullError | None = None  # its place is another client's
    is_promised: bool = False  # its place is nobody else's


class Queue:
    """Hands the device to one request at a time.

    Clients take turns, and the requests of one client are served in the order of their arrival: while a
    client waits, every other one gets at most one turn before it. At most `max_waiting` requests wait. A
    client may have all of these places while nobody else wants one; from a full queue the newest request of
    the client with the most has to leave for one of a client that, with it, has fewer.

    A turn that was promised waits in addition to those, and cannot lose its place.

    For one event loop, and to be called within it only.
    """

    def __init__(
        self,
        max_waiting: int,
        on_waited: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """on_waited: told how many seconds a request waited, when its turn begins."""
        self._max_waiting = max_waiting
        self._on_waited = on_waited
        self._clock = clock
        self._clients: dict[str, deque[_Waiter]] = {}  # those that wait; the first one has the next turn
        self._at_work: _Waiter | None = None
        self._began = 0.0  # when the turn did that is under way
        self._usual = FIRST_GUESS  # seconds of a turn
        self.wanted = asyncio.Event()  # set while somebody waits: whoever works on less may give way

    @property
    def waiting(self) -> int:
        """How many requests wait; the one that has its turn is not among them."""
        return sum(map(len, self._clients.values()))

    @property
    def _places_taken(self) -> int:
        return sum(map(_places, self._clients.values()))

    @property
    def busy(self) -> bool:
        return self._at_work is not None

    @asynccontextmanager
    async def turn(
        self,
        client: str,
        on_position: Callable[[int], None] | None = None,
        *,
        is_promised: bool = False,
    ) -> AsyncIterator[None]:
        """The device is the caller's within the block; the next one gets it however the block ends.

        on_position: told, in the caller's own task, how many turns end before its own begins: whenever that
        changes (a newcomer may raise it), and 0 when the turn is there.
        is_promised: the caller sees to it that there are few of these, and gets a place in any case.

        Raises QueueFullError.
        """
        mine = self._enter(_Waiter(client, self._clock(), is_promised=is_promised))
        try:
            told = None
            while True:
                if on_position is not None and mine.refused is None and mine.position != told:
                    told = mine.position
                    on_position(told)
                if self._at_work is mine:
                    break
                if mine.refused is not None:
                    raise mine.refused
                mine.news.clear()
                await mine.news.wait()
            if self._on_waited is not None:
                self._on_waited(self._clock() - mine.since)
            yield
        finally:
            self._leave(mine)

    def _enter(self, mine: _Waiter) -> _Waiter:
        if self._at_work is None:  # then nobody waits either
            self._begin(mine)
            return mine
        if not mine.is_promised:
            full = self.full_for(mine.client)
            if full is not None:
                raise full
            if self._places_taken >= self._max_waiting:
                self._make_room()
        self._clients.setdefault(mine.client, deque()).append(mine)
        # Whoever is served right now comes after all others, newcomers too.
        served = self._clients.pop(self._at_work.client, None)
        if served is not None:
            self._clients[self._at_work.client] = served
        self._count()
        return mine

    def full_for(self, client: str) -> QueueFullError | None:
        """Why a request of this client would get no place now; None: it would get one."""
        if self._at_work is None or self._places_taken < self._max_waiting:
            return None
        most = max(map(_places, self._clients.values()), default=0)
        if most > _places(self._clients.get(client, ())) + 1:
            return None
        return QueueFullError(
            f"the queue is full (max_queue {self._max_waiting}), and no client has more places in it than "
            "this one"
            if self._max_waiting
            else "a request is worked on, and none may wait (max_queue 0)",
            self.seconds_to_next(),
        )

    def _make_room(self) -> None:
        """In a full queue: the newest request of the client with the most is refused."""
        of_most = max(self._clients.values(), key=_places)
        last = next(waiter for waiter in reversed(of_most) if not waiter.is_promised)
        self._remove(last)
        last.refused = QueueFullError(
            f"the queue is full (max_queue {self._max_waiting}); the place of this request went to another "
            "client, which has fewer",
            self.seconds_to_next(),
        )
        last.news.set()

    def _leave(self, mine: _Waiter) -> None:
        if self._at_work is mine:
            self._usual += NEWEST * (self._clock() - self._began - self._usual)
            self._at_work = None
            if self._clients:
                self._begin(self._next())
        elif mine.refused is None:
            self._remove(mine)
        self._count()

    def _remove(self, waiter: _Waiter) -> None:
        own = self._clients[waiter.client]
        own.remove(waiter)
        if not own:
            del self._clients[waiter.client]

    def _next(self) -> _Waiter:
        client = next(iter(self._clients))
        own = self._clients.pop(client)
        first = own.popleft()
        if own:
            self._clients[client] = own  # behind all others
        return first

    def _begin(self, waiter: _Waiter) -> None:
        self._at_work = waiter
        self._began = self._clock()
        waiter.position = 0
        waiter.news.set()

    def _count(self) -> None:
        """Every position anew: in each round, every client that still waits has one turn."""
        position = 0
        for turn in range(max(map(len, self._clients.values()), default=0)):
            for own in self._clients.values():
                if turn < len(own):
                    position += 1
                    if own[turn].position != position:
                        own[turn].position = position
                        own[turn].news.set()
        if position:
            self.wanted.set()
        else:
            self.wanted.clear()

    def seconds_to_next(self) -> int:
        """Until the turn that is under way is likely to end; at least 1."""
        return max(1, ceil(self._usual - (self._clock() - self._began)))


def _places(waiters: Iterable[_Waiter]) -> int:
    """Of the queue's, those that are taken."""
    return sum(not waiter.is_promised for waiter in waiters)
