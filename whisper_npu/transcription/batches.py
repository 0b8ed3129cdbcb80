"""Several windows decoded at once, by faster-whisper's batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

import numpy as np

from whisper_npu.audio import HOP_LENGTH, SAMPLE_RATE, SampleSource
from whisper_npu.dtypes import F32
from whisper_npu.transcription.encoded import EncodedOnDevice
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.loop import batch_arguments
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.speech import Cut, Part

T = TypeVar("T")
SHORTEST_REST = 1.0  # seconds at the end of a window that are decoded separately; VAD pads speech by 0.4


def in_batches(
    whisper: EncodedOnDevice,
    source: SampleSource,
    groups: Iterable[Sequence[Part]],
    options: TranscribeOptions,
    language: str,
    on_batch: Callable[[int, int], None],
    *,
    first: int = 0,
) -> Iterator[Any]:
    """The segments of groups of parts, each of which fits into a window. Groups are taken batch by batch.

    on_batch is called with the number of its first group, and the sample at which that starts, before each
    batch is decoded. first: where to begin. Where the device works ahead, the log-mel of the next batch is
    made before a batch is decoded, and its windows are encoded meanwhile.
    """
    batches = _batches(whisper, source, groups, options, language, first)
    for batch in one_ahead(batches) if whisper.works_ahead else batches:
        on_batch(batch.number, batch.start)
        for segment in batch.segments:
            segment.seek += batch.samples_before // HOP_LENGTH
            yield segment


@dataclass(frozen=True)
class _Batch:
    number: int  # of its first group
    start: int  # the sample at which that starts
    samples_before: int  # of the groups before it
    segments: Iterator[Any]  # faster-whisper's, decoded while they are iterated; times as in the source


def _batches(
    whisper: EncodedOnDevice,
    source: SampleSource,
    groups: Iterable[Sequence[Part]],
    options: TranscribeOptions,
    language: str,
    first: int,
) -> Iterator[_Batch]:
    """Each with the log-mel of its windows, which the encoder expects."""
    assert options.batch_size is not None
    pipeline = _WholeWindows(whisper)
    arguments = batch_arguments(options) | {"language": language, "vad_filter": False}
    groups = iter(groups)
    before = sum(part.n_samples for group in islice(groups, first) for part in group)
    number = first
    while batch := list(islice(groups, options.batch_size)):
        heard = Cut(source, list(chain.from_iterable(batch)))
        # Half a sample more, for faster-whisper rounds seconds down to samples.
        lengths = [sum(part.n_samples for part in group) for group in batch]
        edges = (np.cumsum([0, *lengths]) + 0.5) / SAMPLE_RATE
        clips = [{"start": start, "end": end} for start, end in pairwise(edges)]
        samples = heard.samples(0, heard.n_samples)
        segments, _ = pipeline.transcribe(samples, clip_timestamps=clips, **arguments)
        yield _Batch(number, batch[0][0].start, before, heard.restored(segments))
        before += heard.n_samples
        number += len(batch)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same; each is given when the one behind it is there, or has failed, which is raised in its turn."""
    current = next(items, None)
    while current is not None:
        failure: Exception | None = None
        following = None
        try:
            following = next(items, None)
        except Exception as error:
            failure = error
        yield current
        if failure is not None:
            raise failure
        current = following


class _WholeWindows(faster_whisper.BatchedInferencePipeline):  # type: ignore[misc]  # untyped
    """Decodes several windows at once, each to its end.

    Whisper often stops before the end, at a phrase that it has opened and not closed. faster-whisper's
    sequential loop continues from there, but its batches drop the rest (its issue 1427). Here the rest
    becomes a window of the next batch.
    """

    model: EncodedOnDevice
    last_speech_timestamp: float  # faster-whisper's: where words end so far

    def _batched_segments_generator(
        self,
        features: Sequence[F32],
        tokenizer: Any,
        chunks_metadata: Sequence[dict[str, Any]],
        batch_size: int,
        options: Any,
        log_progress: bool,
    ) -> Iterator[Any]:
        """features: (n_mels, n_frames) float32 each: known here, encoded when segments are taken."""
        self.model.expect(features, batch_size)
        segments: Iterator[Any] = super()._batched_segments_generator(
            features, tokenizer, chunks_metadata, batch_size, options, log_progress
        )
        return segments

    def forward(
        self, features: F32, tokenizer: Any, chunks_metadata: Sequence[dict[str, Any]], options: Any
    ) -> list[list[dict[str, Any]]]:
        """features: (batch, n_mels, n_frames) float32. Returns the segments of each window."""
        segments: list[list[dict[str, Any]]] = [[] for _ in features]
        waiting = list(zip(segments, features, chunks_metadata, strict=True))
        while waiting:
            places, windows, chunks = zip(*waiting, strict=True)
            spoken_until = self.last_speech_timestamp
            found = super().forward(np.stack(windows), tokenizer, chunks, options)
            # The rest of an early window must not hide what was said in later ones.
            self.last_speech_timestamp = max(spoken_until, self.last_speech_timestamp)
            waiting = []
            for place, window, chunk, new, tokens in zip(
                places, windows, chunks, found, self._tokens, strict=True
            ):
                place += new
                done = _stopped_at(tokens, tokenizer.timestamp_begin) * self.model.time_precision
                if min(done, chunk["duration"] - done) >= SHORTEST_REST:
                    rest = window[:, round(done * self.model.frames_per_second) :]
                    left = {"offset": chunk["offset"] + done, "duration": chunk["duration"] - done}
                    waiting.append(
                        (place, faster_whisper.audio.pad_or_trim(rest, window.shape[1]), chunk | left)
                    )
        return segments

    def generate_segment_batched(self, features: F32, tokenizer: Any, options: Any) -> tuple[Any, Any]:
        encoded, outputs = super().generate_segment_batched(features, tokenizer, options)
        self._tokens: list[list[int]] = [output["tokens"] for output in outputs]
        return encoded, outputs


def _stopped_at(tokens: Sequence[int], timestamp_begin: int) -> int:
    """The last timestamp at which one phrase ends and another begins, in steps of the timestamps.

    0 if the tokens are complete: a single timestamp at the end says that nothing follows.
    """
    times = [token >= timestamp_begin for token in tokens]
    pairs = [i for i in range(1, len(tokens)) if times[i - 1] and times[i]]
    if not pairs or times[-2:] == [False, True]:
        return 0
    return tokens[pairs[-1] - 1] - timestamp_begin
