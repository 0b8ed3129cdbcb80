"""`whisper-npu archive`: what is typed, what is refused, and what a person sees."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

from whisper_npu import extras
from whisper_npu.apps.archive import run
from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.summary import Summary
from whisper_npu.apps.archive.tasks import Done, Failed
from whisper_npu.apps.cli import archive as command
from whisper_npu.apps.cli import archive_command
from whisper_npu.apps.cli.app import run as run_program
from whisper_npu.apps.cli.archive_command import asked_archive, ending
from whisper_npu.apps.cli.archive_progress import ArchiveProgress
from whisper_npu.errors import UsageError
from whisper_npu.output import Layout


def source(name: str) -> Source:
    return Source(name, f"/in/{name}", "1", name)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AskedArchive]:
    """What a command line asks for."""

    def asked(*arguments: str) -> AskedArchive:
        found: list[AskedArchive] = []

        def keep(given: dict[str, Any], typed: frozenset[str]) -> int:
            found.append(asked_archive(given, typed))
            return 0

        monkeypatch.setattr(archive_command, "archive_what", keep)
        with command.archive.make_context(
            "archive", list(arguments), parent=click.Context(command.archive)
        ) as ctx:
            command.archive.invoke(ctx)
        return found[0]

    return asked


def test_options_are_those_of_transcribe_and_mean_the_same(parsed: Callable[..., AskedArchive]) -> None:
    asked = parsed(
        *("talks", "--out", "texts", "-f", "srt,vtt", "--max_line_width", "42", "--max_line_count", "2"),
        *("--model", "small", "--device", "cpu", "-l", "de", "--beam_size", "3", "--vad_filter", "--strict"),
        *("--max_hours", "2", "--part_minutes", "5", "--audio_track", "2"),
    )
    assert asked.formats == ("srt", "vtt")
    assert asked.layout == Layout(max_line_width=42, max_line_count=2)
    assert asked.options.word_timestamps  # which the subtitles need
    assert (asked.options.language, asked.options.beam_size, asked.options.vad_filter) == ("de", 3, True)
    assert (asked.model, asked.device, asked.strict, asked.audio_track) == ("small", "emulator", True, 2)
    assert (asked.max_seconds, asked.part_minutes) == (7200, 5)


def test_text_files_are_written_unless_told_otherwise(parsed: Callable[..., AskedArchive]) -> None:
    assert parsed("talks", "--out", "texts").formats == ("txt",)


def test_paths_are_absolute_for_workers_are_elsewhere(
    parsed: Callable[..., AskedArchive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    asked = parsed("talks", "--out", "texts", "--model", "model", "--model_dir", "kept")
    assert asked.out == str(tmp_path / "texts")
    assert asked.model == str(tmp_path / "model")
    assert asked.model_dir == str(tmp_path / "kept")


def test_without_an_output_folder_it_says_what_that_is_for(parsed: Callable[..., AskedArchive]) -> None:
    with pytest.raises(UsageError, match="--out FOLDER is missing: results land there"):
        parsed("talks")
    with pytest.raises(UsageError, match="--out is empty; is it a variable of the shell that is not set"):
        parsed("talks", "--out", "")


@pytest.mark.parametrize("option", ["--skip_existing", "--resume", "--report=x.json", "--recursive"])
def test_options_that_a_run_has_no_use_for_are_none(option: str, parsed: Callable[..., AskedArchive]) -> None:
    with pytest.raises(click.UsageError, match="no such option"):
        parsed("talks", "--out", "texts", option)


@pytest.mark.parametrize("package", ["ray", "fsspec"])
def test_without_ray_it_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else find_spec("json"))
    assert run_program(["archive", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err == (
        f"whisper-npu: error: whisper-npu archive needs {package}, which is not installed: "
        "pip install 'whisper-npu[ray]'\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before Ray is needed, so that these tests need none."""
    pytest.importorskip("fsspec")
    monkeypatch.setattr(run, "require_ray", lambda: None)
    monkeypatch.setattr(run, "find_cluster", lambda asked, note: "local")

    def begins(*_: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(run, "work", begins)


@pytest.mark.usefixtures("no_work")
def test_the_row_of_a_manifest_that_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "talks.csv"
    manifest.write_text("path,language\na.wav,en\nb.wav,klingon\n", "utf-8")
    assert run_program(["archive", str(manifest), "--out", str(tmp_path / "out"), "--model", "tiny"]) == 2
    assert re.search(r"talks\.csv: (row|line) 3", capsys.readouterr().err)


@pytest.mark.usefixtures("no_work")
def test_an_output_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert run_program(["archive", str(tmp_path / "in"), "--out", str(out), "--model", "tiny"]) == 1
    err = capsys.readouterr().err
    assert str(out) in err
    assert "cannot be written" in err


SUMMARY = Summary(
    n_before=12,
    n_done=100,
    failed=tuple(Failed(source(f"bad{number}.wav"), "is not audio") for number in range(11)),
    n_left=0,
    audio_seconds=7200.0,
    wall_seconds=1800.0,
    ran_on={"the CPU (emulated NPU)": 2},
)


def test_a_summary_tells_what_came_of_it_and_how_long_it_took() -> None:
    lines = ending(SUMMARY, "texts/")
    assert lines[0] == "100 done, 12 done before, 11 failed; results in texts/"
    assert lines[1] == "MEASURED 30 min for 2 h 00 min of audio: 4.0 h per hour; 2 x the CPU (emulated NPU)"
    assert lines[2] == "failed: bad0.wav: is not audio"
    assert lines[-1] == "and 1 more failed: results.jsonl has all of them"
    assert len(lines) == 13


def test_a_summary_of_a_run_that_was_stopped_says_how_to_go_on() -> None:
    stopped = Summary(0, 0, (), 7, 0.0, 3.0, {}, KeyboardInterrupt())
    assert ending(stopped, "texts") == [
        "0 done, 7 left; results in texts",
        "The same command goes on with what is left.",
    ]


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (SUMMARY, 1),
        (Summary(3, 2, (), 0, 9.0, 1.0), 0),
        (Summary(0, 2, (), 4, 9.0, 1.0, {}, KeyboardInterrupt()), 130),
        (Summary(0, 2, (), 4, 9.0, 1.0, {}, UsageError("--threads 8: too many")), 2),
    ],
)
def test_the_exit_code_says_whether_all_is_done(
    summary: Summary,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(archive_command, "run_archive", lambda *_: summary)
    assert run_program(["archive", "talks", "--out", str(tmp_path / "out")]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert f"results in {tmp_path / 'out'}" in err


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class NoTicker:
    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.seconds = seconds

    def start(self) -> None: ...
    def stop(self) -> None: ...


def progress(*, quiet: bool = False) -> tuple[ArchiveProgress, io.StringIO, Clock]:
    stderr, clock = io.StringIO(), Clock()
    return ArchiveProgress(quiet=quiet, stderr=stderr, clock=clock, ticker=NoTicker), stderr, clock  # type: ignore[arg-type]


def test_progress_tells_how_far_it_is_and_how_fast() -> None:
    shown, stderr, clock = progress()
    with shown:
        shown.found(300, 20)
        shown.crew({"the CPU": 2}, 3)
        clock.now = 3600.0
        for number in range(100):
            shown.done(Done(source(f"r{number}"), 72.0, "{}"))
        shown.failed(Failed(source("bad.wav"), "is not audio"))
        assert shown.line() == (
            "101 of 300, 1 failed, 2 h 00 min of audio, 2.0 h per hour, 2 of 3 workers, 1 h 58 min left"
        )
        shown.tick()
    lines = stderr.getvalue().splitlines()
    assert lines[0] == "whisper-npu: 300 recordings to transcribe, 20 done already"
    assert "whisper-npu: error: bad.wav: is not audio" in lines
    assert lines[-1].startswith("whisper-npu: 101 of 300")


def test_quiet_progress_tells_of_failures_only() -> None:
    shown, stderr, _ = progress(quiet=True)
    with shown:
        shown.found(300, 20)
        shown.note("waiting")
        shown.crew({"the CPU": 2}, 2)
        shown.failed(Failed(source("bad\x1b.wav"), "is not audio"))
    assert stderr.getvalue() == "whisper-npu: error: bad\\x1b.wav: is not audio\n"
