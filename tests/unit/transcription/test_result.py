"""Results: what they tell, and the files that they write."""

from __future__ import annotations

import json
import pickle
from functools import partial
from pathlib import Path

import jsonschema
import pytest

from tests.unit.test_report import RAN_ON, SCHEMA, executed
from whisper_npu.errors import OutputError, UsageError
from whisper_npu.output import FORMATS, Layout, render
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.took import EncoderRun, Took
from whisper_npu.transcription.transcript import Segment, Transcript, Word

WORDS = (Word(0.5, 1.0, " Grüß", 0.9), Word(1.0, 1.5, " Gott", 0.8))


def segment(text: str, words: tuple[Word, ...] | None) -> Segment:
    return Segment(0, 0, 0.5, 1.5, text, (1, 2), -0.2, 0.1, 1.0, 0.0, words)


def result(words: tuple[Word, ...] | None = WORDS) -> Transcription:
    transcript = Transcript((segment(" Grüß Gott", words),), "de", 0.75, 2.0)
    encoder = EncoderRun(1, (executed("conv1", 3000),), 3.0)
    return Transcription(transcript, Took(encoder, 0.5, 0.25, 2.0), RAN_ON, "a.wav")


def test_it_tells_what_was_said() -> None:
    one = result()
    assert (one.language, one.language_probability, one.duration) == ("de", 0.75, 2.0)
    assert [s.text for s in one.segments] == [one.text] == [" Grüß Gott"]
    assert str(one) == "Grüß Gott"
    assert repr(one) == "<Transcription de, 2.00 s, 1 segments: 'Grüß Gott'>"


def test_a_long_text_is_shortened_in_the_repr() -> None:
    long = Transcript((segment(" word" * 10_000, None),), "de", 0.75, 2.0)
    assert len(repr(Transcription(long, Took(), RAN_ON, "a.wav"))) < 150


def test_it_is_each_format() -> None:
    one = result()
    layout = {"max_line_width": 5, "max_line_count": 2}
    texts = {
        "txt": one.to_txt(),
        "srt": one.to_srt(**layout),
        "vtt": one.to_vtt(**layout),
        "tsv": one.to_tsv(),
        "lrc": one.to_lrc(**layout),
        "json": one.to_json(),
    }
    assert texts == {fmt: render(one.transcript, fmt, Layout(5, 2)) for fmt in FORMATS}
    assert "\nGrüß\nGott\n" in texts["srt"]
    assert json.loads(json.dumps(one.to_dict())) == json.loads(one.to_json())


def test_it_writes_itself(tmp_path: Path) -> None:
    one = result()
    for fmt in FORMATS:
        path = one.save(tmp_path / "new folder" / f"talk.final.{fmt.upper()}")
        assert path.read_text(encoding="utf-8") == render(one.transcript, fmt)
    assert one.save(str(tmp_path / "talk"), output_format="srt", highlight_words=True) == tmp_path / "talk"
    assert "<u>Grüß</u>" in (tmp_path / "talk").read_text(encoding="utf-8")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    one = result()
    with pytest.raises(UsageError, match=r"talk\.doc ends with no format"):
        one.save(tmp_path / "talk.doc")
    with pytest.raises(UsageError, match="unknown output format 'docx'"):
        one.save(tmp_path / "talk.srt", output_format="docx")
    with pytest.raises(UsageError, match="did you mean max_line_width"):
        one.save(tmp_path / "talk.srt", max_line_with=5)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="transcribe with word_timestamps"):
        result(words=None).to_srt(max_line_width=5)
    for write in (one.to_json, one.to_lrc, partial(one.save, tmp_path / "a.txt")):
        with pytest.raises(UsageError, match="highlight_words has no effect on"):
            write(highlight_words=True)
    with pytest.raises(UsageError, match="max_line_width is '5', must be a whole number"):
        one.to_srt(max_line_width="5")  # type: ignore[arg-type]
    (tmp_path / "folder.srt").mkdir()
    with pytest.raises(OutputError, match=r"folder\.srt"):
        one.save(tmp_path / "folder.srt")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.srt"]


def test_it_has_a_report(tmp_path: Path) -> None:
    report = result().report
    assert report.stats.dispatches == executed("conv1", 3000).stats.dispatches
    assert (report.audio_seconds, report.total_seconds, report.real_time_factor) == (2.0, 5.75, 2.875)
    assert "MEASURED on this machine" in str(report)
    assert "load" not in str(report)  # which serves other recordings too
    assert report.to_dict()["measured_seconds"]["load"] is None
    assert report.save(tmp_path / "report.json") == tmp_path / "report.json"
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(report.to_dict()))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_it_survives_another_process() -> None:
    one = result()
    assert pickle.loads(pickle.dumps(one)) == one
