"""`whisper-npu listen` with a model whose decoder says what a test wrote down: lines, files, ends."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import fields
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.fake_sounddevice import FakeMicrophone, plug_in
from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from tests.support.terminal import Terminal, of_256_colours, terminal
from whisper_npu.apps.cli import listen_command, run
from whisper_npu.apps.cli.listen import listen as command
from whisper_npu.apps.cli.listen_lines import LiveLines, end_of
from whisper_npu.apps.cli.listen_options import LINES, REFUSED
from whisper_npu.apps.cli.transcribe import DECODING, VAD, transcribe
from whisper_npu.audio import SAMPLE_RATE, Samples, Sound, load_audio
from whisper_npu.errors import DeviceError, OutputError
from whisper_npu.live.line import Line
from whisper_npu.live.options import _OF_RECORDINGS, LiveOptions
from whisper_npu.live.playing import Playing
from whisper_npu.live.session import Session
from whisper_npu.screen import cells
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.transcript import Segment

SAMPLES = Path(__file__).parents[3] / "samples"
SPEECH = str(SAMPLES / "sns-0930.wav")  # 3.3 s, one utterance

Scripted = Callable[..., ScriptedDecoder]


class Numbers(list[Window]):
    """Windows without end: " an the", " an an the", ... so that each text comes once."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def pop(self, _: object = 0) -> Window:
        self.n += 1
        return Window([(0.0, " an" * self.n + " the", 2.0)])

    @property
    def said(self) -> list[str]:
        return ["an " * number + "the" for number in range(1, self.n + 1)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_model(tmp_path_factory.mktemp("model"), multilingual=False)


@pytest.fixture
def scripted(model: Model, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Let the program load that model, and its decoder say these windows, or numbers without end."""

    def scripted(*windows: Window) -> ScriptedDecoder:
        decoder = ScriptedDecoder(model)
        decoder.windows = list(windows) or Numbers()
        monkeypatch.setattr(model._whisper, "model", decoder)
        monkeypatch.setattr("whisper_npu.apps.cli.listen_command.load_model", lambda *_, **__: model)
        return decoder

    return scripted


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Four utterances, with pauses of a second."""
    pause = np.zeros(SAMPLE_RATE, np.float32)
    names = ("sns-0880.wav", "sns-0930.wav", "sns-0880.wav", "sns-0930.wav")
    return np.concatenate([part for name in names for part in (load_audio(SAMPLES / name), pause)])


@pytest.fixture
def playing(talk: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `--from` of any recording play the four."""
    monkeypatch.setattr(listen_command, "open_audio", lambda *_, **__: open_array(talk))


def open_array(samples: Samples) -> Sound:
    from whisper_npu.audio import open_audio

    return open_audio(samples)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def listen(*options: str) -> int:
    return run(["listen", "--from", SPEECH, "--partial_every", "0", "--reference", "none", *options])


def test_each_final_line_is_printed_once_and_saved(
    scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    assert listen("--fast", "-f", "txt,srt,json") == 0
    said = capsys.readouterr()
    assert isinstance(decoder.windows, Numbers)
    assert decoder.windows.n == 4
    assert said.out.splitlines() == decoder.windows.said
    assert (here / "sns-0930.live.txt").read_text("utf-8") == said.out
    assert names(here) == ["sns-0930.live.json", "sns-0930.live.srt", "sns-0930.live.txt"]
    document = json.loads((here / "sns-0930.live.json").read_text("utf-8"))
    starts = [segment["start"] for segment in document["segments"]]
    assert starts == sorted(set(starts))
    assert document["language_probability"] is None
    assert "wrote sns-0930.live.txt, sns-0930.live.srt, sns-0930.live.json" in said.err
    assert "s heard, " in said.err
    assert "on the CPU (emulated NPU), " in said.err
    assert "no dispatches" not in said.err
    assert "times as fast as spoken (MEASURED)" in said.err


def test_nothing_that_is_there_is_overwritten(
    scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"sns-0930.live.srt": "of somebody", "sns-0930.live-2.partial.txt": "of a run that was killed"}
    for name, text in others.items():
        (here / name).write_text(text, encoding="utf-8")
    scripted()
    assert listen("--fast", "-f", "srt", "-f", "txt") == 0
    assert names(here) == sorted([*others, "sns-0930.live-3.srt", "sns-0930.live-3.txt"])
    for name, text in others.items():
        assert (here / name).read_text("utf-8") == text


@pytest.mark.parametrize(
    ("options", "out"),
    [
        (["--timestamps"], "[00:00.512 --> 00:02.512] the\n"),
        (["--quiet"], "the\n"),
        (["-f", "none"], "the\n"),
    ],
)
def test_what_is_printed(
    options: list[str], out: str, scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted(Window([(0.0, " the", 2.0)]))
    assert listen("--fast", *options) == 0
    said = capsys.readouterr()
    assert said.out.partition("]")[2] == out.partition("]")[2]
    assert said.out.startswith("[00:0") == ("--timestamps" in options)
    assert (said.err == "") == ("--quiet" in options)
    assert (names(here) == []) == ("none" in options)


def test_lines_for_other_programs(
    scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    arguments = ["listen", "--from", SPEECH, "--fast", "--reference", "none", "--json"]
    assert run([*arguments, "--word_timestamps", "False"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finals = [event for event in events if event["type"] == "final"]
    assert [event["id"] for event in finals] == [0, 1, 2, 3]
    assert {event["type"] for event in events} <= {"final", "partial"}
    assert all(one["end"] <= following["start"] for one, following in pairwise(finals))
    assert all(event["language"] == "en" and event["segments"] for event in finals)
    done = set()
    for event in events:
        assert event["id"] not in done  # a final line is the last of its utterance
        done |= {event["id"]} if event["type"] == "final" else set()
    assert (here / "sns-0930.live.txt").read_text("utf-8").split() == [
        word for event in finals for word in event["text"].split()
    ]
    assert decoder.prompts


def test_where_nothing_is_said_nothing_is_saved(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    silence = np.zeros(3 * SAMPLE_RATE, np.float32)
    monkeypatch.setattr(listen_command, "open_audio", lambda *_, **__: open_array(silence))
    assert listen("--fast") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "nothing was said, so nothing is saved" in said.err
    assert names(here) == []
    assert not decoder.prompts


# Wrong calls


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--fast"], 2, "--fast has no effect on a microphone: add --from FILE"),
        (["--reference", "a.txt"], 2, "--reference has no effect on a microphone"),
        (["--from", SPEECH, "--microphone", "x"], 2, "--from plays the microphone"),
        (["--from", "nope.wav"], 1, "nope.wav: no such file"),
        (["--from", str(SAMPLES)], 2, "is a folder; name one recording in it"),
        (["--from", f"{SAMPLES}/*.wav"], 2, "means 5 recordings; name one"),
        (["--from", __file__], 1, "is not audio"),
        (["--from", SPEECH, "--reference", "nope.txt"], 2, "--reference nope.txt cannot be read"),
        (["--from", SPEECH, "-f", "none,srt"], 2, "saves nothing, and srt would be saved"),
        (["--from", SPEECH, "-f", "docx"], 2, "docx"),
        (["--from", SPEECH, "-o", "-"], 2, "--output_dir -"),
        (["--from", SPEECH, "-o", f"{SPEECH}/there"], 1, "cannot be written"),
        (["--from", SPEECH, "-o", "/proc/there"], 1, "/proc/there: cannot be written"),
        (["--from", SPEECH, "--json", "--timestamps"], 2, "--timestamps has no effect with --json"),
        (["--from", SPEECH, "--longest", "30"], 2, "longest"),
        (["--from", SPEECH, "--pause", "0"], 2, "pause"),
        (["--from", SPEECH, "--device", "npu"], 1, "no NPU"),
        (["--from", SPEECH, "--model", "tiny.en", "--language", "de"], 2, "tiny.en does not know German"),
    ],
)
def test_a_wrong_call_is_one_line(
    options: list[str], code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["listen", *options]) == code
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("whisper-npu: reading")]
    assert len(lines) == 1
    assert said in lines[0]
    assert names(here) == []


def test_without_sounddevice_the_extra_is_named_before_any_work(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for options in ([], ["--list_microphones"]):
        assert run(["listen", *options]) == 1
        assert capsys.readouterr().err.splitlines() == [
            "whisper-npu: error: a microphone needs sounddevice, which is not installed: "
            "pip install 'whisper-npu[live]'"
        ]
    assert names(here) == []


def test_the_options_limits_and_defaults_are_those_of_the_engine() -> None:
    defaults = LiveOptions()
    assert {one.name for one in LINES} == {field.name for field in fields(LiveOptions)}
    for one in LINES:
        assert one.default == getattr(defaults, str(one.name))
        kind: Any = one.type
        LiveOptions(**{str(one.name): kind.low})
        LiveOptions(**{str(one.name): kind.high})


# A microphone


def test_a_microphone_until_ctrl_c(
    scripted: Scripted,
    talk: Samples,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoder = scripted()
    device = FakeMicrophone("Desk", talk[: -SAMPLE_RATE - 2000])  # the last word's end is still open
    plug_in(monkeypatch, device)
    device.on_end = once(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run(["listen", "--partial_every", "0"]) == 0
    said = capsys.readouterr()
    assert isinstance(decoder.windows, Numbers)
    assert decoder.windows.n == 4
    assert said.out.splitlines() == decoder.windows.said
    [name] = names(here)
    assert name.startswith("listen-2")
    assert (here / name).read_text("utf-8") == said.out
    assert f"listening to Desk; Ctrl-C ends it and saves {name}" in said.err
    assert "end of speech to final text: median " in said.err
    assert device.n_open == 0


def test_how_late_a_line_comes_is_counted_from_the_end_of_speech(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted()
    device = FakeMicrophone("Desk", load_audio(SPEECH))
    plug_in(monkeypatch, device)
    device.on_end = once(lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr(listen_command.Microphone, "heard_at", lambda _, seconds: 990.0 + seconds)
    monkeypatch.setattr(listen_command, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    assert run(["listen", "--partial_every", "0", "--json"]) == 0
    said = capsys.readouterr()
    late = 10.0 - json.loads(said.out)["end"]
    assert 6.0 < late < 8.0
    assert f"final text: median {late:.2f} s, 95th percentile {late:.2f} s (MEASURED)" in said.err


def test_an_interrupt_before_it_listens_leaves_nothing(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> Model:
        raise KeyboardInterrupt

    monkeypatch.setattr(listen_command, "load_model", interrupted)
    device = FakeMicrophone("Desk")
    plug_in(monkeypatch, device)
    assert run(["listen"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "whisper-npu: error: interrupted"
    assert names(here) == []
    assert device.n_open == 0


def once(action: Callable[[], None]) -> Callable[[], None]:
    left = [action]
    return lambda: left.pop()() if left else None


def test_a_microphone_that_is_unplugged_leaves_what_was_said(
    scripted: Scripted,
    talk: Samples,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted()
    plug_in(monkeypatch, FakeMicrophone("Desk", talk, unplugged_after=60, lost={3: 0.25}))
    assert run(["listen", "--partial_every", "0"]) == 1
    said = capsys.readouterr()
    assert said.out
    [name] = names(here)
    assert (here / name).read_text("utf-8") == said.out
    assert "whisper-npu: error: Desk is gone: it was unplugged" in said.err
    assert "WARNING: 0.2 s of the microphone's sound was lost once" in said.err


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (0.0, "no sound at all has come from Desk: is it muted, or another one meant?"),
        (0.001, "no speech was heard: the loudest sample of Desk is at -60 dB"),
    ],
)
def test_a_microphone_into_which_nobody_speaks(
    level: float,
    said: str,
    scripted: Scripted,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripted()
    device = FakeMicrophone("Desk", np.full(SAMPLE_RATE, level, np.float32))
    plug_in(monkeypatch, device)
    device.on_end = once(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run(["listen"]) == 0
    err = capsys.readouterr().err
    assert said in err
    assert "nothing was said, so nothing is saved" in err
    assert names(here) == []


def test_the_list_of_microphones(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plug_in(monkeypatch, FakeMicrophone("Sink", n_inputs=0), FakeMicrophone("Desk\x1b[2J"), default=1)
    assert run(["listen", "--list_microphones"]) == 0
    assert capsys.readouterr().out == "1  Desk\\x1b[2J (48000 Hz, the system's default)\n"
    plug_in(monkeypatch)
    assert run(["listen", "--list_microphones"]) == 1
    assert "there is no microphone" in capsys.readouterr().err


# Ends


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_it_with_all_that_was_said(
    number: int, scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    decoder.on_window = once(lambda: os.kill(os.getpid(), number))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert listen("--fast") == 0
    said = capsys.readouterr()
    assert said.out
    assert (here / "sns-0930.live.txt").read_text("utf-8") == said.out
    assert names(here) == ["sns-0930.live.txt"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_ctrl_c_ends_at_once_and_keeps_what_was_final(
    scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    n_windows = 0

    def window() -> None:
        nonlocal n_windows
        n_windows += 1
        if n_windows == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    decoder.on_window = window
    assert listen("--fast", "-f", "srt") == 130
    said = capsys.readouterr()
    assert said.out == "an the\n"
    assert said.err.splitlines()[-1] == "whisper-npu: error: interrupted"
    assert names(here) == ["sns-0930.live.partial.srt", "sns-0930.live.partial.txt"]
    assert (here / "sns-0930.live.partial.txt").read_text("utf-8") == "an the\n"


@pytest.mark.parametrize("failing", [3, 4])  # of four
def test_a_device_that_fails_leaves_what_was_final(
    failing: int, scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    n_windows = 0

    def window() -> None:
        nonlocal n_windows
        n_windows += 1
        if n_windows >= failing:
            raise DeviceError("the device is gone")

    decoder.on_window = window
    assert listen("--fast") == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == failing - 1
    assert said.err.splitlines()[-1] == "whisper-npu: error: the device is gone"
    assert names(here) == ["sns-0930.live.partial.txt"]
    assert (here / "sns-0930.live.partial.txt").read_text("utf-8") == said.out


def test_a_device_that_fails_once_loses_nothing(
    scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    n_windows = 0

    def window() -> None:
        nonlocal n_windows
        n_windows += 1
        if n_windows == 2:
            raise DeviceError("a dispatch timed out")

    decoder.on_window = window
    assert listen("--fast") == 0
    said = capsys.readouterr()
    assert isinstance(decoder.windows, Numbers)
    assert said.out.splitlines() == decoder.windows.said
    assert decoder.windows.n == 4
    assert (here / "sns-0930.live.txt").read_text("utf-8") == said.out


def test_the_language_that_is_detected_is_named(
    here: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with small_model(tmp_path_factory.mktemp("model")) as model:
        decoder = ScriptedDecoder(model)
        decoder.windows = [Window([(0.0, " the", 2.0)])]
        monkeypatch.setattr(model._whisper, "model", decoder)
        monkeypatch.setattr("whisper_npu.apps.cli.listen_command.load_model", lambda *_, **__: model)
        assert run(["listen", "--from", SPEECH, "--partial_every", "0", "--fast"]) == 0
    said = capsys.readouterr()
    assert said.out == "the\n"
    assert said.err.count("whisper-npu: detected German") == 1
    assert "no word error rate: words are counted in English only, and this is German" in said.err


def test_what_is_for_recordings_is_refused_with_what_to_do_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in (*_OF_RECORDINGS, "condition_on_previous_text"):
        assert run(["listen", f"--{name}", "3"]) == 2
        said = capsys.readouterr().err
        assert f"--{name}: it is for recordings, not for live speech: " in said
    mine = {one.long_name for one in command.options}
    for one in transcribe.options:
        if one.group in ("Language and text", DECODING[0].group, VAD[0].group):
            assert (one.long_name in REFUSED) != (one.long_name in mine), one.long_name


def test_how_sure_the_voice_check_must_be(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted()
    assert listen("--fast") == 0
    assert capsys.readouterr().out
    assert listen("--fast", "--vad_threshold", "1") == 0
    assert "nothing was said" in capsys.readouterr().err
    assert listen("--fast", "--vad_min_speech_duration_ms", "9000") == 0
    assert "nothing was said" in capsys.readouterr().err


def test_speech_of_which_nothing_is_heard_is_all_wrong(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer")
    pytest.importorskip("transformers")
    scripted()
    (here / "said.txt").write_text("the an the")
    assert listen("--fast", "--vad_threshold", "1", "--reference", "said.txt") == 0
    assert "word error rate against the reference: 100.0 % (3 of 3 words)" in capsys.readouterr().err


class Fails(StringIO):
    def __init__(self, number: int, n_good: int) -> None:
        super().__init__()
        self._number, self._n_good = number, n_good

    def write(self, text: str) -> int:
        if "the" in text:
            self._n_good -= 1
            if self._n_good < 0:
                raise OSError(self._number, os.strerror(self._number))
        return super().write(text)

    def fileno(self) -> int:
        raise ValueError("no file")


def test_who_reads_no_more_ends_it_and_a_full_disk_does_not(
    scripted: Scripted,
    playing: None,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoder = scripted()
    monkeypatch.setattr("sys.stdout", Fails(errno.ENOSPC, n_good=1))
    assert listen("--fast") == 0
    assert (
        "no more text on standard output (No space left on device), only in the file"
        in capsys.readouterr().err
    )
    assert isinstance(decoder.windows, Numbers)
    assert (here / "sns-0930.live.txt").read_text("utf-8").splitlines() == decoder.windows.said
    assert decoder.windows.n == 4
    decoder = scripted()
    monkeypatch.setattr("sys.stdout", Fails(errno.EPIPE, n_good=1))
    assert listen("--fast") == 0
    assert "error" not in capsys.readouterr().err
    assert isinstance(decoder.windows, Numbers)
    assert (here / "sns-0930.live-2.txt").read_text("utf-8").splitlines() == decoder.windows.said
    monkeypatch.setattr("sys.stdout", Fails(errno.EPIPE, n_good=0))
    scripted()
    assert listen("--fast", "-f", "none") == 1


def test_a_disk_that_is_full_for_a_while_costs_nothing_but_a_warning(
    scripted: Scripted,
    playing: None,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoder = scripted()
    real, n_written = os.write, 0

    def write(descriptor: int, data: bytes) -> int:
        nonlocal n_written
        n_written += 1
        if n_written == 1:
            return real(descriptor, data[:3])
        if n_written <= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr("whisper_npu.apps.cli.listen_files.os.write", write)
    at_the_end: list[str] = []

    def last(transcript: object, paths: object, layout: object) -> tuple[list[Path], list[str]]:
        at_the_end.append((here / "sns-0930.live.partial.txt").read_text("utf-8"))
        return [], ["no room"]

    monkeypatch.setattr("whisper_npu.apps.cli.listen_files.write_transcript", last)
    assert listen("--fast") == 1  # nor is there room at the end
    said = capsys.readouterr()
    assert said.err.count("cannot be written (No space left on device); listening goes on") == 1
    assert said.err.splitlines()[-3] == "whisper-npu: error: no room"
    assert isinstance(decoder.windows, Numbers)
    assert at_the_end == ["".join(f"{text}\n" for text in decoder.windows.said)]
    assert names(here) == ["sns-0930.live.partial.txt"]


def test_a_folder_that_goes_while_the_model_loads(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted()

    def gone(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("whisper_npu.apps.cli.listen_files.os.open", gone)
    assert listen("--fast") == OutputError.exit_code
    assert "Read-only file system" in capsys.readouterr().err


# Word errors


def played(*options: str) -> int:
    return run(["listen", "--from", SPEECH, "--partial_every", "0", "--fast", *options])


THE = Window([(0.0, " the", 2.0)])
AN = Window([(0.0, " an", 2.0)])


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("an the", "word error rate against the reference: 50.0 % (1 of 2 words)"),
        ("", "no word error rate: there is not one word in the reference"),
    ],
)
def test_word_errors_against_a_text(
    reference: str, said: str, scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer")
    pytest.importorskip("transformers")
    (here / "said.txt").write_text(reference, encoding="utf-8")
    scripted(THE)
    assert played("--reference", "said.txt") == 0
    assert said in capsys.readouterr().err


def test_word_errors_against_what_transcribe_says(
    scripted: Scripted, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jiwer")
    pytest.importorskip("transformers")
    decoder = scripted(THE, AN)
    assert played("-f", "none") == 0
    err = capsys.readouterr().err
    assert "transcribing " in err
    assert "word error rate against what transcribe says: 100.0 % (1 of 1 words)" in err
    assert decoder.windows == []


def test_ctrl_c_skips_the_word_errors(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("whisper_npu.apps.cli.listen_figures.find_spec", lambda _: object())
    decoder = scripted(THE, AN)
    decoder.on_window = lambda: os.kill(os.getpid(), signal.SIGINT) if len(decoder.windows) == 1 else None
    assert played() == 0
    assert capsys.readouterr().err.splitlines()[-1] == "no word error rate: skipped"
    assert names(here) == ["sns-0930.live.txt"]


def test_what_word_errors_need_is_named(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("whisper_npu.apps.cli.listen_figures.find_spec", lambda _: None)
    scripted(THE)
    assert played() == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "no word error rate: it needs jiwer and transformers: pip install 'whisper-npu[wer]'"


def test_there_are_none_of_a_recording_that_was_not_heard_to_its_end(
    scripted: Scripted, playing: None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted()
    decoder.on_window = once(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run(["listen", "--from", SPEECH, "--partial_every", "0"]) == 0
    assert "no word error rate: the recording was not heard to its end" in capsys.readouterr().err


# The screen


def line(text: str, *, is_final: bool = False, id: int = 0) -> Line:
    segment = Segment(0, 0, 0.0, 1.0, f" {text}", (), -0.1, 0.0, 1.0, 0.0, None)
    return Line(id, 0.0, 1.0, text, is_final, (segment,) if is_final and text else ())


def shown_on(screen: Terminal, *, quiet: bool = False, as_json: bool = False) -> LiveLines:
    return LiveLines(screen.stream, screen.stream, timestamps=False, as_json=as_json, quiet=quiet)


def test_on_a_terminal_the_spoken_line_gives_way_to_the_final_one(monkeypatch: pytest.MonkeyPatch) -> None:
    of_256_colours(monkeypatch)
    with terminal(columns=20) as screen:
        lines = shown_on(screen)
        lines.show(line("he might"))
        assert screen.lines == ["he might"]
        lines.show(line("he might even have been made"))
        assert screen.lines == ["... have been made"]
        screen.resize(12)
        lines.show(line("he might even have been made"))
        assert screen.lines == ["... en made"]
        screen.resize(20)
        lines.show(line("He might even have been made.", is_final=True))
        assert screen.lines == ["He might even have ", "been made."]
        lines.show(line("no", id=1))
        lines.note("a note")
        assert screen.lines[2:] == ["a note"]
        lines.show(line("nothing after all", id=1))
        lines.show(line("", is_final=True, id=1))
        assert screen.lines[2:] == ["a note"]


def test_wide_characters_take_two_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    of_256_colours(monkeypatch)
    with terminal(columns=20) as screen:
        shown_on(screen).show(line("你好世界你好世界你好世界"))
        [seen] = screen.lines
        assert seen == "... 好世界你好世界"
        assert cells(seen) <= 19


@pytest.mark.parametrize("columns", range(12))
@pytest.mark.parametrize(
    "text",
    ["", "abc", "ab cd ef gh ij", "你好世界你好世界", "e\u0301e\u0301e\u0301e\u0301 e\u0301e\u0301e\u0301"],
)
def test_an_end_is_never_wider_than_the_screen(text: str, columns: int) -> None:
    found = end_of(text, columns)
    assert cells(found) <= columns
    assert found == text or text.endswith(found.removeprefix("... "))


def test_where_no_terminal_is_nothing_is_spoken(capsys: pytest.CaptureFixture[str]) -> None:
    lines = LiveLines(sys.stdout, sys.stderr, timestamps=False, as_json=False, quiet=False)
    lines.show(line("he might"))
    lines.show(line("He might.", is_final=True))
    said = capsys.readouterr()
    assert said.out == "He might.\n"
    assert said.err == ""


def test_escapes_in_a_text_move_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    of_256_colours(monkeypatch)
    with terminal(columns=60) as screen:
        shown_on(screen).show(line("a\x1b[2Jb\rc"))
        assert screen.lines == ["a[2Jb c"]


# The pace


def test_blocks_come_when_they_are_spoken_and_late_ones_do_not_add_up() -> None:
    now = [100.0]
    times = []

    def sleep(seconds: float) -> None:
        now[0] += seconds + 0.03  # the system is late each time

    sound = open_array(np.arange(SAMPLE_RATE + 500, dtype=np.float32) / 20_000)
    playing = Playing(sound, is_live=True, clock=lambda: now[0], sleep=sleep)
    heard = []
    for block in playing.blocks():
        heard.append(block)
        times.append(now[0] - 100.0)
    assert np.array_equal(np.concatenate(heard), sound.samples(0, sound.n_samples))
    due = [min(0.1 * number, 1.03125) for number in range(1, 12)]
    assert all(0 <= at - when <= 0.03 + 1e-9 for at, when in zip(times, due, strict=True))
    assert playing.heard_at(0.5) == 100.5


def test_a_machine_that_is_too_slow_says_so_once(
    scripted: Scripted,
    talk: Samples,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    decoder = scripted()
    device = FakeMicrophone("Desk", np.concatenate([talk, talk]))
    sessions: list[Session] = []

    def session(*options: Any) -> Session:
        sessions.append(Session(*options))
        return sessions[0]

    def window() -> None:
        while not decoder.prompts and sessions[0].seconds_behind < 16:
            time.sleep(0.01)
        if decoder.prompts:
            has_one.set()  # final line

    def end() -> None:
        has_one.wait()
        os.kill(os.getpid(), signal.SIGINT)

    has_one = threading.Event()
    device.on_end = once(end)
    decoder.on_window = window
    monkeypatch.setattr(listen_command, "Session", session)
    plug_in(monkeypatch, device)
    assert run(["listen", "--partial_every", "0"]) == 0
    said = capsys.readouterr()
    assert said.err.count("s behind: this machine is too slow") == 1
    assert isinstance(decoder.windows, Numbers)
    assert said.out.splitlines() == decoder.windows.said
    assert decoder.windows.n == 8


class Loud:
    """In the place of Silero's voice check: whatever is loud is speech."""

    def probability(self, step: Samples) -> float:
        return float(np.max(np.abs(step)) > 0.01)


class HalfAnHour:
    """24 seconds of sound, then 36 of silence, again and again; made when it is asked for."""

    n_utterances = 30
    n_samples = n_utterances * 60 * SAMPLE_RATE
    furthest = 0

    def samples(self, start: int, stop: int) -> Samples:
        self.furthest = max(self.furthest, stop)
        at = np.arange(start, min(stop, self.n_samples))
        sound: Samples = np.where(at % (60 * SAMPLE_RATE) < 24 * SAMPLE_RATE, 0.1, 0.0).astype(np.float32)
        return sound


def test_half_an_hour_takes_no_more_memory_than_its_first_minutes(
    scripted: Scripted, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decoder = scripted(*[Window([(0.0, " the an", 24.0)])] * HalfAnHour.n_utterances)
    sound = HalfAnHour()
    monkeypatch.setattr(listen_command, "open_audio", lambda *_, **__: Sound("long", sound))  # type: ignore[arg-type]
    monkeypatch.setattr("whisper_npu.live.session.Voice", Loud)
    taken: list[int] = []
    ahead: list[float] = []

    def window() -> None:
        gc.collect()
        taken.append(tracemalloc.get_traced_memory()[0])
        ahead.append(sound.furthest / SAMPLE_RATE - 60 * len(taken))

    decoder.on_window = window
    tracemalloc.start()
    try:
        assert listen("--fast", "--longest", "28") == 0
    finally:
        tracemalloc.stop()
    assert len(taken) == sound.n_utterances
    assert capsys.readouterr().out == "the an\n" * sound.n_utterances
    assert max(ahead) < 120  # seconds that were read and not worked on
    assert max(taken[10:]) < max(taken[:10]) + 4_000_000  # two utterances; all of the sound is 115 MB
