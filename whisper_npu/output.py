"""Transcripts as txt, srt, vtt, tsv and json files.

The conventions are those of openai/whisper (whisper/utils.py), except where players and parsers could not
read the result. In all formats but json a segment is one line, and segments without text are left out.
"""

from __future__ import annotations

import html
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whisper_npu.errors import OutputError, UsageError
from whisper_npu.transcription.result import Segment, Transcript

FORMATS: tuple[str, ...] = ("txt", "srt", "vtt", "tsv", "json")

_REMEDY = "check the folder's permissions and free space, or choose another folder"


def render(transcript: Transcript, fmt: str) -> str:
    """The content of a file in this format. Raises UsageError for a format outside FORMATS."""
    _check_format(fmt)
    cues = tuple(_cues(transcript))
    if fmt == "txt":
        return "".join(f"{text}\n" for _, _, text in cues)
    if fmt == "srt":
        return "".join(
            f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_without_arrows(text)}\n\n"
            for number, (start, end, text) in enumerate(cues, start=1)
        )
    if fmt == "vtt":
        return "WEBVTT\n\n" + "".join(
            f"{_clock(start, '.')} --> {_clock(end, '.')}\n{html.escape(text, quote=False)}\n\n"
            for start, end, text in cues
        )
    if fmt == "tsv":
        rows = ("\t".join((str(start), str(end), text.replace("\t", " "))) for start, end, text in cues)
        return "".join(f"{row}\n" for row in ("start\tend\ttext", *rows))
    return json.dumps(_document(transcript), ensure_ascii=False) + "\n"


def as_json(document: Mapping[str, object]) -> str:
    """A document, such as a report's, as the content of a JSON file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def output_path(source_name: str | Path, fmt: str, folder: Path) -> Path:
    """Where the `fmt` transcript of an audio file goes: "talk.final.wav" gives folder/"talk.final.srt".

    "-" gives folder/"stdin.srt". Raises UsageError for a format outside FORMATS.
    """
    _check_format(fmt)
    stem = "stdin" if str(source_name) == "-" else os.path.splitext(Path(source_name).name)[0]
    return folder / f"{stem}.{fmt}"


def check_writable(folder: Path) -> None:
    """Raises OutputError if no file can be written in `folder`, or in the folder where it would be created.

    Meant to be called before the work. Leaves nothing behind.
    """
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder}: cannot be written to ({_reason(error)}); {_REMEDY}") from error


def write_atomically(path: Path, text: str) -> None:
    """Write `text` in UTF-8, as `write_bytes_atomically` does."""
    # Half a surrogate pair must not make the whole transcript fail.
    write_bytes_atomically(path, text.encode("utf-8", errors="replace"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write `data` so that `path` afterwards holds all of it, or unchanged what it held before.

    Missing folders are created. An existing file keeps its mode and a symbolic link its target. A device or
    pipe such as /dev/stdout is written to directly.

    Raises OutputError if that fails: a folder in the way, no permission, a full disk.
    """
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _replace(target, data)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise OutputError(f"{path}: cannot be written ({_reason(error)}); {_REMEDY}") from error


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(
        f".{secrets.token_hex(8)}.tmp"
    )  # short, since `target` may have the longest name allowed
    try:
        # Not with tempfile, whose files have mode 0600: here the umask applies, as for any new file.
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            if target.exists():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # some file systems report a full disk only here
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _cues(transcript: Transcript) -> Iterator[tuple[int, int, str]]:
    """Start and end in milliseconds, and the text in one line.

    Starts never decrease, and every cue lasts at least 1 ms.
    """
    start = 0
    for segment in transcript.segments:
        text = " ".join(segment.text.replace("\0", "").splitlines()).strip()
        if text:
            start = max(start, round(1000 * segment.start))
            yield start, max(start + 1, round(1000 * segment.end)), text


def _clock(milliseconds: int, mark: str) -> str:
    """HH:MM:SS and milliseconds behind the decimal mark; always with hours, which every parser can read."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{milliseconds:03d}"


def _without_arrows(text: str) -> str:
    """SRT has no escapes, so "-->" becomes "->". So does "--->", or it would become "-->"."""
    return re.sub("-{2,}>", "->", text)


def _document(transcript: Transcript) -> dict[str, Any]:
    return {
        "text": transcript.text,
        "segments": [_segment(segment) for segment in transcript.segments],
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "duration": transcript.duration,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    fields = asdict(segment)
    if segment.words is None:
        del fields["words"]
    return fields


def _check_format(fmt: str) -> None:
    if fmt not in FORMATS:
        raise UsageError(f"unknown output format {fmt!r}; choose from {', '.join(FORMATS)}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
