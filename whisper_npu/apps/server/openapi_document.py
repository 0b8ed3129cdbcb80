"""The OpenAPI document of the server, at /openapi.json: docs/server.md for programs.

Written from the fields that a form may have (`asked.KNOWN`) and the statuses that an answer may have, so that
it cannot say anything else. Source of its form: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import whisper_npu
from whisper_npu.apps.server import headers
from whisper_npu.apps.server.answers import MEDIA_TYPES
from whisper_npu.apps.server.asked import FORMATS, GRANULARITIES, KNOWN, OTHER_NAMES, Kind
from whisper_npu.apps.server.form import LISTS
from whisper_npu.apps.server.live import PATH as LIVE_PATH
from whisper_npu.apps.server.metrics import CONTENT_TYPE
from whisper_npu.apps.server.whisper_cpp import HARMLESS, NAMES, VAD_DEFAULTS
from whisper_npu.transcription.options import TASKS

PATH = "/openapi.json"
Schema = dict[str, Any]

STATUSES = {
    400: "A field is wrong, unknown or missing, the file is not audio, or the request is malformed",
    401: "No API key, or a wrong one",
    403: "A web page of another site asks",
    404: "There is no such model",
    408: "The body came too slowly",
    411: "A body without a length",
    413: "The body is too large, or the recording too long",
    415: "The body is no form, or compressed",
    421: "The Host header is none of this server's names",
    429: "The queue is full, or too many requests are under way",
    500: "A defect of the server",
    503: "The device failed, the time limit was reached, memory is short, or the server is being stopped",
    507: "No space is left for recordings",
}
# Those of every request, and those of one with a recording.
OF_EVERY_REQUEST = (400, 401, 403, 408, 411, 413, 421, 429, 500, 503)
OF_A_FORM = tuple(STATUSES)

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_INTEGER: Schema = {"type": "integer"}
_BOOLEAN: Schema = {"type": "boolean"}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_NULL: Schema = {"type": "null"}


def document(*, has_key: bool) -> dict[str, Any]:
    """has_key: whether requests need the server's API key."""
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "whisper-npu",
            "version": whisper_npu.__version__,
            "description": f"There is also a WebSocket, {LIVE_PATH}: docs/server.md describes it.",
        },
        "paths": {
            "/health": _got("Whether it serves", _ref("Health"), needs_key=False),
            "/metrics": _got("For Prometheus", _TEXT, CONTENT_TYPE),
            "/v1/models": _got("The model that is served", _ref("Models")),
            "/v1/models/{name}": _got("The model by one of its names", _ref("Model"), named=True),
            PATH: _got("This document", {"type": "object"}),
            "/v1/audio/transcriptions": _posted("What is said", _openai_fields(), _openai_answers()),
            "/v1/audio/translations": _posted("It in English", _openai_fields(), _openai_answers()),
            "/inference": _posted("whisper.cpp's", _whisper_cpp_fields(), _whisper_cpp_answers()),
        },
        "components": {"schemas": _schemas(), "headers": _headers()},
    }
    if has_key:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    return described


# Operations.


def _got(
    summary: str,
    schema: Schema,
    media_type: str = "application/json",
    *,
    named: bool = False,
    needs_key: bool = True,
) -> dict[str, Any]:
    """named: its path has a name in it."""
    statuses = {*OF_EVERY_REQUEST, *([404] if named else [])}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": _response("It", {media_type: {"schema": schema}}), **_refusals(statuses)},
    }
    if named:
        operation["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": _TEXT}]
    if not needs_key:
        operation["security"] = []
    head = {
        **operation,
        "responses": {status: _bodiless(one) for status, one in operation["responses"].items()},
    }
    return {"get": operation, "head": head}


def _posted(summary: str, fields: Mapping[str, Schema], answers: Mapping[str, Schema]) -> dict[str, Any]:
    form = {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}, **fields},
        "required": ["file"],
        "additionalProperties": False,
    }
    contents = {media_type: {"schema": schema} for media_type, schema in answers.items()}
    whole = _response("The transcript, in the format that was asked for", contents)
    of_a_recording = (headers.DISPATCHES, headers.WARNINGS)
    whole["headers"] |= {name: {"$ref": f"#/components/headers/{name}"} for name in of_a_recording}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
            "responses": {"200": whole, **_refusals(OF_A_FORM)},
        }
    }


def _refusals(statuses: Iterable[int]) -> dict[str, Any]:
    contents = {"application/json": {"schema": _ref("Error")}}
    refusals = {str(status): _response(STATUSES[status], contents) for status in sorted(statuses)}
    refusals["429"]["headers"]["Retry-After"] = {
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
    if "401" in refusals:
        refusals["401"]["headers"]["WWW-Authenticate"] = {"required": True, "schema": _TEXT}
    return refusals


def _response(description: str, contents: Mapping[str, Any]) -> dict[str, Any]:
    of_every_answer = (headers.DEVICE, headers.DESCRIPTION)
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in of_every_answer},
        "content": dict(contents),
    }


def _bodiless(response: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "content"}


def _headers() -> dict[str, Any]:
    return {
        headers.DEVICE: {"required": True, "schema": _TEXT, "description": "npu, or emulator"},
        headers.DESCRIPTION: {"required": True, "schema": _TEXT, "description": "The device in words"},
        headers.DISPATCHES: {"schema": {"type": "integer", "minimum": 0}, "description": "Not of a stream"},
        headers.WARNINGS: {
            "schema": _TEXT,
            "description": "What was missing of the recording; not of a stream",
        },
    }


