"""docs/coming-from-whisper.md against the parser: every option of openai/whisper and whisper-ctranslate2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.refused import HARMLESS, REFUSED, WHISPER_CPP
from whisper_npu.apps.cli.transcribe import transcribe

PAGE = Path(__file__).parents[3] / "docs/coming-from-whisper.md"
# Of openai/whisper 20250625 (whisper/transcribe.py) and whisper-ctranslate2 0.5.8 (commandline.py).
OPENAI = """
model model_dir device output_dir output_format verbose task language temperature best_of beam_size patience
length_penalty suppress_tokens initial_prompt carry_initial_prompt condition_on_previous_text fp16
temperature_increment_on_fallback compression_ratio_threshold logprob_threshold no_speech_threshold
word_timestamps prepend_punctuations append_punctuations highlight_words max_line_width max_line_count
max_words_per_line threads clip_timestamps hallucination_silence_threshold
"""
CTRANSLATE2 = """
model model_directory model_dir local_files_only output_dir output_format pretty_json print_colors verbose
highlight_words max_line_width max_line_count max_words_per_line device threads device_index compute_type task
language temperature temperature_increment_on_fallback prompt_reset_on_temperature prefix best_of beam_size
patience length_penalty suppress_blank suppress_tokens initial_prompt condition_on_previous_text
compression_ratio_threshold logprob_threshold no_speech_threshold word_timestamps prepend_punctuations
append_punctuations repetition_penalty no_repeat_ngram_size hallucination_silence_threshold hotwords batched
batch_size multilingual vad_filter vad_threshold vad_min_speech_duration_ms vad_max_speech_duration_s
vad_min_silence_duration_ms version hf_token speaker_name speaker_num live_transcribe live_volume_threshold
live_input_device live_input_device_sample_rate
"""


@dataclass(frozen=True)
class Row:
    names: tuple[str, ...]
    openai: str
    ctranslate2: str
    verdict: str  # same, different or refused
    how: str

    @property
    def name(self) -> str:
        return self.names[0].removeprefix("--")


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text(encoding="utf-8").split("## From whisper.cpp")[0].splitlines():
        if line.startswith("| `-"):
            names, openai, ctranslate2, here = (cell.strip() for cell in line.strip("|").split(" | "))
            verdict, _, how = here.partition(":")
            verdict, _, _ = verdict.partition(";")
            found.append(Row(tuple(re.findall(r"`(-[^`]+)`", names)), openai, ctranslate2, verdict, how))
    return found


ROWS = rows()
PARSER = {name: one for one in transcribe.options for name in one.opts}


def test_the_table_has_every_option_of_both() -> None:
    assert len(OPENAI.split()) == 32
    assert len(CTRANSLATE2.split()) == 57
    assert sorted(row.name for row in ROWS if row.openai != "-") == sorted(OPENAI.split())
    assert sorted(row.name for row in ROWS if row.ctranslate2 != "-") == sorted(CTRANSLATE2.split())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_parser_does_what_the_table_says(row: Row) -> None:
    assert row.verdict in ("same", "different", "refused")
    if row.name == "version":
        assert run(["--version"]) == 0
        return
    assert (row.verdict == "refused") == (row.names[0] in REFUSED)
    if row.verdict == "refused":
        assert row.how.strip() == REFUSED[row.names[0]]
        assert row.names[0] not in PARSER
        return
    assert {PARSER[name] for name in row.names} == {PARSER[row.names[0]]}
    if row.verdict == "different":
        assert row.how, "say how"
        return
    default = PARSER[row.names[0]].default
    if PARSER[row.names[0]].is_switch:
        default = bool(default)  # None: off, unless another option needs it
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    theirs = {cell.strip("`") for cell in (row.openai, row.ctranslate2) if cell not in ("-", "")}
    meant = {str(float(t)) if re.fullmatch(r"-?\d+(\.\d+)?", t) else t for t in theirs}
    assert text in theirs | meant, f"{text} is none of {theirs}"


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("value", [[], ["3"], ["=3"]], ids=["bare", "apart", "joined"])
def test_what_cannot_be_honoured_is_refused_with_the_reason(
    name: str, value: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [name + "".join(value)] if value and value[0].startswith("=") else [name, *value]
    assert run(["talk.wav", *arguments]) == 2
    assert f"{name}: {REFUSED[name]}" in capsys.readouterr().err


def test_the_page_has_every_option_of_whisper_cpp_that_is_refused() -> None:
    page = PAGE.read_text(encoding="utf-8").split("## From whisper.cpp")[1]
    there: set[str] = set()
    for line in page.splitlines():
        if line.startswith("| `"):
            there |= set(re.findall(r"(?<=[` ])--?[a-z]+", line.split("|")[1]))
    assert there - {"-f", "-l"} == set(WHISPER_CPP)


@pytest.mark.parametrize("name", sorted(WHISPER_CPP))
def test_short_options_of_whisper_cpp_are_refused_with_what_to_write(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["talk.wav", name, "4"]) == 2
    assert f"{name}: {WHISPER_CPP[name]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_a_refused_option_that_asks_for_nothing_is_taken(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in HARMLESS[name]:
        for arguments in ([name, value], [f"{name}={value}"]):
            assert run(["missing.wav", *arguments]) == 1
            assert "missing.wav: no such file" in capsys.readouterr().err
