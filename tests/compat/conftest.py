"""Real models in the formats of transformers and openai-whisper, made once; importing it needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.weights import require_weights
from whisper_npu.audio import load_audio

SAMPLES = sorted((Path(__file__).parents[2] / "samples").glob("*.wav"))


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.en, as from_pretrained reads it."""
    from tests.compat.real_models import folder_of, write_hugging_face

    out = tmp_path_factory.mktemp("transformers")
    write_hugging_face(folder_of(require_weights("tiny.en")), out)
    return out


@pytest.fixture(scope="session")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.en, as whisper.load_model reads it."""
    from tests.compat.real_models import folder_of, write_openai

    out = tmp_path_factory.mktemp("openai") / "tiny.en.pt"
    write_openai(folder_of(require_weights("tiny.en")), out)
    return out


@pytest.fixture(scope="session")
def recordings() -> list[NDArray[np.float32]]:
    """The five samples, (n_samples,) float32 at 16 kHz each."""
    return [load_audio(path) for path in SAMPLES]


@pytest.fixture(autouse=True, scope="session")
def one_thread_for_pytorch() -> Iterator[None]:
    """Its threads wait busily for each other, which takes minutes where others use the cores too."""
    try:
        import torch
    except ModuleNotFoundError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
