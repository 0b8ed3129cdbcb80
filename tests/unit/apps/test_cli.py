"""Command lines that fail before any model is loaded: one line, the right exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.sensors import Constant
from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.app import Terminated
from whisper_npu.errors import DeviceNotFoundError
from whisper_npu.kernels import registry
from whisper_npu.npu.device import Device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.targets import NPU1

SPEECH = str(SAMPLES / "sns-0930.wav")


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What went to stderr, which must be one line of ours; and nothing to stdout."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("whisper-npu: loading")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("whisper-npu: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([SPEECH, "--model", "tiny.eng"], "tiny.en"),
        ([SPEECH, "--beam_size", "0"], "beam_size"),
        ([SPEECH, "--beam-size", "many"], "beam_size"),
        ([SPEECH, "--task", "sing"], "task"),
        ([SPEECH, "--output_format", "docx"], "output_format"),
        ([SPEECH, "--temperature", "2"], "temperature"),
        ([SPEECH, "--device", "gpu"], "device"),
        (
            [SPEECH, "--compute_type", "float8"],
            "unknown compute type 'float8'; choose from auto",
        ),
        ([SPEECH, "--timeout", "0"], "timeout"),
        ([SPEECH, "--timeout", "nan"], "timeout"),
        ([SPEECH, "--timeout", "soon"], "timeout"),
        ([SPEECH, "--no_such_option"], "no_such_option"),
        ([], "AUDIO"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", *arguments]) == 2
    assert said in only_line(capsys)


def test_an_unknown_command_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["transscribe", SPEECH]) == 2
    assert "transscribe" in only_line(capsys)


def test_npu_without_an_npu_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["transcribe", SPEECH, "--device", "npu"]) == 1
    assert "no NPU: " in only_line(capsys)


@pytest.mark.parametrize(
    "command",
    [
        ["transcribe", SPEECH],
        ["benchmark", "projection"],
        ["benchmark", "call"],
        ["benchmark", "pipeline", SPEECH],
        ["benchmark", "energy", SPEECH],
        ["benchmark", "wer", str(SAMPLES / "expected.tsv")],
    ],
    ids=["transcribe", "projection", "call", "pipeline", "energy", "wer"],
)
def test_every_command_that_opens_an_npu_says_where_its_kernels_are_and_how_long_it_may_take(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "wer" in command:
        pytest.importorskip("jiwer")
    asked = []
    here, there = tmp_path / "here", tmp_path / "there/kernels"
    for folder in (here, there):
        folder.mkdir(parents=True)

    def absent(options: NpuOptions, *_: object, **more: object) -> Device:
        asked.append(options)
        raise DeviceNotFoundError("no NPU: this is a test")

    monkeypatch.setattr("whisper_npu.npu.xrt.device.open_npu", absent)
    monkeypatch.setattr("whisper_npu.energy.sensors.open_sensor", Constant)
    options = ["--device", "npu", "--kernels", str(here), "--kernels", str(there)]
    assert run([*command, *options]) == 1
    assert run([*command, *options, "--timeout", "0.5"]) == 1
    folders = (here, there)
    assert asked == [NpuOptions(folders), NpuOptions(folders, timeout_seconds=0.5)]
    assert "no NPU: this is a test" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["doctor"], ["transcribe", SPEECH], ["benchmark", "call"]])
@pytest.mark.parametrize("asked_for", ["auto", "npu", "emulator"])
def test_a_folder_of_kernels_that_is_not_there_is_wrong_usage(
    command: list[str], asked_for: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--device", asked_for, "--kernels", str(tmp_path), "--kernels", f"{tmp_path}/nope"]
    assert run([*command, *options]) == 2
    assert f"--kernels {tmp_path}/nope: there is no such folder" in only_line(capsys)


def test_a_model_folder_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["transcribe", SPEECH, "--model", "./no/such/folder"]) == 1
    assert "no/such/folder" in only_line(capsys)


def test_missing_audio_fails_before_a_model_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", str(tmp_path / "no.wav"), "--model", "nobody/has-it"]) == 1
    assert "no.wav" in only_line(capsys)


def test_a_model_that_can_be_nothing_fails_before_audio_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", str(tmp_path / "no.wav"), "--model", "also-no-model"]) == 2
    assert "also-no-model" in only_line(capsys)
    assert run(["transcribe", str(tmp_path / "no.wav"), "--model", "tiny.en", "--language", "de"]) == 2
    assert "tiny.en does not know German" in only_line(capsys)


def test_a_folder_that_cannot_be_written_fails_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(["transcribe", SPEECH, "--output_dir", str(tmp_path / "file/below")]) == 1
    assert "file" in only_line(capsys)


def test_recordings_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "sns-0930.flac"
    other.touch()
    assert run(["transcribe", SPEECH, str(other), "--output_dir", str(tmp_path)]) == 2
    assert "sns-0930.txt: would be written more than once" in only_line(capsys)


@pytest.mark.parametrize("spelling", ["talk.txt", "sub/../talk.txt"])
def test_a_recording_is_never_overwritten(
    tmp_path: Path, spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "talk.txt"
    recording.write_bytes(Path(SPEECH).read_bytes())
    (tmp_path / "sub").mkdir()
    for options in (["--output_format", "txt", "--output_dir", str(tmp_path)], ["--report", str(recording)]):
        assert run(["transcribe", f"{tmp_path}/{spelling}", *options]) == 2
        assert "would be overwritten" in only_line(capsys)
    assert recording.read_bytes() == Path(SPEECH).read_bytes()


def test_a_folder_where_a_file_should_go_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", SPEECH, "--report", str(tmp_path)]) == 1
    assert "is a folder" in only_line(capsys)


def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "transcribe" in capsys.readouterr().out


@pytest.mark.parametrize("group", [[], ["kernels"], ["benchmark"]])
def test_every_summary_fits_into_80_columns(
    group: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*group, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Commands:" in text
    assert "..." not in text.split("Commands:")[1]
    assert "\u2026" not in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["transcribe", SPEECH, "--device", "nope"], "'nope' is none of .*; see whisper-npu transcribe"),
        (["kernels", "mlir"], "no such command 'mlir'; see whisper-npu kernels"),
        (["kernels", "verify", "--core_functions", "nope"], "see whisper-npu kernels verify"),
        (["mlir"], "'mlir' is neither a command nor a file; see whisper-npu"),
    ],
)
def test_a_wrong_call_refers_to_the_help_of_its_command(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    line = only_line(capsys)
    assert re.search(f"{told} --help$", line)
    assert "Value error" not in line


def test_the_help_names_every_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["transcribe", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    named = text.split("or one of ")[1].split(". ")[0].replace(";", ",").split(", ")
    assert sorted(named) == sorted(
        contract.name.removeprefix("matmul_") for contract in registry.contracts(NPU1)
    )


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interrupt_before_a_command_is_called(
    raised: type[BaseException],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise raised

    monkeypatch.setattr("whisper_npu.apps.cli.app.Program.parse_args", interrupted)
    assert run(["transcribe", SPEECH]) == code
    assert capsys.readouterr().err.strip() == "whisper-npu: error: " + (
        "terminated" if raised is Terminated else "interrupted"
    )
