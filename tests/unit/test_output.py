"""Every format read back by a small parser of its own; files written whole or not at all."""

from __future__ import annotations

import csv
import errno
import html
import io
import json
import os
import re
import stat
import threading
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.errors import OutputError, UsageError
from whisper_npu.output import FORMATS, check_writable, output_path, render, write_atomically
from whisper_npu.transcription.result import Segment, Transcript, Word


def segment(
    start: float, end: float, text: str, *, id: int = 0, words: tuple[Word, ...] | None = None
) -> Segment:
    return Segment(id, 0, start, end, text, (50364, 286), -0.25, 0.01, 1.5, 0.0, words)


def transcript(*segments: Segment) -> Transcript:
    return Transcript(segments, language="en", language_probability=0.98, duration=60.0)


TWO = transcript(segment(0.0, 2.5, " Hello & welcome."), segment(2.5, 3661.0046, " Is 1 < 2?", id=1))


# What each format looks like


def test_txt_has_one_segment_per_line():
    assert render(TWO, "txt") == "Hello & welcome.\nIs 1 < 2?\n"


def test_srt_is_numbered_from_one_and_separated_by_blank_lines():
    assert render(TWO, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,500\nHello & welcome.\n\n"
        "2\n00:00:02,500 --> 01:01:01,005\nIs 1 < 2?\n\n"
    )


def test_vtt_has_a_header_and_escapes_markup():
    assert render(TWO, "vtt") == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.500\nHello &amp; welcome.\n\n"
        "00:00:02.500 --> 01:01:01.005\nIs 1 &lt; 2?\n\n"
    )


def test_tsv_is_in_whole_milliseconds():
    assert render(TWO, "tsv") == "start\tend\ttext\n0\t2500\tHello & welcome.\n2500\t3661005\tIs 1 < 2?\n"


def test_json_holds_the_fields_of_openai_whisper():
    document = json.loads(render(TWO, "json"))
    assert document["text"] == " Hello & welcome. Is 1 < 2?" == TWO.text
    assert (document["language"], document["language_probability"], document["duration"]) == (
        "en",
        0.98,
        60.0,
    )
    assert document["segments"][0] == {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 2.5,
        "text": " Hello & welcome.",
        "tokens": [50364, 286],
        "avg_logprob": -0.25,
        "no_speech_prob": 0.01,
        "compression_ratio": 1.5,
        "temperature": 0.0,
    }


def test_json_holds_words_when_there_are_any():
    spoken = transcript(segment(0, 1, " Hi", words=(Word(0.1, 0.4, " Hi", 0.9),)))
    expected = [{"start": 0.1, "end": 0.4, "word": " Hi", "probability": 0.9}]
    assert json.loads(render(spoken, "json"))["segments"][0]["words"] == expected


def test_json_leaves_other_scripts_readable_and_ends_its_line():
    rendered = render(transcript(segment(0, 1, " Grüße, 世界")), "json")
    assert "Grüße, 世界" in rendered
    assert rendered.endswith("}\n")


def test_an_empty_transcript_gives_valid_files():
    assert {fmt: render(transcript(), fmt) for fmt in FORMATS[:-1]} == {
        "txt": "",
        "srt": "",
        "vtt": "WEBVTT\n\n",
        "tsv": "start\tend\ttext\n",
    }
    document = json.loads(render(transcript(), "json"))
    assert (document["text"], document["segments"]) == ("", [])


@pytest.mark.parametrize("arrow", ["-->", "--->", "------>", "--->-->"])
def test_no_arrow_is_left_in_the_text_of_a_cue(arrow):
    text = f"from here {arrow} there"
    for fmt in ("srt", "vtt"):
        assert render(transcript(segment(0, 1, text)), fmt).count("-->") == 1
    assert html.unescape(render(transcript(segment(0, 1, text)), "vtt")).count(text) == 1  # nothing is lost


@pytest.mark.parametrize("fmt", ["txt", "srt", "vtt", "tsv"])
def test_a_segment_without_text_is_left_out(fmt):
    silent = transcript(segment(0, 1, " a"), segment(1, 2, " \n"), segment(2, 3, " b"))
    spoken = transcript(segment(0, 1, " a"), segment(2, 3, " b"))
    assert render(silent, fmt) == render(spoken, fmt)


