"""A part of a recording is a recording of its own, wherever the samples lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.audio import InMemory, Sound, open_audio
from whisper_npu.audio.damage import Damage
from whisper_npu.audio.levels import LEVEL_STEP
from whisper_npu.audio.store import Store
from whisper_npu.errors import AudioError


def recording() -> np.ndarray:
    """(n_samples,) float32: quiet, loud, with an offset, silent; not a whole number of levels' steps."""
    random = np.random.default_rng(1)
    pieces = [random.standard_normal(LEVEL_STEP * n) * loud + dc for n, loud, dc in PIECES]
    return np.concatenate(pieces)[:-1234].astype(np.float32)


PIECES = ((3, 0.01, 0.0), (5, 0.3, 0.0), (4, 0.1, 0.2), (6, 0.0, 0.0), (3, 0.2, 0.0))
SAMPLES = recording()


@pytest.fixture(scope="module", params=["in memory", "on disk"])
def whole(request: pytest.FixtureRequest) -> Sound:
    if request.param == "in memory":
        return Sound("a", InMemory(SAMPLES))
    store = Store("a")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("whisper_npu.audio.store.IN_MEMORY", 1_000)
        for first in range(0, len(SAMPLES), 5_001):
            store.add(SAMPLES[first : first + 5_001])
    return Sound("a", store)


@given(data=st.data())
def test_a_part_is_what_the_same_samples_are_as_a_recording(whole: Sound, data: st.DataObject) -> None:
    start, stop = sorted(data.draw(st.integers(0, len(SAMPLES) + 9_000)) for _ in range(2))
    part, alone = whole.part(start, stop), Sound("a", InMemory(SAMPLES[start:stop]))
    assert (part.n_samples, part.duration) == (alone.n_samples, alone.duration)
    assert (part.peak, part.offset, part.level) == (alone.peak, alone.offset, alone.level)
    assert np.array_equal(part.levels, alone.levels)
    low, high = sorted(data.draw(st.integers(0, len(SAMPLES))) for _ in range(2))
    assert np.array_equal(part.samples(low, high), alone.samples(low, high))
    within = part.part(low, high)
    assert np.array_equal(within.samples(0, within.n_samples), alone.samples(low, high))


def test_a_part_tells_nothing_of_what_is_lost_and_leaves_the_whole_open(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"")
    store = Store("a")
    store.add(SAMPLES)
    with Sound("a", store, damage=(Damage(1.0, 2.0, "are missing"),), track=2, n_tracks=3) as whole:
        with whole.part(0, 100) as part:
            assert part.warnings == ()
            assert (part.name, part.track, part.n_tracks) == ("a", 2, 3)
        assert len(part.samples(0, 100)) == 100
    with pytest.raises((AudioError, ValueError)):
        part.samples(0, 100)


def test_a_part_of_a_long_recording_is_not_copied(tmp_path: Path) -> None:
    with open_audio(np.zeros(10, np.float32)) as sound:
        assert sound.part(0, 10).samples(0, 10) is sound.samples(0, 10)
