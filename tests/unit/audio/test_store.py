"""Samples that lie in memory or on disk come back as they were."""

from __future__ import annotations

import gc
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_npu.audio import SAMPLE_RATE, InMemory, load_audio, open_audio
from whisper_npu.audio.store import IN_MEMORY, Store
from whisper_npu.errors import AudioError

BLOCKS = st.lists(
    st.tuples(st.integers(0, 300), st.booleans()), max_size=12
)  # (samples, whether all of them are 0)


def block(n: int, silent: bool, seed: int) -> np.ndarray:
    if silent:
        return np.zeros(n, np.float32)
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def open_in(folder: Path) -> list[str]:
    """The numbers of this process's open files in a folder."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one of this listing is gone
            if os.readlink(f"/proc/self/fd/{number}").startswith(str(folder)):
                found.append(number)
    return found


@given(BLOCKS, st.integers(0, 4_000), st.data())
@pytest.mark.parametrize("in_memory", [0, 1_000, IN_MEMORY])
def test_what_was_added_is_read_again(
    in_memory: int, blocks: list[tuple[int, bool]], length: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patched, Store("a") as store:
        patched.setattr("whisper_npu.audio.store.IN_MEMORY", in_memory)
        parts = [block(n, silent, seed) for seed, (n, silent) in enumerate(blocks)]
        for part in parts:
            store.add(part)
        added = np.concatenate([np.empty(0, np.float32), *parts])
        assert store.n_samples == len(added)
        assert store.peak == np.max(np.abs(added), initial=0)
        store.set_length(length)
        expected = np.pad(added[:length], (0, max(0, length - len(added))))
        start, stop = sorted([data.draw(st.integers(0, 5_000)), data.draw(st.integers(0, 5_000))])
        assert np.array_equal(store.samples(start, stop), expected[start:stop])
        assert np.array_equal(store.samples(0, store.n_samples), expected)


def test_a_long_recording_lies_on_disk_and_silence_takes_no_room_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Store("a") as store:
        for _ in range(40):
            store.add(np.zeros(IN_MEMORY // 4, np.float32))
        (status,) = (os.stat(f"/proc/self/fd/{file}") for file in open_in(tmp_path))
        assert status.st_nlink == 0  # without a name, so that nothing is left behind
        assert status.st_blocks * 512 < IN_MEMORY
    assert open_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_dropped_lets_its_file_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    store = Store("a")
    store.add(np.ones(IN_MEMORY // 2, np.float32))
    assert len(open_in(tmp_path)) == 1
    del store
    gc.collect()
    assert open_in(tmp_path) == []


def test_a_full_disk_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("talk.wav")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._file, "write", full)
    with pytest.raises(AudioError, match=r"talk\.wav: its samples do not fit into .*No space left.*TMPDIR"):
        store.add(np.ones(3, np.float32))


def test_a_sound_has_the_samples_of_load_audio(tmp_path: Path) -> None:
    import soundfile

    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 22_050).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 22_050)
    whole = load_audio(tmp_path / "a.wav")
    with open_audio(tmp_path / "a.wav") as sound:
        assert sound.n_samples == len(whole)
        assert sound.duration == len(whole) / SAMPLE_RATE
        assert sound.peak == np.abs(whole).max()
        assert np.array_equal(sound.samples(1_000, 9_000), whole[1_000:9_000])


@pytest.mark.parametrize(("peak", "level"), [(0.0, "all of its samples are 0"), (0.01, "at -40 dB")])
def test_a_sound_says_how_loud_it_is(peak: float, level: str) -> None:
    assert open_audio(np.array([0, -peak, peak / 2])).level.endswith(level)


@pytest.mark.parametrize(("start", "stop"), [(3, 1), (-5, 2), (-5, -1), (9, 20), (20, 30), (0, 0)])
def test_places_outside_hold_nothing(start: int, stop: int) -> None:
    samples = np.arange(10, dtype=np.float32)
    expected = samples[max(0, start) : max(0, stop)]
    with Store("a") as store:
        store.add(samples)
        assert np.array_equal(store.samples(start, stop), expected)
    assert np.array_equal(InMemory(samples).samples(start, stop), expected)
