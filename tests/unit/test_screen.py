"""Which terminal shows what, and texts and tables that are never wider than it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.terminal import terminal
from whisper_npu.markdown import as_table
from whisper_npu.page import Table, fitted, page_as_markdown, page_as_text, wrapped_markdown
from whisper_npu.screen import (
    NARROWEST,
    PLAIN,
    WIDTH,
    Screen,
    columns,
    is_terminal,
    knows_codes,
    shows_colours,
)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal, and has no size but what COLUMNS says."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return True


XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "screen"),
    [
        (XTERM, Screen(WIDTH, colours=True, signs=True)),
        (XTERM | {"COLUMNS": "45"}, Screen(45, colours=True, signs=True)),
        (XTERM | {"COLUMNS": "20"}, Screen(NARROWEST, colours=True, signs=True)),
        (XTERM | {"COLUMNS": "200"}, Screen(WIDTH, colours=True, signs=True)),
        (XTERM | {"COLUMNS": "0"}, Screen(WIDTH, colours=True, signs=True)),
        (XTERM | {"NO_COLOR": "1"}, Screen(WIDTH, colours=False, signs=True)),
        (XTERM | {"NO_COLOR": ""}, Screen(WIDTH, colours=True, signs=True)),
        ({"TERM": "dumb"}, PLAIN),
        ({"TERM": "unknown"}, PLAIN),
        ({"TERM": "Dumb ", "COLUMNS": "45"}, Screen(45)),
        ({"TERM": ""}, PLAIN),
    ],
)
def test_what_a_terminal_shows(environ: Mapping[str, str], screen: Screen) -> None:
    assert Screen.of(Terminal(), environ) == screen
    assert knows_codes(Terminal(), environ) == screen.signs
    assert shows_colours(Terminal(), environ) == screen.colours


def test_a_pipe_is_plain_whatever_the_environment_says() -> None:
    assert Screen.of(io.StringIO(), XTERM | {"COLUMNS": "45"}) == PLAIN


def test_a_closed_stream_is_no_terminal() -> None:
    closed = Terminal()
    closed.close()
    assert Screen.of(closed, XTERM) == PLAIN
    assert not is_terminal(closed)
    assert not is_terminal(None)


def test_signs_need_an_encoding_that_has_them() -> None:
    assert not Screen.of(Terminal("ascii"), XTERM).signs


@pytest.mark.parametrize(
    ("told", "width"), [("", 30), ("0", 30), ("-5", 30), ("x", 30), ("45", 45), ("2000", 2000)]
)
def test_columns_counts_more_than_what_the_terminal_says(told: str, width: int) -> None:
    with terminal(30) as tty:
        assert columns(tty.stream, {"COLUMNS": told}) == width


WORDS = st.text("abcdefg_,()", min_size=1, max_size=30)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = st.lists(st.text("abcdefg_", min_size=1, max_size=12), min_size=1, max_size=5).map(" ".join)
    heads = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    left = draw(st.sets(st.sampled_from(heads)))
    numbers = st.from_regex(r"[0-9.]{1,12}", fullmatch=True)
    row = st.fixed_dictionaries({head: TEXTS if head in left else numbers for head in heads})
    return Table(draw(st.lists(row, min_size=1, max_size=4)), left)


@given(tables(), st.integers(NARROWEST, WIDTH))
def test_a_table_fits_and_loses_nothing(table: Table, width: int) -> None:
    text = fitted(table, width)
    assert max(map(len, text.splitlines())) <= width
    shown = re.sub(r"\s", "", text)
    for row in table.rows:
        for head, cell in row.items():
            if head not in table.left:
                assert cell in shown


def test_columns_without_room_follow_below_the_first() -> None:
    rows = [{"name": "a", "first": "1" * 30, "second": "2" * 30, "third": "3"}]
    assert fitted(Table(rows, {"name"}), 40) == (
        f"name  {'first':>30}\n----  {'-' * 30}\na     {'1' * 30}\n\n"
        f"name  {'second':>30}\n----  {'-' * 30}\na     {'2' * 30}\n\n"
        "name  third\n----  -----\na         3\n"
    )


def test_heads_and_texts_are_wrapped() -> None:
    rows = [{"name": "one two three four five six seven", "MODELLED s of it": "1"}]
    assert fitted(Table(rows, {"name"}), 30) == (
        "                      MODELLED\n"
        "name                   s of it\n"
        "--------------------  --------\n"
        "one two three four           1\n"
        "five six seven\n"
    )


def test_texts_are_wrapped_below_the_first_word_of_an_item() -> None:
    text = "# A head\n\none two\nthree\n- four five six\n  seven\n  - eight nine ten\n\nend\n"
    assert wrapped_markdown(text, 12) == (
        "A head\n\none two\nthree\n- four five\n  six seven\n  - eight\n    nine ten\n\nend\n"
    )


def test_a_page_is_markdown_in_files() -> None:
    table = Table([{"a": "1"}], ())
    assert page_as_markdown(["# A\n\n", table, "b\n"]) == f"# A\n\n{as_table(table.rows, ())}b\n"
    assert page_as_text(["# A\n\n", table, "b\n"]) == "A\n\na\n-\n1\nb\n"
