"""Every position of an encoder by itself: a cosine over the whole window would hide one that is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, ModelDimensions, encoder_shapes
from whisper_npu.host.threads import Threads
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.ops import Activation, Linear, Norm

DIMS = ModelDimensions(20, 120, 96, 3, 2, 384)
RNG = np.random.default_rng(0)
WEIGHTS = {
    name: (RNG.standard_normal(shape) * (shape[0] if len(shape) > 1 else 4) ** -0.5).astype(np.float32)
    for name, shape in encoder_shapes(DIMS).items()
}
MEL = RNG.standard_normal((DIMS.n_mels, 2 * DIMS.n_audio_ctx)).astype(np.float32)


def encoded_in_float64() -> NDArray[np.float64]:
    """By the ops' own references, the convolutions written out."""
    with Emulator() as device:
        encoder = AudioEncoder(DIMS, WEIGHTS, device)

    def conv(x: NDArray[np.float64], name: str, stride: int) -> NDArray[np.float64]:
        weight, bias = (WEIGHTS[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        padded = np.pad(x, ((1, 1), (0, 0)))
        rows = range(0, len(x), stride)
        flat = np.array([np.einsum("ti,oit->o", padded[row : row + 3], weight) for row in rows])
        op = Linear(len(flat), 1, flat.shape[1], activation=Activation.GELU).epilogue
        return op.reference(flat, bias)[0]

    x = conv(MEL.T.astype(np.float64), "conv1", 1)
    x = conv(x, "conv2", 2) + WEIGHTS["positional_embedding"]
    for number, block in enumerate(encoder.blocks):
        given = dict(block.held)
        prefix = f"blocks.{number}."
        q, k, v = (WEIGHTS[f"{prefix}attn.{name}.weight"] for name in ("query", "key", "value"))
        scale = (DIMS.n_audio_state // DIMS.n_audio_head) ** -0.5
        given["qkv_weight"] = np.concatenate([q * np.float32(scale), k, v]).T
        for name, theirs in (("out", "attn.out"), ("mlp0", "mlp.0"), ("mlp2", "mlp.2")):
            given[f"{name}_weight"] = WEIGHTS[f"{prefix}{theirs}.weight"].T
        values = [x if operand.name == "x" else given[operand.name] for operand in block.op.inputs]
        (x,) = block.op.reference(*values)  # type: ignore[arg-type]
    op = Norm(DIMS.n_audio_ctx, DIMS.n_audio_state)
    (y,) = op.reference(x, WEIGHTS["ln_post.weight"], WEIGHTS["ln_post.bias"])
    return y


def cosines(x: F32, y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each position."""
    products: NDArray[np.float64] = (x * y).sum(axis=1)
    return products / (np.linalg.norm(x.astype(np.float64), axis=1) * np.linalg.norm(y, axis=1))


@pytest.mark.parametrize("fidelity", Fidelity)
def test_every_position_is_near_float64(fidelity: Fidelity) -> None:
    exact = encoded_in_float64()
    with Emulator(fidelity, Threads(2)) as device:
        found = AudioEncoder(DIMS, WEIGHTS, device)(MEL)
    each = cosines(found, exact)
    assert each.min() > 0.999
    found[-1] = found[-2]  # one position of many
    assert cosines(found, exact).min() < 0.99
