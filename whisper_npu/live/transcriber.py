"""From utterances, one after the other, to lines: what one tells about the next."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from threading import Event

from whisper_npu.audio import SAMPLE_RATE, InMemory, Sound
from whisper_npu.live.line import Line
from whisper_npu.live.utterances import Utterance
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.transcript import Segment

_ENOUGH = 3.0  # seconds of speech, times the probability of its language, after which that is kept


class Transcriber:
    """Transcribes utterances in their order.

    What was said before is no prompt for what comes: of 612 words of clips with pauses tiny.en had 20 wrong
    without, 27 with the last line as prompt, and 35 with all lines; of 672 others 36 without, and 39 with the
    last two lines (MEASURED). So initial_prompt and hotwords are read before every utterance.

    language: with a multilingual model and no language given, each utterance's is detected, until one
    language was heard for `_ENOUGH` seconds, weighted with its probability; that is kept from then on.
    Utterances whose language is less sure than language_detection_threshold do not count. With multilingual
    each is detected for ever.
    """

    def __init__(self, options: TranscribeOptions) -> None:
        """options: such as `check_live_options` takes."""
        self._options = _without_voice_check(options)
        self._heard: defaultdict[str, float] = defaultdict(float)  # seconds times probability, by language
        self._n_segments = 0

    def final(self, model: Model, utterance: Utterance, cancelled: Event) -> Line:
        """Raises CancelledError, and what `Model.stream` raises."""
        done = _transcribed(model, utterance, self._options, cancelled)
        self._keep_language(done, utterance)
        segments = tuple(
            replace(segment.moved(utterance.start / SAMPLE_RATE), id=self._n_segments + i)
            for i, segment in enumerate(done.segments)
        )
        self._n_segments += len(segments)
        return _line(utterance, done, segments, is_final=True)

    def partial(self, model: Model, utterance: Utterance, cancelled: Event) -> Line:
        """As `final`, but for what may be said otherwise soon: by one quick attempt, leaving no trace."""
        done = _transcribed(model, utterance, _quick(self._options), cancelled)
        return _line(utterance, done, (), is_final=False)

    def _keep_language(self, done: Transcription, utterance: Utterance) -> None:
        options = self._options
        if options.language is not None or options.multilingual or not done.text.strip():
            return
        threshold = options.language_detection_threshold
        if threshold is None or done.language_probability > threshold:
            self._heard[done.language] += utterance.seconds * done.language_probability
        if self._heard[done.language] >= _ENOUGH:
            self._options = replace(options, language=done.language)


def _transcribed(
    model: Model, utterance: Utterance, options: TranscribeOptions, cancelled: Event
) -> Transcription:
    name = f"speech at {utterance.speech[0] / SAMPLE_RATE:.1f} s"
    return model.transcribe(Sound(name, InMemory(utterance.samples)), options, cancelled=cancelled)


def _line(
    utterance: Utterance, done: Transcription, segments: tuple[Segment, ...], *, is_final: bool
) -> Line:
    start, end = (sample / SAMPLE_RATE for sample in utterance.speech)
    return Line(utterance.id, start, end, done.text.strip(), is_final, segments, done.language)


def _without_voice_check(options: TranscribeOptions) -> TranscribeOptions:
    """The cutting has done that already."""
    plain = TranscribeOptions()
    return replace(
        options,
        vad_filter=False,
        vad_threshold=plain.vad_threshold,
        vad_neg_threshold=plain.vad_neg_threshold,
        vad_min_speech_duration_ms=plain.vad_min_speech_duration_ms,
    )


def _quick(options: TranscribeOptions) -> TranscribeOptions:
    """Greedy, once, and without the words' times."""
    plain = TranscribeOptions()
    return replace(
        options,
        beam_size=1,
        patience=plain.patience,
        temperature=options.temperature[:1],
        word_timestamps=False,
        prepend_punctuations=plain.prepend_punctuations,
        append_punctuations=plain.append_punctuations,
        hallucination_silence_threshold=None,
    )