@pytest.mark.parametrize(("seconds", "clock"), [(59.9996, "00:01:00,000"), (3599.9999, "01:00:00,000")])
def test_rounding_carries_over(seconds, clock):
    assert clock in render(transcript(segment(seconds, seconds + 9, "a")), "srt")


def test_a_hundred_hours_are_counted_on():
    assert "100:00:00,000" in render(transcript(segment(360_000, 360_001, "a")), "srt")


def test_a_cue_lasts_even_if_its_segment_does_not():
    assert render(transcript(segment(1, 1, "a")), "tsv").endswith("\n1000\t1001\ta\n")


def test_an_unknown_format_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="'docx'; choose from txt, srt, vtt, tsv, json"):
        render(TWO, "docx")
    with pytest.raises(UsageError, match="'docx'"):
        output_path("a.wav", "docx", Path())


def test_a_transcript_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        TWO.language = "de"  # type: ignore[misc]


# Anything reads back

CLOCK = r"(\d{2,}):([0-5]\d):([0-5]\d)[,.](\d{3})"


def milliseconds(clock: str) -> int:
    match = re.fullmatch(CLOCK, clock)
    assert match, clock
    hours, minutes, seconds, rest = map(int, match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def cues(blocks: list[str]) -> list[tuple[int, int, str]]:
    """Start, end and text of blocks that hold a line of times and a line of text."""
    found = []
    for block in blocks:
        times, text = block.split("\n")
        start, end = times.split(" --> ")
        found.append((milliseconds(start), milliseconds(end), text))
    return found


def read_srt(content: str) -> list[tuple[int, int, str]]:
    blocks = content.split("\n\n")
    assert blocks.pop() == ""
    numbers = [block.partition("\n")[0] for block in blocks]
    assert numbers == [str(n + 1) for n in range(len(blocks))]
    return cues([block.partition("\n")[2] for block in blocks])


def read_vtt(content: str) -> list[tuple[int, int, str]]:
    header, *blocks = content.split("\n\n")
    assert header == "WEBVTT"
    assert blocks.pop() == ""
    found = cues(blocks)
    assert not any(re.search("<|&(?!(amp|lt|gt);)", text) for *_, text in found)
    return [(start, end, html.unescape(text)) for start, end, text in found]


def read_tsv(content: str) -> list[tuple[int, int, str]]:
    rows = list(csv.reader(io.StringIO(content, newline="\n"), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows[0] == ["start", "end", "text"]
    return [(int(start), int(end), text) for start, end, text in rows[1:]]


def one_line(text: str) -> str:
    return " ".join(text.replace("\0", "").splitlines()).strip()


ANY_TEXT = st.text() | st.text(alphabet="a &<>-\n\r\t\0\u2028\x85\"'0", max_size=12)
ANY_SEGMENT = st.builds(segment, st.floats(0, 1e6), st.floats(0, 1e6), ANY_TEXT)
ANY_TRANSCRIPT = st.lists(ANY_SEGMENT, max_size=5).map(lambda segments: transcript(*segments))


@given(ANY_TRANSCRIPT)
def test_srt_vtt_and_tsv_read_back(spoken):
    texts = [text for text in (one_line(each.text) for each in spoken.segments) if text]
    srt, vtt, tsv = (
        read(render(spoken, fmt)) for fmt, read in (("srt", read_srt), ("vtt", read_vtt), ("tsv", read_tsv))
    )
    assert [text for *_, text in srt] == [re.sub("-{2,}>", "->", text) for text in texts]
    assert [text for *_, text in vtt] == texts
    assert [text for *_, text in tsv] == [text.replace("\t", " ") for text in texts]
    times = [cue[:2] for cue in srt]
    assert times == [cue[:2] for cue in vtt] == [cue[:2] for cue in tsv]
    assert all(start < end for start, end in times)
    assert [start for start, _ in times] == sorted(start for start, _ in times)


@given(st.floats(0, 1e6), st.floats(0.001, 1e3), st.text(alphabet="ab", min_size=1))
def test_times_are_the_nearest_milliseconds(start, seconds, text):
    [(first, last, _)] = read_srt(render(transcript(segment(start, start + seconds, text)), "srt"))
    assert abs(first - 1000 * start) <= 0.5 + 1e-6
    assert abs(last - 1000 * (start + seconds)) <= 1 + 1e-6  # at least one after the first


@given(ANY_TRANSCRIPT)
def test_json_reads_back_exactly(spoken):
    rendered = render(spoken, "json")
    document = json.loads(rendered)
    assert rendered.count("\n") == 1
    assert document["text"] == spoken.text
    assert [(s["start"], s["end"], s["text"]) for s in document["segments"]] == [
        (s.start, s.end, s.text) for s in spoken.segments
    ]


@given(ANY_TRANSCRIPT)
def test_txt_has_as_many_lines_as_segments_with_text(spoken):
    lines = render(spoken, "txt").splitlines()
    assert lines == [text for text in (one_line(each.text) for each in spoken.segments) if text]


# Names


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("talk.wav", "talk.srt"),
        ("/a/b.c/talk.final.wav", "talk.final.srt"),
        ("talk", "talk.srt"),
        (".hidden", ".hidden.srt"),
        ("talk.", "talk.srt"),
        ("-", "stdin.srt"),
        (Path("a/-"), "-.srt"),
    ],
)
def test_an_output_is_named_after_its_source(source, name):
    assert output_path(source, "srt", Path("out")) == Path("out") / name


# Files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_in_utf8_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "talk.txt"
    write_atomically(path, "Grüße\n")
    assert path.read_bytes() == "Grüße\n".encode()
    assert names(path.parent) == ["talk.txt"]


def test_half_a_surrogate_pair_does_not_cost_the_rest(tmp_path):
    write_atomically(tmp_path / "a.txt", "good \ud83d\n")
    assert (tmp_path / "a.txt").read_text() == "good ?\n"


def test_a_name_as_long_as_allowed_is_written(tmp_path):
    write_atomically(tmp_path / ("a" * 251 + ".txt"), "x")
    assert names(tmp_path) == ["a" * 251 + ".txt"]


def test_a_new_file_obeys_the_umask_and_an_old_one_keeps_its_mode(tmp_path):
    old_mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "new.txt", "x")
        (tmp_path / "old.txt").touch()
        (tmp_path / "old.txt").chmod(0o666)
        write_atomically(tmp_path / "old.txt", "x")
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "old.txt").stat().st_mode) == 0o666


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.txt", tmp_path / "link.txt"
    for _ in range(2):  # a dangling link first
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        write_atomically(link, "x")
        assert link.is_symlink()
        assert target.read_text() == "x"
    assert names(tmp_path / "elsewhere") == ["real.txt"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_atomically(pipe, "x")
    reader.join()
    assert received == ["x"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("call", ["os.replace", "os.fsync"])
@pytest.mark.parametrize("existing", [None, "what was there"])
@pytest.mark.parametrize(
    ("failure", "seen"),
    [(OSError(errno.ENOSPC, "No space left on device"), OutputError), (KeyboardInterrupt(),) * 2],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call, existing, failure, seen):
    path = tmp_path / "talk.txt"
    if existing:
        path.write_text(existing)

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(call, fail)
    with pytest.raises(seen if isinstance(seen, type) else type(seen)):
        write_atomically(path, "new")
    assert names(tmp_path) == (["talk.txt"] if existing else [])
    if existing:
        assert path.read_text() == existing


def test_a_full_disk_is_reported_in_one_line(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OutputError) as caught:
        write_atomically(tmp_path / "talk.txt", "new")
    assert str(caught.value) == (
        f"{tmp_path}/talk.txt: cannot be written (No space left on device); "
        "check the folder's permissions and free space, or choose another folder"
    )


def test_a_path_that_no_file_can_have_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder", tmp_path / "a\0.txt"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_atomically(path, "x")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_writable_folder_passes_the_check_and_is_left_as_it_was(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "not" / "yet")
    assert names(tmp_path) == []


def test_the_current_folder_passes_the_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable(Path())
    check_writable(Path("not/yet"))
    assert names(tmp_path) == []


def test_an_unwritable_folder_fails_the_check(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "dangling"):
        with pytest.raises(OutputError, match="cannot be written to"):
            check_writable(folder)

    def deny(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)  # permission bits do not bind root
    with pytest.raises(OutputError, match="Permission denied"):
        check_writable(tmp_path)


def test_every_format_of_a_transcript_can_be_written(tmp_path):
    for fmt in FORMATS:
        path = output_path("talk.wav", fmt, tmp_path)
        write_atomically(path, render(replace(TWO, language="de"), fmt))
        assert path.stat().st_size > 0
    assert names(tmp_path) == sorted(f"talk.{fmt}" for fmt in FORMATS)
