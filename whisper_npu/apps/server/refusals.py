"""Errors as answers: a status, and OpenAI's error body."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from whisper_npu.apps.server.metrics import ErrorKind
from whisper_npu.apps.server.queue import QueueFullError
from whisper_npu.audio import OPEN_FILE
from whisper_npu.errors import AudioError, DeviceError, TooLongError, UsageError, WhisperNpuError, one_line

CLIENT_GONE = 499  # the status that is logged and counted where no answer was possible
LOG = logging.getLogger(__name__)
_NO_RETRY = {"x-should-retry": "false"}  # OpenAI's clients would ask twice more after a 5xx
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = "the server has no space left for recordings; its operator may set TMPDIR to a folder with more"
_NO_MEMORY = "the server has not enough memory for this; ask again later, or for less at a time"


class FieldError(UsageError):
    """A field of a form that is missing, unknown or wrong."""

    def __init__(self, param: str | None, message: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message, option=param)
        self.status, self.code = status, code


class TimeLimitError(WhisperNpuError):
    """Work on one request beyond request_timeout."""


class StoppingError(WhisperNpuError):
    """The server is asked to end."""

    def __init__(self) -> None:
        super().__init__("the server is being stopped; ask again when it is back")


class TooManySessionsError(WhisperNpuError):
    """No place is left for somebody who wants to speak live."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} live sessions are open, and no more may be (max_live); try again when one has ended"
            if most
            else "this server takes no live sessions (max_live 0)"
        )


class ClientGoneError(WhisperNpuError):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__("the client has gone")


@dataclass(frozen=True)
class Refusal:
    """One error, as a client and an operator see it."""

    status: int
    message: str
    kind: ErrorKind  # for the metrics
    param: str | None = None  # the field that is wrong
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """As JSON's data: OpenAI's, which their clients turn into exceptions."""
        told = {"message": self.message, "type": self._type, "param": self.param, "code": self.code}
        return {"error": told}

    @property
    def _type(self) -> str:
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, headers=dict(self.headers))

    def note(self, scope: MutableMapping[str, Any]) -> None:
        """In the request, for the gate, which counts how each one ended."""
        scope.setdefault("state", {})["refused"] = self.kind


def refusal_of(error: BaseException) -> Refusal:
    """Never a traceback, and nothing of this machine but what our own messages say.

    What an operator has to hear of is logged here: a failing device, too little memory or space, a defect.
    """
    refusal = _refusal_of(error)
    if refusal.kind == "internal":
        LOG.error("a defect of this program:", exc_info=error)
    elif refusal.kind in ("device", "memory", "storage"):
        LOG.error("%s", refusal.message)
    return refusal


def _refusal_of(error: BaseException) -> Refusal:
    message = _message(error)
    for cause in _causes(error):  # whatever tells of it
        if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
            return Refusal(507, _FULL, "storage", code="storage_full", headers=_NO_RETRY)
        if isinstance(cause, MemoryError):
            return Refusal(503, _NO_MEMORY, "memory", code="out_of_memory", headers=_NO_RETRY)
    match error:
        case FieldError():
            return Refusal(error.status, message, "request", error.option, error.code)
        case UsageError():
            return Refusal(400, message, "request", error.option)
        case TooLongError():
            return Refusal(413, message, "audio", "file", "audio_too_long")
        case AudioError():
            return Refusal(400, message, "audio", "file", "invalid_audio")
        case QueueFullError():
            retry = {"Retry-After": str(error.retry_after_seconds)}
            return Refusal(429, message, "queue_full", code="queue_full", headers=retry)
        case TooManySessionsError():
            return Refusal(503, message, "busy", code="too_many_sessions")
        case TimeLimitError():
            return Refusal(503, message, "timeout", code="time_limit", headers=_NO_RETRY)
        case StoppingError():
            return Refusal(503, message, "stopping", code="stopping", headers={"Retry-After": "10"})
        case ClientGoneError() | ClientDisconnect():
            return Refusal(CLIENT_GONE, "the client has gone", "client_gone", code="client_gone")
        case DeviceError():
            return Refusal(503, message, "device", code="device_failed", headers=_NO_RETRY)
        case WhisperNpuError():
            return Refusal(500, message, "device", code="failed", headers=_NO_RETRY)
        case HTTPException():
            return Refusal(
                error.status_code, _http_message(error), "request", headers=dict(error.headers or {})
            )
    described = f"the server failed on this request ({type(error).__name__}); its log says more"
    return Refusal(500, described, "internal", code="internal", headers=_NO_RETRY)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """It, and what it comes from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _message(error: BaseException) -> str:
    """On one line. What the library calls the open file is the field `file` here."""
    text = " ".join(str(error).split())
    return text.replace(OPEN_FILE, "file") if isinstance(error, AudioError) else text


def _http_message(error: HTTPException) -> str:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"this method is not allowed here; use {allowed}"
    return one_line(Exception(error.detail))
