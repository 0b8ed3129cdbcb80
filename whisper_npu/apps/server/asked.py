"""From a form's fields to the options of a transcription and of its answer."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args, get_origin, get_type_hints

from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.apps.switch import as_switch
from whisper_npu.errors import UsageError, quoted, shown
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
_SPEAKERS = "diarized_json cannot be honoured here: speakers are not told apart; take verbose_json"
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
    "user": Kind(str, or_none=True),  # whom OpenAI's clients ask for: of no meaning here
}
KNOWN = _OWN | _OPTIONS | _LAYOUT


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
    sent_as: Mapping[str, str] = field(default_factory=dict)  # the client's names of what it sent, by ours

    def in_their_words(self, error: UsageError) -> FieldError:
        """An error about an option, which names the client's field."""
        return _in_words_of(self.sent_as, error)


def asked_for(
    sent: Mapping[str, str], *, task: str | None = None, names: Mapping[str, str] = OTHER_NAMES
) -> Asked:
    """sent: the text of each field. task: what the address says. names: of fields, and what they are here.

    An empty text is a field that was not given, but for those where it means something. Raises FieldError,
    which names the field as it was sent.
    """
    fields: dict[str, str] = {}
    sent_as: dict[str, str] = {}
    for name, text in sent.items():
        own = names.get(name, name)
        if own in fields:
            raise FieldError(name, f"{sent_as[own]} and {name} are the same option; leave one of them out")
        fields[own], sent_as[own] = text, name
    try:
        return replace(_asked(fields, task), sent_as=sent_as)
    except UsageError as error:
        raise _in_words_of(sent_as, error) from error


def _asked(fields: Mapping[str, str], task: str | None) -> Asked:
    """fields: by the names that they have here."""
    given = {name: value for name, text in fields.items() if (value := _value(name, text)) is not _NOT_GIVEN}
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


def _in_words_of(sent_as: Mapping[str, str], error: UsageError) -> FieldError:
    if error.option is None:
        return error if isinstance(error, FieldError) else FieldError(None, str(error))
    name = sent_as.get(error.option, error.option)
    message = str(error) if name == error.option else f"{name} means {error.option}: {error}"
    if isinstance(error, FieldError):
        return FieldError(name, message, error.status, error.code)
    return FieldError(name, message)


# Each value by itself.

_NOT_GIVEN = object()


def _value(name: str, text: str) -> Any:
    """A field's value. Raises FieldError for an unknown field, and a value of another kind."""
    base = name.partition("[")[0]
    if base in REFUSED:
        raise FieldError(base, f"{base} cannot be honoured here: {REFUSED[base]}")
    if name not in KNOWN and base != "chunking_strategy":
        hint = did_you_mean(name[:100], [*KNOWN, *OTHER_NAMES])
        raise FieldError(
            shown(name[:100]),
            f"there is no field '{shown(name[:100])}'; {hint or 'docs/server.md lists those that there are'}",
        )
    if base == "chunking_strategy":
        if text not in ("", "auto"):
            raise FieldError(base, f"{base} cannot be honoured here: {_SERVER_VAD}")
        return _NOT_GIVEN
    kind = KNOWN[name]
    if not text and (kind.or_none or kind.type in _READ):
        return _NOT_GIVEN
    if kind.type in _READ:
        return None if kind.or_none and text.lower() == "none" else _READ[kind.type](name, text)
    if kind.type is tuple and text.lower() == "none":
        return None
    return text


def _switch(name: str, text: str) -> bool:
    meant = as_switch(text)
    if meant is None:
        raise FieldError(name, f"{name} is '{shown(text[:100])}', must be true or false")
    return meant


def _number(kind: Callable[[str], Any], words: str) -> Callable[[str, str], Any]:
    def read(name: str, text: str) -> Any:
        try:
            if "_" in text or not text.isascii():  # digits to Python, and to nobody else
                raise ValueError
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
    return Layout(**asked)


def _options(given: Mapping[str, Any], task: str | None, *, word_timestamps: bool) -> TranscribeOptions:
    values = {name: value for name, value in given.items() if name in _OPTIONS}
    if task is not None and values.setdefault("task", task) != task:
        raise FieldError(
            "task", f"task is {quoted(values['task'])}, but this address is for {task}; leave it out"
        )
    if word_timestamps and values.setdefault("word_timestamps", True) is False:
        raise FieldError("word_timestamps", "word_timestamps is off, but the times of words are asked for")
    return TranscribeOptions(temperature=_temperatures(given), **values)


def _temperatures(given: Mapping[str, Any]) -> tuple[float, ...]:
    """As `whisper-npu transcribe` makes them: in batches windows are decoded once."""
    increment = given.get("temperature_increment_on_fallback", None if given.get("batch_size") else 0.2)
    return temperatures(given.get("temperature", 0.0), increment)
