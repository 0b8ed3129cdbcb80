"""The options of a transcription as keywords of a call: `transcribe(audio, language="de", beam_size=1)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from whisper_npu.errors import UsageError, quoted
from whisper_npu.near import did_you_mean
from whisper_npu.transcription.options import OptionKeywords, TranscribeOptions, temperatures

BATCH_SIZE = 8  # of `batched`, which names none; faster-whisper's default


class TranscribeKeywords(OptionKeywords, total=False):
    """Those of `TranscribeOptions`, and three that the command line has in other words."""

    logprob_threshold: float | None  # log_prob_threshold
    temperature_increment_on_fallback: float | None  # steps from a single temperature up to 1; None: no steps
    batched: bool  # batch_size, 8 if that is not given


_NAMES = tuple(field.name for field in fields(TranscribeOptions))
# Names that people type, and what they mean here.
_INSTEAD = {
    "compute_type": "it is load_model's",
    "device": "it is load_model's",
    "fp16": "it would have no effect, the encoder multiplies in bf16",
    "highlight_words": "it is an option of to_srt, to_vtt and save",
    "max_line_count": "it is an option of to_srt, to_vtt and save",
    "max_line_width": "it is an option of to_srt, to_vtt and save",
    "max_words_per_line": "it is an option of to_srt, to_vtt and save",
    "model": "it is load_model's",
    "prompt": "did you mean initial_prompt?",
    "sample_rate": "did you mean sampling_rate?",
    "vad_parameters": "give them one by one, such as vad_min_silence_duration_ms=500",
    "verbose": "nothing is printed; on_segment and on_progress are called while it works",
}
_OTHER_NAMES = ("logprob_threshold", "temperature_increment_on_fallback", "batched")


def with_keywords(options: TranscribeOptions | None, keywords: Mapping[str, Any]) -> TranscribeOptions:
    """`options`, or the defaults, with what the keywords say instead.

    Raises UsageError for a name that is no option's, and what `TranscribeOptions` raises.
    """
    options = TranscribeOptions() if options is None else options
    if not isinstance(options, TranscribeOptions):
        kind = type(options).__name__
        raise UsageError(f"options is a {kind}, must be a TranscribeOptions; or give options by their names")
    for name in keywords:
        if name not in (*_NAMES, *_OTHER_NAMES):
            hint = _INSTEAD.get(name) or did_you_mean(name, [*_NAMES, *_OTHER_NAMES])
            raise UsageError(
                f"there is no option {quoted(name)}: {hint or 'whisper_npu.TranscribeOptions lists them'}"
            )
    values = {name: value for name, value in keywords.items() if name in _NAMES}
    if "logprob_threshold" in keywords:
        _only_one(keywords, "logprob_threshold", "log_prob_threshold")
        values["log_prob_threshold"] = keywords["logprob_threshold"]
    if "temperature_increment_on_fallback" in keywords:
        start = keywords.get("temperature", options.temperature[0])
        values["temperature"] = temperatures(start, keywords["temperature_increment_on_fallback"])
    if "batched" in keywords:
        values["batch_size"] = _batch_size(keywords, options)
    return replace(options, **values)


def _batch_size(keywords: Mapping[str, Any], options: TranscribeOptions) -> int | None:
    batched, size = keywords["batched"], keywords.get("batch_size")
    if not isinstance(batched, bool):
        raise UsageError(f"batched is {quoted(batched)}, must be True or False")
    if batched:
        return size or options.batch_size or BATCH_SIZE
    if size is not None:
        raise UsageError(f"batch_size {size} has no effect beside batched=False: leave one of them out")
    return None


def _only_one(keywords: Mapping[str, Any], one: str, other: str) -> None:
    if other in keywords:
        raise UsageError(f"{one} and {other} are the same option: leave one out")
