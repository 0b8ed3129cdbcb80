"""How to transcribe: every option of faster-whisper's and openai/whisper's loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from math import inf, isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypedDict

from whisper_npu.errors import NoEffectError, UsageError, quoted
from whisper_npu.transcription.language import check_language

if TYPE_CHECKING:
    from typing_extensions import Unpack

TASKS = ("transcribe", "translate")
WINDOW_SECONDS = 30  # what Whisper hears at once
MAX_NEW_TOKENS = 224  # per window: half of the decoder's 448 positions, the rest is the prompt's
MOST_PENALTY = 100.0  # far beyond what has sense, and far from where float32 ends
MAX_CANDIDATES = 100  # of a search; with more the decoder needs minutes and gigabytes for a window
LEAST_STEP = 0.01  # between temperatures; a window is decoded once for each
MAX_BATCH = 256  # windows
WHOLE_RECORDING = (0.0,)

# What Silero VAD keeps of a silence that ends speech, unless the options say otherwise; faster-whisper's.
MIN_SILENCE_MS = 2000
MIN_SILENCE_IN_BATCHES_MS = 160  # windows are cut in silence, so short ones have to count


class OptionKeywords(TypedDict, total=False):
    """What may be given for the fields of `TranscribeOptions`."""

    language: str | None
    task: str
    beam_size: int | None
    best_of: int | None
    patience: float | None
    length_penalty: float | None
    repetition_penalty: float
    no_repeat_ngram_size: int
    temperature: float | Iterable[float]
    compression_ratio_threshold: float | None
    log_prob_threshold: float | None
    no_speech_threshold: float | None
    suppress_blank: bool
    suppress_tokens: str | Iterable[int] | None
    max_initial_timestamp: float
    max_new_tokens: int | None
    without_timestamps: bool
    condition_on_previous_text: bool
    prompt_reset_on_temperature: float
    initial_prompt: str | None
    carry_initial_prompt: bool
    prefix: str | None
    hotwords: str | None
    word_timestamps: bool
    prepend_punctuations: str
    append_punctuations: str
    hallucination_silence_threshold: float | None
    multilingual: bool
    language_detection_threshold: float | None
    language_detection_segments: int
    vad_filter: bool
    vad_threshold: float
    vad_neg_threshold: float | None
    vad_min_speech_duration_ms: int
    vad_max_speech_duration_s: float
    vad_min_silence_duration_ms: int | None
    vad_speech_pad_ms: int
    clip_timestamps: str | Iterable[float] | None
    chunk_length: int | None
    batch_size: int | None


@dataclass(frozen=True)
class TranscribeOptions:
    """How to transcribe, in faster-whisper's names and, where it has none, in openai/whisper's.

    The defaults are openai/whisper's. Every value is checked here: whatever is wrong by itself, or could
    have no effect beside the others, raises a UsageError. A number is a temperature too; numbers in text,
    separated by commas, are clip_timestamps or suppress_tokens too; None for beam_size, best_of, patience or
    length_penalty is 1, and for suppress_tokens and clip_timestamps none.

    Batches (batch_size) decode every window once, at one temperature and without the previous text: options
    of what they do not do are refused.

    language: a code or an English name, such as de, German or de-DE; None: detect it
    task: or "translate", to English

    Decoding:
    beam_size: of the search at temperature 0; 1 is greedy
    best_of: candidates at temperatures above 0
    patience: the search looks at beam_size * patience candidates
    length_penalty: the exponent of the length by which a candidate's score is divided
    repetition_penalty: above 1 tokens that were said already become less likely
    no_repeat_ngram_size: no sequence of so many tokens is said twice; 0: any may be
    temperature: tried in turn until decoding succeeds
    compression_ratio_threshold: above it, a text repeats itself, and decoding failed
    log_prob_threshold: below this mean over the tokens, decoding failed
    no_speech_threshold: above it the model doubts that anybody speaks. A window that failed by
        log_prob_threshold too is skipped, and any other segment is kept only if Silero VAD hears speech.
        None: nothing is dropped.
    suppress_blank: no window begins with a blank
    suppress_tokens: never said; -1: the symbols that nobody pronounces; (): none
    max_initial_timestamp: seconds into a window at which its first phrase begins at the latest
    max_new_tokens: per window, timestamps included
    without_timestamps: each window becomes one segment

    Prompts:
    condition_on_previous_text: the text so far is the next window's prompt
    prompt_reset_on_temperature: unless that text was decoded at more than this
    initial_prompt: what was said before; in batches before every window
    carry_initial_prompt: before every window, and the text so far behind it
    prefix: how the first window's text begins
    hotwords: words to expect, before every window's prompt; not before a prefix

    Words:
    word_timestamps: time every word
    prepend_punctuations: belong to the word behind them
    append_punctuations: belong to the word before them
    hallucination_silence_threshold: seconds of silence around unlikely words; both are skipped

    Languages:
    multilingual: detect the language of every window
    language_detection_threshold: a window decides if it is surer; None: most windows do
    language_detection_segments: windows that are asked at most

    Parts of the recording:
    vad_filter: first cut out what Silero VAD hears no speech in
    vad_threshold: speech is where its probability is above
    vad_neg_threshold: and ends where it falls below; None: 0.15 less
    vad_min_speech_duration_ms: shorter speech is no speech
    vad_max_speech_duration_s: longer speech is cut at a silence
    vad_min_silence_duration_ms: speech goes on over less; None: 2000, in batches 160
    vad_speech_pad_ms: kept on both sides of speech
    clip_timestamps: start, end, start, ... in s; or no last end
    chunk_length: seconds of a window; None: 30
    batch_size: windows decoded at once, cut where VAD hears no speech; None: one by one
    """

    if TYPE_CHECKING:  # more may be given than is stored

        def __init__(self, **options: Unpack[OptionKeywords]) -> None: ...

    language: str | None = None
    task: str = "transcribe"

    # Decoding
    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float | None = 2.4
    log_prob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    suppress_blank: bool = True
    suppress_tokens: tuple[int, ...] = (-1,)
    max_initial_timestamp: float = 1.0
    max_new_tokens: int | None = None
    without_timestamps: bool = False

    # Prompts
    condition_on_previous_text: bool = True
    prompt_reset_on_temperature: float = 0.5
    initial_prompt: str | None = None
    carry_initial_prompt: bool = False
    prefix: str | None = None
    hotwords: str | None = None

    # Words
    word_timestamps: bool = False
    prepend_punctuations: str = "\"'“¿([{-"
    append_punctuations: str = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
    hallucination_silence_threshold: float | None = None

    # Languages
    multilingual: bool = False
    language_detection_threshold: float | None = 0.5
    language_detection_segments: int = 1

    # Parts of the recording
    vad_filter: bool = False
    vad_threshold: float = 0.5
    vad_neg_threshold: float | None = None
    vad_min_speech_duration_ms: int = 0
    vad_max_speech_duration_s: float = inf
    vad_min_silence_duration_ms: int | None = None
    vad_speech_pad_ms: int = 400
    clip_timestamps: tuple[float, ...] = WHOLE_RECORDING
    chunk_length: int | None = None

    batch_size: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _CHECKS[field.name](field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        _refuse_what_has_no_effect(self)
        if self.batch_size is not None:
            _refuse_what_batches_cannot(self)


def temperatures(start: float, increment: float | None) -> tuple[float, ...]:
    """From `start` to 1 in steps, as openai/whisper's --temperature_increment_on_fallback makes them.

    increment: None for `start` alone. Raises UsageError for a start outside 0 to 1, or a step below
    LEAST_STEP.
    """
    (start,) = _temperature("temperature", _Number(0, 1)("temperature", start))
    step = _Number(LEAST_STEP, optional=True)("temperature_increment_on_fallback", increment)
    if step is None:
        return (start,)
    # The slack takes in 1.0 itself, which a sum of steps may miss by a rounding error.
    count = int((1.0 + 1e-6 - start) / step) + 1
    return tuple(min(1.0, round(start + i * step, 6)) for i in range(count))


# The checks. Each takes the name and the value of an option, and returns the value that is stored.

Check = Callable[[str, Any], Any]


def _refuse(name: str, value: object, must: str) -> UsageError:
    return UsageError(f"{name} is {quoted(value)}, must be {must}", option=name)


@dataclass(frozen=True)
class _Number:
    """A finite number from `low` to `high`. above: and not `low` itself. optional: or None.

    none: the number that None means, if it means one.
    """

    low: float = -inf
    high: float = inf
    above: bool = False
    optional: bool = False
    none: float | None = None

    def __call__(self, name: str, value: Any) -> float | None:
        if value is None and (self.optional or self.none is not None):
            return self.none
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
        if number is None or not isfinite(number) or not self.low <= number <= self.high:
            raise _refuse(name, value, self._must)
        if self.above and number == self.low:
            raise _refuse(name, value, self._must)
        return number

    @property
    def _must(self) -> str:
        number = _range("a number", self.low, self.high)
        if self.above:
            number = f"a number above {self.low:g}"
            number += f", at most {self.high:g}" if self.high < inf else ""
        return number + (", or None" if self.optional else "")


@dataclass(frozen=True)
class _Whole:
    """A whole number from `low` to `high`. optional, none: as for `_Number`."""

    low: int
    high: float = inf
    optional: bool = False
    none: int | None = None

    def __call__(self, name: str, value: Any) -> int | None:
        if value is None and (self.optional or self.none is not None):
            return self.none
        whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
        if whole is None or not self.low <= whole <= self.high:
            or_none = ", or None" if self.optional else ""
            raise _refuse(name, value, _range("a whole number", self.low, self.high) + or_none)
        return whole


def _range(kind: str, low: float, high: float) -> str:
    if low == -inf:
        return f"{kind}, at most {high:g}"
    return f"{kind}, at least {low:g}" if high == inf else f"{kind} from {low:g} to {high:g}"


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, value, "True or False")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse(name, value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of the command line in another encoding
        raise _refuse(name, value, "text in UTF-8") from None
    return value


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _task(name: str, value: Any) -> str:
    if value not in TASKS:
        raise UsageError(f"unknown task {quoted(value)}: there are {' and '.join(TASKS)}", option=name)
    task: str = value
    return task


def _language(name: str, value: Any) -> str | None:
    return check_language(value)


def _temperature(name: str, value: Any) -> tuple[float, ...]:
    several = (value,) if isinstance(value, Real) or getattr(value, "ndim", 1) == 0 else value
    if not isinstance(several, Iterable) or isinstance(several, str) or not (listed := tuple(several)):
        raise _refuse(name, value, "a number, or several, from 0 to 1")
    check = _Number(0, 1)
    return tuple(number for one in listed if (number := check(name, one)) is not None)


def _suppress_tokens(name: str, value: Any) -> tuple[int, ...]:
    check = _Whole(-1)
    return tuple(number for one in _numbers(name, value, int) if (number := check(name, one)) is not None)


def _clip_timestamps(name: str, value: Any) -> tuple[float, ...]:
    check = _Number(0)
    times = tuple(t for one in _numbers(name, value, float) if (t := check(name, one)) is not None)
    for start, end in zip(times[::2], times[1::2], strict=False):
        if end <= start:
            raise UsageError(
                f"{name}: the clip from {start:g} s ends at {end:g} s, must end after its start", option=name
            )
    for end, start in zip(times[1::2], times[2::2], strict=False):
        if start < end:
            raise UsageError(
                f"{name}: a clip starts at {start:g} s, before the one before it ends at {end:g} s; "
                "give clips in their order, none within another",
                option=name,
            )
    return times or WHOLE_RECORDING


def _numbers(name: str, value: Any, kind: type) -> tuple[Any, ...]:
    """Numbers, or a text of numbers between commas."""
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            if "_" in value or not value.isascii():  # digits to Python, and to nobody else
                raise ValueError
            return tuple(kind(part) for part in value.split(",")) if value.strip() else ()
        except ValueError:
            raise _refuse(name, value, "numbers between commas, such as 0,5") from None
    if not isinstance(value, Iterable):
        raise _refuse(name, value, "several numbers")
    return tuple(value)


def _duration(name: str, value: Any) -> float:
    if value == inf:
        return inf
    number = _Number(0, above=True)(name, value)
    assert number is not None
    return number


_CHECKS: dict[str, Check] = {
    "language": _language,
    "task": _task,
    "beam_size": _Whole(1, MAX_CANDIDATES, none=1),
    "best_of": _Whole(1, MAX_CANDIDATES, none=1),
    "patience": _Number(0, MAX_CANDIDATES, above=True, none=1.0),
    "length_penalty": _Number(0, MOST_PENALTY, none=1.0),
    "repetition_penalty": _Number(0, MOST_PENALTY, above=True),
    "no_repeat_ngram_size": _Whole(0),
    "temperature": _temperature,
    "compression_ratio_threshold": _Number(0, optional=True),
    "log_prob_threshold": _Number(high=0, optional=True),  # the logarithm of a probability
    "no_speech_threshold": _Number(0, 1, optional=True),
    "suppress_blank": _boolean,
    "suppress_tokens": _suppress_tokens,
    "max_initial_timestamp": _Number(0, WINDOW_SECONDS),
    "max_new_tokens": _Whole(1, MAX_NEW_TOKENS, optional=True),
    "without_timestamps": _boolean,
    "condition_on_previous_text": _boolean,
    "prompt_reset_on_temperature": _Number(0, 1),
    "initial_prompt": _text_or_none,
    "carry_initial_prompt": _boolean,
    "prefix": _text_or_none,
    "hotwords": _text_or_none,
    "word_timestamps": _boolean,
    "prepend_punctuations": _text,
    "append_punctuations": _text,
    "hallucination_silence_threshold": _Number(0, optional=True),
    "multilingual": _boolean,
    "language_detection_threshold": _Number(0, 1, optional=True),
    "language_detection_segments": _Whole(1, 10_000),
    "vad_filter": _boolean,
    "vad_threshold": _Number(0, 1),
    "vad_neg_threshold": _Number(0, 1, optional=True),
    "vad_min_speech_duration_ms": _Whole(0),
    "vad_max_speech_duration_s": _duration,
    "vad_min_silence_duration_ms": _Whole(0, optional=True),
    "vad_speech_pad_ms": _Whole(0),
    "clip_timestamps": _clip_timestamps,
    "chunk_length": _Whole(1, WINDOW_SECONDS, optional=True),
    "batch_size": _Whole(1, MAX_BATCH, optional=True),
}

_NEEDS_WORDS = ("prepend_punctuations", "append_punctuations", "hallucination_silence_threshold")
_NEEDS_VAD = tuple(name for name in _CHECKS if name.startswith("vad_") and name != "vad_filter")
_DEFAULT = object()  # stands for the default of an option
# What batches do, in the values of options that they do not read; no other value of these can be honoured.
_IN_BATCHES: dict[str, tuple[object, ...]] = {
    "best_of": (_DEFAULT,),
    "compression_ratio_threshold": (_DEFAULT, None),
    "log_prob_threshold": (_DEFAULT, None),
    "prompt_reset_on_temperature": (_DEFAULT,),
    "prefix": (None,),
    "max_initial_timestamp": (_DEFAULT,),
    "hallucination_silence_threshold": (None,),
    "vad_max_speech_duration_s": (_DEFAULT,),  # a window's length
    "clip_timestamps": (_DEFAULT,),
}


def _refuse_what_has_no_effect(options: TranscribeOptions) -> None:
    def changed(name: str) -> bool:
        return bool(getattr(options, name) != _default(name))

    for name in _NEEDS_WORDS:
        if changed(name) and not options.word_timestamps:
            raise NoEffectError(
                f"{name} has no effect without word_timestamps: switch that on, or leave this out",
                option=name,
            )
    for name in _NEEDS_VAD:
        if changed(name) and not (options.vad_filter or options.batch_size):
            raise NoEffectError(
                f"{name} has no effect without vad_filter: switch that on, or leave this out", option=name
            )
    if options.vad_filter and changed("clip_timestamps"):
        raise NoEffectError(
            "vad_filter has no effect beside clip_timestamps: leave one of them out", option="vad_filter"
        )
    if options.carry_initial_prompt and options.initial_prompt is None:
        raise NoEffectError(
            "carry_initial_prompt has no effect without initial_prompt: give one",
            option="carry_initial_prompt",
        )
    if options.prefix and options.clip_timestamps[0] > 0:
        raise NoEffectError(
            f"prefix is how the recording begins, but clip_timestamps at {options.clip_timestamps[0]:g} s: "
            "leave one of them out",
            option="prefix",
        )
    if options.multilingual and options.language is not None:
        raise NoEffectError(
            f"multilingual detects the language of every window, language {options.language} has no effect: "
            "leave one of them out",
            option="language",
        )
    if changed("max_initial_timestamp") and options.without_timestamps:
        raise NoEffectError(
            "max_initial_timestamp has no effect beside without_timestamps: leave one of them out",
            option="max_initial_timestamp",
        )
    if changed("patience") and options.beam_size == 1:
        raise NoEffectError(
            "patience has no effect on one beam: raise beam_size, or leave it out", option="patience"
        )
    if options.beam_size * options.patience > MAX_CANDIDATES:
        raise UsageError(
            f"patience is {options.patience:g}, with beam_size {options.beam_size} these are more than "
            f"{MAX_CANDIDATES} candidates: lower one of the two",
            option="patience",
        )
    if round(options.beam_size * options.patience) < 1:
        raise UsageError(
            f"patience is {options.patience:g}, with beam_size {options.beam_size} no candidate is left: "
            "their product must be at least 1",
            option="patience",
        )
    if options.vad_max_speech_duration_s * 1000 <= 2 * options.vad_speech_pad_ms + _VAD_STEP_MS:
        raise UsageError(
            f"vad_max_speech_duration_s is {options.vad_max_speech_duration_s:g}, must be more than twice "
            f"vad_speech_pad_ms, {options.vad_speech_pad_ms} ms, and {_VAD_STEP_MS} ms",
            option="vad_max_speech_duration_s",
        )


_VAD_STEP_MS = 32  # 512 samples, for which Silero VAD tells one probability


def _refuse_what_batches_cannot(options: TranscribeOptions) -> None:
    for name, taken in _IN_BATCHES.items():
        value = getattr(options, name)
        if value not in [_default(name) if one is _DEFAULT else one for one in taken]:
            raise NoEffectError(
                f"{name} has no effect in batches: leave it out, or leave out batch_size", option=name
            )
    if len(options.temperature) > 1 and options.temperature != _default("temperature"):
        raise NoEffectError(
            f"temperature is {', '.join(f'{t:g}' for t in options.temperature)}, but batches decode at one: "
            "give one, or leave out batch_size",
            option="temperature",
        )


def _default(name: str) -> Any:
    return TranscribeOptions.__dataclass_fields__[name].default
