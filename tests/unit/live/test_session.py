"""Sound in, lines out: what comes when, with a decoder that says what a test wrote."""

from __future__ import annotations

import doctest
import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.live_speech import sentence, silence, spoken
from tests.support.scripted_decoder import SILENT, ScriptedDecoder, Window, small_model
from tests.support.weights import require_weights
from whisper_npu.audio import SAMPLE_RATE, Samples, load_audio
from whisper_npu.errors import AudioError, CancelledError, DecoderError, DeviceError, UsageError
from whisper_npu.live import session as session_module
from whisper_npu.live.line import Line
from whisper_npu.live.options import LiveOptions
from whisper_npu.live.session import Session, Work
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions

ROOT = Path(__file__).parents[3]
NO_PARTIALS = LiveOptions(partial_every=0)
ONE = Window([(0.0, " the", 1.0)])
TWO = Window([(0.0, " the", 1.0), (1.0, " an", 2.0)])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with small_model(tmp_path_factory.mktemp("small")) as model:
        yield model


@pytest.fixture
def decoder(small: Model, monkeypatch: pytest.MonkeyPatch) -> ScriptedDecoder:
    scripted = ScriptedDecoder(small)
    monkeypatch.setattr(small._whisper, "model", scripted)
    return scripted


def works(session: Session) -> Iterator[Work]:
    """All that can be taken by now."""
    while work := session.take():
        yield work


def lines(session: Session, model: Model) -> list[Line]:
    done = [work.run(model) for work in works(session)]
    return [line for line in done if line is not None]


def ended(
    samples: Samples, options: TranscribeOptions | None = None, live: LiveOptions = NO_PARTIALS
) -> Session:
    session = Session(options, live)
    session.feed(samples)
    session.end()
    return session


def heard(pieces: list[Samples]) -> list[tuple[int, int, bytes, tuple[int, int]]]:
    """The utterances in sound that is fed in these pieces."""
    session, found = Session(live=NO_PARTIALS), []
    for piece in pieces:
        session.feed(piece)
        found += [work.utterance for work in works(session)]
    session.end()
    found += [work.utterance for work in works(session)]
    return [(one.id, one.start, one.samples.tobytes(), one.speech) for one in found]


def test_each_sentence_becomes_a_line(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE, TWO]
    session = ended(spoken(1, 4, pause=1.0))
    first, second = lines(session, small)
    assert (first.id, first.text, first.is_final, first.language) == (0, "the", True, "de")
    assert (second.id, second.text, second.is_final) == (1, "the an", True)
    # Where the sentences are, with the silence that the clips themselves begin and end with.
    assert 1.0 <= first.start < 1.5
    assert 3.0 < first.end <= 1.0 + len(sentence(1)) / SAMPLE_RATE
    assert first.end + 1.0 < second.start < second.end <= session.seconds_heard - 1.0
    assert session.seconds_heard == pytest.approx(3 + (len(sentence(1)) + len(sentence(4))) / SAMPLE_RATE)
    assert session.is_done


def test_segments_have_the_times_and_numbers_of_the_session(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE, TWO]
    session = ended(spoken(1, 4))
    first, second = [(work.utterance, work.run(small)) for work in works(session)]
    for utterance, line in (first, second):
        assert line is not None
        start = utterance.start / SAMPLE_RATE
        assert [segment.start - start for segment in line.segments] == pytest.approx(
            [0.0, 1.0][: len(line.segments)]
        )
        assert {segment.seek for segment in line.segments} == {round(100 * start)}
    segments = [segment for _, line in (first, second) if line for segment in line.segments]
    assert [segment.id for segment in segments] == [0, 1, 2]


def test_a_line_in_which_nothing_was_said_has_no_text(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [SILENT] * 6
    (line,) = lines(ended(spoken(1)), small)
    assert (line.id, line.text, line.is_final, line.segments) == (0, "", True, ())


@settings(max_examples=10)
@given(st.lists(st.integers(0, 20_000), max_size=20))
def test_however_the_sound_is_cut_into_pieces(sizes: list[int]) -> None:
    samples = spoken(1, 4, pause=0.7)
    pieces = np.split(samples, np.cumsum([size for size in sizes if size < len(samples)]))
    assert heard(pieces) == heard([samples])


def test_no_sample_is_in_two_utterances() -> None:
    utterances = [work.utterance for work in works(ended(spoken(1, 4, 1, 4, pause=0.35)))]
    assert len(utterances) >= 2
    for one, other in pairwise(utterances):
        assert one.start + len(one.samples) <= other.start


def test_silence_and_noise_are_no_work() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 10 * SAMPLE_RATE).astype(np.float32)
    session = ended(np.concatenate([silence(5), noise, silence(5)]), live=LiveOptions())
    assert session.is_done
    assert session.take() is None


