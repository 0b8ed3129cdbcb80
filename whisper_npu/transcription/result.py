"""The result of a transcription: the transcript, what it took, and the files that can be made of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisper_npu.errors import UsageError, shown
from whisper_npu.home import at_home
from whisper_npu.output import FORMATS, Layout, as_document, render, write_atomically
from whisper_npu.report import FileResult, Report
from whisper_npu.transcription.took import RunOn, Took
from whisper_npu.transcription.transcript import Segment, Transcript, Word

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from whisper_npu.output.layout import LayoutKeywords

_SHOWN_OF_TEXT = 60  # characters, in a repr


@dataclass(frozen=True, repr=False)
class Transcription:
    """A transcript and what it took.

    str() gives the text. The methods `to_...` take a `Layout`'s options by their names: max_line_width,
    max_line_count, max_words_per_line, highlight_words, pretty_json. They raise UsageError for those that a
    format does not have, and for those that need the time of every word if it was not transcribed with
    word_timestamps.

    >>> import whisper_npu
    >>> result = whisper_npu.transcribe("samples/sns-0930.wav", model="tiny.en", word_timestamps=True)
    >>> result.language, result.duration
    ('en', 3.29)
    >>> print(result.to_srt(max_line_width=24, max_line_count=2))
    1
    00:00:00,... --> 00:00:0...
    He might even have been
    made amiable himself.
    ...
    >>> [word.word for word in result.words]
    [' He', ' might', ' even', ' have', ' been', ' made', ' amiable', ' himself.']
    >>> result.report.stats.dispatches
    5
    """

    transcript: Transcript
    took: Took
    ran_on: RunOn
    source: str  # the recording's name, in words where it has none
    warnings: tuple[str, ...] = ()  # what of the recording could not be read, or why nothing was heard
    finished: bool = True  # False: of a stream that was not exhausted, and ends early

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.transcript.segments

    @property
    def words(self) -> tuple[Word, ...]:
        """Those of all segments; none without word_timestamps."""
        return tuple(word for segment in self.segments for word in segment.words or ())

    @property
    def text(self) -> str:
        """The segments' texts, joined; as in openai/whisper it may begin with a space."""
        return self.transcript.text

    @property
    def language(self) -> str:
        """The code of the language, such as "en"."""
        return self.transcript.language

    @property
    def language_probability(self) -> float:
        """From 0 to 1; 1 if the language was given."""
        return self.transcript.language_probability

    @property
    def duration(self) -> float:
        """Seconds of the recording."""
        return self.transcript.duration

    @property
    def report(self) -> Report:
        """Device, kernel, dispatches, seconds of every stage MEASURED, and MODELLED for an NPU.

        The seconds in which the model was loaded are not in it.
        """
        done = FileResult.of(self.source, self.transcript, self.took, warnings=self.warnings)
        return Report(self.ran_on, (done,), load_seconds=None, total_seconds=self.took.total_seconds)

    def to_dict(self) -> dict[str, Any]:
        """The content of a json file: text, segments, language, as openai/whisper's result has them."""
        return as_document(self.transcript)

    def to_txt(self) -> str:
        """One segment per line."""
        return render(self.transcript, "txt")

    def to_srt(self, **layout: Unpack[LayoutKeywords]) -> str:
        return self._rendered("srt", layout)

    def to_vtt(self, **layout: Unpack[LayoutKeywords]) -> str:
        return self._rendered("vtt", layout)

    def to_tsv(self) -> str:
        """Start and end in milliseconds, and text."""
        return self._rendered("tsv", {})

    def to_lrc(self, **layout: Unpack[LayoutKeywords]) -> str:
        return self._rendered("lrc", layout)

    def to_json(self, **layout: Unpack[LayoutKeywords]) -> str:
        return self._rendered("json", layout)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        output_format: str | None = None,
        **layout: Unpack[LayoutKeywords],
    ) -> Path:
        """Write the transcript to a file, completely or not at all, and return its path.

        output_format: one of txt, srt, vtt, tsv, json, lrc; None: the one that the path ends with.
        Raises UsageError for another format, and OutputError if the file cannot be written.
        """
        target = at_home(path)
        fmt = (output_format or target.suffix.removeprefix(".")).lower()
        if fmt not in FORMATS:
            raise UsageError(
                f"{shown(target)} ends with no format of transcripts: end it with "
                f".{', .'.join(FORMATS)}, or give output_format"
                if output_format is None
                else f"unknown output format {output_format!r}; choose from {', '.join(FORMATS)}"
            )
        write_atomically(target, self._rendered(fmt, layout))
        return target

    def _rendered(self, fmt: str, layout: Mapping[str, Any]) -> str:
        return render(self.transcript, fmt, Layout.of(layout, fmt))

    def __str__(self) -> str:
        return self.text.strip()

    def __repr__(self) -> str:
        text = self.text.strip()
        if len(text) > _SHOWN_OF_TEXT:
            text = f"{text[:_SHOWN_OF_TEXT]}..."
        n = len(self.segments)
        part = "" if self.finished else " so far"
        return f"<Transcription {self.language}, {self.duration:.2f} s, {n} segments{part}: {text!r}>"
