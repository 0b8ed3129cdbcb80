"""What may be printed within a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.errors import LONGEST_LINE, LONGEST_QUOTE, error_line, quoted, shown


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("\x1b[31mred.wav", r"\x1b[31mred.wav"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m", r"\x9b31m"),  # the C1 control that begins an escape sequence
        ("a\x7f", r"a\x7f"),
        ("\u202egpm.exe", r"\u202egpm.exe"),
        ("a\u2028b", r"a\u2028b"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\ud83d", r"\ud83d"),
    ],
)
def test_what_disturbs_the_line_is_escaped(name, line):
    assert shown(name) == line


@pytest.mark.parametrize(
    "name",
    ["talk [1].wav", "café.wav", "講演.wav", "שיחה.wav", "می‌روم.wav", "👩‍🏫.mp4", "a\xa0b", "C:\\a", ""],
)
def test_all_else_stays(name):
    assert shown(name) == name
    assert shown(Path(name)) == str(Path(name))


@given(st.text(st.characters()))
def test_what_is_shown_is_one_line_that_can_be_encoded_and_shown_again(name):
    line = shown(name)
    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line
    line.encode("utf-8")
    assert shown(line) == line


def test_an_error_is_one_line_without_escapes():
    assert error_line("a\nb: \x1b[31m is wrong") == r"whisper-npu: error: a b: \x1b[31m is wrong"


@pytest.mark.parametrize("value", ["9" * 4000, ["x" * 4000], b"x" * 4000, 9**4000, 10**9000], ids=type)
def test_a_long_value_is_quoted_in_part_and_closed(value):
    told = quoted(value)
    assert len(told) <= LONGEST_QUOTE
    assert told[-1] in "'])}" or not isinstance(value, (str, bytes, list))


def test_the_longest_error_keeps_its_begin_and_its_remedy():
    line = error_line(f"talk.wav: {'x' * 100_000} is wrong; leave it out")
    assert line.startswith("whisper-npu: error: talk.wav: xxx")
    assert line.endswith("xxx is wrong; leave it out")
    assert len(line) <= LONGEST_LINE + len("whisper-npu: error: ")
