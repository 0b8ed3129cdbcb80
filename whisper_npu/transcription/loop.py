"""faster-whisper's loop over a recording, and this project's changes to its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from whisper_npu.audio import SAMPLE_RATE
from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.options import (
    MIN_SILENCE_IN_BATCHES_MS,
    MIN_SILENCE_MS,
    WHOLE_RECORDING,
    WINDOW_SECONDS,
    TranscribeOptions,
)
from whisper_npu.transcription.transcript import Segment, Word

SHORTEST_REST = 1.0  # seconds at the end of a window that are decoded separately; VAD pads speech by 0.4


def run_loop(
    whisper: faster_whisper.WhisperModel, samples: F32, options: TranscribeOptions
) -> tuple[Iterator[Any], Any]:
    """faster-whisper's segments of a recording, decoded while they are iterated, and its info.

    samples: (n_samples,) float32. options: such as `whisper` can honour.
    """
    loop = partial(
        whisper.transcribe,
        temperature=list(options.temperature),
        best_of=options.best_of,
        compression_ratio_threshold=options.compression_ratio_threshold,
        log_prob_threshold=options.log_prob_threshold,
        no_speech_threshold=options.no_speech_threshold,
        condition_on_previous_text=options.condition_on_previous_text,
        prompt_reset_on_temperature=options.prompt_reset_on_temperature,
        prefix=options.prefix,
        max_initial_timestamp=options.max_initial_timestamp,
        hallucination_silence_threshold=options.hallucination_silence_threshold,
        # Any list, even [0.0], would switch the VAD filter off.
        clip_timestamps="0" if options.clip_timestamps == WHOLE_RECORDING else list(options.clip_timestamps),
        vad_filter=options.vad_filter,
    )
    if options.batch_size is not None:
        loop = partial(
            _WholeWindows(whisper).transcribe,
            temperature=options.temperature[0],
            batch_size=options.batch_size,
            vad_filter=True,
        )
    segments, info = loop(
        samples,
        language=options.language,
        task=options.task,
        beam_size=options.beam_size,
        patience=options.patience,
        length_penalty=options.length_penalty,
        repetition_penalty=options.repetition_penalty,
        no_repeat_ngram_size=options.no_repeat_ngram_size,
        suppress_blank=options.suppress_blank,
        suppress_tokens=list(options.suppress_tokens),
        max_new_tokens=options.max_new_tokens,
        without_timestamps=options.without_timestamps,
        initial_prompt=options.initial_prompt,
        hotwords=options.hotwords,
        word_timestamps=options.word_timestamps,
        prepend_punctuations=options.prepend_punctuations,
        append_punctuations=options.append_punctuations,
        multilingual=options.multilingual,
        # A probability is never above 1: every window votes.
        language_detection_threshold=1.0
        if options.language_detection_threshold is None
        else options.language_detection_threshold,
        language_detection_segments=options.language_detection_segments,
        vad_parameters=vad_options(options, whisper.feature_extractor.chunk_length),
        chunk_length=options.chunk_length,
    )
    return segments, info


def check_clips(options: TranscribeOptions, duration: float) -> None:
    """Raises UsageError for a clip that starts behind the end of a recording of `duration` seconds."""
    for start in options.clip_timestamps[::2]:
        if 0 < start >= duration:
            raise UsageError(
                f"clip_timestamps has a clip from {start:g} s, but the recording lasts {duration:.2f} s: "
                "leave the clip out",
                option="clip_timestamps",
            )


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


def spoken(segments: Iterator[Any], samples: F32, options: TranscribeOptions) -> Iterator[Any]:
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
        heard = samples[int(segment.start * SAMPLE_RATE) : int(segment.end * SAMPLE_RATE)]
        doubtful = segment.no_speech_prob > options.no_speech_threshold or not heard.any()
        if not doubtful or faster_whisper.vad.get_speech_timestamps(heard, vad):
            yield segment


def as_segment(segment: Any, id: int, duration: float) -> Segment:
    """A segment of faster-whisper's, with times that lie within the recording. duration: its seconds."""
    start, end = _within(segment, duration)
    return Segment(
        id=id,
        seek=segment.seek,
        start=start,
        end=end,
        text=segment.text,
        tokens=tuple(segment.tokens),
        avg_logprob=float(segment.avg_logprob),
        no_speech_prob=float(segment.no_speech_prob),
        compression_ratio=float(segment.compression_ratio),
        temperature=float(segment.temperature or 0.0),
        words=None if segment.words is None else tuple(_as_word(word, duration) for word in segment.words),
    )


def _as_word(word: Any, duration: float) -> Word:
    start, end = _within(word, duration)
    return Word(start, end, word.word, float(word.probability))


def _within(timed: Any, duration: float) -> tuple[float, float]:
    """Start and end of a segment or word, in order and between 0 and `duration`."""
    start = min(max(0.0, float(timed.start)), duration)
    return start, min(max(start, float(timed.end)), duration)
