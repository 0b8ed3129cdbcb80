"""The server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Route, WebSocketRoute

import whisper_npu
from whisper_npu.apps.server import live, openai_api, openapi_document, whisper_cpp
from whisper_npu.apps.server.gate import Gate
from whisper_npu.apps.server.headers import device_headers
from whisper_npu.apps.server.live_work import LiveWork
from whisper_npu.apps.server.log import RequestLog
from whisper_npu.apps.server.metrics import CONTENT_TYPE, Metrics
from whisper_npu.apps.server.page import PAGE_PATHS, add_page
from whisper_npu.apps.server.refusals import FieldError, refusal_of
from whisper_npu.apps.server.served import Served
from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.apps.server.work import Service
from whisper_npu.near import did_you_mean
from whisper_npu.transcription.model import Model

ENDPOINTS = (
    "/",
    "/health",
    "/inference",
    "/metrics",
    openapi_document.PATH,
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    live.PATH,
    "/v1/models",
    "/v1/models/{id}",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
QUEUE_PATHS = ("/inference", "/v1/audio/transcriptions", "/v1/audio/translations")


def create_app(model: Model, settings: ServerSettings) -> FastAPI:
    """Serve a model. It is not closed when the server ends.

    `app.state.service.stop()` ends all work: call it when the server is asked to end.
    """
    served = Served(model.checkpoint.name)
    at_work = model.device_at_work
    metrics = Metrics(served.id, at_work.name, at_work.description, {*ENDPOINTS, *PAGE_PATHS})
    service = Service(model, settings, metrics)
    live_work = LiveWork(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()
        live_work.close()

    app = FastAPI(
        title="whisper-npu",
        version=whisper_npu.__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url=None,  # FastAPI's document knows nothing of forms that are read field by field
    )
    app.state.service, app.state.served = service, served
    app.include_router(openai_api.router)
    app.include_router(whisper_cpp.router)
    app.state.live = live_work
    app.state.live_patience = live.LivePatience()
    app.router.routes.append(WebSocketRoute(live.PATH, live.listen))
    app.router.routes.append(Route(live.PATH, live.no_websocket, methods=METHODS))

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> dict[str, Any]:
        at_work = model.device_at_work
        return {
            "status": "ok",
            "model": served.id,
            "device": at_work.name,
            "device_description": at_work.description,
            "queue": service.queue.waiting,
        }

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    async def text_of_metrics() -> Response:
        at_work = model.device_at_work
        metrics.works_on(at_work.name, at_work.description)
        return Response(metrics.text(service.queue), media_type=CONTENT_TYPE)

    @app.api_route(openapi_document.PATH, methods=["GET", "HEAD"])
    async def openapi() -> dict[str, Any]:
        return openapi_document.document(has_key=settings.api_key is not None)

    async def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 404:
            hint = did_you_mean(request.url.path[:100], ENDPOINTS) or "docs/server.md lists what there is"
            error = FieldError(None, f"there is nothing at this address; {hint}", status=404)
        refusal = refusal_of(error)
        refusal.note(request.scope)
        return refusal.response()

    for kind in (HTTPException, FieldError):  # all others come to the gate
        app.add_exception_handler(kind, refuse)
    add_page(app, model)
    app.add_middleware(
        Gate,
        settings=settings,
        metrics=metrics,
        page_paths=PAGE_PATHS,
        queue_paths=QUEUE_PATHS,
        websocket_paths=(live.PATH,),
        every_answer=lambda: device_headers(model.device_at_work),
        queue=service.queue,
    )
    app.add_middleware(RequestLog)
    return app
