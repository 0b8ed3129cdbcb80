"""What faster-whisper's loop is given, and what is made of its segments."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

from whisper_npu.dtypes import F32
from whisper_npu.errors import DecoderError, UsageError
from whisper_npu.transcription.libraries import faster_whisper
from whisper_npu.transcription.options import WHOLE_RECORDING, WINDOW_SECONDS, TranscribeOptions
from whisper_npu.transcription.speech import vad_options
from whisper_npu.transcription.transcript import Segment, Word


def run_loop(
    whisper: faster_whisper.WhisperModel, samples: F32, options: TranscribeOptions
) -> tuple[Iterator[Any], Any]:
    """faster-whisper's segments of a recording, decoded one window after the other, and its info.

    samples: (n_samples,) float32. options: such as `whisper` can honour.
    """
    segments, info = whisper.transcribe(samples, **loop_arguments(options))
    return segments, info


def loop_arguments(options: TranscribeOptions) -> dict[str, Any]:
    """What faster-whisper's `WhisperModel.transcribe` calls the options."""
    return _common(options) | {
        "temperature": list(options.temperature),
        "best_of": options.best_of,
        "compression_ratio_threshold": options.compression_ratio_threshold,
        "log_prob_threshold": options.log_prob_threshold,
        "no_speech_threshold": options.no_speech_threshold,
        "condition_on_previous_text": options.condition_on_previous_text,
        "prompt_reset_on_temperature": options.prompt_reset_on_temperature,
        "prefix": options.prefix,
        "max_initial_timestamp": options.max_initial_timestamp,
        "hallucination_silence_threshold": options.hallucination_silence_threshold,
        # Any list, even [0.0], would switch the VAD filter off.
        "clip_timestamps": "0"
        if options.clip_timestamps == WHOLE_RECORDING
        else list(options.clip_timestamps),
        "vad_filter": options.vad_filter,
        "vad_parameters": vad_options(options, WINDOW_SECONDS),
        "language_detection_threshold": detection_threshold(options),
        "language_detection_segments": options.language_detection_segments,
    }


def batch_arguments(options: TranscribeOptions) -> dict[str, Any]:
    """What faster-whisper's `BatchedInferencePipeline.transcribe` calls those of the options that it has."""
    return _common(options) | {"temperature": options.temperature[0], "batch_size": options.batch_size}


def detection_threshold(options: TranscribeOptions) -> float:
    """None: a probability is never above 1, so every window votes."""
    threshold = options.language_detection_threshold
    return 1.0 if threshold is None else threshold


def _common(options: TranscribeOptions) -> dict[str, Any]:
    return {
        "language": options.language,
        "task": options.task,
        "beam_size": options.beam_size,
        "patience": options.patience,
        "length_penalty": options.length_penalty,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "suppress_blank": options.suppress_blank,
        "suppress_tokens": list(options.suppress_tokens),
        "max_new_tokens": options.max_new_tokens,
        "without_timestamps": options.without_timestamps,
        "initial_prompt": options.initial_prompt,
        "hotwords": options.hotwords,
        "word_timestamps": options.word_timestamps,
        "prepend_punctuations": options.prepend_punctuations,
        "append_punctuations": options.append_punctuations,
        "multilingual": options.multilingual,
        "chunk_length": options.chunk_length,
    }


def check_clips(options: TranscribeOptions, duration: float) -> None:
    """Raises UsageError for a clip that starts behind the end of a recording of `duration` seconds."""
    for start in options.clip_timestamps[::2]:
        if 0 < start >= duration:
            raise UsageError(
                f"clip_timestamps has a clip from {start:g} s, but the recording lasts {duration:.2f} s: "
                "leave the clip out",
                option="clip_timestamps",
            )


def as_segment(segment: Any, id: int, duration: float) -> Segment:
    """A segment of faster-whisper's, with times that lie within the recording. duration: its seconds.

    Raises DecoderError for a segment of a decoder that no longer computes numbers.
    """
    start, end = _within(segment, duration)
    if not isfinite(segment.avg_logprob):
        raise DecoderError(
            f"the decoder gives {segment.avg_logprob} as log probability of what it heard at {start:.2f} s: "
            "its weights are damaged; whisper-npu models verify says which"
        )
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
