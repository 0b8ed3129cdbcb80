"""The encoder as a whole, with random weights of a few numbers, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.contracts import SMALL, SMALL_F32
from tests.support.reference_encoder import reference_encode
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_ops, encoder_shapes
from whisper_npu.errors import UsageError
from whisper_npu.kernels.matmul.kernel import MatmulContract
from whisper_npu.npu.emulator.device import Emulator, Fidelity

DIMS = ModelDimensions(
    n_mels=10, n_audio_ctx=14, n_audio_state=12, n_audio_head=3, n_audio_layer=2, n_audio_mlp=40
)


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Every array differs from every other, and from zeros and ones."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)
        for name, shape in encoder_shapes(DIMS).items()
    }


def error(contract: MatmulContract, fidelity: Fidelity) -> float:
    """The largest, relative to the largest output."""
    weights = random_weights()
    mel = np.random.default_rng(1).standard_normal((DIMS.n_mels, 2 * DIMS.n_audio_ctx), np.float32)
    with Emulator(fidelity) as device:
        encoder = AudioEncoder(DIMS, weights, device.prepared(encoder_ops(DIMS), contract))
        assert encoder.shape == (DIMS.n_audio_ctx, DIMS.n_audio_state)
        encoded = encoder(mel)
    expected = reference_encode(weights, DIMS, mel)
    assert (encoded.shape, encoded.dtype) == (encoder.shape, np.float32)
    return float(np.abs(encoded - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("fidelity", Fidelity)
def test_it_is_whispers_formula(fidelity: Fidelity) -> None:
    """By products in float32: any array in another's place, or left out, is far outside of this."""
    assert error(SMALL_F32, fidelity) < 1e-5


@pytest.mark.parametrize("fidelity", Fidelity)
def test_in_bf16_it_is_near_it(fidelity: Fidelity) -> None:
    assert 1e-5 < error(SMALL, fidelity) < 0.05


@pytest.mark.parametrize("shape", [(9, 28), (10, 27), (10, 14), (28, 10)])
def test_a_mel_of_another_shape_is_refused(shape: tuple[int, int]) -> None:
    with Emulator() as device, pytest.raises(UsageError, match=r"this model takes \(10, 28\)"):
        AudioEncoder(DIMS, random_weights(), device)(np.zeros(shape, np.float32))
