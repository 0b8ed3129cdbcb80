"""A run over several recordings, by a model whose decoder says what a test wrote down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.scripted_decoder import SILENT, ScriptedDecoder, Window, small_model
from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.app import Terminated
from whisper_npu.errors import DecoderError, DeviceError, OutputError
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
    assert names(here) == [*("a.txt", "a.wav", "b.partial.jsonl", "b.partial.txt", "b.wav", "c.txt", "c.wav")]
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
    assert "a.wav: no speech was found: " in said.err


def test_files_are_written_though_nobody_reads_the_text(here: Path) -> None:
    """In a process of its own, whose stdout has no reader."""
    tone("a.wav")
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.support.scripted_decoder import SILENT, ScriptedDecoder, Window, small_model\n"
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


@pytest.mark.parametrize(
    "raised",
    [
        OSError(22, "Invalid argument"),
        RuntimeError("can't start new thread"),
        MemoryError(),
        ValueError("GSM 6.10"),
        UnicodeEncodeError("ascii", "\xe4", 0, 1, "not in range"),
        RecursionError("too deep"),
        KeyError("x\x1b[31m\ny"),
        type("OfALibrary", (Exception,), {})("nobody knows it"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", ["read", "decode", "write"])
def test_whatever_happens_to_one_recording_the_others_are_transcribed(
    where: str,
    raised: Exception,
    scripted: Scripted,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    doors = {
        "read": "whisper_npu.apps.cli.work.open_audio",
        "decode": "whisper_npu.apps.cli.work.detected",
        "write": "whisper_npu.apps.cli.work.write_transcript",
    }
    module, _, name = doors[where].rpartition(".")
    real, calls = getattr(import_module(module), name), []

    def fails_at_the_second(*given: object, **named: object) -> object:
        calls.append(given)
        if len(calls) == 2:
            raise raised
        return real(*given, **named)

    monkeypatch.setattr(doors[where], fails_at_the_second)
    scripted(*([THE, AN] if where in ("read", "decode") else [THE, THE, AN]))
    given = [tone("a.wav"), tone("b.wav"), tone("c.wav")]
    assert run([*given, "-f", "txt", "--report", "report.json"]) == 1
    said = capsys.readouterr()
    assert {"a.txt", "c.txt"} <= set(names(here))
    assert "b.txt" not in names(here)
    (error,) = [line for line in said.err.splitlines() if "error: " in line]
    assert error.startswith("whisper-npu: error: b.wav: ")
    assert ";" in error  # a remedy
    assert "\x1b" not in said.err
    assert said.err.splitlines()[-1] == "1 of 3 failed: b.wav"
    files = json.loads((here / "report.json").read_text(encoding="utf-8"))["files"]
    assert [bool(file["error"]) for file in files] == [False, True, False]


def test_a_traceback_is_printed_where_it_is_asked_for(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("nobody foresaw it")

    monkeypatch.setattr("whisper_npu.apps.cli.work.open_audio", broken)
    scripted()
    assert run([tone("a.wav")]) == 1
    assert "WHISPER_NPU_TRACEBACK=1" in capsys.readouterr().err
    monkeypatch.setenv("WHISPER_NPU_TRACEBACK", "1")
    assert run(["a.wav"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_device_that_fails_every_time_is_not_tried_for_ever(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted(THE)

    def lost() -> None:
        if decoder.prompts:
            raise DeviceError("the NPU does not answer")

    decoder.on_window = lost
    given = [tone(f"{number}.wav") for number in range(8)]
    assert run([*given, "-f", "txt", "--report", "report.json"]) == 1
    said = capsys.readouterr().err
    assert said.count("the NPU does not answer") == 3
    assert said.count("not tried: the device failed in 3 recordings in a row") == 1
    assert "7 of 8 failed" in said
    assert "0.txt" in names(here)
    assert len(json.loads((here / "report.json").read_text(encoding="utf-8"))["files"]) == 8


def test_what_fails_in_the_decoder_is_not_the_device(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of five recordings the last one is still tried."""
    decoder = scripted(THE)

    def fail() -> None:
        if len(decoder.prompts) < 4:
            decoder.prompts.append([])
            raise DecoderError("the decoder failed")

    decoder.on_window = fail
    assert run([*(tone(f"{number}.wav") for number in range(5)), "-f", "txt"]) == 1
    said = capsys.readouterr().err
    assert said.count("the decoder failed") == 4
    assert "not tried" not in said
    assert "4.txt" in names(here)


