"""What a transcription prints on stdout: on a terminal, in a pipe, in encodings that lack its letters."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.terminal import of_256_colours, terminal
from whisper_npu.apps.cli.transcript import TranscriptPrinter, colour, detected, timestamp
from whisper_npu.transcription.transcript import Segment, Word


def segment(
    text: str,
    start: float = 0.0,
    end: float = 1.0,
    logprob: float = -0.1,
    words: tuple[Word, ...] | None = None,
) -> Segment:
    return Segment(0, 0, start, end, text, (), logprob, 0.0, 1.0, 0.0, words)


SAID = segment(
    " Good morning.",
    words=(Word(0.0, 0.5, " Good", 0.99), Word(0.5, 1.0, " morning.", 0.1)),
)


@pytest.fixture(autouse=True)
def known_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    of_256_colours(monkeypatch)


def printer(
    stdout: io.TextIOBase | None,
    *,
    headings: bool = False,
    timestamps: bool = False,
    colors: bool = False,
    above: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> TranscriptPrinter:
    return TranscriptPrinter(
        stdout,  # type: ignore[arg-type]
        above,
        headings=headings,
        timestamps=timestamps,
        colors=colors,
    )


def test_one_recording_is_its_text_alone() -> None:
    pipe = io.StringIO()
    p = printer(pipe)
    p.recording("talk.wav")
    p.segment(SAID)
    p.segment(segment("  "))
    p.segment(segment(" " + 30 * "long "))
    assert pipe.getvalue() == "Good morning.\n" + (30 * "long ").strip() + "\n"


def test_several_recordings_are_named_with_an_empty_line_between() -> None:
    pipe = io.StringIO()
    p = printer(pipe, headings=True)
    for name in ("a/b.wav", "c\nd.wav"):
        p.recording(name)
        p.segment(SAID)
    assert pipe.getvalue() == "==> a/b.wav <==\nGood morning.\n\n==> c\\nd.wav <==\nGood morning.\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "00:00.000"),
        (10.38, "00:10.380"),
        (59.9996, "01:00.000"),
        (3599.9994, "59:59.999"),
        (3600.0, "01:00:00.000"),
        (360_001.5, "100:00:01.500"),
    ],
)
def test_times_are_openai_whispers(seconds: float, said: str) -> None:
    assert timestamp(seconds) == said


def test_timestamps_stand_before_the_text() -> None:
    pipe = io.StringIO()
    printer(pipe, timestamps=True).segment(segment(" Good morning.", 0.0, 10.38))
    assert pipe.getvalue() == "[00:00.000 --> 00:10.380] Good morning.\n"


@pytest.mark.parametrize("columns", [20, 45, 80])
def test_a_terminal_gets_lines_broken_between_words(columns: int) -> None:
    text = "And Mr. John Dashwood had then leisure to consider how much there might be prudently"
    with terminal(columns) as tty:
        printer(tty.stream).segment(segment(f" {text}"))
        lines = tty.lines
        assert "\x1b" not in tty.raw
    assert max(map(len, lines)) <= columns
    assert len(lines) > 1
    assert " ".join(line.strip() for line in lines) == text


def test_columns_counts_more_than_what_the_terminal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    with terminal(80) as tty:
        printer(tty.stream).segment(segment(" long" * 12))
        assert [len(line.rstrip()) for line in tty.lines] == [29, 29]


def test_a_name_cannot_reorder_its_heading() -> None:
    pipe = io.StringIO()
    printer(pipe, headings=True).recording("a\u202evaw.exe")
    assert pipe.getvalue() == "==> a\\u202evaw.exe <==\n"


@pytest.mark.parametrize("name", ["本" * 30, "a lecture of an hour.wav"])
def test_a_heading_is_not_wrapped(name: str) -> None:
    with terminal(20) as tty:
        printer(tty.stream, headings=True).recording(name)
        assert tty.lines == [f"==> {name} <=="]


def test_a_text_without_spaces_is_broken_anywhere_by_the_width_of_its_letters() -> None:
    with terminal(20) as tty:
        printer(tty.stream).segment(segment("本" * 25))
        assert [line.rstrip() for line in tty.lines] == ["本" * 10, "本" * 10, "本" * 5]


def test_colours_go_from_red_to_green() -> None:
    numbers = [colour(step / 100) for step in range(101)]
    assert (numbers[0], numbers[-1]) == (196, 82)
    order = list(dict.fromkeys(numbers))
    assert [numbers.index(number) for number in order] == sorted(numbers.index(number) for number in order)
    assert len(order) == 10


def test_words_are_coloured_by_their_probability() -> None:
    with terminal() as tty:
        printer(tty.stream, colors=True, timestamps=True).segment(SAID)
        raw = tty.read()
        assert tty.lines == ["[00:00.000 --> 00:01.000] Good morning."]
    assert re.findall(r"38;5;(\d+)m([^\x1b]+)", raw) == [("82", "Good"), ("196", "morning.")]


def test_segments_without_words_are_coloured_by_theirs() -> None:
    with terminal() as tty:
        p = printer(tty.stream, colors=True)
        p.segment(segment(" Yes.", logprob=-0.01))
        p.segment(segment(" No.", logprob=-3.0))
        raw = tty.read()
    assert re.findall(r"38;5;(\d+)m([^\x1b]+)", raw) == [("82", "Yes."), ("196", "No.")]


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal() as tty:
        printer(tty.stream, colors=True).segment(SAID)
        assert tty.read() == "Good morning.\n"


@pytest.mark.parametrize("kind", ["dumb", "unknown", "", None])
def test_a_dumb_terminal_gets_no_colours(kind: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", kind)
    with terminal() as tty:
        printer(tty.stream, colors=True).segment(SAID)
        assert tty.read() == "Good morning.\n"


def test_colours_asked_for_in_a_pipe_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    pipe = io.StringIO()
    printer(pipe, colors=True).segment(SAID)
    assert pipe.getvalue() == "Good morning.\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_letters_that_the_encoding_lacks_are_replaced(is_terminal: bool) -> None:
    said = segment(" Grüße, 你好 \udce4")
    if is_terminal:
        with terminal(encoding="latin-1") as tty:
            printer(tty.stream).segment(said)
            assert tty.lines == ["Grüße, ?? ?"]
    else:
        buffer = io.BytesIO()
        pipe = io.TextIOWrapper(buffer, encoding="latin-1")
        printer(pipe).segment(said)
        assert buffer.getvalue().decode("latin-1") == "Grüße, ?? ?\n"


def test_control_characters_do_not_reach_the_screen() -> None:
    with terminal() as tty:
        printer(tty.stream).segment(segment(" Good\x1b[2J \x07mor\0ning\nto you"))
        assert tty.lines == ["Good[2J morning to you"]


def test_right_to_left_text_keeps_its_marks() -> None:
    pipe = io.StringIO()
    text = "\u200f\u05e9\u05dc\u05d5\u05dd \u2067(2)\u2069"
    printer(pipe).segment(segment(f" {text}"))
    assert pipe.getvalue() == f"{text}\n"


@given(st.lists(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), min_size=1, max_size=8))
def test_words_print_as_their_segment(texts: list[str]) -> None:
    words = tuple(Word(0.0, 1.0, f" {text}", 0.5) for text in texts)
    with terminal(2000) as tty:
        printer(tty.stream, colors=True).segment(segment("".join(w.word for w in words), words=words))
        raw = tty.read()
    assert re.sub(r"\x1b\[[0-9;]*m", "", raw) == " ".join(texts) + "\n"


def test_every_line_is_printed_above_the_bar_and_flushed() -> None:
    events: list[str] = []

    class Pipe(io.StringIO):
        def write(self, text: str) -> int:
            events.append("write")
            return super().write(text)

        def flush(self) -> None:
            events.append("flush")

    @contextmanager
    def above() -> Iterator[None]:
        events.append("clear")
        yield
        events.append("draw")

    printer(Pipe(), above=above).segment(SAID)
    assert events[0] == "clear"
    assert events[-2:] == ["flush", "draw"]


def test_a_closed_stdout_is_no_error() -> None:
    printer(None).segment(SAID)


def test_what_was_heard_in_words() -> None:
    assert detected("English", 0.9812) == "detected English (98 %)"
    assert detected("English", 0.97, "talk\n.wav") == r"talk\n.wav: detected English (97 %)"
