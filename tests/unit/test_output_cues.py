"""The lines and cues of subtitles: openai/whisper's rules, times in order, no letter torn apart."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_output import milliseconds, segment, transcript
from whisper_npu.errors import UsageError
from whisper_npu.output import FORMATS, Layout, render
from whisper_npu.transcription.transcript import Segment, Transcript, Word


def said(*timed: tuple[float, float, str], id: int = 0) -> Segment:
    words = tuple(Word(start, end, word, 0.9) for start, end, word in timed)
    return segment(words[0].start, words[-1].end, "".join(word.word for word in words), id=id, words=words)


def evenly(text: str, start: float = 0.0) -> Segment:
    """One second for each word; a word is what the text is split into by |."""
    return said(*((start + i, start + i + 1, word) for i, word in enumerate(text.split("|"))))


def read(content: str) -> list[tuple[int, int, list[str]]]:
    """Start, end and lines of the cues of an srt or vtt file."""
    found = []
    for block in content.removeprefix("WEBVTT\n\n").split("\n\n")[:-1]:
        lines = block.split("\n")
        if lines[0].isdecimal():
            del lines[0]
        start, end = map(milliseconds, lines[0].split(" --> "))
        found.append((start, end, lines[1:]))
    return found


def lines(spoken: Transcript, layout: Layout) -> list[list[str]]:
    return [text for *_, text in read(render(spoken, "srt", layout))]


TALK = transcript(evenly(" One| two| three,| four.", 0.5), evenly(" Five| six.", 4.5), duration=10)


# What each limit does


def test_with_words_a_cue_lasts_from_its_first_word_to_its_last():
    late = replace(TALK.segments[0], start=0.0, end=9.0)
    assert read(render(transcript(late), "srt")) == [(500, 4500, ["One two three, four."])]
    assert render(transcript(late), "tsv").endswith("\n0\t9000\tOne two three, four.\n")


def test_a_width_alone_breaks_lines_within_a_segment():
    assert lines(TALK, Layout(max_line_width=10)) == [["One two", "three,", "four."], ["Five six."]]


def test_a_number_of_lines_fills_cues_from_several_segments():
    layout = Layout(max_line_width=12, max_line_count=2)
    assert lines(TALK, layout) == [["One two", "three, four."], ["Five six."]]
    assert lines(TALK, Layout(max_line_width=20, max_line_count=2)) == [["One two three, four.", "Five six."]]


def test_a_long_pause_ends_a_cue_that_joins_segments():
    layout = Layout(max_line_width=80, max_line_count=2)
    near = transcript(said((0, 1, " a")), said((3, 4, " b")))
    far = transcript(said((0, 1, " a")), said((3.01, 4, " b")))
    assert lines(near, layout) == [["a b"]]
    assert lines(far, layout) == [["a"], ["b"]]


def test_a_number_of_words_makes_cues_of_one_line():
    assert read(render(TALK, "srt", Layout(max_words_per_line=3))) == [
        (500, 3500, ["One two three,"]),
        (3500, 4500, ["four."]),
        (4500, 6500, ["Five six."]),
    ]


def test_a_word_wider_than_a_line_is_not_broken():
    assert lines(transcript(evenly(" a| Donaudampfschiff| b")), Layout(max_line_width=5)) == [
        ["a", "Donaudampfschiff", "b"]
    ]


@pytest.mark.parametrize("fmt", ["srt", "vtt"])
def test_highlighting_gives_each_word_a_cue_and_each_gap(fmt):
    spoken = transcript(said((0, 1, " One"), (1.5, 2, " two")))
    assert read(render(spoken, fmt, Layout(highlight_words=True))) == [
        (0, 1000, ["<u>One</u> two"]),
        (1000, 1500, ["One two"]),
        (1500, 2000, ["One <u>two</u>"]),
    ]


def test_highlighting_follows_the_word_into_the_next_line():
    layout = Layout(max_line_width=4, max_line_count=2, highlight_words=True)
    assert lines(transcript(evenly(" One| two")), layout) == [["<u>One</u>", "two"], ["One", "<u>two</u>"]]


def test_markup_that_was_spoken_is_escaped_and_ours_is_not():
    spoken = transcript(evenly(" <b>| &| x"))
    assert "<u>&lt;b&gt;</u> &amp; x" in render(spoken, "vtt", Layout(highlight_words=True))
    assert "<u><b></u> & x" in render(spoken, "srt", Layout(highlight_words=True))


def test_an_arrow_made_of_two_words_is_no_arrow():
    spoken = transcript(evenly(" a| --|>| b"))
    for layout in (Layout(), Layout(highlight_words=True), Layout(max_line_width=6)):
        for fmt in ("srt", "vtt"):
            rendered = render(spoken, fmt, layout)
            assert rendered.count("-->") == len(read(rendered))


def test_lrc_stamps_every_line_and_underlines_nothing():
    layout = Layout(max_line_width=12, max_line_count=2, highlight_words=True)
    assert render(TALK, "lrc", layout) == "[00:00.50]One two\n[00:02.50]three, four.\n[00:04.50]Five six.\n"


def test_txt_tsv_and_json_have_no_lines_to_lay_out():
    for fmt in ("txt", "tsv", "json"):
        assert render(TALK, fmt, Layout(max_words_per_line=1, highlight_words=True)) == render(TALK, fmt)


# What cannot be laid out


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_line_width": 0}, "max_line_width is 0, must be at least 1; leave it out for no limit"),
        ({"max_line_width": 9, "max_line_count": -1}, "max_line_count is -1, must"),
        ({"max_words_per_line": 0}, "max_words_per_line is 0, must"),
        ({"max_line_count": 2}, "max_line_count 2 has no effect .*; give max_line_width as well"),
        ({"max_words_per_line": 5, "max_line_width": 9}, "not in both; give one of the two"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(limits, reason):
    with pytest.raises(UsageError, match=reason):
        Layout(**limits)


@pytest.mark.parametrize(
    ("layout", "needs"),
    [
        (Layout(), False),
        (Layout(pretty_json=True), False),
        (Layout(max_line_width=9), True),
        (Layout(max_words_per_line=9), True),
        (Layout(highlight_words=True), True),
    ],
)
def test_a_layout_that_needs_words_is_refused_without(layout, needs):
    assert layout.needs_words == needs
    without = transcript(segment(0, 1, " a b"))
    for fmt in FORMATS:
        assert render(transcript(), fmt, layout) == render(
            transcript(), fmt, Layout(pretty_json=layout.pretty_json)
        )
        if needs and fmt in ("srt", "vtt", "lrc"):
            with pytest.raises(UsageError, match="transcribe with word_timestamps"):
                render(without, fmt, layout)
        else:
            assert render(without, fmt, layout)


@pytest.mark.parametrize("words", [None, ()])
def test_a_segment_without_words_is_shown_whole(words):
    mixed = transcript(evenly(" One| two"), segment(2, 3, " and more", words=words))
    assert lines(mixed, Layout(max_words_per_line=1)) == [["One"], ["two"], ["and more"]]


# Scripts without spaces, and letters of several characters


def test_scripts_without_spaces_get_none():
    spoken = transcript(evenly("我们|今天|去|上海。"))
    assert lines(spoken, Layout()) == [["我们今天去上海。"]]
    assert lines(spoken, Layout(max_line_width=4)) == [["我们今天", "去上海。"]]


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        ("か|\u3099|き", ["か\u3099", "き"]),  # a voiced kana of two characters
        ("ｶ|ﾞ|ｷ", ["ｶﾞ", "ｷ"]),
        ("ก|ำ|น|ี", ["กำ", "นี"]),  # Thai vowels that belong to the letter before them
        ("👨|\u200d|👩|👍|\U0001f3fd", ["👨\u200d👩", "👍\U0001f3fd"]),
        ("🇩|🇪|🇫|🇷", ["🇩🇪", "🇫🇷"]),
        ("葛|\U000e0100|飾", ["葛\U000e0100", "飾"]),  # a form of a character
    ],
)
def test_no_line_breaks_within_a_letter(words, letters):
    assert lines(transcript(evenly(words)), Layout(max_line_width=1)) == [letters]
    assert lines(transcript(evenly(words)), Layout(max_words_per_line=1)) == [[letter] for letter in letters]


# Anything at all

MARKS = "\u3099\u0301"  # a voiced kana's, an acute accent
WORD_TEXT = st.text(alphabet=f"ab -<>&\n\0\t我か\u200d🇩{MARKS}", max_size=6)
LIMIT = st.integers(1, 12)
LAYOUT = st.one_of(
    st.builds(Layout, highlight_words=st.booleans()),
    st.builds(Layout, max_line_width=LIMIT, highlight_words=st.booleans()),
    st.builds(Layout, max_line_width=LIMIT, max_line_count=LIMIT, highlight_words=st.booleans()),
    st.builds(Layout, max_words_per_line=LIMIT, highlight_words=st.booleans()),
)
SECONDS = st.floats(0, 12)
WORD = st.builds(Word, SECONDS, SECONDS, WORD_TEXT, st.floats(0, 1))
SPOKEN = st.builds(
    lambda groups, duration: transcript(
        *(segment(g[0].start, g[-1].end, "".join(w.word for w in g), words=tuple(g)) for g in groups),
        duration=duration,
    ),
    st.lists(st.lists(WORD, min_size=1, max_size=8), max_size=4),
    st.floats(0.01, 12),
)


@given(SPOKEN, LAYOUT)
def test_times_are_in_order_and_within_the_recording(spoken, layout):
    for fmt in ("srt", "vtt"):
        times = [cue[:2] for cue in read(render(spoken, fmt, layout))]
        assert all(0 <= start < end <= 1000 * spoken.duration + 1e-6 for start, end in times)
        assert all(before[0] <= after[0] for before, after in pairwise(times))


@given(SPOKEN)
def test_times_in_json_are_in_order_and_within_the_recording(spoken):
    segments = json.loads(render(spoken, "json"))["segments"]
    for spans in (segments, [word for each in segments for word in each["words"]]):
        times = [(span["start"], span["end"]) for span in spans]
        assert all(start + 0.001 <= end + 1e-9 for start, end in times)
        assert all(0 <= start <= end <= spoken.duration for start, end in times)
        assert all(before[0] <= after[0] for before, after in pairwise(times))


def visible(text: str) -> str:
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cc")


@given(SPOKEN, LAYOUT.filter(lambda layout: not layout.highlight_words))
def test_nothing_said_is_lost_and_no_letter_torn(spoken, layout):
    shown = [html.unescape("\n".join(cue)).split("\n") for *_, cue in read(render(spoken, "vtt", layout))]
    assert visible("".join("".join(cue) for cue in shown)) == visible(spoken.text)
    assert all(line == line.strip() and line for cue in shown for line in cue)
    # A mark begins a line only where it begins a segment, or comes after a space.
    marks = [line[0] for cue in shown for line in cue if line[0] in MARKS]
    texts = ["".join(c for c in each.text if c.isspace() or visible(c)) for each in spoken.segments]
    assert len(marks) <= sum(len(re.findall(rf"(?:^|\s)[{MARKS}]", text)) for text in texts)


@given(SPOKEN, LIMIT, st.integers(1, 3))
def test_lines_keep_to_their_limits(spoken, width, count):
    for cue in lines(spoken, Layout(max_line_width=width, max_line_count=count)):
        assert len(cue) <= count


@given(st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=9), LIMIT)
def test_a_line_is_too_wide_only_for_a_single_word(texts, width):
    spoken = transcript(evenly("|".join(f" {text}" for text in texts)))
    for line in (line for cue in lines(spoken, Layout(max_line_width=width)) for line in cue):
        assert len(line) <= width or " " not in line
