"""A line of live speech for other programs, as a JSON object."""

from __future__ import annotations

from typing import Any

from whisper_npu.live.line import Line
from whisper_npu.output import as_document
from whisper_npu.transcription.transcript import Transcript


def line_message(line: Line) -> dict[str, Any]:
    """A final line has Whisper's segments too, with the fields that they have in json files."""
    message: dict[str, Any] = {
        "type": "final" if line.is_final else "partial",
        "id": line.id,
        "start": round(line.start, 3),
        "end": round(line.end, 3),
        "text": line.text,
        "language": line.language,
    }
    if line.is_final:
        ends = [segment.end for segment in line.segments]
        ends += [word.end for segment in line.segments for word in segment.words or ()]
        alone = Transcript(
            line.segments, language=line.language, language_probability=1.0, duration=max(ends, default=0.0)
        )
        message["segments"] = as_document(alone)["segments"]
    return message
