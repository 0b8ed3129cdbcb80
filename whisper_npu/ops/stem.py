"""What turns a spectrogram into rows of the residual stream: two convolutions of width 3."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from whisper_npu.ops.linear import Linear
from whisper_npu.ops.op import F64, Direction, Numerics, Op, Operand, Part, check_sizes
from whisper_npu.ops.rows import Activation

WIDTH = 3  # of a convolution


@dataclass(frozen=True)
class Windows(Op):
    """Each `stride`-th row between its neighbours, zeros beyond the ends: im2col of a convolution."""

    M: int
    N: int
    stride: int = 1
    name: str = field(default="windows", compare=False)

    def __post_init__(self) -> None:
        check_sizes(self, self.M, self.N, self.stride)

    @property
    def operands(self) -> tuple[Operand, ...]:
        rows = -(-self.M // self.stride)
        return Operand("x", (self.M, self.N)), Operand("y", (rows, WIDTH * self.N), Direction.OUT)

    @property
    def macs(self) -> int:
        return 0

    def view(self, x: NDArray[Any]) -> NDArray[Any]:
        """What it gives, a view of x with a row of zeros around it: rows overlap."""
        padded = np.zeros((self.M + 2, self.N), x.dtype)
        padded[1:-1] = x
        return sliding_window_view(padded.reshape(-1), WIDTH * self.N)[:: self.stride * self.N]

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        return (self.view(inputs[0].astype(np.float64)),)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """None: numbers are only moved."""
        return (np.zeros(self.outputs[0].shape),)


@dataclass(frozen=True)
class Stem(Op):
    """GELU(conv2(GELU(conv1(x)))) + residual, where conv2 takes every second row of two times n_ctx.

    x: (2 * n_ctx, n_mels). Weights are (3 * in, out), the rows of a window's three one behind the other;
    residual: positions. Source: AudioEncoder in openai/whisper, whisper/model.py.
    """

    n_ctx: int
    n_mels: int
    n_state: int
    name: str = field(default="stem", compare=False)

    def __post_init__(self) -> None:
        check_sizes(self, self.n_ctx, self.n_mels, self.n_state)

    @property
    def n_frames(self) -> int:
        return 2 * self.n_ctx

    @property
    def operands(self) -> tuple[Operand, ...]:
        n_state = self.n_state
        return (
            Operand("x", (self.n_frames, self.n_mels)),
            Operand("conv1_weight", (WIDTH * self.n_mels, n_state), is_weight=True),
            Operand("conv1_bias", (n_state,)),
            Operand("conv2_weight", (WIDTH * n_state, n_state), is_weight=True),
            Operand("conv2_bias", (n_state,)),
            Operand("residual", (self.n_ctx, n_state)),
            Operand("y", (self.n_ctx, n_state), Direction.OUT),
        )

    @property
    def conv1(self) -> Linear:
        K = WIDTH * self.n_mels
        return Linear(self.n_frames, K, self.n_state, activation=Activation.GELU, name="conv1")

    @property
    def conv2(self) -> Linear:
        K, N = WIDTH * self.n_state, self.n_state
        return Linear(self.n_ctx, K, N, activation=Activation.GELU, residual=True, name="conv2")

    @property
    def macs(self) -> int:
        return self.conv1.macs + self.conv2.macs

    @property
    def windows(self) -> tuple[Windows, Windows]:
        """Of each convolution."""
        return (
            Windows(self.n_frames, self.n_mels, name="conv1.windows"),
            Windows(self.n_frames, self.n_state, stride=2, name="conv2.windows"),
        )

    def lower(self) -> tuple[Part, ...]:
        first, second = self.windows
        conv1 = {"x": "conv1_windows", "weight": "conv1_weight", "bias": "conv1_bias", "y": "middle"}
        conv2 = {"x": "conv2_windows", "weight": "conv2_weight", "bias": "conv2_bias", "y": "y"}
        return (
            Part(first, {"x": "x", "y": "conv1_windows"}),
            Part(self.conv1, conv1),
            Part(second, {"x": "middle", "y": "conv2_windows"}),
            Part(self.conv2, {**conv2, "residual": "residual"}),
        )

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        x, weight1, bias1, *of_conv2 = inputs
        first, second = self.windows
        (middle,) = self.conv1.reference(*first.reference(x), weight1, bias1)
        return self.conv2.reference(*second.reference(middle), *of_conv2)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """conv2's, and what moves of conv1's result times conv2's weight; GELU's slope is below 1.13.

        What moves is moved once more by the roundings of conv2's operands, 2^-7 of it at most.
        """
        x, weight1, bias1, weight2, *rest = inputs
        first, second = self.windows
        of_conv1 = (*first.reference(x), weight1, bias1)
        (middle,), (moved,) = self.conv1.reference(*of_conv1), self.conv1.tolerance(numerics, *of_conv1)
        (of_conv2,) = self.conv2.tolerance(numerics, *second.reference(middle), weight2, *rest)
        return (of_conv2 + self.passed_on(moved, weight2),)

    def passed_on(self, moved: F64, weight: NDArray[Any]) -> F64:
        """How far a result lies from where it would, if conv1's lie so far. weight: conv2's."""
        windows = self.windows[1].view(moved)
        found: F64 = 1.13 * (1 + 2.0**-7) * (windows @ np.abs(weight).astype(np.float64))
        return found
