"""Options: what is taken, and what is refused with the value, the limit and the remedy."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.errors import UsageError
from whisper_npu.transcription.options import TranscribeOptions, temperatures

DEFAULTS = TranscribeOptions()


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("temperature", 0, (0.0,)),
        ("temperature", 0.4, (0.4,)),
        ("temperature", np.float32(0.5), (0.5,)),
        ("temperature", [0, 0.5], (0.0, 0.5)),
        ("beam_size", np.int64(3), 3),
        ("beam_size", None, 1),
        ("best_of", None, 1),
        ("patience", None, 1.0),
        ("length_penalty", None, 1.0),
        ("compression_ratio_threshold", None, None),
        ("log_prob_threshold", None, None),
        ("no_speech_threshold", None, None),
        ("language_detection_threshold", None, None),
        ("suppress_tokens", "-1", (-1,)),
        ("suppress_tokens", "-1, 50", (-1, 50)),
        ("suppress_tokens", [7], (7,)),
        ("suppress_tokens", "", ()),
        ("suppress_tokens", None, ()),
        ("clip_timestamps", "0", (0.0,)),
        ("clip_timestamps", "1.5,3, 3,9", (1.5, 3.0, 3.0, 9.0)),
        ("clip_timestamps", [10], (10.0,)),
        ("clip_timestamps", "", (0.0,)),
        ("clip_timestamps", (), (0.0,)),
        ("language", "German", "de"),
        ("language", "auto", None),
        ("vad_max_speech_duration_s", inf, inf),
        ("initial_prompt", "", ""),
    ],
)
def test_what_is_taken(name: str, given: Any, stored: Any) -> None:
    value = getattr(TranscribeOptions(**{name: given}), name)
    assert value == stored
    assert type(value) is type(stored)


WHOLE = ["beam_size", "best_of", "no_repeat_ngram_size", "language_detection_segments", "max_new_tokens"]
WHOLE += ["chunk_length", "batch_size", "vad_speech_pad_ms", "vad_min_silence_duration_ms"]
WHOLE += ["vad_min_speech_duration_ms"]
NUMBERS = ["patience", "length_penalty", "repetition_penalty", "compression_ratio_threshold"]
NUMBERS += ["log_prob_threshold", "no_speech_threshold", "prompt_reset_on_temperature", "vad_threshold"]
NUMBERS += ["max_initial_timestamp", "hallucination_silence_threshold", "language_detection_threshold"]
NUMBERS += ["vad_neg_threshold", "vad_max_speech_duration_s"]
SEVERAL = ["temperature", "suppress_tokens", "clip_timestamps"]
BOOLEANS = ["suppress_blank", "without_timestamps", "condition_on_previous_text", "carry_initial_prompt"]
BOOLEANS += ["word_timestamps", "multilingual", "vad_filter"]
TEXTS = ["initial_prompt", "prefix", "hotwords", "prepend_punctuations", "append_punctuations"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in WHOLE for value in ("5", 2.5, True, -2, nan, [5], b"5")),
        *((name, value) for name in NUMBERS for value in ("0.5", True, nan, -inf, [0.5], object())),
        *((name, value) for name in NUMBERS if name != "log_prob_threshold" for value in (-0.5,)),
        *((name, value) for name in SEVERAL for value in ("x", "1;2", True, [nan], [None], ["1"], object())),
        *((name, value) for name in BOOLEANS for value in ("True", 1, 0, None)),
        *((name, value) for name in TEXTS for value in (5, b"a", ["a"])),
        *((name, 0) for name in ("beam_size", "best_of", "patience", "repetition_penalty")),
        *((name, 0) for name in ("max_new_tokens", "chunk_length", "batch_size")),
        *((name, 1.5) for name in ("no_speech_threshold", "vad_threshold", "temperature")),
        ("temperature", ()),
        ("temperature", None),
        ("temperature", (0.2, -0.2)),
        ("log_prob_threshold", 1.0),
        ("max_new_tokens", 225),
        ("chunk_length", 31),
        ("max_initial_timestamp", 31),
        ("suppress_tokens", (-2,)),
        ("clip_timestamps", (-1.0,)),
        ("task", "Translate"),
        ("task", None),
    ],
)
def test_what_is_refused_is_named_with_its_value(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        TranscribeOptions(**{name: value})
    message = str(caught.value)
    assert name in message
    shown = value[-1] if isinstance(value, list | tuple) and value and name in SEVERAL else value
    assert repr(shown) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size is 0, must be a whole number from 1 to 100"),
        ({"log_prob_threshold": 1}, "log_prob_threshold is 1, must be a number, at most 0, or None"),
        ({"vad_threshold": 2}, "vad_threshold is 2, must be a number from 0 to 1"),
        ({"chunk_length": 40}, "chunk_length is 40, must be a whole number from 1 to 30, or None"),
        ({"patience": 0}, "patience is 0, must be a number above 0, at most 100"),
        ({"length_penalty": 1e300}, "length_penalty is 1e+300, must be a number from 0 to 100"),
        ({"repetition_penalty": 1e300}, "must be a number above 0, at most 100"),
        ({"task": "Translate"}, "unknown task 'Translate': there are transcribe and translate"),
        ({"clip_timestamps": "5,4"}, "the clip from 5 s ends at 4 s, must end after its start"),
        ({"clip_timestamps": "5,5"}, "the clip from 5 s ends at 5 s, must end after its start"),
        ({"clip_timestamps": "0,5,4"}, "a clip starts at 4 s, before the one before it ends at 5 s"),
        ({"patience": 0.05}, "no candidate is left: their product must be at least 1"),
        ({"patience": 2, "beam_size": 1}, "patience has no effect on one beam: raise beam_size"),
        ({"hallucination_silence_threshold": 2}, "no effect without word_timestamps: switch that on"),
        ({"prepend_punctuations": "("}, "no effect without word_timestamps: switch that on"),
        ({"append_punctuations": ""}, "no effect without word_timestamps: switch that on"),
        ({"vad_threshold": 0.6}, "no effect without vad_filter: switch that on"),
        ({"vad_min_silence_duration_ms": 2000}, "no effect without vad_filter: switch that on"),
        ({"vad_filter": True, "clip_timestamps": "5"}, "no effect beside clip_timestamps: leave one"),
        ({"carry_initial_prompt": True}, "no effect without initial_prompt: give one"),
        ({"prefix": "a", "clip_timestamps": "5"}, "prefix is how the recording begins, but"),
        ({"multilingual": True, "language": "de"}, "language de has no effect: leave one of them out"),
        ({"without_timestamps": True, "max_initial_timestamp": 2}, "no effect beside without_timestamps"),
        ({"vad_filter": True, "vad_max_speech_duration_s": 0.5}, "must be more than twice vad_speech_pad_ms"),
    ],
)
def test_what_could_have_no_effect_is_refused_with_a_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TranscribeOptions(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"best_of": 2},
        {"compression_ratio_threshold": 2.0},
        {"log_prob_threshold": -0.5},
        {"prompt_reset_on_temperature": 0.2},
        {"prefix": "It"},
        {"max_initial_timestamp": 0.5},
        {"hallucination_silence_threshold": 1.0, "word_timestamps": True},
        {"vad_max_speech_duration_s": 10},
        {"clip_timestamps": (5.0,)},
        {"temperature": (0.0, 0.5)},
    ],
)
def test_what_batches_cannot_do_is_refused(options: dict[str, Any]) -> None:
    TranscribeOptions(**options | ({"vad_filter": True} if "vad_max_speech_duration_s" in options else {}))
    with pytest.raises(UsageError, match=rf"{next(iter(options))} .*, or leave out batch_size$"):
        TranscribeOptions(**options, batch_size=2)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.4},
        {"compression_ratio_threshold": None, "log_prob_threshold": None},
        {"condition_on_previous_text": False},
        {"no_speech_threshold": 0.9},
        {"vad_threshold": 0.3},
        {"initial_prompt": "It", "carry_initial_prompt": True},
        {"chunk_length": 15},
    ],
)
def test_what_batches_do_is_taken(options: dict[str, Any]) -> None:
    assert TranscribeOptions(**options, batch_size=2).batch_size == 2


@pytest.mark.parametrize(
    ("start", "increment", "expected"),
    [
        (0, 0.2, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0, None, (0.0,)),
        (0.4, 0.2, (0.4, 0.6, 0.8, 1.0)),
        (0.4, None, (0.4,)),
        (0.5, 0.3, (0.5, 0.8)),
        (1, 0.2, (1.0,)),
        (0, 0.1, tuple(i / 10 for i in range(11))),
        (0, 5, (0.0,)),
    ],
)
def test_temperatures_rise_as_openais(
    start: float, increment: float | None, expected: tuple[float, ...]
) -> None:
    assert temperatures(start, increment) == expected


@given(st.floats(0, 1), st.floats(0.01, 2))
def test_temperatures_are_openais(start: float, increment: float) -> None:
    openais = np.arange(start, 1.0 + 1e-6, increment)  # source: cli() in openai/whisper's transcribe.py
    ours = temperatures(start, increment)
    assert abs(len(ours) - len(openais)) <= 1  # at the very end, by rounding
    n = min(len(ours), len(openais))
    np.testing.assert_allclose(ours[:n], openais[:n], atol=2e-6)
    assert TranscribeOptions(temperature=ours).temperature == ours


@pytest.mark.parametrize(("start", "increment"), [(1.5, 0.2), (-1, 0.2), (nan, 0.2), ("0", 0.2)])
def test_a_start_that_is_no_temperature_is_refused(start: Any, increment: float) -> None:
    with pytest.raises(UsageError, match=r"temperature is .*, must be a number"):
        temperatures(start, increment)


@pytest.mark.parametrize("increment", [0, -0.2, nan, inf, "0.2"])
def test_a_step_that_is_none_is_refused(increment: Any) -> None:
    message = r"temperature_increment_on_fallback is .*, must be a number, at least 0.01, or None"
    with pytest.raises(UsageError, match=message):
        temperatures(0, increment)


def test_every_option_is_checked() -> None:
    """None takes just any value."""
    for field in fields(TranscribeOptions):
        with pytest.raises(UsageError):
            TranscribeOptions(**{field.name: object()})


def test_the_defaults_are_their_own_values() -> None:
    for field in fields(TranscribeOptions):
        assert getattr(DEFAULTS, field.name) == field.default


def test_options_import_nothing_heavy() -> None:
    code = "import sys, whisper_npu.transcription.options; print({'numpy', 'difflib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
