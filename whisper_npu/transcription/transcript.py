"""What was said in a recording. Times are in seconds from the start of the audio."""

from __future__ import annotations

from dataclasses import dataclass, replace

_FRAMES_PER_SECOND = 100  # in which `Segment.seek` counts


@dataclass(frozen=True)
class Word:
    """A word, or a part of one in languages that do not separate them."""

    start: float
    end: float
    word: str  # with the space before it, if it has one
    probability: float  # 0..1

    def moved(self, seconds: float) -> Word:
        return replace(self, start=_rounded(seconds + self.start), end=_rounded(seconds + self.end))


@dataclass(frozen=True)
class Segment:
    """A phrase, with the fields of openai/whisper's segments."""

    id: int
    seek: int  # where its window starts, in frames of 10 ms; without what vad_filter cut out
    start: float
    end: float
    text: str  # with the space before it, if it has one
    tokens: tuple[int, ...]
    avg_logprob: float  # mean over the tokens, natural logarithm
    no_speech_prob: float  # 0..1
    compression_ratio: float  # of the text by zlib; high if it repeats itself
    temperature: float  # with which it was sampled; 0 is greedy
    words: tuple[Word, ...] | None  # None without word timestamps

    def moved(self, seconds: float) -> Segment:
        """The same, so much later: from a part of a recording to the whole."""
        return replace(
            self,
            seek=self.seek + round(seconds * _FRAMES_PER_SECOND),
            start=_rounded(seconds + self.start),
            end=_rounded(seconds + self.end),
            words=self.words and tuple(word.moved(seconds) for word in self.words),
        )


@dataclass(frozen=True)
class Transcript:
    """All that was said in a recording."""

    segments: tuple[Segment, ...]
    language: str  # ISO 639-1 code, such as "en"
    language_probability: float  # 0..1
    duration: float  # of the recording

    @property
    def text(self) -> str:
        """The segments' texts, joined."""
        return "".join(segment.text for segment in self.segments)


def _rounded(seconds: float) -> float:
    """To milliseconds, which are finer than Whisper's times: 4.736, and not 4.736000000000001."""
    return round(seconds, 3)
