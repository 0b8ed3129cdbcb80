"""Every option reaches faster-whisper's loop, one by one and in batches."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import faster_whisper
import numpy as np
import pytest
from faster_whisper.vad import VadOptions

from whisper_npu.transcription.loop import as_segment, batch_arguments, loop_arguments, run_loop
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.speech import vad_options

SAMPLES = np.zeros(16_000, np.float32)

# faster-whisper's parameters that are no options, and why.
NOT_OPTIONS = {
    "self": "the model",
    "audio": "the recording",
    "log_progress": "a stream tells how far it is",
    "vad_parameters": "flat, as vad_threshold and so on",
}
# openai/whisper's names, of transcribe and DecodingOptions, for what has another one in faster-whisper.
OPENAI = {
    "logprob_threshold": "log_prob_threshold",
    "sample_len": "max_new_tokens",
    "prompt": "initial_prompt",
}
OPENAI_ONLY = {"carry_initial_prompt"}

# A value for every option that is not its default; what reaches the loop, if that is something else.
CHANGED: dict[str, Any] = {
    "language": "de",
    "task": "translate",
    "beam_size": 3,
    "best_of": 2,
    "patience": 1.5,
    "length_penalty": 0.5,
    "repetition_penalty": 1.2,
    "no_repeat_ngram_size": 3,
    "temperature": (0.0, 0.5),
    "compression_ratio_threshold": 2.0,
    "log_prob_threshold": -0.5,
    "no_speech_threshold": 0.3,
    "condition_on_previous_text": False,
    "prompt_reset_on_temperature": 0.1,
    "initial_prompt": "Chapter one.",
    "prefix": "It",
    "suppress_blank": False,
    "suppress_tokens": (1, 2),
    "without_timestamps": True,
    "max_initial_timestamp": 0.5,
    "word_timestamps": True,
    "prepend_punctuations": "(",
    "append_punctuations": ")",
    "multilingual": True,
    "max_new_tokens": 50,
    "chunk_length": 10,
    "clip_timestamps": (1.0, 2.0),
    "hallucination_silence_threshold": 2.0,
    "hotwords": "Dashwood",
    "language_detection_threshold": 0.9,
    "language_detection_segments": 4,
    "vad_filter": True,
    "vad_threshold": 0.6,
    "vad_neg_threshold": 0.2,
    "vad_min_speech_duration_ms": 100,
    "vad_max_speech_duration_s": 20.0,
    "vad_min_silence_duration_ms": 300,
    "vad_speech_pad_ms": 200,
}
REACHES: dict[str, object] = {
    "temperature": [0.0, 0.5],
    "suppress_tokens": [1, 2],
    "clip_timestamps": [1.0, 2.0],
}
NEEDS: dict[str, dict[str, Any]] = {
    "prepend_punctuations": {"word_timestamps": True},
    "append_punctuations": {"word_timestamps": True},
    "hallucination_silence_threshold": {"word_timestamps": True},
    **{name: {"vad_filter": True} for name in CHANGED if name.startswith("vad_")},
}
NOT_IN_BATCHES = {
    "best_of",
    "compression_ratio_threshold",
    "condition_on_previous_text",  # False is what batches do
    "language_detection_segments",  # the language is known before the loop
    "language_detection_threshold",
    "log_prob_threshold",
    "no_speech_threshold",  # used by `spoken`
    "prefix",
    "prompt_reset_on_temperature",
    "max_initial_timestamp",
    "hallucination_silence_threshold",
    "temperature",
    "clip_timestamps",
    "vad_filter",  # always on
    "vad_max_speech_duration_s",
}


class Loop:
    """A WhisperModel that only remembers how it was called."""

    feature_extractor = SimpleNamespace(chunk_length=30)

    def transcribe(self, audio: Any, **given: Any) -> tuple[Any, Any]:
        self.given = given
        return iter(()), None


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_every_parameter_of_faster_whisper_is_an_option() -> None:
    options = {field.name for field in fields(TranscribeOptions)}
    assert parameters(faster_whisper.WhisperModel.transcribe) - options == NOT_OPTIONS.keys()
    assert parameters(faster_whisper.BatchedInferencePipeline.transcribe) - options == NOT_OPTIONS.keys()
    assert {f"vad_{field.name}" for field in fields(VadOptions)} <= options
    assert options >= {*OPENAI.values(), *OPENAI_ONLY}


def test_every_option_is_tried_here() -> None:
    options = {field.name for field in fields(TranscribeOptions)}
    assert options - CHANGED.keys() == {*OPENAI_ONLY, "batch_size"}  # these have tests of their own


@pytest.mark.parametrize("name", CHANGED)
def test_an_option_reaches_the_loop(name: str) -> None:
    loop = Loop()
    options = TranscribeOptions(**NEEDS.get(name, {}) | {name: CHANGED[name]})
    assert getattr(options, name) != getattr(TranscribeOptions(), name)
    run_loop(loop, SAMPLES, options)
    if name.startswith("vad_") and name != "vad_filter":
        assert getattr(loop.given["vad_parameters"], name.removeprefix("vad_")) == CHANGED[name]
    else:
        assert loop.given[name] == REACHES.get(name, CHANGED[name])


@pytest.mark.parametrize("name", sorted(CHANGED.keys() - NOT_IN_BATCHES))
def test_an_option_reaches_the_loop_in_batches(name: str) -> None:
    needs = {} if name.startswith("vad_") else NEEDS.get(name, {})
    options = TranscribeOptions(**needs | {name: CHANGED[name]}, batch_size=3)
    if name.startswith("vad_"):
        assert getattr(vad_options(options, 30), name.removeprefix("vad_")) == CHANGED[name]
    else:
        assert batch_arguments(options)[name] == REACHES.get(name, CHANGED[name])


def test_batches_have_their_size_and_one_temperature() -> None:
    given = batch_arguments(TranscribeOptions(batch_size=3, temperature=(0.4,)))
    assert (given["batch_size"], given["temperature"]) == (3, 0.4)


def test_nothing_else_reaches_the_loop_than_it_knows() -> None:
    known = parameters(faster_whisper.WhisperModel.transcribe)
    assert loop_arguments(TranscribeOptions()).keys() <= known
    # Looked up in faster-whisper's source, which ignores or replaces these.
    ignored = {"best_of", "compression_ratio_threshold", "log_prob_threshold", "prefix", "clip_timestamps"}
    batched = batch_arguments(TranscribeOptions(batch_size=1)).keys()
    assert batched <= parameters(faster_whisper.BatchedInferencePipeline.transcribe)
    assert not batched & ignored


def test_the_defaults_are_faster_whispers() -> None:
    loop = Loop()
    run_loop(loop, SAMPLES, TranscribeOptions())
    signature = inspect.signature(faster_whisper.WhisperModel.transcribe)
    theirs = {name: parameter.default for name, parameter in signature.parameters.items()}
    theirs["vad_parameters"] = VadOptions()
    assert loop.given == {name: theirs[name] for name in loop.given}


def test_no_threshold_of_detection_lets_every_window_vote() -> None:
    """faster-whisper itself cannot compare with None."""
    loop = Loop()
    run_loop(loop, SAMPLES, TranscribeOptions(language_detection_threshold=None))
    assert loop.given["language_detection_threshold"] == 1.0


def test_speech_is_cut_to_windows_in_batches() -> None:
    batched = TranscribeOptions(batch_size=2)
    assert vad_options(batched, 30) == VadOptions(max_speech_duration_s=30, min_silence_duration_ms=160)
    assert vad_options(replace(batched, chunk_length=9), 30).max_speech_duration_s == 9
    assert vad_options(replace(batched, vad_min_silence_duration_ms=2000), 30).min_silence_duration_ms == 2000


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0.5, 1.0, (0.5, 1.0)), (-0.1, 0.5, (0.0, 0.5)), (1.0, 9.0, (1.0, 2.0)), (3.0, 9.0, (2.0, 2.0))],
)
def test_segments_and_words_lie_within_the_recording(
    start: float, end: float, expected: tuple[float, float]
) -> None:
    word = faster_whisper.transcribe.Word(start, end, " the", 0.5)
    found = faster_whisper.transcribe.Segment(7, 300, start, end, " the", [1], -0.1, 1.0, 0.0, [word], 0.2)
    segment = as_segment(found, id=3, duration=2.0)
    assert (segment.start, segment.end) == expected
    assert segment.words is not None
    assert (segment.words[0].start, segment.words[0].end) == expected
    assert (segment.id, segment.seek) == (3, 300)


def test_what_ends_before_it_starts_ends_where_it_starts() -> None:
    found = faster_whisper.transcribe.Segment(1, 0, 1.5, 1.0, " the", [1], -0.1, 1.0, 0.0, None, 0.0)
    segment = as_segment(found, id=0, duration=2.0)
    assert (segment.start, segment.end, segment.words) == (1.5, 1.5, None)
