"""read_rows: what lists of recordings say, and which of their rows are bad."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.apps.archive.manifest import Row, read_rows, refuse
from whisper_npu.errors import UsageError


def rows(content: str | bytes, name: str = "m.csv") -> list[Row]:
    good, bad = read_rows(content.encode() if isinstance(content, str) else content, name)
    assert bad == []
    return good


def bad_row(content: str | bytes, name: str = "m.csv") -> tuple[int, str]:
    """The only bad one."""
    _, (bad,) = read_rows(content.encode() if isinstance(content, str) else content, name)
    assert bad.reason.isprintable()
    return bad.line, bad.reason


def refusal(content: bytes, name: str) -> str:
    with pytest.raises(UsageError) as caught:
        read_rows(content, name)
    return str(caught.value)


WANTED = [Row(2, "a.wav", "de", "one"), Row(3, "b/c.mp3")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", "path,language,id\na.wav,de,one\nb/c.mp3,,\n"),
        ("m.csv", "id;Path;language\r\none;a.wav;German\r\n;b/c.mp3;auto\r\n"),
        ("m.csv", 'text,audio,lang,id\n"hello, world", a.wav ,de-DE,one\n,b/c.mp3\n'),
        ("M.TSV", "audio_filepath\tlanguage\tid\na.wav\tde\tone\nb/c.mp3\t\t"),
        ("m", "file_name\tlanguage\tid\na.wav\tde\tone\nb/c.mp3\t\t"),
        ("m", "id,language,url\none,de,a.wav\n,,b/c.mp3"),
        ("m.txt", "path,language,id\na.wav,de,one\nb/c.mp3"),
        ("m.list", "path;language;id\na.wav;de;one\nb/c.mp3"),
        ("m.jsonl", '\n{"path":"a.wav","language":"DE","id":"one","x":[1]}\n{"audio_filepath":"b/c.mp3"}\n'),
        ("m.json", '\n{"file":"a.wav","lang":"German","id":"one"}\n{"url":"b/c.mp3","language":null}\n\n'),
    ],
)
def test_each_kind_says_the_same(name, content):
    assert rows(content, name) == WANTED


@pytest.mark.parametrize("name", ["m.txt", "m.list", "m"])
def test_a_list_has_a_path_in_each_line(name):
    assert rows("a.wav\r\n\n s3://b/c d,e.wav \n#1.wav", name) == [
        Row(1, "a.wav"),
        Row(3, "s3://b/c d,e.wav"),
        Row(4, "#1.wav"),
    ]


def test_a_table_without_a_header_is_a_list():
    assert rows("a.wav\nb.mp3\n") == [Row(1, "a.wav"), Row(2, "b.mp3")]
    assert "names no column 'path'" in refusal(b"a.wav,de\nb.mp3,en\n", "m.csv")


def test_a_list_may_have_a_header():
    assert rows("path\na.wav\n", "m.txt") == [Row(2, "a.wav")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_unicode_that_editors_write_is_read(encoding):
    assert rows("path\né日.wav\n".encode(encoding)) == [Row(2, "é日.wav")]


def test_a_quoted_field_may_have_several_lines_and_rows_keep_their_numbers():
    assert rows('path,text\na.wav,"one\ntwo"\nb.wav,\n') == [Row(2, "a.wav"), Row(4, "b.wav")]
    assert bad_row('path,language\n"a\nb.wav",de\nc.wav,klingon')[0] == 4


def test_a_whole_number_is_an_id():
    assert rows('{"path":"a.wav","id":7}', "m.jsonl") == [Row(1, "a.wav", None, "7")]


@pytest.mark.parametrize(
    ("name", "content", "line", "reason"),
    [
        ("m.csv", "path,language\na.wav,de\nb.wav,klingon\n", 3, "unknown language 'klingon'"),
        ("m.csv", "path,language\n\n,de\n", 3, "names no recording"),
        ("m.csv", "path,language\nHello, world.wav,de\n", 2, "has 3 fields, the first line 2"),
        ("m.csv", 'path\na.wav\n"b.wav\nc.wav\n', 3, "quotes do not match"),
        ("m.csv", "path\n" + "x" * 5000, 2, "cannot be the name of a file"),
        ("m.txt", "a.wav\n" + "x" * 5000, 2, "cannot be the name of a file"),
        ("m.jsonl", '{"path":"a.wav"}\n{"path":"b.wav"\n', 2, "is no JSON object"),
        ("m.jsonl", '["a.wav"]', 1, "is no JSON object (it is a list, not an object)"),
        ("m.jsonl", '{"path":{"bytes":""}}', 1, "must be text"),
        ("m.jsonl", '{"path":"a\\u0000.wav"}', 1, "cannot be the name of a file"),
        ("m.jsonl", '{"path":"a.wav","id":[1]}', 1, "id is [1], must be text"),
        ("m.jsonl", '{"path":"a.wav","id":true}', 1, "id is True, must be text"),
        ("m.jsonl", '{"path":"a.wav","language":5}', 1, "language is 5, must be text"),
        ("m.jsonl", '{"text":"a"}', 1, "names no recording"),
        ("m.jsonl", "[" * 100_000, 1, "nested too deeply"),
    ],
)
def test_a_bad_row_is_named_by_its_line(name, content, line, reason):
    found = bad_row(content, name)
    assert found[0] == line
    assert reason in found[1]


def test_text_of_another_encoding_is_a_bad_row():
    line, reason = bad_row("path\na.wav\nMénage.wav\n".encode("latin-1"))
    assert (line, reason) == (3, r"'M\xe9nage.wav' is no UTF-8; save the manifest as UTF-8")


def test_a_name_that_is_no_utf_8_and_exists_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open(b"M\xe9nage.wav", "wb"):
        pass
    assert rows(b"M\xe9nage.wav\n", "m.txt") == [Row(1, "M\udce9nage.wav")]


def test_what_is_no_manifest_is_refused():
    assert "neither a folder nor a manifest" in refusal(b"RIFF\0\0\0\0WAVE", "m.bin")
    assert "is no UTF-16" in refusal(b"\xff\xfea", "m.txt")
    assert "is a JSON array" in refusal(b'[{"path": "a.wav"}]', "m.json")
    assert "names no column 'path'" in refusal(b"who,when\nme,now\n", "m.csv")
    assert "names the column 'path' twice" in refusal(b"path,who,Path\na.wav,me,b.wav\n", "m.csv")


def test_many_bad_rows_are_counted_and_the_first_are_named():
    _, bad = read_rows(b"path,language\n" + b"a.wav,x\n" * 2000, "m.csv")
    told = str(refuse("m.csv", 2000, bad))
    assert told.startswith("m.csv: 2,000 of 2,000 rows are bad: line 2: unknown language 'x'")
    assert "line 4: " in told
    assert "line 5: " not in told
    assert told.endswith("; and 1,997 more")


@given(st.binary(max_size=200), st.sampled_from(["m.csv", "m.tsv", "m.jsonl", "m.txt", "m"]))
def test_no_content_is_more_than_refused(content, name):
    try:
        good, bad = read_rows(content, name)
    except UsageError:
        return
    lines = content.count(b"\n") + 2 + content.count(b"\r")
    assert all(0 < row.line <= lines for row in [*good, *bad])


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).map(str.strip)
PATHS = TEXT.filter(bool)


@given(st.lists(PATHS, min_size=1, max_size=5))
def test_what_csv_and_json_write_is_read(paths):
    file = io.StringIO()
    csv.writer(file).writerows([["path", "text"], *([path, 'a "b",\n'] for path in paths)])
    assert [row.path for row in rows(file.getvalue())] == paths
    lines = "\n".join(json.dumps({"path": path}) for path in paths)
    assert [row.path for row in rows(lines, "m.jsonl")] == paths