# Fields of forms.

_CHOICES: dict[str, tuple[str, ...]] = {
    "response_format": FORMATS,
    "task": TASKS,
    "chunking_strategy": ("auto",),
}


def _openai_fields() -> dict[str, Schema]:
    known = {name: _field(name, kind) for name, kind in KNOWN.items()}
    others = {other: known[own] for other, own in OTHER_NAMES.items()}
    return known | others | {f"{name}[]": known[name] for name in LISTS if name in known}


def _whisper_cpp_fields() -> dict[str, Schema]:
    known = _openai_fields()
    others = {other: known[own] for other, own in NAMES.items()}
    harmless: dict[str, Schema] = {
        name: {"enum": list(values), "description": "Of no meaning here"} for name, values in HARMLESS.items()
    }
    switches = dict.fromkeys(("translate", "no_context"), _BOOLEAN)
    # Without vad its defaults are taken too, of which some are out of this program's range.
    return known | others | harmless | switches | dict.fromkeys(VAD_DEFAULTS, _NUMBER)


def _field(name: str, kind: Kind) -> Schema:
    """Its text, read as JSON."""
    if name in _CHOICES:
        return {"enum": list(_CHOICES[name])}
    if name == "timestamp_granularities":
        one: Schema = {"enum": list(GRANULARITIES)}
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    if name == "temperature":
        return {"type": "number", "minimum": 0, "maximum": 1}
    plain = {bool: _BOOLEAN, int: _INTEGER, float: _NUMBER}.get(kind.type, _TEXT)
    if kind.or_none and kind.type in (int, float):
        return {"anyOf": [plain, {"const": "none"}]}
    return plain


# What is answered.


def _openai_answers() -> dict[str, Schema]:
    json = {"anyOf": [_ref("Transcript"), _ref("VerboseTranscript")]}
    return {"application/json": json, **_texts(), "text/event-stream": _TEXT}


def _whisper_cpp_answers() -> dict[str, Schema]:
    json = {"anyOf": [_ref("Lines"), _ref("VerboseLines")]}
    return {"application/json": json, **_texts(), "text/event-stream": _TEXT}


def _texts() -> dict[str, Schema]:
    return dict.fromkeys(MEDIA_TYPES.values(), _TEXT)


def _schemas() -> dict[str, Schema]:
    warned: dict[str, Schema] = {"warnings": {"type": "array", "items": _TEXT}}
    usage = _object({"type": {"const": "duration"}, "seconds": _SECONDS})
    word = _object({"word": _TEXT, "start": _SECONDS, "end": _SECONDS})
    segment: dict[str, Schema] = {
        "id": _INTEGER,
        "seek": _INTEGER,
        "start": _SECONDS,
        "end": _SECONDS,
        "text": _TEXT,
        "tokens": {"type": "array", "items": _INTEGER},
        "temperature": _NUMBER,
        "avg_logprob": _NUMBER,
        "compression_ratio": _NUMBER,
        "no_speech_prob": _NUMBER,
    }
    said: dict[str, Schema] = {
        "task": {"enum": list(TASKS)},
        "language": _TEXT,
        "duration": _SECONDS,
        "text": _TEXT,
    }
    told: dict[str, Schema] = {
        "detected_language": _TEXT,
        "detected_language_probability": _NUMBER,
        "language_probabilities": {"type": "object", "additionalProperties": _NUMBER},
    }
    line = {name: schema for name, schema in segment.items() if name not in ("seek", "compression_ratio")}
    own_word = _object({"word": _TEXT, "start": _SECONDS, "end": _SECONDS, "probability": _NUMBER})
    models: dict[str, Schema] = {
        "object": {"const": "list"},
        "data": {"type": "array", "items": _ref("Model")},
    }
    model = {"id": _TEXT, "object": {"const": "model"}, "created": _INTEGER, "owned_by": _TEXT}
    health: dict[str, Schema] = {
        "status": {"const": "ok"},
        "model": _TEXT,
        "device": _TEXT,
        "device_description": _TEXT,
        "queue": _INTEGER,
    }
    error: dict[str, Schema] = {
        "message": _TEXT,
        "type": {"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
        "param": {"anyOf": [_TEXT, _NULL]},
        "code": {"anyOf": [_TEXT, _NULL]},
    }
    return {
        "Error": _object({"error": _object(error)}),
        "Health": _object(health),
        "Lines": _object({"text": _TEXT}, warned),
        "Model": _object(model),
        "Models": _object(models),
        "Transcript": _object({"text": _TEXT, "usage": usage}, warned),
        "VerboseTranscript": _object(
            said | {"usage": usage},
            warned
            | {
                "segments": {"type": "array", "items": _object(segment)},
                "words": {"type": "array", "items": word},
            },
        ),
        "VerboseLines": _object(
            said
            | told
            | {
                "segments": {
                    "type": "array",
                    "items": _object(
                        {name: schema for name, schema in line.items() if name not in ("start", "end")},
                        {
                            "start": _SECONDS,
                            "end": _SECONDS,
                            "words": {"type": "array", "items": own_word},
                        },
                    ),
                }
            },
            warned,
        ),
    }


def _object(needed: Mapping[str, Schema], others: Mapping[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**needed, **(others or {})},
        "required": list(needed),
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
