"""A transcript's words in the lines and cues of subtitles.

The rules are those of openai/whisper (SubtitlesWriter in whisper/utils.py), so that the cues are the same.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

from whisper_npu.output.layout import Layout
from whisper_npu.output.times import in_order, milliseconds
from whisper_npu.transcription.transcript import Segment, Transcript, Word

LONG_PAUSE = 3.0  # seconds from word to word after which a cue that joins segments ends
_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LETTERS_THAT_JOIN = "\u200c\u0e33\u0eb3\uff9e\uff9f"  # besides marks: ZWNJ, Thai and Lao am, voiced kana
_JOINER = "\u200d"  # ZWJ, as in the emoji of a family
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_FLAG_LETTERS = re.compile("[\U0001f1e6-\U0001f1ff]*$")  # two make a flag

Line = list[Word]


class Cue(NamedTuple):
    start: int  # milliseconds
    end: int
    text: str


def cues(transcript: Transcript, layout: Layout, *, escape: bool) -> list[Cue]:
    """What srt and vtt show. Words that hold markup are escaped as in HTML, or not."""
    shown = [
        cue for lines in laid_out(transcript.segments, layout) for cue in _shown(lines, layout, escape=escape)
    ]
    return _in_order(shown, transcript)


def timed_lines(transcript: Transcript, layout: Layout) -> list[Cue]:
    """The same lines one by one, for lrc."""
    shown = [
        Cue(milliseconds(line[0].start), milliseconds(line[-1].end), _text([line], escape=False))
        for lines in laid_out(transcript.segments, layout)
        for line in lines
    ]
    return _in_order(shown, transcript)


def segment_lines(transcript: Transcript) -> list[Cue]:
    """Each segment as one line, for txt and tsv. Those without text are left out."""
    shown = [
        Cue(milliseconds(segment.start), milliseconds(segment.end), text)
        for segment in transcript.segments
        if (text := speech_line(segment.text).strip())
    ]
    return _in_order(shown, transcript)


def speech_line(text: str) -> str:
    """What was said, to be printed or written in one line.

    Line breaks become spaces; control characters go, since players and terminals obey some of them.

    Marks that set the direction of writing stay.
    """
    text = _LINE_BREAK.sub(" ", text)
    return "".join(c for c in text if c == "\t" or unicodedata.category(c) != "Cc")


def laid_out(segments: Sequence[Segment], layout: Layout) -> Iterator[list[Line]]:
    """The lines of each cue. A limit of lines joins segments, as openai/whisper does."""
    lines: list[Line] = []  # of the cue that is being filled
    width = 0  # of its last line
    last = 0.0  # start of the last word
    for group in _groups(segments, layout):
        for position, word in enumerate(group):
            room = layout.max_line_width is None or width + len(word.word) <= layout.max_line_width
            pause = word.start - last > LONG_PAUSE
            last = word.start
            if layout.max_line_count is None:
                new_cue = position == 0
            else:
                new_cue = pause or (not room and len(lines) >= layout.max_line_count)
            if lines and room and not new_cue:
                lines[-1].append(word)
                width += len(word.word)
                continue
            if lines and new_cue:
                yield lines
                lines = []
            first = replace(word, word=word.word.lstrip())
            lines.append([first])
            width = len(first.word)
    if lines:
        yield lines


def _groups(segments: Sequence[Segment], layout: Layout) -> Iterator[Line]:
    """The words of each segment, in as many groups as the limit of words asks for."""
    for segment in segments:
        words = _words(segment)
        size = layout.max_words_per_line or max(1, len(words))
        for start in range(0, len(words), size):
            yield words[start : start + size]


def _words(segment: Segment) -> Line:
    """A segment's words; without word timestamps the whole segment as one.

    Whisper's tokenizer cuts languages without spaces at every character. Where that separates what belongs
    to one letter, such as a vowel sign, the parts are joined again, so that no line breaks there.
    """
    words: Line = []
    for word in segment.words or (Word(segment.start, segment.end, segment.text, 1.0),):
        text = speech_line(word.word)
        if words and (not text.strip() or _belongs_to(words[-1].word, text)):
            words[-1] = replace(words[-1], end=word.end, word=words[-1].word + text)
        elif text.strip():
            words.append(replace(word, word=text))
    return words


def _belongs_to(before: str, text: str) -> bool:
    """Whether no grapheme cluster ends between the two.

    The rules are those of Unicode's annex 29 without Hangul in single letters, which Whisper does not write.
    """
    first = text[0]
    if unicodedata.category(first) in ("Mn", "Mc", "Me") or first in _LETTERS_THAT_JOIN + _SKIN_TONES:
        return True
    if first == _JOINER or before[-1] == _JOINER:
        return True
    flags_end = _FLAG_LETTERS.search(before)
    half_a_flag = flags_end is not None and len(flags_end.group()) % 2 == 1
    return half_a_flag and "\U0001f1e6" <= first <= "\U0001f1ff"


def _shown(lines: list[Line], layout: Layout, *, escape: bool) -> Iterator[Cue]:
    """One cue, or with highlighted words one for each word and each gap between two."""
    words = [word for line in lines for word in line]
    plain = _text(lines, escape=escape)
    start = milliseconds(words[0].start)
    if not layout.highlight_words:
        yield Cue(start, milliseconds(words[-1].end), plain)
        return
    last = start
    for spoken, word in enumerate(words):
        start, end = milliseconds(word.start), milliseconds(word.end)
        if last < start:
            yield Cue(last, start, plain)
        yield Cue(start, end, _text(lines, escape=escape, spoken=spoken))
        last = end


def _text(lines: list[Line], *, escape: bool, spoken: int | None = None) -> str:
    """The lines, with the word at the place `spoken` underlined."""
    place = count()
    texts = []
    for line in lines:
        text = ""
        for word in line:
            shown = html.escape(word.word, quote=False) if escape else word.word
            text += _underlined(shown) if next(place) == spoken else shown
        texts.append(text.rstrip())
    return "\n".join(texts)


def _underlined(word: str) -> str:
    body = word.strip()
    before, _, after = word.partition(body)
    return f"{before}<u>{body}</u>{after}"


def _in_order(shown: list[Cue], transcript: Transcript) -> list[Cue]:
    # Rounded down: a cue must not outlast the recording. The small number is for 2.3 * 1000 = 2299.99...
    limit = max(1, int(1000 * transcript.duration + 1e-6))
    times = in_order([(cue.start, cue.end) for cue in shown], limit, least=1)
    return [Cue(start, end, cue.text) for cue, (start, end) in zip(shown, times, strict=True)]
