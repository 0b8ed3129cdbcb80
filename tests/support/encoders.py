"""An encoder of the smallest sizes whose layers are whole dispatches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, EncoderOps, ModelDimensions, encoder_shapes, prepared_encoder
from whisper_npu.kernels.layer.kernel import layer
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import EncoderLayer, Stem


@dataclass(frozen=True)
class SmallEncoder:
    dims: ModelDimensions
    weights: dict[str, F32]
    mel: F32

    @property
    def ops(self) -> tuple[Stem | EncoderLayer, ...]:
        """One dispatch each, in their order."""
        ops = EncoderOps.of(self.dims)
        return ops.stem, *ops.blocks

    @property
    def contracts(self) -> tuple[Contract, ...]:
        return tuple(dict.fromkeys(layer(op, NPU1) for op in self.ops))

    def on(self, device: Device) -> AudioEncoder:
        return prepared_encoder(self.dims, self.weights, device, "layer")


def small_encoder(layers: int = 2) -> SmallEncoder:
    dims = ModelDimensions(8, 31, 64, 1, layers, 100)
    rng = np.random.default_rng(0)
    weights = {
        name: (rng.standard_normal(shape) * (0.1 if len(shape) == 1 else 0.5 * np.prod(shape[1:]) ** -0.5))
        for name, shape in encoder_shapes(dims).items()
    }
    mel = rng.standard_normal((dims.n_mels, 2 * dims.n_audio_ctx)).astype(np.float32)
    return SmallEncoder(dims, {name: w.astype(np.float32) for name, w in weights.items()}, mel)
