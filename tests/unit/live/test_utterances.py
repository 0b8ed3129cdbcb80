"""Where speech is cut: nothing comes twice, nothing is lost, and silence costs nothing."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whisper_npu.audio import SAMPLE_RATE
from whisper_npu.live.options import LiveOptions
from whisper_npu.live.utterances import Cutter, Utterance
from whisper_npu.live.voice import STEP
from whisper_npu.transcription.options import TranscribeOptions

SECOND = SAMPLE_RATE // STEP  # steps, nearly


def cut(probabilities: list[float], live: LiveOptions | None = None, **options: object) -> list[Utterance]:
    """The utterances in sound of which each sample is its place."""
    cutter = Cutter(live or LiveOptions(), TranscribeOptions(**options))  # type: ignore[arg-type]
    found = []
    for i, probability in enumerate(probabilities):
        found.append(cutter.hear(np.arange(i * STEP, (i + 1) * STEP, dtype=np.float32), probability))
    found.append(cutter.end())
    return [utterance for utterance in found if utterance is not None]


def said(seconds: float, probability: float = 0.9) -> list[float]:
    return [probability] * round(seconds * SECOND)


def quiet(seconds: float) -> list[float]:
    return said(seconds, 0.0)


def times(utterance: Utterance) -> tuple[float, float]:
    """Of its speech, in steps."""
    return utterance.speech[0] / STEP, utterance.speech[1] / STEP


def test_an_utterance_has_a_little_silence_around_it() -> None:
    (one,) = cut([*quiet(2), *said(1), *quiet(2)])
    assert times(one) == (2 * SECOND, 3 * SECOND)
    assert 0.1 < (one.speech[0] - one.start) / SAMPLE_RATE < 0.4
    assert 0.1 < (one.start + len(one.samples) - one.speech[1]) / SAMPLE_RATE < 0.4


@pytest.mark.parametrize(("pause", "n"), [(0.3, 3), (0.5, 2), (1.5, 1)])
def test_an_utterance_ends_with_a_pause(pause: float, n: int) -> None:
    probabilities = [*said(1), *quiet(0.4), *said(1), *quiet(1), *said(1)]
    assert len(cut(probabilities, LiveOptions(pause=pause))) == n


def test_it_ends_as_soon_as_the_pause_is_over() -> None:
    cutter = Cutter(LiveOptions(pause=0.5), TranscribeOptions())
    ends = [
        i
        for i, p in enumerate([*said(1), *quiet(2)])
        if cutter.hear(np.zeros(STEP, np.float32), p) is not None
    ]
    assert ends == [pytest.approx(1.5 * SECOND, abs=1)]


def test_a_click_is_no_utterance_and_has_no_number() -> None:
    found = cut([*quiet(1), 0.9, 0.9, *quiet(2), *said(1), *quiet(1), 0.9, *quiet(1), *said(1)])
    assert [one.id for one in found] == [0, 1]
    assert len(found) == 2


def test_shorter_speech_than_asked_for_is_no_utterance() -> None:
    probabilities = [*said(0.3), *quiet(1), *said(1)]
    assert len(cut(probabilities)) == 2
    assert len(cut(probabilities, vad_filter=True, vad_min_speech_duration_ms=500)) == 1


def test_how_sure_the_voice_check_must_be() -> None:
    probabilities = [*said(1, 0.6), *quiet(1)]
    assert len(cut(probabilities)) == 1
    assert cut(probabilities, vad_filter=True, vad_threshold=0.7) == []
    wavering = [*said(1), *said(1, 0.4), *said(1, 0.1)]
    (one,) = cut(wavering)
    assert times(one)[1] == 2 * SECOND
    (one,) = cut(wavering, vad_filter=True, vad_neg_threshold=0.45)
    assert times(one)[1] == SECOND
    (one,) = cut(wavering, vad_filter=True, vad_neg_threshold=0.05)
    assert times(one)[1] == 3 * SECOND


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    breath = said(0.2, 0.45)
    first, second = cut([*said(6), *breath, *said(6)], LiveOptions(longest=10))
    assert 6 * SECOND <= len(first.samples) / STEP <= 6 * SECOND + len(breath)
    assert second.start == first.start + len(first.samples)
    assert second.start + len(second.samples) == (12 * SECOND + len(breath)) * STEP


def test_a_pause_that_is_longer_than_the_longest_utterance() -> None:
    live = LiveOptions(pause=10, longest=5)
    found = cut([*said(1), *quiet(20), *said(1), *quiet(20)], live)
    assert [times(one) for one in found] == [(0, SECOND), (21 * SECOND, 22 * SECOND)]


runs = st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.99])), max_size=30)


@given(
    runs=runs,
    live=st.builds(LiveOptions, pause=st.floats(0.1, 10), longest=st.floats(5, 28)),
)
def test_nothing_twice_and_nothing_lost(runs: list[tuple[int, float]], live: LiveOptions) -> None:
    probabilities = [p for n, p in runs for _ in range(n)]
    check(cut(probabilities, live), probabilities, live, begins=0.5)


@given(
    probabilities=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), max_size=30).map(
        lambda runs: [p for n, p in runs for _ in range(n)]
    ),
    live=st.builds(LiveOptions, pause=st.floats(0.1, 10), longest=st.floats(5, 28)),
    begins=st.floats(0.01, 0.99),
    goes_on=st.none() | st.floats(0.01, 0.99),
)
@example(said(30, 0.92), LiveOptions(), 0.9, 0.95)  # speech goes on by less than that with which it may
def test_the_same_for_any_thresholds(
    probabilities: list[float], live: LiveOptions, begins: float, goes_on: float | None
) -> None:
    found = cut(probabilities, live, vad_filter=True, vad_threshold=begins, vad_neg_threshold=goes_on)
    check(found, probabilities, live, begins)


def check(found: list[Utterance], probabilities: list[float], live: LiveOptions, begins: float) -> None:
    """That they are whole, in order, apart from each other, and hold all speech."""
    assert [one.id for one in found] == list(range(len(found)))
    end = 0
    covered = np.zeros(len(probabilities), bool)
    for one in found:
        stop = one.start + len(one.samples)
        assert end <= one.start < stop
        assert (one.samples == np.arange(one.start, stop, dtype=np.float32)).all()
        assert one.start <= one.speech[0] < one.speech[1] <= stop
        assert one.seconds <= live.longest + 0.05
        covered[one.start // STEP : stop // STEP] = True
        end = stop
    lost = [i for i, p in enumerate(probabilities) if p >= begins and not covered[i]]
    # Noises alone, of three steps at most. A pause, or the longest utterance, is between them.
    for group in np.split(np.array(lost, int), np.flatnonzero(np.diff(lost) > 3) + 1):
        assert len(group) < 4


def test_silence_is_not_kept() -> None:
    cutter, alive = Cutter(LiveOptions(), TranscribeOptions()), []
    for i in range(20_000):
        step = np.zeros(STEP, np.float32)
        alive.append(weakref.ref(step))
        assert cutter.hear(step, 0.9 if i % 100 == 0 else 0.1) is None  # a click now and then
    del step
    gc.collect()
    assert sum(one() is not None for one in alive) < SECOND
