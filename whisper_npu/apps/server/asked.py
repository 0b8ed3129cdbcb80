"""From a form's fields to the options of a transcription and of its answer."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_origin, get_type_hints

from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.apps.switch import as_switch
from whisper_npu.errors import UsageError, shown
from whisper_npu.near import did_you_mean
from whisper_npu.output import Layout
from whisper_npu.transcription.options import TranscribeOptions, temperatures

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
SUBTITLES = ("srt", "vtt")
GRANULARITIES = ("segment", "word")

# OpenAI's and openai/whisper's names for options of TranscribeOptions.
OTHER_NAMES = {"prompt": "initial_prompt", "logprob_threshold": "log_prob_threshold"}
# Fields that OpenAI's API has and that cannot be honoured here, and what to do.
REFUSED = {
    "include": "the tokens' probabilities are not told; those of words are in the stream's segments",
    "keywords": "give hotwords, which are words to expect",
    "known_speaker_names": "speakers are not told apart here",
    "known_speaker_references": "speakers are not told apart here",
    "languages": "give one language, or none to have it detected",
}
_SPEAKERS = "diarized_json: speakers are not told apart here; take verbose_json"
_SERVER_VAD = "only auto is honoured; vad_filter and vad_threshold, vad_speech_pad_ms, ... are options here"


@dataclass(frozen=True)
class Kind:
    """What a field's text stands for: a bool, an int, a float, a str, or a tuple of numbers."""

    type: Any
    or_none: bool = False

    @classmethod
    def of(cls, hint: Any) -> Kind:
        """hint: of a dataclass's field, such as int | None."""
        inner = [one for one in get_args(hint) if one is not types.NoneType]
        if isinstance(hint, types.UnionType):
            return cls(inner[0], or_none=True)
        return cls(get_origin(hint) or hint)


_OPTIONS = {name: Kind.of(hint) for name, hint in get_type_hints(TranscribeOptions).items()}
del _OPTIONS["temperature"]  # here it is one number, and the next one says what follows
_LAYOUT = {name: Kind.of(hint) for name, hint in get_type_hints(Layout).items() if name != "pretty_json"}
_OWN = {
    "model": Kind(str, or_none=True),
    "response_format": Kind(str, or_none=True),
    "timestamp_granularities": Kind(str, or_none=True),
    "chunking_strategy": Kind(str, or_none=True),
    "stream": Kind(bool),
    "temperature": Kind(float),
    "temperature_increment_on_fallback": Kind(float, or_none=True),
    "audio_track": Kind(int, or_none=True),
}
KNOWN = _OWN | _OPTIONS | _LAYOUT | {other: _OPTIONS[name] for other, name in OTHER_NAMES.items()}


@dataclass(frozen=True)
class Asked:
    """What one request asks for."""

    model: str | None  # by which name; None: whatever is served
    options: TranscribeOptions
    response_format: str = "json"
    granularities: frozenset[str] = frozenset({"segment"})  # what verbose_json tells of
    layout: Layout = field(default_factory=Layout)
    stream: bool = False
    audio_track: int | None = None


def asked_for(sent: Mapping[str, str], *, task: str | None = None) -> Asked:
    """sent: the text of each field. task: what the address says.

    An empty text is a field that was not given, but for those where it means something. Raises FieldError.
    """
    given = {name: value for name, text in sent.items() if (value := _value(name, text)) is not _NOT_GIVEN}
    fmt = _choice("response_format", given.get("response_format", "json"), FORMATS)
    stream = given.get("stream", False)
    if stream and fmt not in ("json", "verbose_json"):
        raise FieldError(
            "response_format", f"response_format {fmt} cannot be streamed: take json, or verbose_json"
        )
    granularities = _granularities(given, fmt)
    layout = _layout(given, fmt)
    options = _options(given, task, word_timestamps="word" in granularities or layout.needs_words)
    if options.word_timestamps and "timestamp_granularities" not in given:
        granularities |= {"word"}
    return Asked(
        model=given.get("model"),
        options=options,
        response_format=fmt,
        granularities=granularities,
        layout=layout,
        stream=stream,
        audio_track=given.get("audio_track"),
    )


# Each value by itself.

_NOT_GIVEN = object()


