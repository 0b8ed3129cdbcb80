"""How a transcript is laid out in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from whisper_npu.errors import NoEffectError, UsageError, quoted
from whisper_npu.near import did_you_mean


class LayoutKeywords(TypedDict, total=False):
    """`Layout`'s options, as keywords."""

    max_line_width: int | None
    max_line_count: int | None
    max_words_per_line: int | None
    highlight_words: bool
    pretty_json: bool


_FORMATS_WITH = {
    "max_line_width": ("srt", "vtt", "lrc"),
    "max_line_count": ("srt", "vtt", "lrc"),
    "max_words_per_line": ("srt", "vtt", "lrc"),
    "highlight_words": ("srt", "vtt"),
    "pretty_json": ("json",),
}


@dataclass(frozen=True)
class Layout:
    """The lines of subtitles, in the names and with the meaning of openai/whisper. None: no limit.

    Without max_line_count every segment begins a cue of its own; with it cues are filled, whatever segments
    their words are from. Raises UsageError for a limit below 1, or one that would have no effect.
    """

    max_line_width: int | None = None  # characters, spaces included
    max_line_count: int | None = None  # lines in one cue
    max_words_per_line: int | None = None  # words in one cue, which then has one line
    highlight_words: bool = False  # one cue per word, which is underlined (srt and vtt)
    pretty_json: bool = False  # indented

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            limit = getattr(self, name)
            if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
                raise UsageError(f"{name} is {quoted(limit)}, must be a whole number, or None for no limit")
            if limit is not None and limit < 1:
                raise UsageError(
                    f"{name} is {limit}, must be at least 1; leave it out for no limit", option=name
                )
        if self.max_line_count is not None and self.max_line_width is None:
            raise UsageError(
                f"max_line_count {self.max_line_count} has no effect on lines of any length; "
                "give max_line_width as well",
                option="max_line_count",
            )
        if self.max_words_per_line is not None and self.max_line_width is not None:
            raise UsageError(
                f"max_words_per_line {self.max_words_per_line} and max_line_width {self.max_line_width}: "
                "lines are limited in words or in characters, not in both; give one of the two",
                option="max_words_per_line",
            )

    @classmethod
    def of(cls, keywords: Mapping[str, Any], fmt: str) -> Layout:
        """Raises UsageError for a name that is no option's, or that of one that `fmt` does not have."""
        names = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in names:
                hint = did_you_mean(name, names) or f"there are {', '.join(names)}"
                raise UsageError(f"there is no option {quoted(name)} of a layout: {hint}")
            if keywords[name] and fmt not in _FORMATS_WITH[name]:
                formats = ", ".join(_FORMATS_WITH[name])
                raise NoEffectError(f"{name} has no effect on {fmt}, only on {formats}: leave it out")
        return cls(**keywords)

    @property
    def needs_words(self) -> bool:
        """Whether subtitles of this layout need a transcript with word timestamps."""
        return self.highlight_words or self.max_line_width is not None or self.max_words_per_line is not None
