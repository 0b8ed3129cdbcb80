"""What a command line means to the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.core import ParameterSource

from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.app import app
from whisper_npu.apps.cli.asked import Asked, asked_for
from whisper_npu.apps.cli.command import Option
from whisper_npu.apps.cli.transcribe import FORMATS, transcribe
from whisper_npu.errors import UsageError
from whisper_npu.output import FORMATS as WRITERS
from whisper_npu.output import Layout
from whisper_npu.transcription.options import TranscribeOptions


def asked(*arguments: str) -> Asked:
    with click.Context(app, info_name="whisper-npu") as parent:
        ctx = transcribe.make_context("transcribe", [*arguments, "a.wav"], parent=parent)
    source = ctx.get_parameter_source
    typed = frozenset(name for name in ctx.params if source(name) is ParameterSource.COMMANDLINE)
    return asked_for(ctx.params, typed)


def test_nothing_asked_for_is_the_librarys_defaults() -> None:
    assert asked().options == TranscribeOptions()
    assert asked().layout == Layout()
    assert asked().files.formats == ()
    assert FORMATS == WRITERS


@pytest.mark.parametrize(
    ("arguments", "formats"),
    [
        (["-f", "srt"], ("srt",)),
        (["-f", "vtt, SRT,vtt"], ("vtt", "srt")),
        (["-f", "srt", "-f", "txt"], ("srt", "txt")),
        (["-f", "all"], FORMATS),
        (["-f", "srt,all"], ("srt", *(name for name in FORMATS if name != "srt"))),
        (["-o", "out"], FORMATS),
        (["-o", "out", "-f", "json"], ("json",)),
    ],
)
def test_formats(arguments: list[str], formats: tuple[str, ...]) -> None:
    files = asked(*arguments).files
    assert files.formats == formats
    assert files.folder == Path("out" if "out" in arguments else "")


@pytest.mark.parametrize("wrong", ["docx", "", "srt,", "srt;vtt"])
def test_an_unknown_format_is_refused(wrong: str) -> None:
    with pytest.raises(click.BadParameter, match="is none of txt, srt, vtt"):
        asked("-f", wrong)


@pytest.mark.parametrize(
    ("arguments", "temperature"),
    [
        ([], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (["--temperature", "0"], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (["--temperature", "0.4"], (0.4, 0.6, 0.8, 1.0)),
        (["--temperature_increment_on_fallback", "None"], (0.0,)),
        (["--temperature", "0", "--temperature_increment_on_fallback", "0.5"], (0.0, 0.5, 1.0)),
    ],
)
def test_temperature_is_openais(arguments: list[str], temperature: tuple[float, ...]) -> None:
    assert asked(*arguments).options.temperature == pytest.approx(temperature)


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--condition_on_previous_text", "False"], "condition_on_previous_text", False),
        (["--logprob_threshold", "None"], "log_prob_threshold", None),
        (["--compression_ratio_threshold", "None"], "compression_ratio_threshold", None),
        (["--language", "de-DE"], "language", "de"),
        (["--language", "iw"], "language", "he"),
        (["--language", "auto"], "language", None),
        (["--language", "None"], "language", None),
        (["--beam_size", "None"], "beam_size", 1),
        (["--batched", "True"], "batch_size", 8),
        (["--batched", "False"], "batch_size", None),
        (["--batch_size", "4"], "batch_size", 4),
        (["--batched", "--temperature", "0.4"], "temperature", (0.4,)),
        (["--initial_prompt", "None"], "initial_prompt", None),
        (["--suppress_tokens", "None"], "suppress_tokens", ()),
        (["--hotwords", "a", "--prefix", "b"], "prefix", "b"),
        (["--vad_filter", "--vad_threshold", "0.7"], "vad_threshold", 0.7),
        (["--vad_filter", "--vad_speech_pad_ms", "None"], "vad_speech_pad_ms", 400),
        (["--clip_timestamps", "0,5"], "clip_timestamps", (0.0, 5.0)),
        (["--initial_prompt", "Hello", "--carry_initial_prompt"], "carry_initial_prompt", True),
        (["--suppress_tokens", "-1,50"], "suppress_tokens", (-1, 50)),
        (["-f", "srt", "--max_line_width", "32"], "word_timestamps", True),
        (["-f", "vtt", "--highlight_words", "True"], "word_timestamps", True),
        (["--print_colors"], "word_timestamps", True),
        (["--hallucination_silence_threshold", "2"], "word_timestamps", True),
        (["--word_timestamps", "False"], "word_timestamps", False),
    ],
)
def test_options_reach_the_library(arguments: list[str], field: str, value: Any) -> None:
    assert getattr(asked(*arguments).options, field) == value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-f", "srt", "--max_line_width", "32", "--word_timestamps", "False"], "leave one of"),
        (["--max_line_width", "32"], "--max_line_width has no effect without subtitles"),
        (["-f", "json", "--highlight_words"], "--highlight_words has no effect without subtitles"),
        (["-f", "srt", "--pretty_json"], "--pretty_json has no effect without json files"),
        (["-f", "srt", "--max_line_count", "2"], "max_line_width"),
        (["--verbose", "False"], "prints no text, and no file is written"),
        (["--vad_threshold", "0.7"], "--vad_threshold has no effect without --vad_filter"),
        (["--vad_threshold", "0.5"], "--vad_threshold has no effect without --vad_filter"),
        (["--batched", "False", "--batch_size", "4"], "leave one"),
        (["--logprob_threshold", "1"], "^--logprob_threshold is 1.0"),
        (["--batched", "--best_of", "3"], "leave out --batched"),
        (["--batch_size", "4", "--best_of", "3"], "leave out --batch_size"),
        (["--quiet", "--verbose"], "leave one of the two out"),
        (["-o", "-", "-f", "srt"], "the text is on standard output"),
        (["-f", "srt", "vtt"], "did you mean -f srt,vtt"),
        (["--language", "klingon"], "klingon"),
        (["--timeout", "0"], "timeout"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(*arguments)


def test_what_is_typed_overrules_a_default_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    monkeypatch.setenv("WHISPER_NPU_CONFIG", str(config))
    config.write_text(
        'model_directory = "there"\nmax_line_width = 40\nhighlight_words = true\nverbose = false\n'
        'word_timestamps = false\nlanguage = "de"\n'
    )
    assert asked("--model", "tiny.en", "--language", "None").model.name == "tiny.en"
    assert asked("-f", "srt", "--max_words_per_line", "3").layout.max_line_width is None
    assert asked("-f", "srt").options.word_timestamps
    assert not asked("-f", "srt", "--word_timestamps", "False").options.word_timestamps
    assert asked("--multilingual").options.language is None
    assert not asked().print.text


@pytest.mark.parametrize(
    ("config", "arguments", "field", "value"),
    [
        ("vad_threshold = 0.4", [], "vad_threshold", 0.5),
        ("vad_threshold = 0.4", ["--vad_filter"], "vad_threshold", 0.4),
        ("vad_filter = true\nvad_threshold = 0.4", [], "vad_threshold", 0.4),
        ('prepend_punctuations = "("', [], "word_timestamps", False),
        ("carry_initial_prompt = true", [], "carry_initial_prompt", False),
        ("carry_initial_prompt = true", ["--initial_prompt", "a"], "carry_initial_prompt", True),
        ("batched = true", ["--best_of", "3"], "batch_size", None),
        ("batched = true", ["--best_of", "3"], "temperature", (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ("batched = true", [], "batch_size", 8),
        ("clip_timestamps = [0, 5]", ["--batched"], "clip_timestamps", (0.0,)),
        ("beam_size = 1", ["--patience", "2"], "beam_size", 5),
        ('language = "de"', ["--model", "tiny.en"], "language", None),
        ("max_line_count = 2", ["-f", "srt"], "word_timestamps", False),
        ("skip_existing = true", [], "language", None),
    ],
)
def test_a_default_of_the_users_own_that_can_have_no_effect_is_left_out(
    config: str,
    arguments: list[str],
    field: str,
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "config.toml").write_text(config)
    monkeypatch.setenv("WHISPER_NPU_CONFIG", str(tmp_path / "config.toml"))
    assert getattr(asked(*arguments).options, field) == pytest.approx(value)


def test_a_wrong_default_of_the_users_own_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("beam_size = 5000")
    monkeypatch.setenv("WHISPER_NPU_CONFIG", str(tmp_path / "config.toml"))
    with pytest.raises(UsageError, match=r"^--beam_size is 5000.*whisper-npu config shows what set it"):
        asked()


@pytest.mark.parametrize("one", transcribe.options, ids=lambda one: one.long_name)
def test_none_is_a_value_or_is_refused(one: Option, capsys: pytest.CaptureFixture[str]) -> None:
    """No option ends in a traceback, and none takes None for a recording."""
    code = run([one.long_name, "None", "missing.wav"])
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert said.startswith("whisper-npu: error: ")
    assert "None: no such file" not in said


def test_device_and_threads() -> None:
    model = asked("--device", "cpu", "--threads", "0", "--model_dir", "m", "--local_files_only", "True").model
    assert (model.device, model.threads, model.folder, model.local_files_only) == (
        "emulator",
        None,
        Path("m"),
        True,
    )
    assert asked("--threads", "3").model.threads == 3
    assert asked("--model_directory", "m").model.name == str(Path("m").absolute())


@pytest.mark.parametrize(("given", "notes"), [("True", 1), ("False", 0)])
def test_fp16_is_taken(given: str, notes: int) -> None:
    assert len(asked("--fp16", given).notes) == notes
