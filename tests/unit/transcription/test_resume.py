"""What an interrupted transcription goes on to is what it would have been."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripted_decoder import SILENT, ScriptedDecoder, Window, small_model
from whisper_npu.errors import UsageError
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.resume import ResumePoint, clips_from
from whisper_npu.transcription.transcript import Segment

POINT = ResumePoint(3, 1_200, 12.0, (5, 6), 11.5, "de", 0.75)
TALK = [
    Window([(0.0, " the", 2.0), (2.0, " an", 4.0)]),  # the next one begins at 4 s: a second speaker goes on
    SILENT,
    Window([(0.0, " an", 6.0)]),
    Window([(0.0, " the", 3.0), (3.0, " the", 6.0)]),
    Window([(0.0, " an", 1.0), (1.0, " the", 2.0)]),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with small_model(tmp_path_factory.mktemp("small"), n_audio_ctx=300) as model:  # windows of 6 s
        yield model


@pytest.fixture
def decoder(small: Model, monkeypatch: pytest.MonkeyPatch) -> ScriptedDecoder:
    scripted = ScriptedDecoder(small)
    monkeypatch.setattr(small._whisper, "model", scripted)
    return scripted


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(round(seconds * 16_000), dtype=np.float32) / 10


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(),
        TranscribeOptions(initial_prompt="Hanna"),
        TranscribeOptions(initial_prompt="Hanna", carry_initial_prompt=True),
        TranscribeOptions(prefix=" an"),
        TranscribeOptions(condition_on_previous_text=False, language="en"),
        TranscribeOptions(clip_timestamps=(0.0, 5.0, 7.0, 13.0, 14.0)),
        TranscribeOptions(clip_timestamps=(2.0,)),
    ],
    ids=range(7),
)
def test_from_every_window_on_the_rest_is_what_it_would_have_been(
    small: Model, decoder: ScriptedDecoder, options: TranscribeOptions
) -> None:
    audio = noise(25)
    decoder.windows = [*TALK]
    points: list[tuple[int, ResumePoint]] = []
    positions: list[float] = []
    with small.stream(audio, options, on_progress=lambda done, _: positions.append(done)) as stream:
        # A point is known when its window is decoded: before its first segment comes.
        decoder.on_window = lambda: points.append((len(decoder.prompts), saved(stream.point)))
        whole = [segment for segment in stream]  # noqa: C416
        language = stream.language
    prompts = list(decoder.prompts)
    decoder.on_window = lambda: None
    assert len(points) == len(prompts) > 2
    assert positions == sorted(positions)
    for n_windows, point in points:
        decoder.prompts.clear()
        decoder.windows = [*TALK[n_windows:]]
        with small.stream(audio, options, after=point) as stream:
            assert (stream.language, stream.seconds_done) == (language, point.seconds)
            rest = list(stream)
        assert decoder.prompts == prompts[n_windows:]
        assert [*whole[: point.n_segments], *rest] == whole


def saved(point: ResumePoint | None) -> ResumePoint:
    """As it is after it was kept in a file."""
    assert point is not None
    return ResumePoint.from_dict(json.loads(json.dumps(point.to_dict())))


def test_in_batches_the_rest_is_what_it_would_have_been(
    small: Model, decoder: ScriptedDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "faster_whisper.vad.get_speech_timestamps",
        lambda audio, options: [{"start": at, "end": at + 80_000} for at in range(0, len(audio), 96_000)],
    )
    options, audio = TranscribeOptions(batch_size=2), noise(30)
    windows = [Window([(0.0, f" {word}", 5.0)]) for word in ("the", "an", "an", "the", "an")]
    decoder.windows = [*windows]
    points = []
    with small.stream(audio, options) as stream:
        decoder.on_window = lambda: points.append(saved(stream.point))
        whole = list(stream)
    decoder.on_window = lambda: None
    assert [segment.start for segment in whole] == [0.0, 6.0, 12.0, 18.0, 24.0]
    assert [(point.window, point.seconds) for point in points] == [(0, 0), (0, 0), (2, 12), (2, 12), (4, 24)]
    for point in points:
        decoder.windows = windows[point.window :]
        with small.stream(audio, options, after=point) as stream:
            rest = list(stream)
        assert not decoder.windows
        assert [*whole[: point.n_segments], *rest] == whole


def test_a_point_behind_the_last_clip_leaves_nothing(small: Model, decoder: ScriptedDecoder) -> None:
    options = TranscribeOptions(clip_timestamps=(0.0, 5.0))
    with small.stream(noise(9), options, after=replace(POINT, window=500, seconds=5.0)) as stream:
        assert list(stream) == []
        assert stream.finished


def test_before_the_first_window_there_is_no_point(small: Model, decoder: ScriptedDecoder) -> None:
    decoder.windows = [TALK[0]]
    with small.stream(noise(2), TranscribeOptions()) as stream:
        assert stream.point is None
        assert isinstance(next(stream), Segment)
        assert stream.point is not None
        assert stream.point.n_segments == 0


@given(
    st.lists(st.integers(0, 2_000), max_size=6, unique=True),
    st.integers(0, 2_100),
)
def test_what_is_left_of_clips(edges: list[int], frame: int) -> None:
    clips = tuple(edge / 100 for edge in sorted(edges))
    within = {
        at
        for start, stop in zip([*clips[::2]], [*clips[1::2], 25.0], strict=False)
        for at in range(round(start * 100), round(stop * 100))
    }
    left = clips_from(clips, frame)
    assert {at for at in within if at >= frame} == {
        at
        for start, stop in zip([*left[::2]], [*left[1::2], 25.0], strict=False)
        for at in range(round(start * 100), round(stop * 100))
    }


HOSTILE: list[Any] = [
    {},
    {"window": -1},
    {"window": 1.5},
    {"window": True},
    {"window": 2**40},
    {"seconds": float("nan")},
    {"seconds": float("inf")},
    {"seconds": "1"},
    {"tokens": None},
    {"tokens": [-1]},
    {"tokens": [[1]]},
    {"language": None},
    {"spoken_until": []},
    {"more": 1},
]


@pytest.mark.parametrize("changed", HOSTILE, ids=str)
def test_a_point_that_was_tampered_with_is_refused(changed: dict[str, Any]) -> None:
    found = POINT.to_dict() | changed if changed else {"window": 1}
    with pytest.raises(UsageError, match="no point to go on from"):
        ResumePoint.from_dict(found)


def test_a_point_survives_json() -> None:
    assert saved(POINT) == POINT


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"window": 901}, "lies behind the recording's 9.00 s"),
        ({"seconds": 9.1}, "lies behind"),
        ({"spoken_until": 99.0}, "lies behind"),
        ({"tokens": (2_000_000_000,)}, "tokens beyond the model's"),
        ({"language": "xx"}, "a language that the model lacks"),
    ],
    ids=str,
)
def test_a_point_that_cannot_be_of_this_recording_and_model_is_refused(
    small: Model, decoder: ScriptedDecoder, changed: dict[str, Any], why: str
) -> None:
    """CTranslate2 would not survive tokens that it does not have."""
    point = replace(POINT, **{"window": 300, "seconds": 3.0} | changed)
    with pytest.raises(UsageError, match=why):
        small.stream(noise(9), TranscribeOptions(), after=point)
    small.transcribe(noise(0), TranscribeOptions(language="en"))  # the model is free again
