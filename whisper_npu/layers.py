"""Layers whose weights lie on a device: each hands the device one op per call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.npu.device import Device, Value
from whisper_npu.ops import Activation, Linear, Norm


class LinearLayer:
    """y = activation(x W + bias) + residual, for any number of rows.

    The op says what is done after the product.
    """

    def __init__(self, op: Linear, weight: Value, bias: NDArray[np.floating], device: Device) -> None:
        """weight: (in, out), best as `device` staged it. bias: (out,)."""
        self.op, self.device = op, device
        if isinstance(weight, np.ndarray):
            weight = device.stage(op, weight)
        self._constants: dict[str, Value] = {"weight": weight, "bias": bias.astype(np.float32)}
        self._held = op, device.hold(op, self._constants)

    def __call__(self, x: F32, residual: F32 | None = None) -> F32:
        """x: (M, in) float32; residual: (M, out) where the op adds one. Returns (M, out) float32."""
        op = replace(self.op, M=len(x))
        y = np.empty((op.M, op.N), np.float32)
        given: dict[str, Value] = {"x": x, "y": y}
        if residual is not None:
            given["residual"] = residual
        self.device.run(op, given | self._constants_for(op))
        return y

    def _constants_for(self, op: Linear) -> dict[str, Value]:
        """As the device holds them for so many rows: of the weight there is one for all."""
        of, held = self._held
        if of != op:
            held = self.device.hold(op, self._constants)
            self._held = op, held
        return held


class Conv1d(LinearLayer):
    """A convolution of width 3, padded by 1, as one product: three neighbouring rows lie side by side."""

    def __init__(
        self,
        op: Linear,
        weight: Value,
        bias: NDArray[np.floating],
        device: Device,
        *,
        stride: int,
    ) -> None:
        """weight: `conv1d_weight`, staged. op: of M = n_frames / stride rows and K = 3 * in."""
        super().__init__(op, weight, bias, device)
        self.stride = stride

    def __call__(self, x: F32, residual: F32 | None = None) -> F32:
        """x: (n_frames, in) float32. Returns (n_frames / stride, out) float32."""
        padded = np.zeros((len(x) + 2, x.shape[1]), np.float32)
        padded[1:-1] = x
        # im2col without a copy: three rows of `padded` are 3 * in numbers that lie together.
        windows = sliding_window_view(padded.reshape(-1), 3 * x.shape[1])[:: self.stride * x.shape[1]]
        return super().__call__(windows, residual)


def conv1d_weight(weight: NDArray[Any]) -> NDArray[Any]:
    """(out, in, 3), as PyTorch stores it, as the product's (3 * in, out)."""
    return weight.transpose(0, 2, 1).reshape(len(weight), -1).T


def conv1d_op(n_frames: int, n_in: int, n_out: int, *, stride: int, residual: bool, name: str) -> Linear:
    """The op of a Conv1d with GELU."""
    M = n_frames // stride
    return Linear(M, 3 * n_in, n_out, activation=Activation.GELU, residual=residual, name=name)


class LayerNorm:
    """Each row normalised to mean 0 and variance 1, then scaled and shifted."""

    def __init__(
        self, op: Norm, weight: NDArray[np.floating], bias: NDArray[np.floating], device: Device
    ) -> None:
        self.op, self.device = op, device
        self.weight, self.bias = weight.astype(np.float32), bias.astype(np.float32)

    def __call__(self, x: F32) -> F32:
        """x: (M, N) float32. Returns (M, N) float32."""
        y = np.empty(x.shape, np.float32)
        self.device.run(self.op, {"x": x, "weight": self.weight, "bias": self.bias, "y": y})
        return y
