"""Real speech, real weights: what is transcribed, and that nobody else's encoder did it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import faster_whisper
import numpy as np
import pytest

from tests.support.weights import require_weights
from whisper_npu import load_model
from whisper_npu.benchmark.wer import EnglishNormalizer, word_error_rate
from whisper_npu.checkpoint import Checkpoint
from whisper_npu.dtypes import F32
from whisper_npu.errors import DeviceError, UsageError
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

pytestmark = [pytest.mark.weights, pytest.mark.slow]

ENGLISH = TranscribeOptions(language="en")


@pytest.fixture(scope="module")
def tiny_model(tiny_en: Checkpoint) -> Iterator[Model]:
    with Model(tiny_en, Emulator()) as model:
        yield model


def test_every_stage_is_done_within_its_context(tiny_en: Checkpoint, speech: dict[str, F32]) -> None:
    """What the caller does with a segment is no part of decoding."""
    inside: list[str] = []
    seen: list[list[str]] = []

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        inside.append(name)
        seen.append(list(inside))
        yield
        assert inside.pop() == name

    of_caller = []
    with Model(tiny_en, Emulator()) as model:
        model.within(stage)
        model.transcribe(speech["sns-0930.wav"], ENGLISH, lambda segment: of_caller.append(list(inside)))
    assert seen == [
        ["audio"],
        ["decode"],
        ["decode", "mel"],  # its loudest frame is looked for
        ["decode", "mel"],  # a window
        ["decode", "encoder"],
        ["decode", "other"],
    ]
    assert of_caller == [["decode", "other"]]
    assert inside == []


@pytest.fixture(scope="module")
def base_model(base: Checkpoint) -> Iterator[Model]:
    with Model(base, Emulator()) as model:
        yield model


def test_the_word_error_rate_is_at_most_8_percent(
    base: Checkpoint, speech: dict[str, F32], said: dict[str, str]
) -> None:
    """Of tiny.en `benchmark wer` counts the words: tests/unit/benchmark/test_word_errors.py."""
    with Model(base, Emulator(), "64x64") as model:
        heard = {name: model.transcribe(samples, ENGLISH).text for name, samples in speech.items()}
    normalize = EnglishNormalizer(base.normalizer)
    assert word_error_rate(list(said.values()), [heard[name] for name in said], normalize).rate <= 0.08


def test_exact_fidelity_says_the_same(tiny_en: Checkpoint, tiny_model: Model, speech: dict[str, F32]) -> None:
    samples = speech["sns-0930.wav"]
    with Model(tiny_en, Emulator(Fidelity.EXACT), "gemm") as exact:  # of layers it takes three times as long
        assert exact.transcribe(samples, ENGLISH).text == tiny_model.transcribe(samples, ENGLISH).text


@pytest.mark.parametrize("kernel", ["layer", "gemm"])
def test_the_transcript_comes_from_the_weights_on_the_device(
    tiny_en: Checkpoint, speech: dict[str, F32], kernel: str
) -> None:
    """With what the device holds for the last block in the first one the text changes: nothing stands in."""
    samples = speech["sns-0920.wav"]
    once = TranscribeOptions(language="en", temperature=(0.0,), max_new_tokens=20)  # nonsense is long
    with Model(tiny_en, Emulator(), kernel) as model:
        right = model.transcribe(samples, once).text
        first, *others = model.encoder.blocks
        model.encoder.blocks = [replace(first, held=others[-1].held), *others]
        assert model.transcribe(samples, once).text != right


def test_all_that_makes_products_is_on_record(tiny_model: Model, speech: dict[str, F32]) -> None:
    run = tiny_model.transcribe(speech["sns-0880.wav"], ENGLISH).took.encoder
    assert run.windows == 1
    layers = tiny_model.checkpoint.dims.n_audio_layer
    assert {one.name: one.stats.calls for one in run.runs} == {"stem": 1, "layer": layers}
    assert all(one.stats.dispatches == one.stats.calls * one.plan.dispatches for one in run.runs)


def test_a_window_of_base_takes_the_known_number_of_dispatches(base: Checkpoint) -> None:
    mel = np.zeros((base.dims.n_mels, 3000), np.float32)
    for kernel, dispatches in (("64x64", 172_000), ("64x512", 21_500), ("gemm", 38), ("auto", 7)):
        with Model(base, Emulator(), kernel) as model:
            with model.encoder.device.recording() as recording:
                model.encoder(mel)
            assert recording.stats.dispatches == dispatches


@pytest.mark.parametrize("batch_size", [None, 2])
def test_the_language_is_detected(base_model: Model, speech: dict[str, F32], batch_size: int | None) -> None:
    done = base_model.transcribe(speech["sns-0870.wav"], TranscribeOptions(batch_size=batch_size))
    assert done.transcript.language == "en"
    assert done.transcript.language_probability > 0.5
    assert done.took.encoder.windows == 1  # the window in which it was detected is not encoded again


def test_threads_may_share_a_model(tiny_model: Model, speech: dict[str, F32]) -> None:
    three = list(speech.values())[:3]
    right = [tiny_model.transcribe(samples, ENGLISH).text for samples in three]
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(lambda samples: tiny_model.transcribe(samples, ENGLISH), three))
    assert [one.text for one in done] == right
    assert [one.took.encoder.windows for one in done] == [1] * len(three)


def test_a_closed_model_says_so(tiny_en: Checkpoint, speech: dict[str, F32]) -> None:
    with Model(tiny_en, Emulator()) as model:
        pass
    with pytest.raises(DeviceError, match="was closed"):
        model.transcribe(speech["sns-0880.wav"], ENGLISH)


def test_the_same_recording_is_encoded_again(tiny_model: Model, speech: dict[str, F32]) -> None:
    """What is remembered of a window does not outlive the recording: each report counts its own."""
    for _ in range(2):
        run = tiny_model.transcribe(speech["sns-0880.wav"], ENGLISH).took.encoder
        assert run.windows == 1
        assert run.runs


def test_languages_go_by_code_and_by_name(base_model: Model, speech: dict[str, F32]) -> None:
    samples = speech["sns-0930.wav"]
    by_name = base_model.transcribe(samples, TranscribeOptions(language="German")).transcript
    by_code = base_model.transcribe(samples, TranscribeOptions(language="de")).transcript
    assert by_name == by_code
    assert by_name.language == "de"


def test_a_long_recording_is_transcribed_window_by_window(
    tiny_model: Model, long_speech: F32, said: dict[str, str]
) -> None:
    done = tiny_model.transcribe(long_speech, ENGLISH)
    assert done.took.encoder.windows >= 2
    segments = done.transcript.segments
    assert segments[-1].end > 35
    assert [s.start for s in segments] == sorted(s.start for s in segments)
    assert done.text.lower().count("how much there might be") == 2


def test_windows_in_batches_say_the_same(tiny_model: Model, long_speech: F32) -> None:
    blocks = tiny_model.encoder.blocks
    held = [block.held for block in blocks]
    done = tiny_model.transcribe(long_speech, TranscribeOptions(language="en", batch_size=2))
    assert all(
        block.held is before for block, before in zip(blocks, held, strict=True)
    )  # nothing laid out anew
    assert done.took.encoder.windows >= 2
    assert {run.name: run.stats.calls for run in done.took.encoder.runs}["stem"] == done.took.encoder.windows
    segments = done.transcript.segments
    assert segments[-1].end > 35
    assert len(segments) > 2  # not one for each window
    text = done.text.lower()
    assert [text.count(said) for said in ("how much there might be", "more amiable woman")] == [2, 1]


@pytest.mark.parametrize("word_timestamps", [False, True])
def test_windows_in_batches_are_decoded_to_their_ends(
    tiny_model: Model, speech: dict[str, F32], word_timestamps: bool
) -> None:
    """The last phrases of both windows, where tiny.en stops before: one whole, one cut off by the end."""
    samples = np.concatenate(list(speech.values()) * 2)[: 44 * 16_000]
    options = TranscribeOptions(language="en", batch_size=2, word_timestamps=word_timestamps)
    done = tiny_model.transcribe(samples, options)
    text = done.text.lower()
    said = ("how much there might be", "cold-hearted", "more amiable woman", "been made amiable himself")
    assert [text.count(phrase) for phrase in said] == [2, 2, 2, 1]
    segments = done.transcript.segments
    assert [s.start for s in segments] == sorted(s.start for s in segments)
    assert 43 < segments[-1].end < 44.5
    if word_timestamps:
        starts = [word.start for segment in segments for word in segment.words or ()]
        assert starts == sorted(starts)
        assert starts[-1] > 43


def test_silence_in_batches_is_no_text(base_model: Model) -> None:
    done = base_model.transcribe(np.zeros(5 * 16_000, np.float32), TranscribeOptions(batch_size=2))
    assert done.transcript.segments == ()


def test_encoder_and_decoder_agree_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    init = faster_whisper.WhisperModel.__init__

    def watched(self: object, *args: object, cpu_threads: int, **options: object) -> None:
        given.append(cpu_threads)
        init(self, *args, cpu_threads=cpu_threads, **options)

    monkeypatch.setattr(faster_whisper.WhisperModel, "__init__", watched)
    with load_model(require_weights("tiny.en"), device="emulator", threads=1) as model:
        assert given == [1]
        assert model.device.threads.count == 1


def test_words_have_times(tiny_model: Model, speech: dict[str, F32]) -> None:
    samples = speech["sns-0930.wav"]
    options = TranscribeOptions(language="en", word_timestamps=True)
    transcript = tiny_model.transcribe(samples, options).transcript
    words = [word for segment in transcript.segments for word in segment.words or ()]
    assert "".join(word.word for word in words).strip() == transcript.text.strip()
    assert all(0 <= w.start <= w.end <= len(samples) / 16_000 + 0.5 for w in words)


def test_voice_activity_detection_leaves_the_times_of_the_recording(
    tiny_model: Model, speech: dict[str, F32]
) -> None:
    silence = np.zeros(8 * 16_000, np.float32)
    samples = np.concatenate([silence, speech["sns-0930.wav"]])
    options = TranscribeOptions(language="en", vad_filter=True)
    segments = tiny_model.transcribe(samples, options).transcript.segments
    assert segments[0].start > 7
    assert "amiable" in segments[0].text


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(1, np.float32),
        np.zeros(100, np.float32),
        np.full(1600, 1e-3, np.float32),
        np.zeros(5 * 16_000, np.float32),
        np.zeros(70 * 16_000, np.float32),
        (np.random.default_rng(0).standard_normal(5 * 16_000) * 1e-4).astype(np.float32),
    ],
    ids=["nothing", "one sample", "6 ms", "0.1 s", "5 s silent", "70 s silent", "5 s of faint noise"],
)
@pytest.mark.parametrize("name", ["tiny.en", "base"])
def test_without_speech_there_is_no_text(
    name: str, samples: F32, tiny_model: Model, base_model: Model
) -> None:
    """Whisper itself says "You" to 5 s of zeros."""
    model = tiny_model if name == "tiny.en" else base_model
    assert model.transcribe(samples).text == ""


def test_speech_after_silence_is_still_heard(tiny_model: Model, speech: dict[str, F32]) -> None:
    samples = np.concatenate([np.zeros(40 * 16_000, np.float32), speech["sns-0930.wav"]])
    segments = tiny_model.transcribe(samples, ENGLISH).transcript.segments
    assert "amiable" in segments[-1].text
    assert segments[0].start > 30


def test_what_an_english_model_cannot_do_is_refused(tiny_model: Model, speech: dict[str, F32]) -> None:
    samples = speech["sns-0930.wav"]
    with pytest.raises(UsageError, match=r"tiny\.en does not know French \(fr\)"):
        tiny_model.transcribe(samples, TranscribeOptions(language="fr"))
    with pytest.raises(UsageError, match="cannot translate"):
        tiny_model.transcribe(samples, TranscribeOptions(task="translate"))


def test_a_language_that_came_with_later_models_is_refused(base_model: Model) -> None:
    with pytest.raises(UsageError, match=r"base does not know Cantonese \(yue\)"):
        base_model.transcribe("no such file.wav", TranscribeOptions(language="yue"))


@pytest.fixture(scope="module")
def peer(tiny_en: Checkpoint) -> faster_whisper.WhisperModel:
    return faster_whisper.WhisperModel(
        str(tiny_en.decoder_folder), device="cpu", compute_type="float32", cpu_threads=2
    )


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"hotwords": "sensibilty, Willoughby"}, {}),
        ({"prefix": "Well, indeed:"}, {}),
        ({"clip_timestamps": (0.0, 7.0)}, {}),
        ({"vad_filter": True, "vad_threshold": 0.7}, {"vad_parameters": {"threshold": 0.7}}),
        ({"word_timestamps": True, "hallucination_silence_threshold": 1.0}, {}),
    ],
    ids=lambda options: "-".join(options) or "-",
)
def test_options_do_what_they_do_in_faster_whisper(
    tiny_en: Checkpoint,
    peer: faster_whisper.WhisperModel,
    speech: dict[str, F32],
    options: dict[str, Any],
    theirs: dict[str, Any],
) -> None:
    """Same text; and times, which the bf16 of the encoder may move by some steps of the decoder's clock."""
    silence = np.zeros(2 * 16_000, np.float32)
    samples = np.concatenate([speech["sns-0880.wav"], silence, speech["sns-0920.wav"]])
    with Model(tiny_en, Emulator(), compute_type="float32") as model:
        ours = model.transcribe(samples, TranscribeOptions(language="en", **options))
    given = {name: value for name, value in options.items() if name not in ("vad_threshold",)}
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    segments = list(peer.transcribe(samples, language="en", **given, **theirs)[0])
    assert [s.text for s in ours.transcript.segments] == [s.text for s in segments]
    for mine, peers in zip(ours.transcript.segments, segments, strict=True):
        assert (mine.seek, mine.start, mine.end) == pytest.approx(
            (peers.seek, peers.start, peers.end), abs=0.25
        )


def test_load_model_takes_a_name_and_audio_a_path(said: dict[str, str]) -> None:
    from tests.e2e.conftest import SAMPLES

    with load_model(require_weights("tiny.en"), device="emulator", kernel="64x512") as model:
        done = model.transcribe(SAMPLES / "sns-0930.wav")
    assert json.dumps(done.text).lower().count("amiable") == 1
