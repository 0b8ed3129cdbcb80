"""Hostile text: transcripts in every format, documents as JSON, option values and config files."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.lines import is_line
from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.transcribe import transcribe
from whisper_npu.output import FORMATS, Layout, as_json, render, write_atomically
from whisper_npu.transcription.transcript import Segment, Transcript, Word

pytestmark = pytest.mark.fuzz
# A file is written anew by every example, and what is printed is read.
_SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

_PIECES = (
    "-->",
    "--->",
    "00:00:01,000 --> 00:00:02,000",
    "\n\n2\n",
    "\r\n",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\0",
    "\u202e",
    "\u2028",
    "\ud800",  # half of a pair, as of a decoder's damaged token
    "\udcff",
    "<b>",
    "<script>",
    "&amp;",
    "[00:01.00]",
    "\t",
    "NaN",
    "WEBVTT",
    "\ufeff",
    "👨‍👩‍👧",
    " ",
    "a",
)
_TEXT = st.lists(st.sampled_from(_PIECES) | st.text(max_size=5), max_size=6).map("".join)
_TIME = st.floats() | st.sampled_from((0.0, -1.0, 1e9, 1e300, math.nan, math.inf, -math.inf, 359_999.9996))
_DURATION = st.sampled_from((0.0, 1e-9, 2.0, 1e9))  # of samples that were counted
_WORD = st.builds(Word, _TIME, _TIME, _TEXT, st.floats())
_SEGMENT = st.builds(
    Segment,
    id=st.integers(),
    seek=st.integers(),
    start=_TIME,
    end=_TIME,
    text=_TEXT,
    tokens=st.lists(st.integers(), max_size=3).map(tuple),
    avg_logprob=st.floats(),
    no_speech_prob=st.floats(),
    compression_ratio=st.floats(),
    temperature=st.floats(),
    words=st.lists(_WORD, max_size=4).map(tuple),
)
_TRANSCRIPT = st.builds(Transcript, st.lists(_SEGMENT, max_size=4).map(tuple), _TEXT, st.floats(), _DURATION)
_LAYOUT = st.sampled_from(
    (
        Layout(),
        Layout(max_line_width=1),
        Layout(max_line_width=20, max_line_count=1),
        Layout(max_words_per_line=1),
        Layout(highlight_words=True),
        Layout(max_line_width=10**9, max_line_count=10**9, highlight_words=True),
        Layout(pretty_json=True),
    )
)


def _no_number(name: str) -> None:
    pytest.fail(f"{name} is no JSON")


@given(_TRANSCRIPT, _LAYOUT, st.sampled_from(FORMATS))
@_SAME_FOLDER
def test_every_transcript_becomes_a_file_that_can_be_read(
    tmp_path: Path, spoken: Transcript, layout: Layout, fmt: str
) -> None:
    path = tmp_path / f"talk.{fmt}"
    write_atomically(path, render(spoken, fmt, layout))
    content = path.read_text(encoding="utf-8")
    if fmt == "json":
        assert len(json.loads(content, parse_constant=_no_number)["segments"]) == len(spoken.segments)
        return
    assert not re.search("[\0-\x08\x0b-\x1f\x7f]", content)
    if fmt in ("srt", "vtt"):
        clock = r"\d{2,}:\d\d:\d\d[,.]\d{3}"
        blocks = content.split("\n\n")[fmt == "vtt" : -1]
        times = [re.fullmatch(rf"(?:\d+\n)?({clock}) --> ({clock})\n.+", b, re.DOTALL) for b in blocks]
        assert all(times), content
        assert content.count("-->") == len(blocks)
    if fmt == "tsv":
        rows = [line.split("\t") for line in content.splitlines()[1:]]
        assert all(len(row) == 3 and 0 <= int(row[0]) < int(row[1]) for row in rows)
    if fmt == "lrc":
        assert all(re.match(r"\[\d\d+:\d\d\.\d\d\]", line) for line in content.split("\n")[:-1])


_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_DOCUMENT = st.dictionaries(
    _TEXT,
    st.recursive(_LEAF, lambda leaf: st.lists(leaf, max_size=3) | st.dictionaries(_TEXT, leaf, max_size=3)),
    max_size=4,
)


@given(_DOCUMENT)
@_SAME_FOLDER
def test_no_document_holds_a_number_that_json_does_not_have(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / "report.json"
    write_atomically(path, as_json(document))
    json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)


_VALUE = (
    st.sampled_from(
        (
            "",
            "None",
            "nan",
            "inf",
            "-inf",
            "1e999",
            "-1",
            "0",
            "9" * 5000,
            "2e308",
            "\0",
            "-",
            "--help",
            "~",
            ",",
        )
    )
    | st.integers().map(str)
    | st.floats().map(str)
    | _TEXT
    | st.lists(st.integers() | st.floats(), max_size=4).map(lambda numbers: ",".join(map(str, numbers)))
)
_OPTIONS = sorted({option.long_name for option in transcribe.options})


def _one_line(said: str) -> None:
    """What a run printed on stderr is one error, and fit to be printed."""
    lines = said.splitlines()
    assert len([line for line in lines if line.startswith("whisper-npu: error: ")]) <= 1
    assert all(is_line(line) for line in lines), said
    assert "Traceback" not in said


@given(st.sampled_from(_OPTIONS), _VALUE)
@_SAME_FOLDER
def test_every_value_of_an_option_is_taken_or_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    """The recording does not exist, so that no run gets further than that."""
    code = run([str(tmp_path / "missing.wav"), f"{option}={value}"])
    assert code in (0, 1, 2)
    _one_line(capfd.readouterr().err)


_HOSTILE_TOML = (
    "a = " + "[" * 100_000,
    "a" + ".a" * 10_000 + " = 1",
    "a = " + "9" * 5000,
    "a = 1e999",
    "a = nan",
    "model = 'tiny'\nmodel = 'base'",
    "model = \x00",
    '"\\u001b[31m" = 1',
    "[model]\nmodel = 1",
    "[[model]]",
    "model = 1979-05-27T07:32:00Z",
    "threads = true",
    "temperature = 0x7f",
    "beam_size = 1.5",
    "output_format = [[['srt']]]",
    "language = {a = 1}",
)
_TOML_VALUE = (
    st.sampled_from(("nan", "inf", "1e999", "true", "[]", "{}", "[[1]]", "''", "1979-05-27", "9" * 4000))
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(str)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8).map(json.dumps)
)
_SETTING = st.builds("{} = {}".format, st.sampled_from([o.removeprefix("--") for o in _OPTIONS]), _TOML_VALUE)
_CONFIG = (
    st.binary(max_size=40)
    | st.sampled_from(_HOSTILE_TOML).map(str.encode)
    | st.lists(_SETTING, max_size=3).map("\n".join).map(str.encode)
)


@given(_CONFIG)
@_SAME_FOLDER
def test_every_config_file_is_taken_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    monkeypatch.setenv("WHISPER_NPU_CONFIG", str(path))
    for command in (["config"], [str(tmp_path / "missing.wav")]):
        assert run(command) in (0, 1, 2)
        _one_line(capfd.readouterr().err)
