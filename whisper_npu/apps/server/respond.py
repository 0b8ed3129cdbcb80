"""From a request with a recording to its answer: whole, or as a stream of events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import ExitStack, aclosing
from time import monotonic
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from whisper_npu.apps.server import headers
from whisper_npu.apps.server.addresses import client_of
from whisper_npu.apps.server.answers import KEEP_ALIVE, event, told
from whisper_npu.apps.server.asked import Asked
from whisper_npu.apps.server.form import Form, read_form
from whisper_npu.apps.server.refusals import ClientGoneError, Refusal, StoppingError, refusal_of
from whisper_npu.apps.server.served import Served
from whisper_npu.apps.server.work import Finished, Happening, Progress, Service
from whisper_npu.errors import UsageError

KEEP_ALIVE_SECONDS = 10.0
PROBE_SECONDS = 1.0  # for a client that may have gone, which is found out by what is said to it

AskedFor = Callable[[Mapping[str, str]], Asked]
Answer = Callable[[Finished, Asked], Response]


async def respond(request: Request, asked_for: AskedFor, answer: Answer) -> Response:
    """The answer to one request, errors included.

    asked_for: what the form's fields mean. answer: the whole transcript; of a stream see `told`.
    """
    service: Service = request.app.state.service
    try:
        form = await service.unless_stopped(read_form(request))
        with ExitStack() as closing:
            closing.callback(form.close)
            # Checking some fields takes a while if they are long.
            asked = await service.unless_stopped(service.read(lambda: asked_for(form.fields)))
            return await _answered(request, form, asked, answer, closing)
    except Exception as error:
        return _refused(error, request).response()


async def _answered(
    request: Request, form: Form, asked: Asked, answer: Answer, closing: ExitStack
) -> Response:
    """closing: closes the form; a stream does that itself."""
    happenings = _followed(request, form, asked)
    if asked.stream:
        # What refuses it at once, such as a full queue, is an answer with a status of its own.
        first = await anext(happenings)
        return _Events(_events(first, happenings, asked, request), happenings, closing.pop_all())
    async with aclosing(happenings):
        async for happening in happenings:
            if isinstance(happening, Finished):
                response = answer(happening, asked)
                response.headers[headers.DISPATCHES] = str(happening.dispatches)
                response.headers.update(headers.warning_headers(happening.done.warnings))
    return response


async def _followed(request: Request, form: Form, asked: Asked) -> AsyncGenerator[Happening, None]:
    """What happens while the client is there, noted for the log. Raises ClientGoneError."""
    service: Service = request.app.state.service
    served: Served = request.app.state.served
    served.check(asked.model)
    try:
        await service.unless_stopped(service.check(form.file, asked))
        async with aclosing(service.happenings(form.file, asked, client_of(request.scope))) as happenings:
            async for happening in happenings:
                if isinstance(happening, Progress):
                    request.state.audio_seconds = happening.duration
                if await request.is_disconnected():
                    raise ClientGoneError
                yield happening
    except UsageError as error:
        raise asked.in_their_words(error) from error


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
        self._told_all = False

    async def stream_response(self, send: Send) -> None:
        await super().stream_response(send)
        self._told_all = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # no event may have been sent yet
            if not self._told_all:
                service: Service = scope["app"].state.service
                refusal_of(StoppingError() if service.stopping else ClientGoneError()).note(scope)
            await self._events.aclose()
            await self._happenings.aclose()
            self._closing.close()


async def _events(
    first: Happening, others: AsyncGenerator[Happening, None], asked: Asked, request: Request
) -> AsyncGenerator[bytes, None]:
    """The events of one request. An error ends them, and is the last of them."""
    service: Service = request.app.state.service
    spoke = monotonic()
    try:
        async for happening in _chained(first, others):
            data = told(happening, asked, service.model.device_at_work)
            if data is not None:
                yield event(data)
                spoke = monotonic()
            elif monotonic() - spoke >= _longest_silence(request):
                yield KEEP_ALIVE
                spoke = monotonic()
    except Exception as error:
        yield event(_refused(error, request).body)


def _longest_silence(request: Request) -> float:
    """In seconds."""
    return PROBE_SECONDS if request.scope["state"].get("half_closed") else KEEP_ALIVE_SECONDS


async def _chained(first: Any, others: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for other in others:
        yield other


def _refused(error: Exception, request: Request) -> Refusal:
    refusal = refusal_of(error)
    refusal.note(request.scope)
    return refusal
