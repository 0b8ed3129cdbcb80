"""Options as keywords: every option of the library and of the command line, under the same names."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

import pytest

from whisper_npu.apps.cli.transcribe import transcribe as command
from whisper_npu.errors import UsageError
from whisper_npu.output import Layout
from whisper_npu.output.layout import LayoutKeywords
from whisper_npu.transcription.keywords import TranscribeKeywords, with_keywords
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import OptionKeywords, TranscribeOptions

# Options of a program that reads names and writes on a terminal: in Python other things do what they do.
OF_THE_COMMAND_LINE_ONLY = {
    "model_directory": "model takes a folder",
    "fp16": "has no effect",
    "recursive": "a loop",
    "skip_existing": "a loop",
    "strict": "open_audio",
    "max_hours": "open_audio, max_seconds",
    "resume": "Stream.point",
    "output_dir": "Transcription.save",
    "output_format": "Transcription.save",
    "timestamps": "Segment.start",
    "print_colors": "Word.probability",
    "verbose": "nothing is printed",
    "quiet": "nothing is printed",
    "report": "Transcription.report",
}


def test_every_option_of_the_command_line_has_its_keyword() -> None:
    names = {
        *TranscribeKeywords.__annotations__,
        *LayoutKeywords.__annotations__,
        *inspect.signature(load_model).parameters,
        *inspect.signature(Model.transcribe).parameters,
        *inspect.signature(Model.stream).parameters,
    }
    asked = {str(param.name) for param in command.options}
    assert asked - names == OF_THE_COMMAND_LINE_ONLY.keys()


def test_the_keywords_are_the_fields() -> None:
    names = {one.name for one in fields(TranscribeOptions)}
    assert set(OptionKeywords.__annotations__) == names
    own = {"logprob_threshold", "temperature_increment_on_fallback", "batched"}
    assert set(TranscribeKeywords.__annotations__) == names | own
    described = re.findall(r"^    (\w+): ", TranscribeOptions.__doc__ or "", re.MULTILINE)
    assert described == [one.name for one in fields(TranscribeOptions)]
    assert set(LayoutKeywords.__annotations__) == {one.name for one in fields(Layout)}


def test_a_keyword_counts_more_than_the_options() -> None:
    options = TranscribeOptions(language="de", beam_size=3)
    assert with_keywords(options, {"beam_size": 1}) == TranscribeOptions(language="de", beam_size=1)
    assert with_keywords(None, {}) == TranscribeOptions()


def test_the_command_lines_names_mean_the_same() -> None:
    assert with_keywords(None, {"logprob_threshold": -2}).log_prob_threshold == -2
    assert with_keywords(None, {"batched": True}).batch_size == 8
    assert with_keywords(None, {"batched": True, "batch_size": 3}).batch_size == 3
    assert with_keywords(None, {"batched": False}).batch_size is None
    steps = with_keywords(None, {"temperature": 0.2, "temperature_increment_on_fallback": 0.4})
    assert steps.temperature == (0.2, 0.6, 1.0)
    assert with_keywords(None, {"temperature": 0.2}).temperature == (0.2,)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"beam_sise": 1}, "did you mean beam_size"),
        ({"vad_parameters": {}}, "one by one, such as vad_min_silence_duration_ms"),
        ({"device": "npu"}, "it is load_model's"),
        ({"batched": "no"}, "batched is 'no', must be True or False"),
        ({"temperature": [0, 1], "temperature_increment_on_fallback": 0.5}, r"temperature is \[0, 1\]"),
        ({"beam_size": "5"}, "beam_size is '5', must be a whole number"),
        ({"logprob_threshold": -1, "log_prob_threshold": -2}, "the same option"),
        ({"batched": False, "batch_size": 4}, "no effect beside batched=False"),
        ({"temperature": "hot", "temperature_increment_on_fallback": 0.2}, "temperature is 'hot'"),
    ],
)
def test_what_is_wrong_is_named(keywords: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        with_keywords(None, keywords)


def test_keywords_go_on_from_the_options() -> None:
    options = TranscribeOptions(temperature=0.4, batch_size=None)
    assert with_keywords(options, {"temperature_increment_on_fallback": 0.3}).temperature == (0.4, 0.7, 1.0)
    batches = TranscribeOptions(temperature=0.0, batch_size=4)
    assert with_keywords(batches, {"batched": True}).batch_size == 4
    assert with_keywords(batches, {"batched": False}).batch_size is None
    with pytest.raises(UsageError, match="options is a dict, must be a TranscribeOptions"):
        with_keywords({"beam_size": 1}, {})  # type: ignore[arg-type]
