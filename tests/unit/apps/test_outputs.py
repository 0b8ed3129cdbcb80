"""Planned outputs: one file for each transcript, or a refusal before work; what an earlier run left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.outputs import OutputFiles, check_outputs, without_transcripts
from whisper_npu.errors import OutputError, UsageError
from whisper_npu.output import FORMATS, write_atomically


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


SRT = OutputFiles(("srt",), Path())


def refusal(*arguments: object, error: type[Exception] = UsageError) -> str:
    with pytest.raises(error) as caught:
        check_outputs(*arguments)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    return str(caught.value)


# Nothing is written twice, nor over a recording


@pytest.mark.parametrize("second", ["talk.mp3", "b/talk.wav", "a/talk.flac"])
def test_two_recordings_of_one_name_are_refused_with_both_and_the_remedy(second):
    assert refusal(["a/talk.wav", "x.wav", second], SRT) == (
        f"talk.srt: would be written more than once, for a/talk.wav and for {second}; "
        "give them runs of their own, each with its own --output_dir, or rename one of them"
    )


def test_stdin_and_a_file_called_stdin_are_refused():
    assert "for - and for stdin.wav" in refusal(["-", "stdin.wav"], SRT)


def test_two_outputs_that_are_links_to_one_file_are_refused(here):
    (here / "a.srt").symlink_to("same")
    (here / "b.srt").symlink_to("same")
    assert "for a.wav and for b.wav" in refusal(["a.wav", "b.wav"], SRT)


def test_a_report_in_a_transcripts_place_is_refused():
    outputs = OutputFiles(("json",), Path("out"))
    assert "for talk.wav and for the report" in refusal(["talk.wav"], outputs, Path("out/../out/talk.json"))


def test_a_device_may_be_written_to_by_several(here):
    (here / "a.srt").symlink_to("/dev/null")
    (here / "b.srt").symlink_to("/dev/null")
    check_outputs(["a.wav", "b.wav"], SRT, Path("/dev/null"))


@pytest.mark.parametrize("recording", ["talk.srt", "./talk.srt", "link/talk.srt"])
def test_an_output_over_a_recording_is_refused(here, recording):
    (here / "talk.srt").write_bytes(b"RIFF")  # a recording that is called so
    (here / "link").symlink_to(".")
    assert "talk.srt: is one of the recordings and would be overwritten" in refusal([recording], SRT)
    assert "is one of the recordings" in refusal([recording], OutputFiles((), Path()), Path("talk.srt"))


def test_without_outputs_nothing_is_refused():
    check_outputs(["a/talk.wav", "b/talk.wav", "-"], OutputFiles((), Path()))


def test_checking_leaves_nothing_behind(here):
    check_outputs(["a.wav", "-"], OutputFiles(FORMATS, Path("out/deep")), Path("r/report.json"))
    assert list(here.iterdir()) == []


def test_a_folder_in_the_way_is_refused(here):
    (here / "talk.srt").mkdir()
    (here / "file").touch()
    assert "is a folder" in refusal(["talk.wav"], SRT, error=OutputError)
    assert "cannot be written to" in refusal(
        ["a.wav"], OutputFiles(("srt",), Path("file")), error=OutputError
    )


def test_a_name_too_long_for_its_new_ending_is_refused_before_work():
    recording = "n" * 251 + ".wav"  # 255 bytes, the longest name of most file systems
    Path(recording).touch()
    check_outputs([recording], SRT)
    message = refusal([recording], OutputFiles(("json",), Path()), error=OutputError)
    assert message.endswith("give the recording or the folder a shorter name")


def test_names_with_controls_are_shown_escaped():
    assert r"a/\x1b[31m.wav and for b/\x1b[31m.wav" in refusal(["a/\x1b[31m.wav", "b/\x1b[31m.wav"], SRT)


def test_a_name_that_is_not_utf8_can_be_written(here):
    recording = os.fsdecode(b"caf\xe9.wav")
    check_outputs([recording], SRT)
    write_atomically(SRT.paths(recording)["srt"], "1\n")
    assert os.listdir(os.fsencode(here)) == [b"caf\xe9.srt"]


names = st.text("ab.", min_size=1, max_size=4).map(lambda stem: f"n{stem}")
recordings = st.builds(
    "{}/{}.{}".format, st.sampled_from("xy"), names, st.sampled_from(["wav", "mp3", "srt"])
)


@given(st.lists(recordings, unique=True, max_size=6), st.lists(st.sampled_from(FORMATS), unique=True))
def test_what_passes_writes_as_many_files_as_there_are_transcripts(sources, formats):
    outputs = OutputFiles(tuple(formats), Path("out"))
    paths = [path for source in sources for path in outputs.paths(source).values()]
    try:
        check_outputs(sources, outputs)
    except UsageError:
        assert len(set(paths)) < len(paths)
    else:
        assert len(set(paths)) == len(paths) == len(sources) * len(formats)


# Resuming


def write(*names: str, text: str = "1\n") -> None:
    for name in names:
        Path(name).write_text(text)


def test_a_recording_with_all_of_its_files_is_left_out():
    write("a.srt", "a.vtt", "b.srt", "c.partial.srt", "c.partial.vtt")
    outputs = OutputFiles(("srt", "vtt"), Path())
    assert without_transcripts(["a.wav", "b.wav", "x/c.wav", "d.wav"], outputs) == (
        "b.wav",
        "x/c.wav",
        "d.wav",
    )


def test_empty_files_and_folders_are_no_transcripts():
    write("a.srt", text="")
    Path("b.srt").mkdir()
    Path("c.srt").symlink_to("nowhere")
    assert without_transcripts(["a.wav", "b.wav", "c.wav"], SRT) == ("a.wav", "b.wav", "c.wav")


def test_stdin_is_never_left_out():
    write("stdin.srt")
    assert without_transcripts(["-"], SRT) == ("-",)


def test_resuming_without_files_is_refused():
    with pytest.raises(UsageError, match="--output_format"):
        without_transcripts(["a.wav"], OutputFiles((), Path()))


@given(st.data())
def test_what_is_left_out_and_what_remains_are_all_of_it(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("out")
    sources = [f"{number}.wav" for number in range(5)]
    done = data.draw(st.sets(st.sampled_from(sources)))
    outputs = OutputFiles(("txt", "srt"), folder)
    for source in done:
        for path in outputs.paths(source).values():
            path.write_text("x")
    remaining = without_transcripts(sources, outputs)
    assert remaining == tuple(source for source in sources if source not in done)
    for source in remaining:
        for path in outputs.paths(source).values():
            write_atomically(path, "x")
    assert without_transcripts(sources, outputs) == ()