@pytest.mark.parametrize("moment", ["write", "written", "done"])
def test_an_interrupt_while_files_are_written_leaves_them_whole(
    moment: str, scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes once, behind the first of two files, behind both, or behind everything."""
    from whisper_npu.apps import outputs
    from whisper_npu.apps.cli.progress import Progress
    from whisper_npu.apps.cli.unfinished import Unfinished

    place, name = {
        "write": (outputs, "write_atomically"),
        "written": (Unfinished, "written"),
        "done": (Progress, "done"),
    }[moment]
    really, left = getattr(place, name), [KeyboardInterrupt()]

    def interrupted(*given: object) -> None:
        really(*given)
        if left:
            raise left.pop()

    monkeypatch.setattr(place, name, interrupted)
    scripted(THE)
    assert run([tone("a.wav"), tone("b.wav"), "-f", "srt,txt", "--report", "report.json"]) == 130
    assert names(here) == ["a.srt", "a.txt", "a.wav", "b.wav", "report.json"]
    files = json.loads((here / "report.json").read_text(encoding="utf-8"))["files"]
    assert [(file["path"], file["error"]) for file in files] == [("a.wav", None)]


def test_a_clip_that_one_recording_does_not_have_fails_that_one(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(THE)
    assert run([tone("a.wav", 3.0), tone("b.wav", 20.0), "--clip_timestamps", "10", "-f", "txt"]) == 1
    assert "a.wav: clip_timestamps has a clip from 10 s" in capsys.readouterr().err
    assert "b.txt" in names(here)
    assert run(["a.wav", "--clip_timestamps", "10"]) == 2


def warned(monkeypatch: pytest.MonkeyPatch, *warnings: str) -> None:
    from whisper_npu.transcription.stream import Stream

    result = Stream.result
    monkeypatch.setattr(Stream, "result", lambda stream: replace(result(stream), warnings=warnings))


def test_warnings_of_a_recording_are_notes_and_in_the_report(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warned(monkeypatch, "2.0 s to 2.5 s cannot be decoded")
    scripted(THE)
    assert run([tone("a.wav"), "--report", "report.json"]) == 0
    assert "whisper-npu: a.wav: 2.0 s to 2.5 s cannot be decoded\n" in capsys.readouterr().err
    (file,) = json.loads((here / "report.json").read_text(encoding="utf-8"))["files"]
    assert file["warnings"] == ["2.0 s to 2.5 s cannot be decoded"]


# --resume

FIRST = Window([(0.0, " the", 12.0), (12.0, " an", 30.0)])
SECOND = Window([(0.0, " an", 30.0)])
THIRD = Window([(0.0, " the", 30.0)])
WINDOWS = (FIRST, SECOND, THIRD)


class Killed(BaseException):
    """In the place of a signal that nothing can catch."""


def interrupted_run(
    scripted: Scripted, options: list[str], *, after: int, by: type[BaseException] = KeyboardInterrupt
) -> None:
    """Stop before window `after` is decoded."""
    decoder = scripted(*WINDOWS)

    def stop() -> None:
        if len(decoder.prompts) == after:
            raise by

    decoder.on_window = stop
    if by is KeyboardInterrupt:
        assert run(["talk.wav", *options]) == 130
    else:
        with pytest.raises(by):
            run(["talk.wav", *options])


@pytest.mark.parametrize(("after", "by", "done"), [(1, KeyboardInterrupt, 1), (2, Killed, 1)])
def test_an_interrupted_run_goes_on_to_the_same_files(
    after: int,
    by: type[BaseException],
    done: int,  # windows; a kill costs the one that was decoded last
    scripted: Scripted,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tone("talk.wav", 90.0)
    scripted(*WINDOWS)
    assert run(["talk.wav", "-f", "srt,json", "-o", "whole"]) == 0
    text = capsys.readouterr().out
    interrupted_run(scripted, ["-f", "srt,json", "-o", "out"], after=after, by=by)
    assert (here / "out/talk.partial.jsonl").exists()
    capsys.readouterr()
    decoder = scripted(*WINDOWS[done:])
    options = ["-f", "srt,json", "-o", "out", "--resume", "--report", "report.json"]
    assert run(["talk.wav", *options]) == 0
    said = capsys.readouterr()
    assert "talk.wav: goes on at 0:00:30" in said.err
    assert said.out == text
    assert decoder.windows == []
    assert names(here / "out") == ["talk.json", "talk.srt"]
    for name in names(here / "out"):
        assert (here / "out" / name).read_bytes() == (here / "whole" / name).read_bytes()
    report = json.loads((here / "report.json").read_text(encoding="utf-8"))
    assert report["files"][0]["resumed_at_seconds"] == 30.0
    assert report["audio_seconds"] == 60.0
    assert report["files"][0]["text"].split() == ["the", "an", "an", "the"]


HOSTILE_POINTS: dict[str, dict[str, object]] = {
    "tokens": {"tokens": [2_000_000_000]},  # of which CTranslate2 would crash
    "window": {"window": 2_147_483_647},
    "seconds": {"seconds": 2e9},
}


@pytest.mark.parametrize(
    "changed", ["recording", "options", "damage", "times", *HOSTILE_POINTS, "no --resume"]
)
def test_what_does_not_fit_starts_over(
    changed: str, scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone("talk.wav", 90.0)
    interrupted_run(scripted, ["-f", "srt"], after=2)
    options = ["-f", "srt", "--resume"]
    if changed == "recording":
        os.utime("talk.wav", (1, 1))
    elif changed == "options":
        options += ["--length_penalty", "0.5"]
    elif changed == "damage":
        (here / "talk.partial.jsonl").write_bytes(b"{}\n")
    elif changed in ("times", *HOSTILE_POINTS):
        first, second, *_ = (here / "talk.partial.jsonl").read_text(encoding="utf-8").splitlines()
        line = json.loads(second)
        line["point"] |= HOSTILE_POINTS.get(changed, {})
        if changed == "times":
            line["segments"][0]["start"] = 1e300
        (here / "talk.partial.jsonl").write_text(f"{first}\n{json.dumps(line)}\n", encoding="utf-8")
    else:
        options.remove("--resume")
    decoder = scripted(*WINDOWS)
    capsys.readouterr()
    assert run(["talk.wav", *options]) == 0
    assert decoder.windows == []
    assert ("talk.wav: starts over: " in capsys.readouterr().err) == ("--resume" in options)
    assert names(here) == ["talk.srt", "talk.wav"]


def test_what_is_done_is_skipped_with_resume(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone("talk.wav", 90.0)
    scripted(*WINDOWS)
    assert run(["talk.wav", "-f", "srt"]) == 0
    assert run(["talk.wav", "-f", "srt", "--resume"]) == 0
    assert "1 skipped, for their files are there" in capsys.readouterr().err
    interrupted_run(scripted, ["-f", "srt"], after=2)  # begun once more
    scripted(*WINDOWS[2:])
    assert run(["talk.wav", "-f", "srt", "--resume"]) == 0
    assert "goes on at 0:01:00" in capsys.readouterr().err


def test_resume_needs_files_and_a_recording_that_can_be_read_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone("talk.wav")
    assert run(["talk.wav", "--resume"]) == 2
    assert "add -f srt" in capsys.readouterr().err
    assert run(["-", "-f", "srt", "--resume"]) == 2
    assert "standard input cannot be read again" in capsys.readouterr().err


def test_a_journal_that_cannot_be_written_is_no_reason_to_end(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone("talk.wav", 90.0)
    (here / "talk.partial.jsonl").mkdir()
    scripted(*WINDOWS)
    assert run(["talk.wav", "-f", "srt"]) == 0
    said = capsys.readouterr().err
    assert said.count("--resume will not know the rest") == 1
    assert "talk.srt" in names(here)


def test_transcripts_so_far_are_there_after_a_kill(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whisper_npu.apps.cli.unfinished.REFRESH", 0.0)
    tone("talk.wav", 90.0)
    interrupted_run(scripted, ["-f", "srt,txt"], after=2, by=Killed)
    assert names(here) == ["talk.partial.jsonl", "talk.partial.srt", "talk.partial.txt", "talk.wav"]
    assert (here / "talk.partial.txt").read_text(encoding="utf-8").startswith("the\n")
    scripted(*WINDOWS)
    assert run(["talk.wav", "-f", "srt,txt"]) == 0
    assert names(here) == ["talk.srt", "talk.txt", "talk.wav"]


def test_a_file_of_the_user_with_such_a_name_stays(scripted: Scripted, here: Path) -> None:
    (here / "talk.partial.srt").write_text("of talk.partial.wav", encoding="utf-8")
    tone("talk.wav")
    scripted(THE)
    assert run(["talk.wav", "-f", "srt"]) == 0
    assert (here / "talk.partial.srt").read_text(encoding="utf-8") == "of talk.partial.wav"
    tone("talk.partial.wav")
    assert run(["talk.wav", "talk.partial.wav", "-f", "srt"]) == 2


def test_500_recordings_some_bad_end_in_one_summary(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(here / "model", n_audio_ctx=50)  # windows of a second, soon encoded
    decoder = ScriptedDecoder(model)
    decoder.windows = [SILENT] * 490
    monkeypatch.setattr(model._whisper, "model", decoder)
    monkeypatch.setattr("whisper_npu.apps.cli.work.load_model", lambda *_, **__: model)
    given = [tone(f"{number:03d}.wav", 0.2) for number in range(500)]
    bad = given[3::50]
    for name in bad:
        (here / name).write_bytes(b"no sound")
    options = ["--temperature_increment_on_fallback", "None", "--language", "en", "-f", "txt"]
    assert run([*given, *options]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in said if "error: " in line] == bad
    assert said[-1].startswith("10 of 500 failed: 003.wav, 053.wav")
    assert len(list(here.glob("*.txt"))) == 490
