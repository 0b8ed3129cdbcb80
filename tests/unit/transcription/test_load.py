"""Loading a model: what is damaged and made again, and what a load that fails leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkpoints import write_tiny
from whisper_npu.cache import entries
from whisper_npu.checkpoint.decoder import DECODER
from whisper_npu.errors import CheckpointError
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.ops import Matmul
from whisper_npu.transcription import model as model_module
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "hf")


@pytest.fixture
def device() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def load(hf: Path, tmp_path: Path, device: Emulator) -> Callable[..., Model]:
    """Loads a small model; told: is told the progress."""

    def load(told: list[str] | None = None) -> Model:
        progress = ([] if told is None else told).append
        return load_model(hf, device=device, cache_dir=tmp_path / "cache", progress=progress)

    return load


def stored_decoder(tmp_path: Path) -> Path:
    (found,) = (entry.folder for entry in entries(tmp_path / "cache") if entry.about.kind == DECODER)
    return found


def damage_the_model(folder: Path) -> None:
    content = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(bytes([255] * 64) + content[64:])


def damage_the_tokenizer(folder: Path) -> None:
    size = (folder / "tokenizer.json").stat().st_size
    (folder / "tokenizer.json").write_text(" " * size, "utf-8")


@pytest.mark.parametrize("damage", [damage_the_model, damage_the_tokenizer])
def test_a_damaged_stored_decoder_is_made_again(
    load: Callable[..., Model], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    load()
    folder = stored_decoder(tmp_path)
    sound = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder)
    told: list[str] = []
    load(told)
    assert "the stored decoder is damaged" in told
    assert {path.name: path.read_bytes() for path in stored_decoder(tmp_path).iterdir()} == sound
    told.clear()
    load(told)
    assert told == []


def test_a_decoder_that_is_damaged_each_time_names_the_remedy(
    load: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    damage_the_model(stored_decoder(tmp_path))
    monkeypatch.setattr(
        "whisper_npu.transcription.opening.discard", lambda *_: None
    )  # a cache that is read only
    with pytest.raises(CheckpointError, match="whisper-npu models verify") as caught:
        load()
    assert "\n" not in str(caught.value)


class FailsError(Exception):
    pass


@pytest.mark.parametrize("part", ["EncodedOnDevice", "prepared_encoder"])
def test_a_load_that_fails_leaves_no_thread_and_a_device_that_works(
    load: Callable[..., Model], device: Emulator, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: object) -> None:
        raise FailsError

    with monkeypatch.context() as patched:
        patched.setattr(model_module, part, fail)
        with pytest.raises(FailsError):
            load()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("whisper-npu stages")]
    a, b, c = np.eye(64, dtype="f4"), np.full((64, 64), 2, "f4"), np.empty((64, 64), np.float32)
    device.run(Matmul(64, 64, 64), {"a": a, "b": b, "c": c})
    assert (c == 2).all()
    assert load().detect_language(np.zeros(16_000, np.float32))
