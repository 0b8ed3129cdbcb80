"""What may be printed within a line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.errors import error_line, shown


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
