"""A run over several recordings, by a model whose decoder says what a test wrote down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.app import Terminated
from whisper_npu.errors import DeviceError, OutputError
from whisper_npu.transcription.model import Model

THE = Window([(0.0, " the", 2.0)])
AN = Window([(0.0, " an", 2.0)])
LONG = Window([(0.0, " the", 12.0), (12.0, " an", 30.0)])

Scripted = Callable[..., ScriptedDecoder]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def scripted(model: Model, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Let the program load that model, and its decoder say these windows."""

    def scripted(*windows: Window) -> ScriptedDecoder:
        decoder = ScriptedDecoder(model)
        decoder.windows = list(windows)
        monkeypatch.setattr(model._whisper, "model", decoder)
        monkeypatch.setattr("whisper_npu.apps.cli.work.load_model", lambda *_, **__: model)
        return decoder

    return scripted


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tone(name: str, seconds: float = 3.0) -> str:
    samples = 0.1 * np.sin(np.arange(int(16_000 * seconds)) / 5)
    soundfile.write(name, samples, 16_000)
    return name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_headings_language_files_and_summary(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(THE, AN)
    assert run([tone("a.wav"), tone("b.wav"), "-f", "srt,vtt", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert said.out == "==> a.wav <==\nthe\n\n==> b.wav <==\nan\n"
    assert said.err.splitlines()[:-2] == [
        "whisper-npu: transcribing 2 recordings (6.0 s)",
        "a.wav: detected German (75 %)",
        "wrote a.srt, a.vtt in out/",
        "b.wav: detected German (75 %)",
        "wrote b.srt, b.vtt in out/",
    ]
    assert "on the CPU (emulated NPU)" in said.err.splitlines()[-2]
    assert "baseline 163.7 s: one product (3001,512)@(512,512)" in said.err.splitlines()[-1]
    assert names(here / "out") == ["a.srt", "a.vtt", "b.srt", "b.vtt"]


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ([], "the\n"),
        (["--timestamps"], "[00:00.000 --> 00:02.000] the\n"),
        (["--verbose", "True"], "[00:00.000 --> 00:02.000] the\n"),
        (["--verbose", "False", "-f", "txt"], ""),
        (["--quiet"], "the\n"),
    ],
)
def test_what_is_printed(
    options: list[str], out: str, scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(THE)
    assert run([tone("a.wav"), *options]) == 0
    said = capsys.readouterr()
    assert said.out == out
    assert ("MODELLED" in said.err) == (options == ["--verbose", "True"])
    assert (said.err == "") == (options == ["--quiet"])


def test_one_bad_recording_does_not_stop_the_others(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(THE, AN)
    (here / "bad.wav").write_bytes(b"no sound")
    given = [tone("a.wav"), "bad.wav", "missing.wav", tone("b.wav")]
    assert run([*given, "--report", "report.json"]) == 1
    said = capsys.readouterr()
    assert "the" in said.out
    assert "an" in said.out
    assert said.err.splitlines()[-1].startswith("2 of 4 failed: bad.wav, missing.wav")
    files = json.loads((here / "report.json").read_text(encoding="utf-8"))["files"]
    assert [bool(file["error"]) for file in files] == [False, True, True, False]


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt, 130), (Terminated, 143), (DeviceError, 1)],
    ids=lambda one: str(one),
)
def test_what_was_decoded_is_kept(
    raised: type[BaseException],
    code: int,
    scripted: Scripted,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoder = scripted(THE, LONG, AN)

    def stop() -> None:
        if len(decoder.prompts) == 2:
            raise raised(*(() if raised is Terminated else ("no more",)))

    decoder.on_window = stop
    assert run([tone("a.wav"), tone("b.wav", 60.0), tone("c.wav"), "-f", "json"]) == code
    assert {"a.json", "b.partial.json"} <= set(names(here))
    assert "b.json" not in names(here)
    kept = json.loads((here / "b.partial.json").read_text(encoding="utf-8"))
    assert kept["text"] == " the an"
    assert kept["duration"] == 30.0
    assert "wrote b.partial.json: the first 30 s" in capsys.readouterr().err


@pytest.mark.parametrize("raised", [RuntimeError, ValueError, MemoryError])
def test_a_decoder_that_fails_ends_one_recording(
    raised: type[Exception], scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted(THE, LONG, AN)
    failed: list[int] = []

    def fail() -> None:
        if len(decoder.prompts) == 2 and not failed:
            failed.append(len(decoder.prompts))
            raise raised("mkl_malloc: failed to allocate memory\nsomewhere")

    decoder.on_window = fail
    assert run([tone("a.wav"), tone("b.wav", 60.0), tone("c.wav"), "-f", "txt"]) == 1
    assert names(here) == ["a.txt", "a.wav", "b.partial.txt", "b.wav", "c.txt", "c.wav"]
    assert (here / "b.partial.txt").read_text(encoding="utf-8").split() == ["the", "an"]
    (error,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "b.wav: the decoder (CTranslate2 on the CPU) failed to generate: mkl_malloc" in error
    assert "whisper-npu models verify" in error


def test_a_file_that_cannot_be_written_leaves_the_others_whole(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from whisper_npu.apps import outputs

    written = outputs.write_atomically

    def full(path: Path, text: str) -> None:
        if path.suffix == ".srt":
            raise OutputError(f"{path}: no space left")
        written(path, text)

    monkeypatch.setattr(outputs, "write_atomically", full)
    scripted(THE)
    assert run([tone("a.wav"), "-f", "srt,vtt"]) == 1
    assert names(here) == ["a.vtt", "a.wav"]
    assert "a.srt: no space left" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_ends_the_run(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def broken(*_: object, **__: object) -> None:
        calls.append(1)
        raise DeviceError("no memory on the device")

    monkeypatch.setattr("whisper_npu.apps.cli.work.load_model", broken)
    assert run([tone("a.wav"), tone("b.wav")]) == 1
    assert len(calls) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "whisper-npu: error: no memory on the device"


def test_a_folder_goes_on_where_it_was(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "in/deep").mkdir(parents=True)
    tone("in/a.wav")
    tone("in/deep/b.wav")
    decoder = scripted(THE, AN)
    assert run(["--recursive", "in", "-o", "out", "-f", "srt"]) == 0
    assert names(here / "out") == ["a.srt", "b.srt"]
    (here / "out/b.srt").unlink()
    decoder.windows = [AN]
    assert run(["--recursive", "in", "-o", "out", "-f", "srt", "--skip_existing"]) == 0
    assert decoder.windows == []
    assert names(here / "out") == ["a.srt", "b.srt"]
    assert run(["--recursive", "in", "-o", "out", "-f", "srt", "--skip_existing"]) == 0
    assert "2 skipped, for their files are there" in capsys.readouterr().err


def test_no_speech_is_said(scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scripted(Window(no_speech_prob=0.95, log_prob=-2.0))
    assert run([tone("a.wav"), "--temperature_increment_on_fallback", "None"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "no speech was found in a.wav" in said.err


def test_files_are_written_though_nobody_reads_the_text(here: Path) -> None:
    """In a process of its own, whose stdout has no reader."""
    tone("a.wav")
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model\n"
        "from whisper_npu.apps.cli import run, work\n"
        "model = small_model(Path('model'))\n"
        "model._whisper.model = decoder = ScriptedDecoder(model)\n"
        "decoder.windows = [Window([(0.0, ' the', 2.0)])]\n"
        "work.load_model = lambda *_, **__: model\n"
        "sys.exit(run(['a.wav', '-f', 'txt']))\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        )
    assert done.returncode == 0, done.stderr
    assert "no more text on standard output" in done.stderr
    assert (here / "a.txt").read_text(encoding="utf-8") == "the\n"
