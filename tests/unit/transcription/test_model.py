"""A model at work: streams, prompts, positions and refusals, with a decoder that says what a test wrote."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from tests.support.scripted_decoder import SILENT, ScriptedDecoder, Window, small_model
from whisper_npu.dtypes import F32
from whisper_npu.errors import AudioError, CancelledError, DecoderError, DeviceError, UsageError
from whisper_npu.transcription.clips import seconds_within
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.stream import Stream

TWO = Window([(0.0, " the", 12.0), (12.0, " an", 30.0)])
ONE = Window([(0.0, " the", 30.0)])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with small_model(tmp_path_factory.mktemp("small")) as model:
        yield model


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with small_model(tmp_path_factory.mktemp("english"), multilingual=False) as model:
        yield model


@pytest.fixture
def decoder(small: Model, monkeypatch: pytest.MonkeyPatch) -> ScriptedDecoder:
    scripted = ScriptedDecoder(small)
    monkeypatch.setattr(small._whisper, "model", scripted)
    return scripted


def noise(seconds: float) -> F32:
    """(n_samples,) float32, different everywhere, so that no window is mistaken for another."""
    return np.random.default_rng(0).standard_normal(round(seconds * 16_000), dtype=np.float32) / 10


def test_a_stream_decodes_what_is_asked_for(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE]
    with small.stream(noise(60), TranscribeOptions()) as stream:
        assert (stream.language, stream.language_probability, stream.duration) == ("de", 0.75, 60.0)
        assert decoder.prompts == []
        assert stream.result().transcript.segments == ()
        assert next(stream).text == " the"
        assert len(decoder.prompts) == 1
        assert [segment.text for segment in stream.result().transcript.segments] == [" the"]
        assert [segment.text for segment in stream] == [" an", " the"]
        assert stream.finished
    done = stream.result()
    assert [(s.id, s.seek, s.start, s.end) for s in done.transcript.segments] == [
        (0, 0, 0.0, 12.0),
        (1, 0, 12.0, 30.0),
        (2, 3000, 30.0, 60.0),
    ]
    assert (done.transcript.language, done.transcript.duration) == ("de", 60.0)
    assert done.took.encoder.windows == 2
    assert done.took.decode_seconds > 0


def test_transcribe_hands_over_what_the_stream_has(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO]
    handed = []
    done = small.transcribe(noise(30), TranscribeOptions(language="haw"), handed.append)
    assert tuple(handed) == done.transcript.segments
    assert done.transcript.language == "haw"
    assert done.transcript.language_probability == 1.0


def test_the_position_moves_with_every_window_in_silence_too(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [SILENT, SILENT, Window([(0.0, " the", 4.0)]), Window([(0.0, " an", 3.0)])]
    seen = []
    with small.stream(noise(100), TranscribeOptions(language="de", temperature=(0.0,))) as stream:
        decoder.on_window = lambda: seen.append(stream.seconds_done)
        assert [segment.start for segment in stream] == [60.0, 90.0]
        assert seen == [0, 30, 60, 90]
        assert stream.seconds_done == 100


def test_the_position_starts_at_the_first_clip(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE]
    seen = []
    options = TranscribeOptions(language="de", clip_timestamps=(40.0, 50.0))
    with small.stream(noise(60), options) as stream:
        decoder.on_window = lambda: seen.append(stream.seconds_done)
        list(stream)
    assert seen == [40]


def test_an_interrupt_leaves_what_was_decoded(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE, ONE]

    def interrupt() -> None:
        if len(decoder.prompts) == 1:
            raise KeyboardInterrupt

    decoder.on_window = interrupt
    with small.stream(noise(60), TranscribeOptions()) as stream:
        with pytest.raises(KeyboardInterrupt):
            list(stream)
        assert list(stream) == []
    done = stream.result()
    assert [segment.text for segment in done.transcript.segments] == [" the", " an"]
    assert done.took.encoder.windows == 2
    assert not stream.finished
    assert stream.seconds_done == 30
    decoder.on_window = lambda: None
    assert small.transcribe(noise(30)).text == " the"  # the model is as good as before
    assert [segment.text for segment in stream.result().transcript.segments] == [" the", " an"]


def test_an_exception_in_the_callers_hands_lets_the_model_go(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE]

    def fail(segment: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        small.transcribe(noise(30), None, fail)
    assert small.transcribe(noise(30)).text == " the"


def test_a_stream_that_is_dropped_lets_the_model_go(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE]
    for _ in small.stream(noise(30)):
        break
    with ThreadPoolExecutor(1) as other:
        assert other.submit(small.transcribe, noise(30)).result(timeout=60).text == " the"


def test_a_second_recording_in_the_midst_of_one_is_refused_not_waited_for(
    small: Model, decoder: ScriptedDecoder
) -> None:
    decoder.windows = [TWO]
    with small.stream(noise(30)) as stream:
        for _ in stream:
            with pytest.raises(UsageError, match="in the middle of another recording"):
                small.transcribe(noise(30))


def test_a_stream_may_go_on_in_another_thread(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE]
    stream = small.stream(noise(30))
    with ThreadPoolExecutor(1) as other:
        assert [s.text for s in other.submit(list, stream).result(timeout=60)] == [" the", " an"]
    assert small.transcribe(noise(30)).text == " the"


@pytest.mark.parametrize("condition_on_previous_text", [True, False])
def test_a_carried_prompt_is_before_every_window(
    small: Model, decoder: ScriptedDecoder, condition_on_previous_text: bool
) -> None:
    decoder.windows = [ONE, ONE, ONE]
    options = TranscribeOptions(
        language="de",
        initial_prompt="Hanna",
        carry_initial_prompt=True,
        condition_on_previous_text=condition_on_previous_text,
    )
    small.transcribe(noise(90), options)
    read = [decoder.text(prompt) for prompt in decoder.prompts]
    assert len(read) == 3
    assert all(text.startswith("<|startofprev|> Hanna") for text in read)
    assert [text.count("Hanna") for text in read] == [1, 1, 1]
    assert [text.count(" the") for text in read] == ([0, 1, 2] if condition_on_previous_text else [0, 0, 0])


def test_a_prompt_is_before_the_first_window_only_unless_carried(
    small: Model, decoder: ScriptedDecoder
) -> None:
    decoder.windows = [ONE, ONE]
    options = TranscribeOptions(
        language="de", initial_prompt="Hanna", condition_on_previous_text=False, carry_initial_prompt=False
    )
    small.transcribe(noise(60), options)
    assert ["Hanna" in decoder.text(prompt) for prompt in decoder.prompts] == [True, False]


def test_a_carried_prompt_is_before_every_window_of_a_batch(
    small: Model, decoder: ScriptedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "faster_whisper.vad.get_speech_timestamps",
        lambda audio, options: [{"start": at, "end": at + 480_000} for at in (0, 480_000)],
    )
    decoder.windows = [ONE, ONE]
    options = TranscribeOptions(
        language="de", initial_prompt="Hanna", carry_initial_prompt=True, batch_size=2
    )
    assert len(small.transcribe(noise(60), options).transcript.segments) == 2
    assert [decoder.text(prompt).count("Hanna") for prompt in decoder.prompts] == [1, 1]


@pytest.mark.parametrize("threshold", [0.6, None])
def test_no_time_lies_outside_the_recording(
    small: Model, decoder: ScriptedDecoder, threshold: float | None
) -> None:
    """What was said behind its end is dropped with all that was said in silence, if that is dropped."""
    decoder.windows = [Window([(0.0, " the", 9.0), (9.0, " an", 14.0), (14.0, " the", 16.0)])]
    options = TranscribeOptions(language="de", no_speech_threshold=threshold)
    segments = small.transcribe(noise(10), options).transcript.segments
    assert [(s.start, s.end) for s in segments] == [(0, 9), (9, 10), (10, 10)][: 2 if threshold else 3]


@pytest.mark.parametrize(
    ("threshold", "probability", "text"),
    [(0.6, 0.7, ""), (0.6, 0.5, " the"), (0.8, 0.7, " the"), (None, 0.99, " the")],
)
def test_a_sure_segment_is_dropped_above_the_threshold_of_no_speech(
    small: Model, decoder: ScriptedDecoder, threshold: float | None, probability: float, text: str
) -> None:
    """Silero VAD hears no speech in noise."""
    decoder.windows = [Window([(0.0, " the", 5.0)], no_speech_prob=probability)]
    options = TranscribeOptions(language="de", no_speech_threshold=threshold)
    assert small.transcribe(noise(5) / 100, options).text == text


@pytest.mark.parametrize(("probability", "text"), [(0.61, ""), (0.59, " the")])
def test_the_threshold_of_no_speech_is_six_tenths(
    small: Model, decoder: ScriptedDecoder, probability: float, text: str
) -> None:
    """As in openai/whisper and faster-whisper."""
    decoder.windows = [Window([(0.0, " the", 5.0)], no_speech_prob=probability)]
    assert small.transcribe(noise(5) / 100, language="de").text == text


@pytest.mark.parametrize("conditions", [True, False])
def test_what_was_said_is_read_before_the_next_window_or_is_not(
    small: Model, decoder: ScriptedDecoder, conditions: bool
) -> None:
    decoder.windows = [TWO, ONE]
    small.transcribe(noise(60), language="de", condition_on_previous_text=conditions)
    first, second = map(decoder.text, decoder.prompts)
    assert second == (f"<|startofprev|> the an{first}" if conditions else first)


def test_the_window_in_which_the_language_was_detected_is_encoded_once(
    small: Model, decoder: ScriptedDecoder
) -> None:
    decoder.windows = [Window([(0.0, " the", 5.0)])]
    done = small.transcribe(noise(5))
    assert (done.transcript.language, done.took.encoder.windows) == ("de", 1)


def test_each_second_counts_as_one_thing_only(small: Model, decoder: ScriptedDecoder) -> None:
    """And those of the recording before are not among them."""
    decoder.windows = [TWO, ONE, ONE]
    for seconds, windows in ((60, 2), (30, 1)):
        start = perf_counter()
        took = small.transcribe(noise(seconds), language="de").took
        elapsed = perf_counter() - start
        assert took.encoder.windows == windows
        parts = took.audio_seconds, took.mel_seconds, took.encoder.total_seconds, took.decode_seconds
        assert min(parts) > 0
        assert sum(parts) == pytest.approx(took.total_seconds)
        assert took.total_seconds <= elapsed


@pytest.mark.parametrize(("threshold", "text"), [(0.6, ""), (None, " the")])
def test_zeros_say_nothing_unless_the_threshold_is_off(
    small: Model, decoder: ScriptedDecoder, threshold: float | None, text: str
) -> None:
    decoder.windows = [Window([(0.0, " the", 5.0)])]
    options = TranscribeOptions(language="de", no_speech_threshold=threshold)
    assert small.transcribe(np.zeros(5 * 16_000, np.float32), options).text == text


def test_windows_may_be_shorter(small: Model, decoder: ScriptedDecoder) -> None:
    """And those of the next recording are whole again."""
    decoder.windows = [Window([(0.0, " the", 10.0)])] * 3 + [ONE]
    done = small.transcribe(noise(30), TranscribeOptions(language="de", chunk_length=10))
    assert [s.seek for s in done.transcript.segments] == [0, 1000, 2000]
    assert len(small.transcribe(noise(30), TranscribeOptions(language="de")).transcript.segments) == 1


def test_only_the_clips_are_decoded(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [Window([(0.0, " the", 5.0)]), Window([(0.0, " an", 20.0)])]
    options = TranscribeOptions(language="de", clip_timestamps=(5.0, 10.0, 40.0))
    done = small.transcribe(noise(60), options)
    assert [(s.start, s.end) for s in done.transcript.segments] == [(5, 10), (40, 60)]
    assert (done.took.heard_seconds, done.transcript.duration) == (25, 60)


def test_of_clips_that_were_not_all_decoded_what_was_counts(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [Window([(0.0, " the", 5.0)])]
    options = TranscribeOptions(language="de", clip_timestamps=(5.0, 10.0, 40.0))
    with small.stream(noise(60), options) as stream:
        next(stream)
    assert stream.result().took.heard_seconds == 5


@pytest.mark.parametrize(
    ("clips", "end", "seconds"),
    [
        ((0.0,), 60.0, 60.0),
        ((0.0,), 0.0, 0.0),
        ((0.0, 5.0), 60.0, 5.0),
        ((0.0, 5.0), 3.0, 3.0),
        ((10.0,), 60.0, 50.0),
        ((10.0, 20.0, 30.0), 5.0, 0.0),
        ((10.0, 20.0, 30.0), 25.0, 10.0),
        ((10.0, 20.0, 30.0), 60.0, 40.0),
    ],
)
def test_seconds_within_clips(clips: tuple[float, ...], end: float, seconds: float) -> None:
    assert seconds_within(clips, end) == seconds


def test_a_clip_behind_the_end_is_refused(small: Model) -> None:
    with pytest.raises(UsageError, match=r"a clip from 20 s, but the recording lasts 10\.00 s: leave"):
        small.transcribe(noise(10), TranscribeOptions(clip_timestamps=(5.0, 15.0, 20.0)))


def test_the_language_of_a_recording(small: Model, decoder: ScriptedDecoder, english: Model) -> None:
    assert small.detect_language(noise(1)) == ("de", 0.75)
    assert english.detect_language(noise(1)) == ("en", 1.0)
    with pytest.raises(AudioError):
        small.detect_language("no such file.wav")
    assert decoder.prompts == []


@pytest.mark.parametrize("raised", [RuntimeError, ValueError])
def test_a_decoder_that_cannot_tell_the_language(
    small: Model, decoder: ScriptedDecoder, monkeypatch: pytest.MonkeyPatch, raised: type[Exception]
) -> None:
    def fail(_encoded: object) -> None:
        raise raised("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(decoder, "detect_language", fail)
        with pytest.raises(DecoderError, match="failed to detect language: no memory"):
            small.detect_language(noise(1))
        with pytest.raises(DecoderError, match="failed to detect language: no memory"):
            small.transcribe(noise(1))
    assert small.detect_language(noise(1)) == ("de", 0.75)


def test_faster_whispers_way_to_detect_a_language_works(small: Model, decoder: ScriptedDecoder) -> None:
    for arguments in ({"audio": noise(1)}, {"features": np.zeros((128, 100), np.float32)}):
        assert small._whisper.detect_language(**arguments)[:2] == ("de", 0.75)


def test_the_language_of_every_window(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE]
    small.transcribe(noise(30), TranscribeOptions(multilingual=True))
    assert "<|de|>" in decoder.text(decoder.prompts[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"language": "de"}, r"does not know German \(de\), it knows English only: take one without \.en"),
        ({"multilingual": True}, r"knows English only: take one without \.en"),
        ({"task": "translate"}, r"cannot translate, it knows English only: take one without \.en"),
    ],
)
def test_what_an_english_model_cannot_do_is_refused(
    english: Model, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        english.stream(noise(1), TranscribeOptions(**options))  # type: ignore[arg-type]


def test_a_language_without_a_token_is_refused(small: Model) -> None:
    with pytest.raises(UsageError, match=r"does not know Cantonese \(yue\): take a later one, such as turbo"):
        small.transcribe(noise(1), TranscribeOptions(language="cantonese"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suppress_tokens": (-1, 1773)}, "names token 1773, but the model's are 0 to 1772: "),
        ({"initial_prompt": "x " * 200}, "initial_prompt is 400 tokens long, the model reads at most 223"),
        ({"hotwords": "x" * 300}, "hotwords is 301 tokens long"),
        ({"prefix": "x" * 300}, "prefix is 301 tokens long"),
        ({"hotwords": "x" * 150}, r"leaves 70 of .* needs 100: shorten hotwords \(151 tokens\), or switch"),
        ({"initial_prompt": "x" * 199, "prefix": "x" * 199}, r"initial_prompt \(200 .* or prefix \(200"),
        ({"max_new_tokens": 224}, "leaves 221 .* needs 224: lower max_new_tokens, or switch off"),
    ],
)
def test_what_does_not_fit_the_decoder_is_refused_before_any_work(
    small: Model, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        small.stream("no such file.wav", TranscribeOptions(**options))  # type: ignore[arg-type]


def test_long_hotwords_fit_without_the_text_before(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE]
    options = TranscribeOptions(language="de", hotwords="x" * 150, condition_on_previous_text=False)
    assert small.transcribe(noise(30), options).text == " the"
    assert decoder.text(decoder.prompts[0]).count("x") == 150


def test_options_may_be_keywords(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, TWO]
    assert small.transcribe(noise(30), language="haw").language == "haw"
    with small.stream(noise(30), TranscribeOptions(language="haw"), language="en") as stream:
        assert stream.language == "en"
    with pytest.raises(UsageError, match="did you mean beam_size"):
        small.transcribe(noise(30), beamsize=1)  # type: ignore[call-arg]


def test_arrays_of_any_rate_and_layout(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE] * 4
    stereo = np.stack([noise(30), noise(30)], axis=1)  # (n_samples, n_channels)
    for array, rate in ((stereo, 16_000), (stereo.T, 8_000), ((stereo * 32_767).astype(np.int16), 48_000)):
        done = small.transcribe(array, sampling_rate=rate, language="de")
        assert done.duration == 480_000 / rate
    assert small.detect_language(stereo.astype(np.float64), sampling_rate=44_100) == ("de", 0.75)
    with pytest.raises(AudioError, match="sample rate 0"):
        small.transcribe(noise(1), sampling_rate=0)


def test_progress_is_seconds_done_of_seconds_in_all(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, SILENT, ONE]
    seen: list[tuple[float, float]] = []
    small.transcribe(
        noise(90), language="de", temperature=0.0, on_progress=lambda *seconds: seen.append(seconds)
    )
    assert seen == [(12, 90), (30, 90), (60, 90), (90, 90)]


def test_a_stream_is_cancelled_from_another_thread(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, SILENT, ONE]
    stream = small.stream(noise(90), language="de")
    assert next(stream).text == " the"
    assert next(stream).text == " an"
    decoder.on_window = stream.cancel  # as another thread would, while this one waits for a segment
    with pytest.raises(CancelledError, match=r"the array: cancelled after 30\.0 s"):
        next(stream)
    assert len(decoder.prompts) == 2  # the second window is not tried at higher temperatures
    assert stream.result().text == " the an"
    assert not stream.finished
    decoder.on_window = lambda: None
    assert small.transcribe(noise(30)).text == " the"


def test_a_result_says_what_ran(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE]
    done = small.transcribe(noise(30), language="de")
    assert done.source == "the array"
    assert done.ran_on == small.ran_on
    assert (done.ran_on.device, done.ran_on.compute_type) == ("emulator", "float32")
    assert done.report.stats.dispatches == done.took.encoder.stats.dispatches > 0


def test_what_was_decoded_already_is_not_told_after_a_cancel(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE]
    stream = small.stream(noise(30), language="de")
    assert next(stream).text == " the"  # the window's second phrase is known by now
    stream.cancel()
    assert small.transcribe(noise(30), language="de").text == " the"  # the model is free already
    for _ in range(2):
        with pytest.raises(CancelledError):
            next(stream)
    assert not stream.finished
    assert not stream.result().finished


def test_the_work_is_cancelled_while_the_language_is_detected(
    small: Model, decoder: ScriptedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = Event()
    asked = []

    def detect_language(encoded: Any) -> list[list[tuple[str, float]]]:
        asked.append(encoded)
        cancelled.set()
        return [[("<|de|>", 0.25)]]

    monkeypatch.setattr(decoder, "detect_language", detect_language)
    with pytest.raises(CancelledError):
        small.stream(noise(90), language_detection_segments=3, cancelled=cancelled)
    assert len(asked) == 1
    with pytest.raises(CancelledError):  # before any work
        small.transcribe(noise(90), cancelled=cancelled)
    assert len(asked) == 1


def test_one_that_waits_for_the_model_is_cancelled(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO]
    cancelled = Event()
    with ThreadPoolExecutor(1) as other, small.stream(noise(30), language="de") as stream:
        next(stream)
        waiting = other.submit(small.transcribe, noise(30), cancelled=cancelled)
        cancelled.set()
        with pytest.raises(CancelledError):
            waiting.result(timeout=30)
        assert next(stream).text == " an"


def test_a_stream_is_closed_while_another_thread_waits_for_a_segment(
    small: Model, decoder: ScriptedDecoder
) -> None:
    decoder.windows = [SILENT, ONE]
    at_work, go = Event(), Event()

    def hold() -> None:
        at_work.set()
        assert go.wait(30)

    decoder.on_window = hold
    stream = small.stream(noise(60), language="de", temperature=0.0)
    with ThreadPoolExecutor(2) as others:
        waiting = others.submit(next, stream)
        assert at_work.wait(30)
        closing = others.submit(stream.close)
        while not stream._decoded.closed:
            pass
        go.set()
        with pytest.raises(CancelledError):
            waiting.result(timeout=30)
        closing.result(timeout=30)
    decoder.on_window = lambda: None
    decoder.windows = [ONE]
    assert small.transcribe(noise(30)).text == " the"


def test_a_callback_may_close_its_stream(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TWO, ONE]
    streams: list[Stream] = []
    stream = small.stream(noise(60), language="de", on_progress=lambda *_: streams[0].close())
    streams.append(stream)
    assert next(stream).text == " the"
    with pytest.raises(CancelledError):
        next(stream)


def test_a_thread_that_goes_on_with_a_stream_is_not_left_to_wait_for_itself(
    small: Model, decoder: ScriptedDecoder
) -> None:
    decoder.windows = [TWO]
    stream = small.stream(noise(30), language="de")

    def consume() -> None:
        for _ in stream:
            small.transcribe(noise(30))

    with ThreadPoolExecutor(1) as other, pytest.raises(UsageError, match="in the middle of another"):
        other.submit(consume).result(timeout=30)
    stream.close()


@pytest.mark.parametrize("name", ["on_progress", "on_segment"])
def test_what_cannot_be_called_is_refused_before_the_work(small: Model, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is 5, must be a function"):
        small.transcribe(noise(1), **{name: 5})  # type: ignore[arg-type]


def test_a_closed_model_does_nothing(tmp_path: Path) -> None:
    with small_model(tmp_path, multilingual=False) as closed:
        pass
    for ask in (closed.transcribe, closed.stream, closed.detect_language):
        with pytest.raises(DeviceError, match="closed"):
            ask(noise(1))
