"""Where speech is: piece by piece as all at once, at any level, and what is heard without the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_whisper.transcribe import Segment, Word
from faster_whisper.vad import VadOptions, get_speech_timestamps
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.audio import SAMPLE_RATE, InMemory, Sound, load_audio
from whisper_npu.transcription import speech
from whisper_npu.transcription.audible import Audible
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.speech import (
    Cut,
    Part,
    first_speech,
    packed,
    parts_with_speech,
    spoken,
)

SAMPLES = Path(__file__).parents[3] / "samples"
PAUSE = np.zeros(3 * SAMPLE_RATE, np.float32)
PARTS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 60)), max_size=8)  # (pause, length) in samples


@pytest.fixture(scope="module")
def said() -> np.ndarray:
    """Sentences with pauses of 3 s between them."""
    sentences = [load_audio(path) for path in sorted(SAMPLES.glob("*.wav"))] * 2
    return np.concatenate([part for sentence in sentences for part in (sentence, PAUSE)])


def parts_of(pauses_and_lengths: list[tuple[int, int]]) -> list[Part]:
    parts, end = [], 0
    for pause, length in pauses_and_lengths:
        parts.append(Part(end + pause, end + pause + length))
        end = parts[-1].stop
    return parts


@pytest.mark.parametrize("seconds", [12, 17, 25])
def test_piece_by_piece_the_same_speech_is_found_as_all_at_once(
    said: np.ndarray, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = get_speech_timestamps(said, VadOptions())
    assert len(whole) > 3
    monkeypatch.setattr(speech, "PIECE", int(seconds * SAMPLE_RATE))
    found = list(parts_with_speech(InMemory(said), VadOptions()))
    assert len(found) == len(whole)
    for part, expected in zip(found, whole, strict=True):
        assert abs(part.start - expected["start"]) <= 0.4 * SAMPLE_RATE  # the padding
        assert abs(part.stop - expected["end"]) <= 0.4 * SAMPLE_RATE  # the padding
    assert all(one.stop <= next_one.start for one, next_one in pairwise(found))


def test_speech_without_a_pause_is_found_whole(said: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = load_audio(sorted(SAMPLES.glob("*.wav"))[0])
    monkeypatch.setattr(speech, "PIECE", 6 * SAMPLE_RATE)
    endless = np.tile(sentence, 8)
    found = list(parts_with_speech(InMemory(endless), VadOptions()))
    heard = sum(part.n_samples for part in found)
    assert heard > 0.95 * len(endless)
    assert all(one.stop <= next_one.start for one, next_one in pairwise(found))


def test_the_work_ends_between_two_pieces(said: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "PIECE", 6 * SAMPLE_RATE)
    asked = []
    list(parts_with_speech(InMemory(said), VadOptions(), lambda: asked.append(1)))
    assert len(asked) > len(said) / (6 * SAMPLE_RATE) - 1


@given(PARTS, st.integers(0, 900), st.integers(0, 900))
def test_a_cut_is_its_parts_one_behind_the_other(
    pauses_and_lengths: list[tuple[int, int]], start: int, length: int
) -> None:
    parts = parts_of(pauses_and_lengths)
    whole = np.arange(1_000, dtype=np.float32)
    expected = np.concatenate([whole[:0], *(whole[part.start : part.stop] for part in parts)])
    cut = Cut(InMemory(whole), parts)
    assert cut.n_samples == len(expected)
    assert np.array_equal(cut.samples(start, start + length), expected[start : start + length])


def test_times_are_those_of_the_recording() -> None:
    rate = SAMPLE_RATE
    cut = Cut(
        InMemory(np.zeros(20 * rate, np.float32)), [Part(2 * rate, 5 * rate), Part(9 * rate, 12 * rate)]
    )
    assert [cut.seconds_in_source(at) for at in (0, 1, 3.5, 6)] == [2, 3, 9.5, 12]
    word = Word(3.5, 4.0, " the", 0.5)
    segments = [Segment(0, 0, 0.5, 1.0, "a", [], 0.0, 0.0, 0.0, None, 0.0)]
    segments += [Segment(1, 0, 3.5, 4.0, "a", [], 0.0, 0.0, 0.0, [word], 0.0)]
    found = list(cut.restored(iter(segments)))
    assert [(one.start, one.end) for one in found] == [(2.5, 3.0), (9.5, 10.0)]
    assert (word.start, word.end) == (9.5, 10.0)


@given(PARTS, st.integers(1, 100))
def test_groups_fit_into_a_window_and_hold_all_parts(
    pauses_and_lengths: list[tuple[int, int]], most: int
) -> None:
    parts = parts_of(pauses_and_lengths)
    groups = list(packed(parts, most))
    assert [part for group in groups for part in group] == parts
    for group in groups:
        assert len(group) == 1 or sum(part.n_samples for part in group) <= most
    for group, following in pairwise(groups):
        assert sum(part.n_samples for part in group) + following[0].n_samples > most


def test_the_language_is_listened_for_where_speech_begins(said: np.ndarray) -> None:
    silence = np.zeros(40 * SAMPLE_RATE, np.float32)
    later = InMemory(np.concatenate([silence, said[: 10 * SAMPLE_RATE]]))
    assert 3_900 <= first_speech(later, 0, 3_000, VadOptions()) <= 4_100
    assert first_speech(InMemory(said), 0, 3_000, VadOptions()) == 0
    assert first_speech(InMemory(silence), 500, 3_000, VadOptions()) == 500  # there is none


@pytest.mark.parametrize("decibels", [0, -70])
def test_a_doubtful_segment_is_kept_where_speech_is_heard(said: np.ndarray, decibels: float) -> None:
    source = Audible(Sound("", InMemory(said * np.float32(10 ** (decibels / 20)))))

    def segment(start: float, end: float) -> Any:
        return Segment(0, 0, start, end, "a", [], 0.0, 0.0, 0.9, None, 0.0)

    pause = 0.5 + len(load_audio(sorted(SAMPLES.glob("*.wav"))[0])) / SAMPLE_RATE
    kept = spoken(iter([segment(0, 3), segment(pause, pause + 2)]), source, TranscribeOptions())
    assert [one.start for one in kept] == [0]


def test_the_voice_check_tells_nobody(tmp_path: Path) -> None:
    """onnxruntime 1.32 writes the id of a telemetry session into the folder for temporary files."""
    program = "from whisper_npu.transcription.libraries import faster_whisper as f; f.vad.get_vad_model()"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []
