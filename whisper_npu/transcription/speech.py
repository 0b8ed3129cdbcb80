"""Where speech is, by Silero VAD, and what Whisper hears of a recording once the rest is cut out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from whisper_npu.audio import HOP_LENGTH, SAMPLE_RATE, Samples, SampleSource
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.options import (
    MIN_SILENCE_IN_BATCHES_MS,
    MIN_SILENCE_MS,
    WINDOW_SECONDS,
    TranscribeOptions,
)
from whisper_npu.transcription.stages import no_question

PIECE = 120 * SAMPLE_RATE  # samples that Silero VAD hears at once, which takes it 80 MB (MEASURED)
LEAD = 4 * SAMPLE_RATE  # samples before speech with which a piece begins, to which Silero VAD can settle


@dataclass(frozen=True)
class Part:
    """From sample `start` to before sample `stop` of a recording."""

    start: int
    stop: int

    @property
    def n_samples(self) -> int:
        return self.stop - self.start


class Cut:
    """Parts of a source, one behind the other: a source itself."""

    def __init__(self, source: SampleSource, parts: Sequence[Part]) -> None:
        self._source, self.parts = source, parts
        self._ends = list(accumulate(part.n_samples for part in parts))
        self.n_samples = self._ends[-1] if parts else 0

    def samples(self, start: int, stop: int) -> Samples:
        """Those from `start` to before `stop`, as far as there are any: (n,) float32."""
        found = [np.empty(0, np.float32)]
        for i in range(bisect_right(self._ends, start), len(self.parts)):
            part, end = self.parts[i], self._ends[i]
            before = end - part.n_samples - part.start  # from a place in the recording to one here
            low, high = max(start, end - part.n_samples), min(stop, end)
            if low >= high:
                break
            found.append(self._source.samples(low - before, high - before))
        return np.concatenate(found)

    def seconds_in_source(self, seconds: float) -> float:
        """A time here as one in the source."""
        sample = round(seconds * SAMPLE_RATE)
        if not self.parts:
            return seconds
        i = min(bisect_right(self._ends, sample), len(self.parts) - 1)
        return self.parts[i].stop / SAMPLE_RATE - self._ends[i] / SAMPLE_RATE + seconds

    def restored(self, segments: Iterator[Any]) -> Iterator[Any]:
        """faster-whisper's segments, with times as in the source."""
        if not self.parts:
            return segments
        chunks = [{"start": part.start, "end": part.stop} for part in self.parts]
        return faster_whisper.transcribe.restore_speech_timestamps(segments, chunks, SAMPLE_RATE)  # type: ignore[no-any-return]


def voice_check() -> faster_whisper.vad.VadOptions:
    """Silero VAD's options where nobody has chosen any."""
    return vad_options(TranscribeOptions(), WINDOW_SECONDS)


def vad_options(options: TranscribeOptions, window_seconds: float) -> faster_whisper.vad.VadOptions:
    """Silero VAD's options. In batches speech is cut to windows, at shorter silences."""
    batched = options.batch_size is not None
    min_silence_ms = options.vad_min_silence_duration_ms
    if min_silence_ms is None:
        min_silence_ms = MIN_SILENCE_IN_BATCHES_MS if batched else MIN_SILENCE_MS
    return faster_whisper.vad.VadOptions(
        threshold=options.vad_threshold,
        neg_threshold=options.vad_neg_threshold,
        min_speech_duration_ms=options.vad_min_speech_duration_ms,
        max_speech_duration_s=options.chunk_length or window_seconds
        if batched
        else options.vad_max_speech_duration_s,
        min_silence_duration_ms=min_silence_ms,
        speech_pad_ms=options.vad_speech_pad_ms,
    )


def parts_with_speech(
    source: SampleSource,
    vad: faster_whisper.vad.VadOptions,
    go_on: Callable[[], None] = no_question,
    start: int = 0,
) -> Iterator[Part]:
    """Where speech is from sample `start` on, in order; parts do not overlap.

    Silero VAD hears `PIECE` samples at once. Speech at the end of a piece may go on behind it: the next piece
    begins before it. go_on: asked before each piece; raises where the work is to end.
    """
    done = start  # behind the last part
    while start < source.n_samples:
        go_on()
        stop = min(start + PIECE, source.n_samples)
        found = [
            Part(max(done, start + speech["start"]), start + speech["end"])
            for speech in _speech(source.samples(start, stop), vad)
        ]
        next_start = stop
        if stop < source.n_samples:
            next_start -= LEAD
            if found and found[-1].start - LEAD > start:
                next_start = found.pop().start - LEAD
        for part in found:
            yield part
            done = part.stop
        start = max(next_start, done)  # what was heard to its end is not heard again


def first_speech(
    source: SampleSource,
    frame: int,
    n_frames: int,
    vad: faster_whisper.vad.VadOptions,
    go_on: Callable[[], None] = no_question,
) -> int:
    """The frame of the log-mel at which to listen for the language.

    That is where speech begins; `frame` itself if there is some within n_frames of it, or none at all.
    """
    start = frame * HOP_LENGTH
    if _speech(source.samples(start, start + n_frames * HOP_LENGTH), vad):
        return frame
    for part in parts_with_speech(source, vad, go_on, start):
        return part.start // HOP_LENGTH
    return frame


def _speech(samples: Samples, vad: faster_whisper.vad.VadOptions) -> list[dict[str, int]]:
    """Silero VAD's answer."""
    speech: list[dict[str, int]] = faster_whisper.vad.get_speech_timestamps(samples, vad)
    return speech


def spoken(segments: Iterator[Any], source: SampleSource, options: TranscribeOptions) -> Iterator[Any]:
    """The segments without those that Whisper invents in silence.

    faster-whisper keeps a segment that the model is sure of even if it hears no speech: "You" for 5 s of
    zeros. Such a segment, with a probability of no speech above no_speech_threshold, or of zeros alone, is
    kept only if Silero VAD hears speech too. A threshold of None keeps them all, as openai/whisper does.
    """
    if options.no_speech_threshold is None:
        yield from segments
        return
    vad = vad_options(options, WINDOW_SECONDS)
    for segment in segments:
        heard = source.samples(int(segment.start * SAMPLE_RATE), int(segment.end * SAMPLE_RATE))
        doubtful = segment.no_speech_prob > options.no_speech_threshold or not heard.any()
        if not doubtful or _speech(heard, vad):
            yield segment


def packed(parts: Iterable[Part], most: int) -> Iterator[list[Part]]:
    """The parts in groups of at most `most` samples, in order. A longer part is a group of its own."""
    group: list[Part] = []
    room = most
    for part in parts:
        if group and part.n_samples > room:
            yield group
            group, room = [], most
        group.append(part)
        room -= part.n_samples
    if group:
        yield group
