"""What is said over the live WebSocket besides lines: messages read and checked, and those of the server.

docs/server.md describes the protocol. Codes with which a connection is closed: RFC 6455, 7.4.1, and
https://www.iana.org/assignments/websocket for 1012 and 1013.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np

from whisper_npu.apps.server.refusals import FieldError, Refusal, StoppingError, TooManySessionsError
from whisper_npu.audio import SAMPLE_RATE, Samples
from whisper_npu.errors import UsageError, quoted, shortened, shown
from whisper_npu.live.options import LiveOptions
from whisper_npu.near import did_you_mean
from whisper_npu.npu.device import Device
from whisper_npu.transcription.options import TranscribeOptions

LONGEST_MESSAGE = 2**20  # bytes: 32 s of sound
LONGEST_TEXT = 2**16  # bytes
BYTES_PER_SAMPLE = 2


class Close(IntEnum):
    """Why a connection is closed."""

    DONE = 1000
    PROTOCOL = 1002  # not what a WebSocket's frames must be
    NOT_TAKEN = 1003  # a kind of message that has no place there
    MALFORMED = 1007  # a message that is not what its kind must be
    POLICY = 1008  # the key, a limit in time
    TOO_LARGE = 1009
    FAILED = 1011
    STOPPING = 1012
    FULL = 1013


class MessageError(FieldError):
    """A message of the client that is refused, and ends the session."""

    def __init__(self, message: str, close: Close, param: str | None = None) -> None:
        super().__init__(param, message)
        self.close = close


def close_of(error: BaseException, refusal: Refusal) -> Close:
    """The code that goes with an error."""
    match error:
        case MessageError():
            return error.close
        case UsageError():
            return Close.MALFORMED
        case StoppingError():
            return Close.STOPPING
        case TooManySessionsError():
            return Close.FULL
    return Close.POLICY if refusal.kind == "key" else Close.FAILED


# What a client says.


@dataclass(frozen=True)
class Start:
    """How to listen."""

    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    live: LiveOptions = field(default_factory=LiveOptions)
    model: str | None = None  # by which name; None: whatever is served
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Heard:
    """What was heard next."""

    sound: bytes  # 16 kHz mono, 16 bits with a sign each, little-endian


@dataclass(frozen=True)
class End:
    """Nothing more comes."""


_OPTIONS = {one.name for one in fields(TranscribeOptions)}
_LIVE = {one.name for one in fields(LiveOptions)}
_OWN = {"model", "api_key"}
_TYPES = ("start", "end")


def read_text(text: str, admit: Callable[[str | None], None] | None = None) -> Start | End:
    """Raises MessageError; UsageError for the value of an option.

    admit: is given the api_key of start before anything else of it is looked at; raises where it is wrong.
    """
    if len(text) > LONGEST_TEXT:
        raise MessageError(f"a text message has {LONGEST_TEXT} characters at most", Close.TOO_LARGE)
    try:
        said = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise MessageError(
            'a text message must be a JSON object, such as {"type": "start"}; sound is binary',
            Close.MALFORMED,
        ) from None
    if not isinstance(said, dict):
        raise MessageError(
            f"a message is {shortened(json.dumps(said))}, must be a JSON object with a type",
            Close.MALFORMED,
            "type",
        )
    kind = said.pop("type", None)
    if kind not in _TYPES:
        raise MessageError(
            f"a message's type is {shortened(json.dumps(kind))}, must be one of {', '.join(_TYPES)}",
            Close.NOT_TAKEN,
            "type",
        )
    if kind == "end":
        _check_names(said, set(), "end has no fields")
        return End()
    given = {name: value for name, value in said.items() if value is not None}
    if admit is not None:
        key = given.get("api_key")
        admit(key if isinstance(key, str) else None)
    _check_names(given, _OWN | _OPTIONS | _LIVE, "docs/server.md lists those that there are")
    for name in _OWN:
        if not isinstance(given.get(name, ""), str):
            raise MessageError(f"{name} is {quoted(given[name])}, must be text", Close.MALFORMED, name)
    return Start(
        TranscribeOptions(**{name: value for name, value in given.items() if name in _OPTIONS}),
        LiveOptions(**{name: _number(name, value) for name, value in given.items() if name in _LIVE}),
        given.get("model"),
        given.get("api_key"),
    )


def read_sound(data: bytes) -> Heard:
    """Raises MessageError."""
    if len(data) % BYTES_PER_SAMPLE:
        raise MessageError(
            f"a message of sound has {len(data)} bytes, must be whole samples of {BYTES_PER_SAMPLE} bytes "
            f"({SAMPLE_RATE} Hz, mono, little-endian)",
            Close.MALFORMED,
        )
    return Heard(data)


def samples_of(sound: bytes) -> Samples:
    """sound: of Heard. (n,) float32 at 16 kHz, in -1..1."""
    return np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(2**15)


def _no_number(text: str) -> None:
    raise MessageError(f"{text} is no number in JSON, leave it out or give one", Close.MALFORMED)


def _check_names(given: Mapping[str, Any], known: set[str], otherwise: str) -> None:
    for name in given:
        if name not in known:
            hint = did_you_mean(name[:100], sorted(known)) or otherwise
            raise MessageError(
                f"there is no field '{shown(name[:100])}'; {hint}", Close.MALFORMED, shown(name[:100])
            )


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        return float(value)
    except (TypeError, OverflowError):
        message = f"{name} is {quoted(value)}, must be a number of seconds"
        raise MessageError(message, Close.MALFORMED, name) from None


# What the server says.


def ready(model: str, device: Device) -> dict[str, Any]:
    return {"type": "ready", "model": model, "sample_rate": SAMPLE_RATE} | _described(device)


def done(device: Device, duration: float, seconds: float, dispatches: int) -> dict[str, Any]:
    """duration: of the sound. seconds: MEASURED, of work."""
    return {
        "type": "done",
        "duration": round(duration, 3),
        "measured_seconds": seconds,
        "real_time_factor": seconds / duration if duration else None,
        "dispatches": dispatches,
    } | _described(device)


def error_message(refusal: Refusal) -> dict[str, Any]:
    return {"type": "error", "message": refusal.message, "code": refusal.code, "param": refusal.param}


def _described(device: Device) -> dict[str, Any]:
    return {"device": device.name, "device_description": device.description}
