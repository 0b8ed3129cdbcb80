"""The three lines after a transcription: complete, true, and 80 columns wide at most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_report import RAN_ON, executed, report
from whisper_npu.apps.cli.ending import ending, wrote
from whisper_npu.npu.cost import BASELINE
from whisper_npu.npu.device import Run
from whisper_npu.report import INTERRUPTED, FileResult, Report, as_text
from whisper_npu.screen import WIDTH
from whisper_npu.transcription.took import RunOn

FOLDER = "/a/folder/that/lies/deep/below/others/and/has/a/name/of/more/than/seventy/columns"


def of_files(*errors: str | None, ran_on: RunOn = RAN_ON, seconds: float = 10.0, runs: int = 1) -> Report:
    """Recordings a.wav, b.wav, ... of 20 s; those with an error failed."""
    one = report(*some_runs(runs))
    paths = [f"{chr(97 + i % 26)}.wav" for i in range(len(errors))]
    files = [
        FileResult(path, None, None, error) if error else replace(one.files[0], path=path)
        for path, error in zip(paths, errors, strict=True)
    ]
    return replace(one, files=tuple(files), ran_on=ran_on, total_seconds=seconds)


def some_runs(count: int) -> list[Run]:
    return [executed("attention.out", 1500)] * count


def test_one_recording_ends_with_what_was_written_what_it_took_and_the_baseline() -> None:
    done = of_files(None)
    written, work, baseline = ending(done, [Path("a.srt"), Path("a.vtt")])
    assert written == "wrote a.srt, a.vtt"
    dispatches = done.stats.dispatches
    assert work == f"10 s for 20 s of audio (2.0x), base on the CPU (emulated NPU), {dispatches} dispatches"
    assert baseline.startswith(
        f"MEASURED 10 s; baseline {BASELINE.seconds} s: one product {BASELINE.problem}"
    )
    assert baseline.endswith("author's NPU")


def test_an_npu_is_named_as_such() -> None:
    on_npu = replace(RAN_ON, device="npu", device_description="NPU through pyxrt", clock="NPU")
    work = ending(of_files(None, ran_on=on_npu))[0]
    assert " on the NPU," in work
    assert "CPU" not in work


def test_failures_are_counted_and_named_last() -> None:
    lines = ending(of_files(None, "is damaged", None, "is damaged"))
    assert len(lines) == 3
    assert lines[-1] == "2 of 4 failed: b.wav, d.wav"


def test_of_many_failures_as_many_are_named_as_fit() -> None:
    lines = ending(of_files(None, *["is damaged"] * 49))
    assert lines[-1].startswith("49 of 50 failed: b.wav, c.wav,")
    named, more = lines[-1].partition(": ")[2].split(" and ")
    assert len(named.split(", ")) + int(more.removesuffix(" more")) == 49
    assert len(lines[-1]) <= WIDTH < len(lines[-1]) + len(", x.wav") + 1


def test_of_several_recordings_the_files_were_said_before() -> None:
    assert len(ending(of_files(None, None), [Path("a.srt")])) == 2


def test_where_nothing_was_transcribed_the_errors_have_said_it() -> None:
    assert ending(of_files("is damaged")) == []
    assert ending(of_files("is damaged", "is damaged")) == []


def test_a_recording_in_which_nothing_was_encoded_has_an_ending_too() -> None:
    lines = ending(of_files(None, runs=0), [Path("silence.srt")])
    assert lines[:2] == [
        "wrote silence.srt",
        "10 s for 20 s of audio (2.0x), base on the CPU (emulated NPU), no dispatches",
    ]
    assert "163.7 s" in lines[2]


def of_clips(done: Report, heard_seconds: float) -> Report:
    one = done.files[0]
    assert one.took is not None
    part = replace(one, took=replace(one.took, heard_seconds=heard_seconds))
    return replace(done, files=(part, *done.files[1:]))


def test_only_what_was_to_be_transcribed_counts() -> None:
    done = of_clips(of_files(None), 5.0)
    assert done.audio_seconds == 5.0
    assert ending(done)[0].startswith("10 s for 5.0 s of audio (0.5x), base on")


def interrupted(report: Report, number: int, n_asked: int | None, path: str) -> Report:
    """In the recording with this number, from 1."""
    files = [*report.files[: number - 1], replace(report.files[number - 1], path=path, error=INTERRUPTED)]
    return replace(report, files=tuple(files), n_asked=n_asked)


@pytest.mark.parametrize(
    ("errors", "path", "last"),
    [
        ([None] * 5, "c04.wav", "interrupted in c04.wav, 4 of 20 done"),
        ([None, "bad", None, None, None], "c04.wav", "interrupted in c04.wav, 3 of 20 done, 1 failed"),
        ([None] * 5, f"{'x' * 80}/c04.wav", "interrupted in c04.wav, 4 of 20 done"),
        ([None] * 5, "x" * 80, "interrupted, 4 of 20 done"),
    ],
)
def test_an_interrupt_is_no_failure(errors: list[str | None], path: str, last: str) -> None:
    done = interrupted(of_files(*errors), 5, 20, path)
    lines = ending(done, [Path("a.srt")])
    assert len(lines) == 3
    assert lines[-1] == last
    assert "interrupted, " in as_text(done)
    assert ("1 of 20 files failed" in as_text(done)) == ("bad" in errors)


def test_an_interrupt_between_two_recordings_is_told_without_a_name() -> None:
    done = replace(of_files(None), n_asked=3)
    assert ending(done, [Path("a.srt")])[1:] == [ending(done)[1], "interrupted, 1 of 3 done"]


def test_of_the_only_recording_nobody_needs_to_be_told_that_it_was_interrupted() -> None:
    assert len(ending(interrupted(of_files(None), 1, 1, "a.wav"))) == 2
    assert ending(interrupted(of_files("bad"), 1, 1, "a.wav")) == []


def test_where_no_audio_was_done_there_is_no_speed() -> None:
    done = of_clips(interrupted(of_files(None), 1, 1, "a.wav"), 0.0)
    assert ending(done)[0] == f"10 s, base on the CPU (emulated NPU), {done.stats.dispatches} dispatches"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/a/long/path/that/nobody/wants/to/read/of/a/folder/with/tiny.en", " tiny.en on"),
        ("folder/tiny/", " tiny on"),
        ("x" * 80, "real time) on"),
    ],
)
def test_of_a_models_path_its_last_part_is_shown(model: str, said: str) -> None:
    work = ending(of_files(None, ran_on=replace(RAN_ON, model=model)))[0]
    assert said.removeprefix("real time") in work
    assert "/" not in work
    assert len(work) <= WIDTH


def test_names_of_failures_that_do_not_fit_are_left_out() -> None:
    done = of_files(None, "bad")
    failed = FileResult("本" * 40, None, None, "bad")
    assert ending(replace(done, files=(done.files[0], failed)))[-1] == f"1 of 2 failed: {'本' * 40}"


@given(
    st.floats(0.01, 9999),
    st.integers(1, 4),
    st.sampled_from(["tiny", "tiny.en", "base", "small.en", "medium", "large-v3"]),
    st.sampled_from(["CPU", "NPU"]),
    st.lists(st.none() | st.just("is damaged"), max_size=60),
)
def test_no_more_than_three_lines_of_80_columns(
    seconds: float, runs: int, model: str, clock: str, errors: list[str | None]
) -> None:
    ran_on = replace(RAN_ON, model=model, clock=clock)
    lines = ending(of_files(None, *errors, ran_on=ran_on, seconds=seconds, runs=runs), [Path("a.srt")])
    assert 2 <= len(lines) <= 3
    assert max(map(len, lines)) <= WIDTH
    assert any("MEASURED" in line and "one product" in line and "163.7 s" in line for line in lines)


@pytest.mark.parametrize(
    ("paths", "line"),
    [
        (["a.srt"], "wrote a.srt"),
        (["subtitles/a.srt"], "wrote subtitles/a.srt"),
        (["subtitles/a.srt", "subtitles/a.vtt"], "wrote a.srt, a.vtt in subtitles/"),
        (["x/a.srt", "y/a.vtt"], "wrote x/a.srt, y/a.vtt"),
        (
            [f"o/a lecture of an hour.{f}" for f in ("txt", "srt", "vtt", "json")],
            "wrote a lecture of an hour.txt, .srt, .vtt, .json in o/",
        ),
        (["a\n.srt"], r"wrote a\n.srt"),
        ([f"{FOLDER}/a.srt"], f"wrote {FOLDER}/a.srt"),
        ([f"{FOLDER}/a.srt", f"{FOLDER}/a.vtt"], f"wrote a.srt, .vtt in {FOLDER}/"),
        (
            [f"{FOLDER}/a lecture of an hour.{f}" for f in ("txt", "srt", "vtt", "json")],
            f"wrote a lecture of an hour.txt, .srt, .vtt, .json in {FOLDER}/",
        ),
        ([f"o/{'x' * 80}.{f}" for f in ("srt", "vtt")], "wrote 2 files in o/"),
        ([f"/{'x' * 80}.{f}" for f in ("srt", "vtt")], "wrote 2 files in /"),
        ([f"{FOLDER}/{'x' * 80}.srt"], f"wrote {FOLDER}/{'x' * 80}.srt"),
        ([f"{'x' * 80}.{f}" for f in ("srt", "vtt")], f"wrote {'x' * 80}.srt, .vtt"),
        (
            [f"o/{'本' * 25}.{f}" for f in ("srt", "vtt")],
            f"wrote {'本' * 25}.srt, .vtt in o/",
        ),
        (
            [f"{FOLDER}/{'x' * 80}.{f}" for f in ("srt", "vtt")],
            f"wrote {'x' * 80}.srt, .vtt in {FOLDER}/",
        ),
    ],
)
def test_what_was_written(paths: list[str], line: str) -> None:
    assert wrote([Path(path) for path in paths]) == line
