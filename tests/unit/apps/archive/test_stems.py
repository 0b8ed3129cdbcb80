"""How the files of an archive's recordings are called: below the output folder, each for itself."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.archive.stems import is_below, is_own, record_key, stem_apart, stem_key, stems
from whisper_npu.output import FORMATS

ODD = [
    *("..", ".", "", "a", "A", "a.wav", "a.WAV", "a.mp3", "a.wav.mp3", "done", "parts", "archive.wav"),
    *("results.ogg", "a.txt", ".a.wav", "é.wav", "e\u0301.wav", "x" * 255, "ß.wav", "SS.wav", "a~b", "%2F"),
]
PIECES = st.one_of(
    st.sampled_from(ODD),
    st.text(max_size=12),
    st.text(st.characters(codec=None), max_size=3),  # halves of surrogate pairs too
    st.text("日本語é", min_size=80, max_size=120),
)
NAMES = st.lists(PIECES, min_size=1, max_size=5).map("/".join)
SETS = st.lists(st.one_of(NAMES, NAMES.map("s3://bucket/{}".format)), max_size=6, unique=True)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["talk.wav"], ["talk"]),
        (["talk.final.wav"], ["talk.final"]),
        (["talks/monday.wav", "talks/Tuesday.mp3"], ["talks/monday", "talks/Tuesday"]),
        (["a/talk.wav", "b/talk.wav"], ["a/talk", "b/talk"]),
        (["talk.wav", "talk.mp3"], ["talk.wav", "talk.mp3"]),
        (["talk.wav", "talk.mp3", "talk.wav.ogg"], ["talk.wav", "talk.mp3", "talk.wav.ogg"]),
        (["talk"], ["talk"]),
        (["../other/talk.wav"], ["other/talk"]),
        (["/data/talk.wav"], ["data/talk"]),
        (["s3://bucket/a/talk.wav"], ["bucket/a/talk"]),
        (["sftp://me:secret@host/talk.wav"], ["host/talk"]),
        (["https://host/talk.wav?signature=a/b#1"], ["host/talk"]),
        (["Was? 50% #1.wav"], ["Was? 50% #1"]),
        (["archive.wav", "results.wav"], ["archive.wav", "results.wav"]),
        (["a/archive.wav"], ["a/archive"]),
        (["done/a.wav", "Parts/a.wav", "x/done/a.wav"], ["done_/a", "Parts_/a", "x/done/a"]),
        (["a.wav", "a.txt/b.wav"], ["a", "a.txt_/b"]),
        ([".hidden/.a.wav"], ["_hidden/_a"]),
        (["a\nb\udce9.wav"], ["a%0Ab%E9"]),
    ],
)
def test_a_stem_is_what_people_expect(names, expected):
    assert stems(names) == expected


def test_names_that_differ_in_case_or_form_only_are_told_apart():
    names = ["Talk.wav", "talk.wav", "\u00e9.wav", "e\u0301.wav"]
    keys = [stem_key(stem) for stem in stems(names)]
    assert len(set(keys)) == 4


def test_a_newcomer_does_not_rename_those_that_it_does_not_meet():
    before = stems(["a.wav", "b.wav"])
    assert stems(["a.wav", "b.wav", "c.wav", "a/b.wav"])[:2] == before


@given(SETS)
def test_whatever_names_say_their_files_are_apart_and_below_the_folder(names):
    found = stems(names)
    files = {f"{stem}.{fmt}" for stem in found for fmt in FORMATS}
    keys = {stem_key(name) for name in files}
    assert len(keys) == len(FORMATS) * len(names)
    folders = {stem_key(stem[:at]) for stem in found for at, c in enumerate(stem) if c == "/"}
    assert not keys & folders  # a file where another needs a folder
    for name in files:
        assert is_below(name)
        assert not is_own(name)
        assert not is_own(stem_key(name))
        assert len(name.encode()) <= 1024  # UTF-8, as stores want
        for part in name.split("/"):
            assert not part.startswith(".")
            assert len(part.encode()) <= 255
            assert part.isprintable() or " " in part or not any(ord(c) < 32 for c in part)


@given(SETS, st.randoms(use_true_random=False))
def test_the_order_does_not_count(names, order: random.Random):
    shuffled = names[:]
    order.shuffle(shuffled)
    assert dict(zip(names, stems(names), strict=True)) == dict(zip(shuffled, stems(shuffled), strict=True))


@given(SETS)
def test_records_have_short_names_of_their_own(names):
    keys = {record_key(name) for name in names}
    assert len({key.casefold() for key in keys}) == len(names)
    assert all(len(key) <= 80 and key.isascii() and os.sep not in key for key in keys)
    assert not any(key.startswith(".") for key in keys)


@given(SETS)
def test_a_stem_that_stands_apart_is_nobodys(names):
    if names:
        others = {stem_key(stem) for stem in stems(names[1:])}
        assert stem_key(stem_apart(names[0])) not in others
