"""faster-whisper's loop over a recording, and this project's changes to its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from whisper_npu.audio import SAMPLE_RATE
from whisper_npu.dtypes import F32
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.result import Segment, Word

SHORTEST_REST = 1.0  # seconds at the end of a window that are decoded separately; VAD pads speech by 0.4
NO_SPEECH_THRESHOLD = 0.6  # openai/whisper's: above it the model doubts that anybody speaks


def run_loop(
    whisper: faster_whisper.WhisperModel, samples: F32, options: TranscribeOptions, language: str | None
) -> tuple[Iterator[Any], Any]:
    """faster-whisper's segments of a recording, decoded while they are iterated, and its info.

    samples: (n_samples,) float32. language: a code that the model knows; None: detect it.
    """
    loop = whisper.transcribe
    if options.batch_size is not None:
        loop = partial(
            _WholeWindows(whisper).transcribe,
            batch_size=options.batch_size,
            chunk_length=whisper.feature_extractor.n_samples / SAMPLE_RATE,
        )
    segments, info = loop(
        samples,
        language=language,
        task=options.task,
        beam_size=options.beam_size,
        temperature=list(options.temperature),
        initial_prompt=options.initial_prompt,
        condition_on_previous_text=options.condition_on_previous_text,
        no_speech_threshold=NO_SPEECH_THRESHOLD,
        word_timestamps=options.word_timestamps,
        without_timestamps=False,
        vad_filter=options.vad_filter or options.batch_size is not None,
    )
    return segments, info


class _WholeWindows(faster_whisper.BatchedInferencePipeline):  # type: ignore[misc]  # untyped
    """Decodes several windows at once, each to its end.

    Whisper often stops before the end, at a phrase that it has opened and not closed. faster-whisper's
    sequential loop continues from there, but its batches drop the rest (its issue 1427). Here the rest
    becomes a window of the next batch.
    """

    last_speech_timestamp: float  # faster-whisper's: where words end so far

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


def spoken(segments: Iterator[Any], samples: F32) -> Iterator[Any]:
    """The segments without those that Whisper invents in silence.

    faster-whisper keeps a segment that the model is sure of even if it hears no speech: "You" for 5 s of
    zeros. Such a segment is kept only if Silero VAD hears speech too.
    """
    vad = faster_whisper.vad
    for segment in segments:
        heard = samples[int(segment.start * SAMPLE_RATE) : int(segment.end * SAMPLE_RATE)]
        doubtful = segment.no_speech_prob > NO_SPEECH_THRESHOLD or not heard.any()
        if not doubtful or vad.get_speech_timestamps(heard, vad.VadOptions()):
            yield segment


def as_segment(segment: Any, id: int) -> Segment:
    words = segment.words and tuple(
        Word(float(w.start), float(w.end), w.word, float(w.probability)) for w in segment.words
    )
    return Segment(
        id=id,
        start=float(segment.start),
        end=float(segment.end),
        text=segment.text,
        tokens=tuple(segment.tokens),
        avg_logprob=float(segment.avg_logprob),
        no_speech_prob=float(segment.no_speech_prob),
        compression_ratio=float(segment.compression_ratio),
        temperature=float(segment.temperature or 0.0),
        words=words,
    )