def test_nothing_at_all() -> None:
    session = ended(np.empty(0, np.float32))
    assert session.is_done
    assert session.take(timeout=None) is None
    assert session.seconds_heard == 0


def test_speech_that_is_open_at_the_end_becomes_final(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE]
    session = Session(live=NO_PARTIALS)
    samples = sentence(1)[: 2 * SAMPLE_RATE]
    session.feed(samples)
    assert session.take() is None
    session.end()
    session.end()
    (work,) = works(session)
    assert (work.utterance.samples == samples[work.utterance.start :]).all()  # to the last one
    line = work.run(small)
    assert line is not None
    assert line.is_final
    assert line.end == session.seconds_heard == 2.0


def test_nothing_is_heard_after_the_end() -> None:
    session = ended(silence(1))
    with pytest.raises(UsageError, match="the session has ended"):
        session.feed(silence(1))


def test_a_partial_line_comes_every_second_of_speech_and_not_in_a_pause() -> None:
    session = Session(live=LiveOptions(partial_every=1.0))
    at: list[float] = []
    for piece in np.split(spoken(0, pause=2.0), range(800, len(spoken(0, pause=2.0)), 800)):
        session.feed(piece)
        for work in works(session):
            if work.is_final:
                start, end = (sample / SAMPLE_RATE for sample in work.utterance.speech)
            else:
                at.append(session.seconds_heard)
    assert len(at) >= 4
    assert start + 1.0 <= at[0]
    assert all(b - a > 0.95 for a, b in pairwise(at))
    assert at[-1] <= end + 0.1


def test_a_partial_line_is_what_was_said_so_far(small: Model, decoder: ScriptedDecoder) -> None:
    session = Session()
    session.feed(sentence(0)[: 3 * SAMPLE_RATE])
    decoder.windows = [ONE]
    work = session.take()
    assert work is not None
    line = work.run(small)
    assert line == Line(0, line.start, line.end, "the", is_final=False, segments=(), language="de")
    assert line.end <= 3.0
    assert session.take() is None  # until there is more


def test_what_is_final_comes_first_and_in_order() -> None:
    session = Session(live=LiveOptions(partial_every=0.1))
    session.feed(np.concatenate([spoken(1, 4), sentence(0)[: 3 * SAMPLE_RATE]]))
    kinds = [(work.utterance.id, work.is_final) for work in works(session)]
    assert kinds == [(0, True), (1, True), (2, False)]


def test_a_partial_line_is_cancelled_as_soon_as_its_utterance_ends(
    small: Model, decoder: ScriptedDecoder
) -> None:
    session = Session()
    session.feed(sentence(0)[: 3 * SAMPLE_RATE])
    work = session.take()
    assert work is not None
    failed = Window([(0.0, " the", 1.0)], log_prob=-3.0)  # it would try again at another temperature
    decoder.windows = [failed, ONE]
    decoder.on_window = lambda: session.feed(silence(2))
    options = TranscribeOptions()
    assert len(options.temperature) > 1
    assert work.run(small) is None
    final = session.take()
    assert final is not None
    assert final.is_final
    decoder.on_window = lambda: None
    decoder.windows = [ONE]
    line = final.run(small)
    assert line is not None
    assert (line.id, line.text) == (0, "the")


def test_a_partial_line_that_waits_is_overtaken_before_it_begins(
    small: Model, decoder: ScriptedDecoder
) -> None:
    session = Session()
    session.feed(sentence(0)[: 3 * SAMPLE_RATE])
    work = session.take()
    assert work is not None
    session.end()
    assert work.run(small) is None
    assert decoder.prompts == []


