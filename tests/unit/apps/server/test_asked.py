"""From a form's fields to options: every one, by its own name."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("prometheus_client", reason="the extra server is not installed")

from whisper_npu.apps.server.asked import asked_for
from whisper_npu.apps.server.refusals import FieldError
from whisper_npu.apps.server.whisper_cpp import asked_as_there
from whisper_npu.output import Layout
from whisper_npu.transcription.options import TranscribeOptions

# Texts that are not the defaults, and what they mean; beside each what it needs to have an effect.
GIVEN: dict[str, tuple[str, Any, dict[str, str]]] = {
    "language": ("German", "de", {}),
    "task": ("translate", "translate", {}),
    "beam_size": ("3", 3, {}),
    "best_of": ("2", 2, {}),
    "patience": ("1.5", 1.5, {}),
    "length_penalty": ("0.5", 0.5, {}),
    "repetition_penalty": ("1.1", 1.1, {}),
    "no_repeat_ngram_size": ("3", 3, {}),
    "temperature": ("0.6", (0.6, 0.8, 1.0), {}),
    "compression_ratio_threshold": ("None", None, {}),
    "log_prob_threshold": ("-0.5", -0.5, {}),
    "no_speech_threshold": ("0.5", 0.5, {}),
    "suppress_blank": ("0", False, {}),
    "suppress_tokens": ("1,2", (1, 2), {}),
    "max_initial_timestamp": ("2", 2.0, {}),
    "max_new_tokens": ("100", 100, {}),
    "without_timestamps": ("true", True, {}),
    "condition_on_previous_text": ("false", False, {}),
    "prompt_reset_on_temperature": ("0.1", 0.1, {}),
    "initial_prompt": ("None", "None", {}),  # a text, not the absence of one
    "carry_initial_prompt": ("1", True, {"prompt": "a talk"}),
    "prefix": ("So", "So", {}),
    "hotwords": ("XDNA", "XDNA", {}),
    "word_timestamps": ("True", True, {}),
    "prepend_punctuations": ("", "", {"word_timestamps": "1"}),
    "append_punctuations": ("!", "!", {"word_timestamps": "1"}),
    "hallucination_silence_threshold": ("2", 2.0, {"word_timestamps": "1"}),
    "multilingual": ("yes", True, {}),
    "language_detection_threshold": ("0.7", 0.7, {}),
    "language_detection_segments": ("4", 4, {}),
    "vad_filter": ("on", True, {}),
    "vad_threshold": ("0.6", 0.6, {"vad_filter": "1"}),
    "vad_neg_threshold": ("0.3", 0.3, {"vad_filter": "1"}),
    "vad_min_speech_duration_ms": ("10", 10, {"vad_filter": "1"}),
    "vad_max_speech_duration_s": ("20", 20.0, {"vad_filter": "1"}),
    "vad_min_silence_duration_ms": ("100", 100, {"vad_filter": "1"}),
    "vad_speech_pad_ms": ("10", 10, {"vad_filter": "1"}),
    "clip_timestamps": ("1,2.5", (1.0, 2.5), {}),
    "chunk_length": ("20", 20, {}),
    "batch_size": ("4", 4, {}),
}


def test_the_defaults_are_the_library_s() -> None:
    asked = asked_for({})
    assert asked.options == TranscribeOptions()
    assert (asked.response_format, asked.stream, asked.layout) == ("json", False, Layout())


@pytest.mark.parametrize("name", [field.name for field in fields(TranscribeOptions)])
def test_every_option(name: str) -> None:
    text, value, besides = GIVEN[name]
    options = asked_for({name: text, **besides}).options
    assert getattr(options, name) == value
    default = getattr(TranscribeOptions(), name)
    assert value != default, "the test shows nothing"


def test_numbers_without_end() -> None:
    options = asked_for({"vad_filter": "1", "vad_max_speech_duration_s": "inf"}).options
    assert options.vad_max_speech_duration_s == inf


@pytest.mark.parametrize(
    ("sent", "temperatures"),
    [
        ({"temperature": "0"}, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"temperature": "0", "temperature_increment_on_fallback": "0.5"}, (0.0, 0.5, 1.0)),
        ({"temperature": "0.3", "temperature_increment_on_fallback": "none"}, (0.3,)),
        ({"batch_size": "4"}, (0.0,)),
    ],
)
def test_temperatures_are_those_of_the_command_line(
    sent: dict[str, str], temperatures: tuple[float, ...]
) -> None:
    assert asked_for(sent).options.temperature == temperatures


def test_words() -> None:
    verbose = {"response_format": "verbose_json"}
    assert asked_for(verbose).granularities == {"segment"}
    for sent in ({"timestamp_granularities": "word"}, {"timestamp_granularities": "segment,word"}):
        asked = asked_for(verbose | sent)
        assert asked.options.word_timestamps
        assert asked.granularities == set(sent["timestamp_granularities"].split(","))
    assert asked_for(verbose | {"word_timestamps": "1"}).granularities == {"segment", "word"}
    with pytest.raises(FieldError, match="times of words are asked for") as caught:
        asked_for(verbose | {"word_timestamps": "0", "timestamp_granularities": "word"})
    assert caught.value.option == "word_timestamps"


def test_subtitles() -> None:
    asked = asked_for({"response_format": "vtt", "max_line_width": "40", "max_line_count": "2"})
    assert asked.layout == Layout(max_line_width=40, max_line_count=2)
    assert asked.options.word_timestamps
    with pytest.raises(FieldError, match="must be at least 1") as caught:
        asked_for({"response_format": "srt", "max_words_per_line": "0"})
    assert caught.value.option == "max_words_per_line"


def test_errors_name_the_field_that_was_sent() -> None:
    with pytest.raises(FieldError, match=r"logprob_threshold means log_prob_threshold: .* is 3") as caught:
        asked_for({"logprob_threshold": "3"})
    assert caught.value.option == "logprob_threshold"
    with pytest.raises(FieldError, match="beam_size is 0") as caught:
        asked_for({"patience": "1.5", "beam_size": "0"})
    assert caught.value.option == "beam_size"


def test_the_address_says_the_task() -> None:
    assert asked_for({}, task="translate").options.task == "translate"
    with pytest.raises(FieldError, match="this address is for translate"):
        asked_for({"task": "transcribe"}, task="translate")


def test_fields_of_whisper_cpp() -> None:
    sent = {
        "temperature": "0.0",
        "temperature_inc": "0.5",
        "response_format": "verbose_json",
        "language": "auto",
        "translate": "true",
        "prompt": "a talk",
        "no_speech_thold": "0.5",
        "logprob_thold": "-2",
        "beam_size": "-1",
        "best_of": "2",
        "vad": "true",
        "vad_threshold": "0.4",
        "entropy_thold": "2.40",
        "offset_t": "0",
        "suppress_nst": "false",
        "debug_mode": "false",
    }
    options = asked_as_there(sent).options
    assert options == TranscribeOptions(
        temperature=(0.0, 0.5, 1.0),
        task="translate",
        initial_prompt="a talk",
        no_speech_threshold=0.5,
        log_prob_threshold=-2.0,
        beam_size=1,
        best_of=2,
        vad_filter=True,
        vad_threshold=0.4,
        word_timestamps=True,
    )
    assert asked_as_there({"temperature_inc": "0.0"}).options.temperature == (0.0,)
    plain = asked_as_there({"no_timestamps": "true", "response_format": "verbose_json"}).options
    assert (plain.without_timestamps, plain.word_timestamps) == (True, False)


def test_all_defaults_of_whisper_cpp() -> None:
    """Clients that have a form send every field of it."""
    sent = {
        "vad": "false",
        "vad_threshold": "0.50",
        "vad_min_speech_duration_ms": "250",
        "vad_min_silence_duration_ms": "100",
        "vad_max_speech_duration_s": "340282346638528859811704183484516925440.00",
        "vad_speech_pad_ms": "30",
        "vad_samples_overlap": "0.10",
        "no_context": "true",
    }
    assert asked_as_there(sent).options == TranscribeOptions(condition_on_previous_text=False)
    assert asked_as_there(sent | {"vad": "true"}).options.vad_speech_pad_ms == 30
    with pytest.raises(FieldError, match="no effect without vad_filter") as caught:
        asked_as_there(sent | {"vad_threshold": "0.7"})
    assert caught.value.option == "vad_threshold"
    with pytest.raises(FieldError, match=r"logprob_thold means log_prob_threshold: .* is 5") as caught:
        asked_as_there({"logprob_thold": "5"})
    assert caught.value.option == "logprob_thold"


def test_none() -> None:
    options = asked_for({"suppress_tokens": "none", "clip_timestamps": "None"}).options
    assert options == TranscribeOptions(suppress_tokens=())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("diarize", "true", "speakers"),
        ("duration", "1000", "clip_timestamps"),
        ("max_context", "0", "condition_on_previous_text"),
        ("audio_ctx", "512", "no meaning here"),
        ("translate", "maybe", "must be true or false"),
        ("tempreature", "1", "did you mean temperature"),
    ],
)
def test_what_whisper_cpp_can_and_this_cannot(name: str, text: str, message: str) -> None:
    with pytest.raises(FieldError, match=message) as caught:
        asked_as_there({name: text})
    assert caught.value.option == name
