"""The page's files beside those of the command line, and what a correction does to the times of the words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import opened
from whisper_npu.output import render
from whisper_npu.transcription.transcript import Segment, Transcript, Word

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WRITTEN = """async ([format, segments, rest]) => {
  const { written } = await import("/page/subtitles.js");
  const { phraseOf } = await import("/page/transcript.js");
  return written(format, { ...rest, phrases: segments.map(phraseOf) });
}"""
RETIMED = """async ([words, text]) => {
  const { retimed } = await import("/page/transcript.js");
  return retimed(words, text);
}"""
NAMED = """async ([name, whole]) => {
  const { fileName } = await import("/page/subtitles.js");
  return fileName(name, "srt", whole);
}"""


def segment(start: float, end: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(0, 0, start, end, text, (1, 2), -0.25, 0.0, 1.5, 0.0, words)


def word(start: float, end: float, text: str) -> Word:
    return Word(start, end, text, 0.5)


TRANSCRIPTS = {
    "nothing": Transcript((), "en", 1.0, 3.0),
    "two": Transcript(
        (segment(0.0, 1.5, " Fish & chips"), segment(1.5, 2.25, " <b>now</b>")), "en", 1.0, 3.0
    ),
    "words": Transcript(
        (segment(0.0, 1.0, " It is", (word(0.25, 0.5, " It"), word(0.5, 0.75, " is"))),), "en", 0.75, 3.0
    ),
    "arrows": Transcript((segment(0.0, 1.0, " a --> b ---> c -> d"),), "en", 1.0, 3.0),
    "marks": Transcript((segment(0.0, 1.0, " a\r\nb\x07c\x85d\u2028e\tf\u200ff"),), "en", 1.0, 3.0),
    "empty": Transcript((segment(0.0, 1.0, "  "), segment(1.0, 2.0, " x")), "en", 1.0, 3.0),
    "hours": Transcript((segment(3723.4564, 36_000.9996, " late"),), "de", 0.5, 40_000.0),
    "disorder": Transcript(
        (segment(2.0, 1.0, " a"), segment(0.5, 0.5, " b"), segment(9, 11, " c")), "en", 1.0, 10.0
    ),
    "beyond": Transcript((segment(2.0, 2.4, " a"), segment(2.3, 2.5, " b")), "en", 1.0, 2.3),
    "japanese": Transcript(
        (segment(0, 1, "東京", (word(0, 0.5, "東"), word(0.5, 1, "京"))),), "ja", 1.0, 1.0
    ),
}


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """One page for all of them: nothing on it changes."""
    with opened(browser, address) as page:
        yield page


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_files_are_those_of_the_command_line(page: Page, name: str) -> None:
    transcript = TRANSCRIPTS[name]
    sent = json.loads(json.dumps([asdict(one) for one in transcript.segments]))
    rest = {key: getattr(transcript, key) for key in ("language", "language_probability", "duration")}
    for fmt in ("txt", "srt", "vtt", "json"):
        if name == "empty" and fmt == "json":
            continue  # a phrase whose text somebody deleted is not in the page's
        ours = page.evaluate(WRITTEN, [fmt, sent, rest])
        theirs = render(transcript, fmt)
        if fmt == "json":
            assert json.loads(ours) == json.loads(theirs)
        else:
            assert ours == theirs


@pytest.mark.parametrize(
    ("name", "whole", "expected"),
    [
        ("talk.wav", True, "talk.srt"),
        ("talk.final.wav", True, "talk.final.srt"),
        ("talk", True, "talk.srt"),
        (".hidden", True, ".hidden.srt"),
        ("talk.wav", False, "talk.partial.srt"),
    ],
)
def test_names_are_those_of_the_command_line(page: Page, name: str, whole: bool, expected: str) -> None:
    assert page.evaluate(NAMED, [name, whole]) == expected


HEARD = [(0.0, 1.0, " He"), (1.0, 2.0, " was"), (2.0, 3.0, " not"), (4.0, 5.0, " ill")]


def retimed(page: Page, words: list[tuple[float, float, str]], text: str) -> list[tuple[float, float, str]]:
    sent = [{"start": s, "end": e, "word": w, "probability": 0.9} for s, e, w in words]
    got: list[dict[str, Any]] = page.evaluate(RETIMED, [sent, text])
    assert all((one["probability"] == 0.9) == (one["word"] in {w for _, _, w in words}) for one in got)
    return [(one["start"], one["end"], one["word"]) for one in got]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" He was not ill", HEARD),
        (" She was not well", [(0.0, 1.0, " She"), *HEARD[1:3], (4.0, 5.0, " well")]),
        (" He not ill", [HEARD[0], *HEARD[2:]]),
        ("", []),
        (" He wa sn not ill", [HEARD[0], (1.0, 1.5, " wa"), (1.5, 2.0, " sn"), *HEARD[2:]]),
        (" He was so not ill", [HEARD[0], (1.0, 1.5, " was"), (1.5, 2.0, " so"), *HEARD[2:]]),
        (" So he was not ill", [(0.0, 0.5, " So"), (0.5, 1.0, " he"), *HEARD[1:]]),
        (" He was not ill.", [*HEARD[:3], (4.0, 5.0, " ill.")]),
        (" Yes", [(0.0, 5.0, " Yes")]),
    ],
)
def test_words_that_stay_keep_their_times(
    page: Page, text: str, expected: list[tuple[float, float, str]]
) -> None:
    assert retimed(page, HEARD, text) == expected


def test_a_word_before_the_first_has_no_time_of_its_own(page: Page) -> None:
    assert retimed(page, HEARD[1:], " I was not ill") == [(1.0, 1.0, " I"), *HEARD[1:]]


def test_languages_without_spaces_are_cut_at_every_letter(page: Page) -> None:
    heard = [(0.0, 1.0, "東"), (1.0, 2.0, "京"), (2.0, 3.0, "都")]
    assert retimed(page, heard, "東大都") == [heard[0], (1.0, 2.0, "大"), heard[2]]
