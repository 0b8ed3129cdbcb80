"""The transcript of a recording, and what it took. Times are in seconds from the start of the audio."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.npu.device import Run


@dataclass(frozen=True)
class Word:
    start: float
    end: float
    word: str  # with the space before it, if it has one
    probability: float  # 0..1


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


@dataclass(frozen=True)
class Transcript:
    segments: tuple[Segment, ...]
    language: str  # ISO 639-1 code, such as "en"
    language_probability: float  # 0..1
    duration: float  # of the audio

    @property
    def text(self) -> str:
        """The segments' texts, joined."""
        return "".join(segment.text for segment in self.segments)


@dataclass(frozen=True)
class EncoderRun:
    """What the encoder did for one recording. Seconds are MEASURED."""

    windows: int  # of 30 s
    runs: tuple[Run, ...]  # one per product's name and plan
    total_seconds: float

    @property
    def pack_seconds(self) -> float:
        """Time to round operands to bf16 and lay them out for the kernel."""
        return sum(run.stats.pack_measured_s for run in self.runs)

    @property
    def kernel_seconds(self) -> float:
        """Time inside the device."""
        return sum(run.stats.kernel_measured_s for run in self.runs)

    @property
    def host_seconds(self) -> float:
        """The rest: softmax, GELU, norms, biases, residuals."""
        return self.total_seconds - self.pack_seconds - self.kernel_seconds


@dataclass(frozen=True)
class Transcription:
    """A transcript and what it took. Seconds are MEASURED."""

    transcript: Transcript
    encoder: EncoderRun
    audio_seconds: float  # reading, resampling
    mel_seconds: float
    decode_seconds: float  # faster-whisper's loop and CTranslate2's decoder
    heard_seconds: float | None = None  # of the recording: its clips, as far as decoded; None: all of it

    @property
    def text(self) -> str:
        return self.transcript.text
