"""How options may be spelled, and where their values come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.app import app
from whisper_npu.apps.cli.command import Option
from whisper_npu.apps.cli.listen import listen
from whisper_npu.apps.cli.options import MODEL_NAMES
from whisper_npu.apps.cli.serve import serve
from whisper_npu.apps.cli.transcribe import FORMATS, transcribe
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.transcription.options import MIN_SILENCE_MS, TranscribeOptions

OPTIONS = {one.long_name: one for one in transcribe.options}
SWITCHES = sorted(name for name, one in OPTIONS.items() if one.is_switch)
VALUED = sorted(name for name, one in OPTIONS.items() if not one.is_switch)
WORDS = {True: ("True", "true", "TRUE", "yes", "on", "1"), False: ("False", "false", "no", "off", "0")}


@pytest.fixture
def config_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the config file would be."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "whisper-npu").mkdir()
    return tmp_path / "whisper-npu/config.toml"


def parsed(*arguments: str) -> dict[str, Any]:
    with click.Context(app, info_name="whisper-npu") as parent:
        return transcribe.make_context("transcribe", list(arguments), parent=parent).params


@given(name=st.sampled_from(SWITCHES), meant=st.booleans(), data=st.data())
def test_every_switch_takes_every_spelling_and_never_a_recording(
    name: str, meant: bool, data: st.DataObject
) -> None:
    spelled = data.draw(st.sampled_from([name, name.replace("_", "-")]))
    word = data.draw(st.sampled_from(WORDS[meant]))
    against = "--no_" + name[2:], "--no-" + name[2:].replace("_", "-")
    forms = [[f"{spelled}={word}"], [spelled, word]]
    forms += [[spelled]] if meant else [[form] for form in against]
    form = data.draw(st.sampled_from(forms))
    found = parsed(*form, "a.wav")
    assert found["audio"] == ("a.wav",)
    assert found[name[2:]] is meant
    assert parsed("a.wav", *form)[name[2:]] is meant


def test_a_negated_switch_may_be_negated() -> None:
    assert parsed("a.wav", "--no_vad_filter", "False")["vad_filter"] is True


@pytest.mark.parametrize("name", VALUED)
def test_a_value_is_never_forgotten(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["a.wav", name]) == 2
    assert f"{name} needs a value" in capsys.readouterr().err
    assert run(["a.wav", name, "--vad_filter"]) == 2
    assert f"{name} needs a value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--lang", "de"], "language", "de"),
        (["--language=de"], "language", "de"),
        (["-l", "de"], "language", "de"),
        (["-fsrt"], "output_format", (("srt",),)),
        (["-f", "srt,VTT", "-f", "all"], "output_format", (("srt", "vtt"), FORMATS)),
        (["--beam_size", "None"], "beam_size", None),
        (["--suppress_tokens", "-1"], "suppress_tokens", (-1,)),
        (["--logprob-threshold", "-1.5"], "logprob_threshold", -1.5),
        (["--initial_prompt", "-dash"], "initial_prompt", "-dash"),
        (["--device", "CPU"], "device", "emulator"),
        (["--clip_timestamps", "0,1.5, 3"], "clip_timestamps", (0.0, 1.5, 3.0)),
    ],
)
def test_habits_from_elsewhere(arguments: list[str], name: str, value: object) -> None:
    assert parsed("a.wav", *arguments)[name] == value


def test_what_comes_behind_two_dashes_is_a_recording() -> None:
    assert parsed("--", "--vad_filter", "True")["audio"] == ("--vad_filter", "True")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batched", "tru", "a.wav"], "--batched: 'tru' is neither True nor False"),
        (["--batched=maybe"], "--batched: 'maybe' is neither True nor False"),
        (["-qv"], "write short options apart: -q"),
        (["-o", "-f", "srt"], "-o needs a value"),
        (["--max_line", "3"], "may be --max_line_count or --max_line_width"),
        (["--patince", "1"], "did you mean --patience?"),
        (["-language", "de"], "did you mean --language?"),
        (["-osrt"], "-osrt: write -f srt"),
        (["--device", "cuda"], "no GPU is used"),
        (["--device", "emulater"], "did you mean emulator?"),
        (["--beam_size", "1.5"], "'1.5' must be a whole number"),
        (["--no_speech_threshold", "nan"], "--no_speech_threshold: nan must be a number"),
        (["--patience", "inf"], "--patience is inf, must be a number above 0"),
        (["--no_beam_size", "3"], "no such option --no_beam_size"),
    ],
)
def test_what_is_wrong_is_named_with_the_page_that_helps(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", "b.wav", *arguments]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.endswith(" see whisper-npu transcribe --help\n")
    for word in ("Value error", "Invalid value", "Input should", "Error:"):
        assert word not in line


@pytest.mark.parametrize("far", ["--xyz", "--speaker", "--zzz_threshold_of_nothing"])
def test_nothing_far_is_suggested(far: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(["transcribe", "b.wav", far])
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trascribe", "a.wav"], "did you mean transcribe?"),
        (["talk"], "'talk' is neither a command nor a file"),
        (["kernels", "lst"], "did you mean list?"),
    ],
)
def test_a_word_that_is_no_command(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("word", ["no-such.wav", "./doctor", "*.nothing", "folder/talk"])
def test_what_looks_like_a_recording_is_transcribed(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([word, "--model", "tiny.en"]) in (1, 2)
    assert "command" not in capsys.readouterr().err


class TestSettings:
    def test_the_order_of_precedence(self, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert parsed("a.wav")["model"] == "base"
        config_file.write_text('model = "small"\nbeam-size = 2\noutput_format = ["srt", "vtt"]\n')
        assert parsed("a.wav")["model"] == "small"
        assert parsed("a.wav")["beam_size"] == 2
        assert parsed("a.wav")["output_format"] == (("srt",), ("vtt",))
        monkeypatch.setenv("WHISPER_NPU_MODEL", "medium")
        assert parsed("a.wav")["model"] == "medium"
        assert parsed("a.wav", "--model", "large")["model"] == "large"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("modle = 'x'", "there is no option 'modle'; did you mean model?"),
            ("beam_size = 'x'", "config.toml, beam_size: 'x' must be a whole number"),
            ("vad_filter = 3", "config.toml, vad_filter: 3 is neither True nor False"),
            ("model = ", "is no TOML"),
            ("audio = 'a.wav'", "there is no option 'audio'"),
            ("kernel = 3.5\ndevice = ['npu']", "config.toml, device: "),
        ],
    )
    def test_what_is_wrong_in_the_file_is_named(
        self, content: str, said: str, config_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config_file.write_text(content)
        assert run(["a.wav"]) == 2
        assert said in capsys.readouterr().err

    def test_a_wrong_variable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("WHISPER_NPU_BEAM_SIZE", "many")
        assert run(["a.wav"]) == 2
        assert "WHISPER_NPU_BEAM_SIZE: 'many' must be a whole number" in capsys.readouterr().err

    def test_a_file_that_was_named_must_be_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("WHISPER_NPU_CONFIG", str(tmp_path / "no.toml"))
        assert run(["a.wav"]) == 2
        assert "there is no such file" in capsys.readouterr().err

    def test_config_says_what_is_set_and_by_what(
        self, config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config_file.write_text("beam_size = 2\n")
        monkeypatch.setenv("WHISPER_NPU_LANGUAGE", "de")
        assert run(["config"]) == 0
        out = capsys.readouterr().out
        assert str(config_file) in out
        assert "beam_size  2  (config file)" in out
        assert "language   de  (WHISPER_NPU_LANGUAGE)" in out
        assert "model" not in out.split("\n\n")[1]
        assert run(["config", "--all"]) == 0
        assert "temperature_increment_on_fallback" in capsys.readouterr().out

    def test_every_line_of_the_example_may_be_uncommented(
        self, config_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def all_parsed() -> list[dict[str, Any]]:
            return [
                parsed("a.wav"),
                serve.make_context("serve", []).params,
                listen.make_context("listen", []).params,
            ]

        before = all_parsed()
        assert run(["config", "--example"]) == 0
        defaults, examples = capsys.readouterr().out.split("# These have none")

        def uncommented(text: str) -> list[str]:
            return [line[2:] for line in text.splitlines() if re.match(r"# \w+ = ", line)]

        assert len(uncommented(defaults)) > 30
        config_file.write_text("\n".join(uncommented(defaults)))
        assert all_parsed() == before
        assert len(uncommented(examples)) > 20
        for line in uncommented(examples):
            config_file.write_text(line)
            assert all_parsed() != before or "audio_track" in line, line

    def test_a_mistyped_variable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("WHISPER_NPU_MODLE", "small")
        assert run(["config"]) == 0
        line = "WHISPER_NPU_MODLE means nothing to this program; did you mean WHISPER_NPU_MODEL"
        assert line in capsys.readouterr().out
        assert run(["missing.wav"]) == 1
        assert line in capsys.readouterr().err


def test_a_shell_is_offered_every_model() -> None:
    assert set(MODEL_NAMES) == set(HUB_IDS)


@pytest.mark.parametrize(
    "one", [one for one in OPTIONS.values() if re.search(r"\[[\d.]+\]$", one.help or "")], ids=str
)
def test_a_default_that_the_help_says_is_the_librarys(one: Option) -> None:
    said = re.search(r"\[([\d.]+)\]$", str(one.help))
    assert said
    default = getattr(TranscribeOptions(), one.long_name[2:])
    assert float(said[1]) == (MIN_SILENCE_MS if default is None else default)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_WHISPER_NPU_COMPLETE" in script
    assert "whisper-npu" in script


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("whisper-npu tr", "transcribe"),
        ("whisper-npu transcribe --max_l", "--max_line_width"),
        ("whisper-npu transcribe --device n", "npu"),
        ("whisper-npu transcribe --model ti", "tiny.en"),
        ("whisper-npu kernels ver", "verify"),
    ],
)
def test_a_shell_is_offered(
    words: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_WHISPER_NPU_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        run([])
    assert f",{offered}" in capsys.readouterr().out
