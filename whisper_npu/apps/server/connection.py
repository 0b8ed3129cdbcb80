"""A client's connection: uvicorn's own, with a limit on the time that a request's head may take."""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """For `uvicorn.Config(http=Connection)`.

    uvicorn closes a connection that is idle between two requests, but waits for ever for the first request,
    and for the rest of a head that has begun. Whoever opens connections and says little would use up the
    process' files. IncomingBody takes care of bodies.
    """

    head_seconds = 30.0
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_answering:
            self._unwatch()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self._is_answering:
            self.timeout_keep_alive_handler()
