"""Every format read back by a small parser of its own."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import unicodedata
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.errors import UsageError
from whisper_npu.output import FORMATS, Layout, as_json, output_path, render
from whisper_npu.transcription.transcript import Segment, Transcript, Word


def segment(
    start: float, end: float, text: str, *, id: int = 0, words: tuple[Word, ...] | None = None
) -> Segment:
    return Segment(id, 0, start, end, text, (50364, 286), -0.25, 0.01, 1.5, 0.0, words)


def transcript(*segments: Segment, duration: float = 1e6) -> Transcript:
    return Transcript(segments, language="en", language_probability=0.98, duration=duration)


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
        1e6,
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
    assert {fmt: render(transcript(), fmt) for fmt in FORMATS if fmt != "json"} == {
        "txt": "",
        "srt": "",
        "vtt": "WEBVTT\n\n",
        "tsv": "start\tend\ttext\n",
        "lrc": "",
    }
    document = json.loads(render(transcript(), "json"))
    assert (document["text"], document["segments"]) == ("", [])


@pytest.mark.parametrize("arrow", ["-->", "--->", "------>", "--->-->"])
def test_no_arrow_is_left_in_the_text_of_a_cue(arrow):
    text = f"from here {arrow} there"
    for fmt in ("srt", "vtt"):
        assert render(transcript(segment(0, 1, text)), fmt).count("-->") == 1
    assert html.unescape(render(transcript(segment(0, 1, text)), "vtt")).count(text) == 1  # nothing is lost


@pytest.mark.parametrize("fmt", ["txt", "srt", "vtt", "tsv", "lrc"])
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


def test_a_cue_ends_with_the_recording_at_the_latest():
    late = transcript(segment(1, 7, "a"), segment(6, 8, "b"), segment(9, 9.5, "c"), duration=5.0006)
    assert read_tsv(render(late, "tsv")) == [(1000, 5000, "a"), (4999, 5000, "b"), (4999, 5000, "c")]
    assert read_srt(render(late, "srt")) == read_tsv(render(late, "tsv"))
    times = [(s["start"], s["end"]) for s in json.loads(render(late, "json"))["segments"]]
    assert times == [(1, 5.0006), (pytest.approx(4.9996), 5.0006), (pytest.approx(4.9996), 5.0006)]


def test_times_that_are_no_numbers_become_some():
    nan, inf = float("nan"), float("inf")
    broken = transcript(segment(1, 2, "a"), segment(nan, nan, "b"), segment(-1, inf, "c"), duration=5)
    assert read_tsv(render(broken, "tsv")) == [(1000, 2000, "a"), (1000, 1001, "b"), (1000, 1001, "c")]
    assert [s["start"] for s in json.loads(render(broken, "json"))["segments"]] == [1, 1, 1]


def test_json_has_null_for_what_is_not_a_number():
    broken = replace(segment(0, 1, "a"), avg_logprob=float("nan"), compression_ratio=float("inf"))
    rendered = render(transcript(broken), "json")
    assert (rendered.count("NaN"), rendered.count("Infinity")) == (0, 0)
    fields = json.loads(rendered)["segments"][0]
    assert (fields["avg_logprob"], fields["compression_ratio"]) == (None, None)
    assert json.loads(as_json({"ratios": [float("nan"), 1.0], "by name": {"a": float("-inf")}})) == {
        "ratios": [None, 1.0],
        "by name": {"a": None},
    }


def test_pretty_json_is_the_same_document_indented():
    pretty = render(TWO, "json", Layout(pretty_json=True))
    assert json.loads(pretty) == json.loads(render(TWO, "json"))
    assert '\n  "segments": [\n' in pretty


def test_lrc_stamps_each_line_with_minutes_and_hundredths():
    assert render(TWO, "lrc") == "[00:00.00]Hello & welcome.\n[00:02.50]Is 1 < 2?\n"
    late = transcript(segment(3599.999, 3601, " a"), segment(360_000, 360_001, " [Music]"))
    assert render(late, "lrc") == "[59:59.99]a\n[6000:00.00] [Music]\n"  # not a second stamp


@pytest.mark.parametrize(
    "text",
    [
        "مرحبا بالعالم",
        "\u200f\u05e9\u05dc\u05d5\u05dd, world\u200e!",
        "我们今天去上海。",
        "ありがとう",
        "👨\u200d👩\u200d👧 ok",
    ],
)
def test_other_scripts_and_marks_of_direction_are_unharmed(text):
    for fmt in FORMATS:
        assert text in render(transcript(segment(0, 1, f" {text}")), fmt)


def test_control_characters_go_and_breaks_become_spaces():
    noisy = transcript(segment(0, 1, " one\ntwo\r\nthree\x1b[2Jfour\0\u2028five\n\n"))
    for fmt in ("txt", "srt", "vtt", "lrc"):
        assert "one two three[2Jfour five\n" in render(noisy, fmt)


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
    """Without breaks, and without the other control characters but tabs."""
    joined = " ".join(text.splitlines())
    return "".join(c for c in joined if c == "\t" or unicodedata.category(c) != "Cc").strip()


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
    spoken = transcript(segment(start, start + seconds, text), duration=2e6)
    [(first, last, _)] = read_srt(render(spoken, "srt"))
    assert abs(first - 1000 * start) <= 0.5 + 1e-6
    assert abs(last - 1000 * (start + seconds)) <= 1 + 1e-6  # at least one after the first


@given(ANY_TRANSCRIPT)
def test_json_reads_back_exactly_but_for_times_that_cannot_be(spoken):
    rendered = render(spoken, "json")
    document = json.loads(rendered)
    assert rendered.count("\n") == 1
    assert document["text"] == spoken.text
    assert [s["text"] for s in document["segments"]] == [s.text for s in spoken.segments]
    starts = [0.0, *(s.start for s in spoken.segments)]
    valid = starts == sorted(starts) and all(s.end > s.start + 0.001 for s in spoken.segments)
    if valid and all(s.end <= spoken.duration for s in spoken.segments):
        times = [(s["start"], s["end"]) for s in document["segments"]]
        assert times == [(s.start, s.end) for s in spoken.segments]


@given(ANY_TRANSCRIPT)
def test_txt_has_as_many_lines_as_segments_with_text(spoken):
    lines = render(spoken, "txt").splitlines()
    assert lines == [text for text in (one_line(each.text) for each in spoken.segments) if text]
