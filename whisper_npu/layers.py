"""Layers whose weights lie on a device: each hands the device one op per call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.npu.device import Buffer, Device, Value
from whisper_npu.ops import Linear


class LinearLayer:
    """y = activation(x W + bias), for any number of rows; the op says what is done after the product."""

    def __init__(self, op: Linear, weight: Buffer, bias: NDArray[np.floating], device: Device) -> None:
        """weight: (in, out), as `device` staged it. bias: (out,)."""
        self.op, self.device = op, device
        self._constants: dict[str, Value] = {"weight": weight, "bias": bias.astype(np.float32)}
        self._held = op, device.hold(op, self._constants)

    def __call__(self, x: F32) -> F32:
        """x: (M, in) float32. Returns (M, out) float32."""
        op = replace(self.op, M=len(x))
        y = np.empty((op.M, op.N), np.float32)
        self.device.run(op, {"x": x, "y": y} | self._constants_for(op))
        return y

    def _constants_for(self, op: Linear) -> dict[str, Value]:
        """As the device holds them for so many rows: of the weight there is one for all."""
        of, held = self._held
        if of != op:
            held = self.device.hold(op, self._constants)
            self._held = op, held
        return held


def conv1d_weight(weight: NDArray[Any]) -> NDArray[Any]:
    """(out, in, 3), as PyTorch stores it, as the product's (3 * in, out)."""
    return weight.transpose(0, 2, 1).reshape(len(weight), -1).T