def test_work_that_is_cancelled(small: Model, decoder: ScriptedDecoder) -> None:
    session = ended(spoken(1))
    (work,) = works(session)
    work.cancel()
    assert session.seconds_behind == 0
    with pytest.raises(CancelledError):
        work.run(small)
    assert session.seconds_behind == 0


def test_what_was_taken_is_not_kept() -> None:
    session = ended(spoken(1))
    work = session.take()
    assert work is not None
    kept = weakref.ref(work.utterance.samples)
    del work
    assert kept() is None


def test_how_far_it_is_behind(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE, ONE]
    session = ended(spoken(1, 4))
    both = session.seconds_behind
    assert 4.0 < both < (len(sentence(1)) + len(sentence(4))) / SAMPLE_RATE + 1
    first = session.take()
    assert first is not None
    assert session.seconds_behind == both
    first.run(small)
    assert session.seconds_behind == pytest.approx(both - first.utterance.seconds)
    second = session.take()
    assert second is not None
    decoder.windows = []
    decoder.on_window = _fail
    with pytest.raises(DecoderError):
        second.run(small)
    assert session.seconds_behind == 0


def _fail() -> None:
    raise DecoderError("the decoder fails")


@pytest.mark.parametrize("error", [DeviceError("a dispatch timed out"), DecoderError("no memory")])
def test_what_fails_once_has_a_second_attempt(
    error: Exception, small: Model, decoder: ScriptedDecoder
) -> None:
    decoder.windows = [ONE]
    n_calls = 0

    def fail_once() -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise error

    decoder.on_window = fail_once
    session = ended(sentence(1))
    (line,) = lines(session, small)
    assert line.text == "the"
    assert n_calls == 2
    assert session.seconds_behind == 0


def test_a_partial_one_that_fails_is_left_out(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.on_window = _fail
    session = Session(live=LiveOptions(partial_every=0.5))
    session.feed(sentence(1)[: 2 * SAMPLE_RATE])
    work = session.take()
    assert work is not None
    assert not work.is_final
    assert work.run(small) is None


def test_every_utterance_is_read_behind_the_same_prompt(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [ONE, TWO]
    options = TranscribeOptions(language="en", initial_prompt="an", hotwords="the")
    lines(ended(spoken(1, 4), options), small)
    first, second = map(decoder.text, decoder.prompts)
    assert first == second
    assert " the an" in first.replace("<|startofprev|>", " ").replace("  ", " ")


def test_the_language_is_kept_once_it_was_heard_for_some_seconds(
    small: Model, decoder: ScriptedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def detect(encoded: Any) -> list[list[tuple[str, float]]]:
        asked.append(answers[len(asked)])
        other = "en" if asked[-1] == "de" else "de"
        return [[(f"<|{asked[-1]}|>", 0.75), (f"<|{other}|>", 0.25)]]

    monkeypatch.setattr(decoder, "detect_language", detect)
    decoder.windows = [ONE] * 5
    answers = ["de", "en", "en", "en", "en"]  # 3 s of German, and then as much English and more
    languages = [line.language for line in lines(ended(spoken(1, 4, 0, 1, 4)), small)]
    assert languages == ["de", "en", "en", "en", "en"]
    assert len(asked) == 3
    asked.clear()
    decoder.windows = [ONE] * 5
    answers = ["de", "de", "en", "en", "en"]
    languages = [line.language for line in lines(ended(spoken(1, 4, 0, 1, 4)), small)]
    assert languages == ["de"] * 5
    asked.clear()
    decoder.windows = [ONE] * 5
    answers = ["de"] * 4 + ["en"] * 6  # twice for each, of one window
    session = ended(spoken(1, 4, 0, 1, 4), TranscribeOptions(multilingual=True))
    assert [line.language for line in lines(session, small)][2:] == ["en"] * 3


def test_one_thread_speaks_and_another_one_works(small: Model, decoder: ScriptedDecoder) -> None:
    samples = spoken(1, 4, 3, 1, pause=0.8)
    expected = heard([samples])
    decoder.windows = [ONE] * 100
    session, found = Session(live=LiveOptions(partial_every=0.3)), []

    def work() -> None:
        while (work := session.take(timeout=None)) is not None:
            line = work.run(small)
            if line is not None and line.is_final:
                found.append((line, work.utterance))

    worker = Thread(target=work)
    worker.start()
    for piece in np.split(samples, range(1600, len(samples), 1600)):
        session.feed(piece)
    session.end()
    worker.join()
    assert [(one.id, one.start, one.samples.tobytes(), one.speech) for _, one in found] == expected
    assert [line.id for line, _ in found] == list(range(len(expected)))
    assert session.is_done


def test_whoever_waits_is_told_in_the_thread_that_feeds() -> None:
    session, told = Session(live=NO_PARTIALS), []
    session.on_news = lambda: told.append(session.take())
    session.feed(spoken(1))
    assert [work.is_final for work in told if work] == [True]
    n = len(told)
    session.end()
    assert len(told) == n + 1  # that it is over
    assert session.is_done


def test_whoever_waits_for_ever_is_woken_by_the_end() -> None:
    session, woken = Session(), Event()

    def wait() -> None:
        assert session.take(timeout=None) is None
        woken.set()

    waiting = Thread(target=wait)
    waiting.start()
    assert not woken.is_set()
    session.end()
    waiting.join()
    assert woken.is_set()


def test_samples_that_are_no_numbers_are_silence() -> None:
    samples = spoken(1)
    damaged = samples.copy()
    damaged[5000:5100] = np.nan
    damaged[300:302] = np.inf, -np.inf
    mended = samples.copy()
    mended[5000:5100] = mended[300:302] = 0
    assert heard([damaged]) == heard([mended])
    assert heard([np.full(1600, np.nan, np.float32), samples[1600:]]) == heard(
        [np.r_[silence(0.1), samples[1600:]]]
    )


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        (np.zeros((2, 100), np.float32), r"float32 of shape \(2, 100\)"),
        (np.zeros(100, np.int16), "int16 of shape"),
        (np.zeros(100), "float64 of shape"),
        ([0.0, 0.0], "live sound is list"),
        (np.full(100, 20_000, np.float32), "far beyond full scale, up to 20000"),
    ],
)
def test_other_sound_is_refused(sound: Any, says: str) -> None:
    session = Session()
    with pytest.raises(AudioError, match=says):
        session.feed(sound)
    session.feed(silence(1))  # it goes on


def test_options_without_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="batch_size is for recordings"):
        Session(TranscribeOptions(batch_size=4))


