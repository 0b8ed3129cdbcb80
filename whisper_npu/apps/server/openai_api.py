"""OpenAI's API for speech: https://platform.openai.com/docs/api-reference/audio.

docs/server.md lists the fields of both forms, and what of OpenAI's is refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from whisper_npu.apps.server.answers import answer
from whisper_npu.apps.server.asked import asked_for
from whisper_npu.apps.server.respond import respond
from whisper_npu.apps.server.served import Served

router = APIRouter()


@router.post("/v1/audio/transcriptions")
async def transcriptions(request: Request) -> Response:
    """What is said, in the language that it is said in."""
    return await respond(request, asked_for, answer)


@router.post("/v1/audio/translations")
async def translations(request: Request) -> Response:
    """What is said, in English."""
    return await respond(request, partial(asked_for, task="translate"), answer)


@router.api_route("/v1/models", methods=["GET", "HEAD"])
@router.api_route("/v1/models/", methods=["GET", "HEAD"])
async def models(request: Request) -> dict[str, Any]:
    served: Served = request.app.state.served
    return served.listed()


@router.api_route("/v1/models/{name:path}", methods=["GET", "HEAD"])
async def model(request: Request, name: str) -> dict[str, Any]:
    served: Served = request.app.state.served
    return served.described(name)
