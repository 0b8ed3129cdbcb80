"""The options of a transcription as keywords of a call: `transcribe(audio, language="de", beam_size=1)`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypedDict

from whisper_npu.errors import UsageError
from whisper_npu.near import did_you_mean
from whisper_npu.transcription.options import TranscribeOptions, temperatures

BATCH_SIZE = 8  # of `batched`, which names none; faster-whisper's default


class TranscribeKeywords(TypedDict, total=False):
    """`TranscribeOptions`, where each is described, and three of the command line's names at the end."""

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

    logprob_threshold: float | None  # log_prob_threshold
    temperature_increment_on_fallback: float | None  # steps from a single temperature up to 1; None: no steps
    batched: bool  # batch_size, 8 if that is not given


_NAMES = tuple(field.name for field in fields(TranscribeOptions))
_OTHER_NAMES = ("logprob_threshold", "temperature_increment_on_fallback", "batched")


def with_keywords(options: TranscribeOptions | None, keywords: Mapping[str, Any]) -> TranscribeOptions:
    """`options`, or the defaults, with what the keywords say instead.

    Raises UsageError for a name that is no option's, and what `TranscribeOptions` raises.
    """
    for name in keywords:
        if name not in (*_NAMES, *_OTHER_NAMES):
            hint = did_you_mean(name, [*_NAMES, *_OTHER_NAMES])
            raise UsageError(
                f"there is no option {name!r}: {hint or 'whisper_npu.TranscribeOptions lists them'}"
            )
    values = {name: value for name, value in keywords.items() if name in _NAMES}
    if "logprob_threshold" in keywords:
        _only_one(keywords, "logprob_threshold", "log_prob_threshold")
        values["log_prob_threshold"] = keywords["logprob_threshold"]
    if "temperature_increment_on_fallback" in keywords:
        start = keywords.get("temperature", 0.0)
        values["temperature"] = temperatures(start, keywords["temperature_increment_on_fallback"])
    if keywords.get("batched"):
        values["batch_size"] = values.get("batch_size") or BATCH_SIZE
    elif "batched" in keywords and values.get("batch_size") is not None:
        raise UsageError(
            f"batch_size {values['batch_size']} has no effect beside batched=False: leave one out"
        )
    return replace(options or TranscribeOptions(), **values)


def _only_one(keywords: Mapping[str, Any], one: str, other: str) -> None:
    if other in keywords:
        raise UsageError(f"{one} and {other} are the same option: leave one out")