def _value(name: str, text: str) -> Any:
    """A field's value. Raises FieldError for an unknown field, and a value of another kind."""
    base = name.partition("[")[0]
    if base in REFUSED:
        raise FieldError(base, f"{base}: {REFUSED[base]}")
    if name not in KNOWN and base != "chunking_strategy":
        hint = did_you_mean(name, KNOWN)
        raise FieldError(
            shown(name[:100]),
            f"there is no field '{shown(name[:100])}'; {hint or 'docs/server.md lists those that there are'}",
        )
    if base == "chunking_strategy":
        if text not in ("", "auto"):
            raise FieldError(base, f"{base}: {_SERVER_VAD}")
        return _NOT_GIVEN
    kind = KNOWN[name]
    if not text and (kind.or_none or kind.type in _READ):
        return _NOT_GIVEN
    if kind.type in _READ:
        return None if kind.or_none and text.lower() == "none" else _READ[kind.type](name, text)
    return text


def _switch(name: str, text: str) -> bool:
    meant = as_switch(text)
    if meant is None:
        raise FieldError(name, f"{name} is '{shown(text[:100])}', must be true or false")
    return meant


def _number(kind: Callable[[str], Any], words: str) -> Callable[[str, str], Any]:
    def read(name: str, text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise FieldError(name, f"{name} is '{shown(text[:100])}', must be {words}") from None

    return read


_READ: dict[Any, Callable[[str, str], Any]] = {
    bool: _switch,
    int: _number(int, "a whole number"),
    float: _number(float, "a number"),
}


def _choice(name: str, word: str, words: tuple[str, ...]) -> str:
    if word == "diarized_json":
        raise FieldError(name, _SPEAKERS)
    if word not in words:
        hint = did_you_mean(word[:100], words)
        raise FieldError(
            name, f"{name} is '{shown(word[:100])}', must be one of {', '.join(words)}{hint and f'; {hint}'}"
        )
    return word


# What they mean together.


def _granularities(given: Mapping[str, Any], fmt: str) -> frozenset[str]:
    name = "timestamp_granularities"
    if name not in given:
        return frozenset({"segment"})
    if fmt != "verbose_json":
        raise FieldError(name, f"{name} has no effect on {fmt}: response_format must be verbose_json")
    return frozenset(_choice(name, one.strip(), GRANULARITIES) for one in given[name].split(","))


def _layout(given: Mapping[str, Any], fmt: str) -> Layout:
    asked = {name: given[name] for name in _LAYOUT if name in given}
    if fmt not in SUBTITLES:
        for name, value in asked.items():
            if value:
                raise FieldError(name, f"{name} has no effect on {fmt}: response_format must be srt or vtt")
    try:
        return Layout(**asked)
    except UsageError as error:
        raise FieldError(_first_word(str(error), asked), str(error)) from error


def _options(given: Mapping[str, Any], task: str | None, *, word_timestamps: bool) -> TranscribeOptions:
    """TranscribeOptions, by their names or other ones."""
    names = {name: OTHER_NAMES.get(name, name) for name in given if OTHER_NAMES.get(name, name) in _OPTIONS}
    for name, own in names.items():
        if name != own and own in names:
            raise FieldError(name, f"{name} and {own} are the same option; leave one of them out")
    values = {own: given[name] for name, own in names.items()}
    if task is not None and values.setdefault("task", task) != task:
        raise FieldError("task", f"task is {values['task']!r}, but this address is for {task}; leave it out")
    if word_timestamps and values.setdefault("word_timestamps", True) is False:
        raise FieldError("word_timestamps", "word_timestamps is off, but the times of words are asked for")
    try:
        return TranscribeOptions(temperature=_temperatures(given), **values)
    except UsageError as error:
        blamed = _blamed(str(error), values)
        sent = next((name for name, own in names.items() if own == blamed), blamed)
        message = re.sub(rf"\b{blamed}\b", sent, str(error)) if blamed and sent else str(error)
        raise FieldError(sent, message) from error


def _temperatures(given: Mapping[str, Any]) -> tuple[float, ...]:
    """As `whisper-npu transcribe` makes them: in batches windows are decoded once."""
    increment = given.get("temperature_increment_on_fallback", None if given.get("batch_size") else 0.2)
    return temperatures(given.get("temperature", 0.0), increment)


def _blamed(message: str, values: Mapping[str, Any]) -> str | None:
    """The option that an error is about: one that is wrong by itself, or the one that it begins with."""
    for name, value in values.items():
        try:
            TranscribeOptions(**{name: value})
        except UsageError as error:
            if str(error) == message:
                return name
    return _first_word(message, {*(one.name for one in fields(TranscribeOptions)), *_OWN})


def _first_word(message: str, names: Any) -> str | None:
    first = message.partition(" ")[0].rstrip(":")
    return first if first in names else None
