"""From a recording to faster-whisper's segments: what is heard of it, its language, and the loop over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from whisper_npu.audio import SAMPLE_RATE, SampleSource, Sound
from whisper_npu.transcription.audible import Audible
from whisper_npu.transcription.batches import in_batches
from whisper_npu.transcription.encoded import EncodedOnDevice
from whisper_npu.transcription.features import Mel
from whisper_npu.transcription.loop import detection_threshold, loop_arguments
from whisper_npu.transcription.options import WHOLE_RECORDING, WINDOW_SECONDS, TranscribeOptions
from whisper_npu.transcription.resume import ResumePoint, clips_from
from whisper_npu.transcription.speech import (
    Cut,
    first_speech,
    packed,
    parts_with_speech,
    vad_options,
)

OnWindow = Callable[[ResumePoint], None]  # is called before each window is decoded


@dataclass(frozen=True)
class Listening:
    """What is known of a recording before it is decoded, and how to decode it."""

    language: str
    language_probability: float
    source: Audible  # what is heard
    segments: Iterator[Any]  # faster-whisper's, decoded while they are iterated; times as in the recording


def listen(
    whisper: EncodedOnDevice,
    sound: Sound,
    options: TranscribeOptions,
    on_window: OnWindow,
    after: ResumePoint | None = None,
) -> Listening:
    """Start on a recording, or go on with it from a point.

    options: such as `whisper` can honour. on_window gets points whose `n_segments` is not filled in.
    """
    source = Audible(sound, whisper.feature_extractor.go_on)
    whisper.feature_extractor.set_window(options.chunk_length)
    listen_to = _one_by_one if options.batch_size is None else _in_batches
    return listen_to(whisper, source, options, on_window, after)


def language_of(whisper: EncodedOnDevice, sound: Sound) -> tuple[str, float]:
    """The code of the language that is spoken first, and its probability from 0 to 1."""
    source, options = Audible(sound), TranscribeOptions()
    whisper.feature_extractor.set_window(None)
    return _language(whisper, whisper.feature_extractor.mel_of(source), source, options, None)


def _one_by_one(
    whisper: EncodedOnDevice,
    source: Audible,
    options: TranscribeOptions,
    on_window: OnWindow,
    after: ResumePoint | None,
) -> Listening:
    """By faster-whisper's sequential loop: each window begins where the one before it has stopped."""
    features = whisper.feature_extractor
    heard: SampleSource = source
    clips = options.clip_timestamps
    if options.vad_filter and clips == WHOLE_RECORDING:
        vad = vad_options(options, WINDOW_SECONDS)
        heard = Cut(source, [*parts_with_speech(source, vad, features.go_on)])
    elif clips == WHOLE_RECORDING:
        clips = source.clips_with_sound()
    mel = features.mel_of(heard)

    def where() -> float:
        seconds = mel.position * features.time_per_frame
        return heard.seconds_in_source(seconds) if isinstance(heard, Cut) else seconds

    whisper.where = where
    language, probability = _language(whisper, mel, heard, options, after)
    spoken_until = whisper.spoken_until = after.spoken_until if after else 0.0

    def at_window(tokens: list[int]) -> None:
        on_window(ResumePoint(0, mel.position, where(), tuple(tokens), spoken_until, language, probability))

    def followed(segments: Iterator[Any]) -> Iterator[Any]:
        nonlocal spoken_until
        for segment in segments:
            if segment.words:
                spoken_until = segment.words[-1].end
            yield segment

    arguments = loop_arguments(options) | {"language": language, "vad_filter": False}
    if clips != options.clip_timestamps:
        arguments["clip_timestamps"] = list(clips)
    if after is not None:
        clips = clips_from(clips, after.window)
        arguments |= {"clip_timestamps": list(clips), "initial_prompt": list(after.tokens)}
    if not clips:
        return Listening(language, probability, source, iter(()))
    whisper.on_window = at_window
    with features.hearing(mel):
        # faster-whisper asks an array for its length, and the feature extractor for all else.
        length_only = np.broadcast_to(np.float32(0), heard.n_samples)
        segments, _ = whisper.transcribe(length_only, **arguments)
    segments = followed(segments)
    if isinstance(heard, Cut):
        segments = heard.restored(segments)
    return Listening(language, probability, source, segments)


def _in_batches(
    whisper: EncodedOnDevice,
    source: Audible,
    options: TranscribeOptions,
    on_window: OnWindow,
    after: ResumePoint | None,
) -> Listening:
    """Several windows at once, which hold speech that is cut at pauses."""
    features = whisper.feature_extractor
    window_seconds = options.chunk_length or features.chunk_length
    vad = vad_options(options, features.chunk_length)
    groups = packed(parts_with_speech(source, vad, features.go_on), int(window_seconds * SAMPLE_RATE))
    group = next(groups, [])
    first = Cut(source, group)
    language, probability = _language(whisper, features.mel_of(first), first, options, after)

    def at_batch(number: int, start: int) -> None:
        seconds = start / SAMPLE_RATE
        whisper.where = lambda: seconds
        on_window(ResumePoint(0, number, seconds, (), 0.0, language, probability))

    segments = in_batches(
        whisper,
        source,
        chain([group] if group else [], groups),
        options,
        language,
        at_batch,
        first=after.window if after else 0,
    )
    return Listening(language, probability, source, segments)


def _language(
    whisper: EncodedOnDevice,
    mel: Mel,
    heard: SampleSource,
    options: TranscribeOptions,
    after: ResumePoint | None,
) -> tuple[str, float]:
    """Its code, and the probability from 0 to 1: as given, as it was, or as detected where speech begins."""
    if after is not None:
        return after.language, after.language_probability
    if options.language is not None or not whisper.model.is_multilingual:
        return options.language or "en", 1.0
    n_frames = mel.shape[1] - 1  # without the one behind the end
    start = round(options.clip_timestamps[0] / whisper.feature_extractor.time_per_frame)
    start = first_speech(
        heard,
        start if start < n_frames else 0,
        whisper.feature_extractor.nb_max_frames,
        vad_options(options, WINDOW_SECONDS),
        whisper.feature_extractor.go_on,
    )
    n_windows = options.language_detection_segments
    stop = min(start + n_windows * whisper.feature_extractor.nb_max_frames, n_frames)
    language, probability, _ = whisper.detect_language(
        features=mel[:, start : max(start + 1, stop)],
        language_detection_segments=n_windows,
        language_detection_threshold=detection_threshold(options),
    )
    return language, float(probability)