@pytest.mark.weights
def test_it_hears_as_well_as_transcribe() -> None:
    """Within 3 points of the word error rate, over the clips of samples/ with pauses between them."""
    from whisper_npu.benchmark.wer import EnglishNormalizer, word_error_rate
    from whisper_npu.benchmark.word_errors import read_manifest

    with load_model(require_weights("tiny.en")) as model:
        normalize = EnglishNormalizer(model.checkpoint.normalizer)
        clips = read_manifest(ROOT / "samples/expected.tsv")
        truth = [" ".join(clip.text for clip in clips)]
        sound = np.concatenate([np.concatenate([load_audio(clip.path), silence(0.8)]) for clip in clips])
        live = " ".join(line.text for line in lines(ended(sound), model))
        whole = model.transcribe(sound).text
        ours, theirs = (word_error_rate(truth, [text], normalize) for text in (live, whole))
        assert theirs.rate < 0.3
        assert ours.rate <= theirs.rate + 0.03


@pytest.mark.weights
def test_the_example_prints_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    require_weights("tiny.en")
    monkeypatch.chdir(ROOT)
    finder = doctest.DocTestFinder(exclude_empty=True)
    (example,) = (one for one in finder.find(Session, globs=vars(session_module)) if one.examples)
    assert doctest.DocTestRunner().run(example).failed == 0


def test_it_is_not_done_before_the_last_utterance_can_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks in the middle of `end`, in another thread, would lose it."""
    session = Session(live=NO_PARTIALS)
    session.feed(sentence(0))
    looks: list[bool] = []
    end = session_module.Cutter.end

    def watched(cutter: Any) -> Any:
        looks.append(session.is_done)
        utterance = end(cutter)
        looks.append(session.is_done)
        return utterance

    monkeypatch.setattr(session_module.Cutter, "end", watched)
    session.end()
    assert looks == [False, False]
    assert len(list(works(session))) == 1
    assert session.is_done
