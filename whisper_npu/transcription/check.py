"""Refusing what a model cannot do, before any work."""

from __future__ import annotations

from whisper_npu.audio import HOP_LENGTH, SAMPLE_RATE
from whisper_npu.checkpoint.resolve import check_name
from whisper_npu.errors import UsageError
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.options import WINDOW_SECONDS, TranscribeOptions
from whisper_npu.transcription.prompt import check_tokens, vocabulary_size
from whisper_npu.transcription.resume import ResumePoint


def check_model(name: str, options: TranscribeOptions) -> None:
    """What can be said of a model before it is loaded.

    Raises what `load_model` and `Model.stream` would raise: for a name that means nothing, and for a language
    or task that an English-only model (.en) does not have.
    """
    check_name(name)
    if name.lower().endswith(".en"):
        _check_english_only(name, options)


def check_options(name: str, whisper: faster_whisper.WhisperModel, options: TranscribeOptions) -> None:
    """Raises UsageError for what the loaded model of this name does not know, or is too long for it."""
    language = options.language
    if not whisper.model.is_multilingual:
        _check_english_only(name, options)
    elif language and whisper.hf_tokenizer.token_to_id(f"<|{language}|>") is None:
        raise UsageError(
            f"model {name} does not know {name_of(language)} ({language}): take a later one, such as turbo",
            option="language",
        )
    check_tokens(whisper, options)


def check_point(whisper: faster_whisper.WhisperModel, point: ResumePoint, duration: float) -> None:
    """Raises UsageError for a point that cannot be of this model and a recording of `duration` seconds."""
    window_seconds = point.window * HOP_LENGTH / SAMPLE_RATE  # in batches it is a number, and smaller
    last_word = point.spoken_until - WINDOW_SECONDS  # it may end behind the recording, for all that is known
    if max(point.seconds, window_seconds, last_word) > duration:
        raise UsageError(f"the point to go on from lies behind the recording's {duration:.2f} s: begin anew")
    known = vocabulary_size(whisper)
    if any(token >= known for token in point.tokens):
        raise UsageError(f"the point to go on from has tokens beyond the model's {known}: begin anew")
    if whisper.hf_tokenizer.token_to_id(f"<|{point.language}|>") is None and whisper.model.is_multilingual:
        raise UsageError("the point to go on from has a language that the model lacks: begin anew")


def _check_english_only(name: str, options: TranscribeOptions) -> None:
    language = options.language
    remedy = "it knows English only: take one without .en"
    if options.task == "translate":
        raise UsageError(f"model {name} cannot translate, {remedy}", option="task")
    if options.multilingual or language not in (None, "en"):
        why = f"does not know {name_of(language)} ({language})" if language else "is not multilingual"
        raise UsageError(f"model {name} {why}, {remedy}", option="language" if language else "multilingual")
