"""From a request with a recording to its answer: whole, or as a stream of events."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import ExitStack, aclosing
from time import monotonic
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from whisper_npu.apps.server.addresses import client_of
from whisper_npu.apps.server.answers import (
    DISPATCHES_HEADER,
    KEEP_ALIVE,
    device_headers,
    event,
    told,
)
from whisper_npu.apps.server.asked import Asked
from whisper_npu.apps.server.form import Form, read_form
from whisper_npu.apps.server.refusals import ClientGoneError, Refusal, refusal_of
from whisper_npu.apps.server.served import Served
from whisper_npu.apps.server.work import Finished, Happening, Progress, Service

KEEP_ALIVE_SECONDS = 10.0
LOG = logging.getLogger(__name__)

AskedFor = Callable[[Mapping[str, str]], Asked]
Answer = Callable[[Finished, Asked], Response]


async def respond(request: Request, asked_for: AskedFor, answer: Answer) -> Response:
    """The answer to one request, errors included.

    asked_for: what the form's fields mean. answer: the whole transcript; of a stream see `told`.
    """
    service: Service = request.app.state.service
    try:
        form = await read_form(request)
        with ExitStack() as closing:
            closing.callback(form.close)
            response = await _answered(request, form, asked_for(form.fields), answer, closing)
    except Exception as error:
        response = _refused(error, service).response()
    response.headers.update(device_headers(service.model.device))
    return response


async def _answered(
    request: Request, form: Form, asked: Asked, answer: Answer, closing: ExitStack
) -> Response:
    """closing: closes the form; a stream does that itself."""
    service: Service = request.app.state.service
    served: Served = request.app.state.served
    served.check(asked.model)
    await service.check(form.file, asked)
    happenings = _followed(service.happenings(form.file, asked, client_of(request.scope)), request)
    if asked.stream:
        # What refuses it at once, such as a full queue, is an answer with a status of its own.
        first = await anext(happenings)
        return _Events(_events(first, happenings, asked, service), happenings, closing.pop_all())
    async with aclosing(happenings):
        async for happening in happenings:
            if isinstance(happening, Finished):
                response = answer(happening, asked)
                response.headers[DISPATCHES_HEADER] = str(happening.dispatches)
    return response


async def _followed(
    happenings: AsyncGenerator[Happening, None], request: Request
) -> AsyncGenerator[Happening, None]:
    """What happens while the client is there, noted for the log. Raises ClientGoneError."""
    async with aclosing(happenings):
        async for happening in happenings:
            if isinstance(happening, Progress):
                request.state.audio_seconds = happening.duration
            if await request.is_disconnected():
                raise ClientGoneError("the client has gone")
            yield happening


class _Events(StreamingResponse):
    """Server-sent events, whose work ends with them, and whose form is closed then."""

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        happenings: AsyncGenerator[Happening, None],
        closing: ExitStack,
    ) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would collect them
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events, self._happenings, self._closing = events, happenings, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # no event may have been sent yet
            await self._events.aclose()
            await self._happenings.aclose()
            self._closing.close()


async def _events(
    first: Happening, others: AsyncGenerator[Happening, None], asked: Asked, service: Service
) -> AsyncGenerator[bytes, None]:
    """The events of one request. An error ends them, and is the last of them."""
    spoke = monotonic()
    try:
        async for happening in _chained(first, others):
            data = told(happening, asked, service.model.device)
            if data is not None:
                yield event(data)
                spoke = monotonic()
            elif monotonic() - spoke >= KEEP_ALIVE_SECONDS:
                yield KEEP_ALIVE
                spoke = monotonic()
    except Exception as error:
        yield event(_refused(error, service).body)
    except BaseException:  # the client went away, or the server ends
        service.metrics.error("client_gone")
        raise


async def _chained(first: Any, others: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for other in others:
        yield other


def _refused(error: Exception, service: Service) -> Refusal:
    refusal = refusal_of(error)
    if not isinstance(error, ClientDisconnect):  # a body that ends early, which the gate has seen
        service.metrics.error(refusal.kind)
    if refusal.kind == "internal":
        LOG.error("a defect of this program:", exc_info=error)
    elif refusal.kind == "device":
        LOG.error("%s", refusal.message)
    return refusal
