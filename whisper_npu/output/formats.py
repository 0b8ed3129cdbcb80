"""Transcripts in each format.

The conventions are those of openai/whisper (whisper/utils.py), except where players and parsers could not
read the result: docs/cli.md, "Subtitles", lists the differences. lrc is as in whisper.cpp, without a header.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from whisper_npu.errors import UsageError, quoted
from whisper_npu.output.cues import cues, segment_lines, timed_lines
from whisper_npu.output.layout import Layout
from whisper_npu.output.times import in_order
from whisper_npu.transcription.transcript import Transcript

FORMATS: tuple[str, ...] = ("txt", "srt", "vtt", "tsv", "json", "lrc")

_LEAST_SECONDS = 0.001  # for which a segment or word lasts in json
_NO_LAYOUT = Layout()


def render(transcript: Transcript, fmt: str, layout: Layout = _NO_LAYOUT) -> str:
    """The content of a file in this format. The layout applies to srt, vtt, lrc and json.

    Raises UsageError for a format outside FORMATS, and for subtitles whose layout needs words that the
    transcript does not have.
    """
    check_format(fmt)
    if fmt in ("srt", "vtt", "lrc") and layout.needs_words:
        _check_words(transcript)
    if fmt == "txt":
        return "".join(f"{text}\n" for _, _, text in segment_lines(transcript))
    if fmt == "srt":
        return "".join(
            f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_without_arrows(text)}\n\n"
            for number, (start, end, text) in enumerate(cues(transcript, layout, escape=False), start=1)
        )
    if fmt == "vtt":
        return "WEBVTT\n\n" + "".join(
            f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n\n"
            for start, end, text in cues(transcript, layout, escape=True)
        )
    if fmt == "tsv":
        rows = (
            (str(start), str(end), text.replace("\t", " ")) for start, end, text in segment_lines(transcript)
        )
        return "".join("\t".join(row) + "\n" for row in (("start", "end", "text"), *rows))
    if fmt == "lrc":
        return "".join(
            f"[{_stamp(start)}]{_apart(text)}\n" for start, _, text in timed_lines(transcript, layout)
        )
    return _dumped(as_document(transcript), indent=2 if layout.pretty_json else None)


def as_json(document: Mapping[str, object]) -> str:
    """A document, such as a report's, as the content of a JSON file."""
    return _dumped(document, indent=2)


def check_format(fmt: str) -> None:
    """Raises UsageError for a format outside FORMATS."""
    if fmt not in FORMATS:
        raise UsageError(f"unknown output format {quoted(fmt)}; choose from {', '.join(FORMATS)}")


def _check_words(transcript: Transcript) -> None:
    if transcript.segments and all(segment.words is None for segment in transcript.segments):
        raise UsageError(
            "max_line_width, max_words_per_line and highlight_words need the time of every word; "
            "transcribe with word_timestamps"
        )


def _clock(milliseconds: int, mark: str) -> str:
    """HH:MM:SS and milliseconds behind the decimal mark; always with hours, which every parser can read."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{milliseconds:03d}"


def _stamp(milliseconds: int) -> str:
    """Minutes, seconds and hundredths, rounded down. lrc has no hours, so the minutes count on."""
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000 // 10:02d}"


def _apart(text: str) -> str:
    """A bracket directly behind the stamp would be read as another stamp."""
    return f" {text}" if text.startswith("[") else text


def _without_arrows(text: str) -> str:
    """SRT has no escapes, so "-->" becomes "->". So does "--->", or it would become "-->"."""
    return re.sub("-{2,}>", "->", text)


def as_document(transcript: Transcript) -> dict[str, Any]:
    """The content of a json file: times in order, and no number that JSON does not have."""
    found: dict[str, Any] = _finite(_as_it_is(transcript))
    return found


def _as_it_is(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": transcript.text,
        "segments": list(_segments(transcript)),
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": transcript.duration,
    }


def _segments(transcript: Transcript) -> Iterator[dict[str, Any]]:
    words = [word for segment in transcript.segments for word in segment.words or ()]
    word_times = iter(_in_order(words, transcript))
    for segment, times in zip(transcript.segments, _in_order(transcript.segments, transcript), strict=True):
        fields = asdict(segment) | times
        if segment.words is None:
            del fields["words"]
        else:
            fields["words"] = [asdict(word) | next(word_times) for word in segment.words]
        yield fields


def _in_order(spans: Any, transcript: Transcript) -> list[dict[str, float]]:
    """The times of segments or words, as fields."""
    limit = max(_LEAST_SECONDS, transcript.duration)
    times = in_order([(span.start, span.end) for span in spans], limit, _LEAST_SECONDS)
    return [{"start": start, "end": end} for start, end in times]


def _dumped(document: object, indent: int | None) -> str:
    return json.dumps(_finite(document), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity: null takes their place."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
