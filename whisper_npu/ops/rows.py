"""Ops on rows, and on the scores of attention: what lies between matrix products."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.ops.op import F64, Direction, Numerics, Op, Operand, check_sizes

EPSILON = 1e-5  # of layer norms, as in Whisper
FP32_UNIT = 2.0**-24
# The error of a sum of two, relative to their magnitudes: before a core's adder adds, it may round the
# smaller one to the larger one's grid (github.com/FIM43-Redeye/xdna-emu,
# src/interpreter/execute/vector_matmul/bf16_pipeline.rs).
SUM_UNIT = 1.5 * FP32_UNIT
SUBNORMAL = 2.0**-126  # a core may take smaller numbers for 0


class Activation(Enum):
    """What an epilogue does to each element."""

    NONE = "none"
    GELU = "gelu"  # x Phi(x) with the exact error function; Hendrycks and Gimpel, arXiv 1606.08415


@dataclass(frozen=True)
class Norm(Op):
    """Layer norm of rows, of the sum with a residual where there is one.

    s = x + residual; y = (s - mean) / sqrt(variance + EPSILON) * weight + bias. All in fp32. Source: Ba et
    al., arXiv 1607.06450. With a residual the sum is a result too: the stream that goes on.
    """

    M: int
    N: int
    residual: bool = False
    name: str = field(default="norm", compare=False)

    def __post_init__(self) -> None:
        check_sizes(self, self.M, self.N)

    def __str__(self) -> str:
        return f"norm of {'x + residual' if self.residual else 'x'} ({self.M},{self.N})"

    @property
    def operands(self) -> tuple[Operand, ...]:
        row, rows = (self.N,), (self.M, self.N)
        return (
            Operand("x", rows),
            *([Operand("residual", rows)] if self.residual else []),
            Operand("weight", row),
            Operand("bias", row),
            *([Operand("sum", rows, Direction.OUT)] if self.residual else []),
            Operand("y", rows, Direction.OUT),
        )

    @property
    def macs(self) -> int:
        return 0

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        *added, weight, bias = (x.astype(np.float64) for x in inputs)
        s: F64 = np.sum(added, axis=0)
        y: F64 = (s - s.mean(1, keepdims=True)) / np.sqrt(s.var(1, keepdims=True) + EPSILON) * weight + bias
        return (s, y) if self.residual else (y,)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """A bound for fp32 sums in any order.

        The sum is rounded once, by u = 2^-24. A mean of N numbers moves by N u of their mean magnitude, and
        so does each deviation from it; the scale moves by as much, relative to the deviations' spread. Both
        count times weight, and the last sum with the bias is rounded once more.

        A core's inverse square root is within 16 u of its value, and each of its products within 5 u
        (kernels/norm/kernel.py): with the two products that make y, and a few roundings, 32 u, relative.
        """
        *added, weight, bias = (x.astype(np.float64) for x in inputs)
        s: F64 = np.sum(added, axis=0)
        magnitude = np.sum(np.abs(added), axis=0)
        of_sum: F64 = (magnitude * SUM_UNIT + 2 * SUBNORMAL) * (len(added) - 1)
        centred = np.abs(s - s.mean(1, keepdims=True))
        spread = np.sqrt(s.var(1, keepdims=True) + EPSILON)
        moved = (self.N + 4) * FP32_UNIT * magnitude.mean(1, keepdims=True) + of_sum + SUM_UNIT * magnitude
        relative = (32 + self.N + 4) * FP32_UNIT + 2 * moved.mean(1, keepdims=True) / spread
        y = np.abs(weight) * (moved + centred * relative) / spread
        of_y: F64 = y + FP32_UNIT * (np.abs(bias) + np.abs(weight) * centred / spread) * 2
        of_y += 2.0**16 * SUBNORMAL * (1 + np.abs(weight))  # the scale is at most 1 / sqrt(EPSILON), 2^8.4
        return (of_sum, of_y) if self.residual else (of_y,)


@dataclass(frozen=True)
class Epilogue(Op):
    """What follows a product, in place: y = activation(y + bias) + residual.

    Rows do not depend on each other.
    """

    M: int
    N: int
    activation: Activation = Activation.NONE
    residual: bool = False
    name: str = field(default="epilogue", compare=False)

    def __post_init__(self) -> None:
        check_sizes(self, self.M, self.N)

    @property
    def operands(self) -> tuple[Operand, ...]:
        rows = (self.M, self.N)
        return (
            Operand("y", rows, Direction.INOUT),
            Operand("bias", (self.N,)),
            *([Operand("residual", rows)] if self.residual else []),
        )

    @property
    def macs(self) -> int:
        return 0

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        y, bias, *residual = (x.astype(np.float64) for x in inputs)
        y = y + bias
        if self.activation is Activation.GELU:
            y = gelu_reference(y)
        return (y + residual[0] if residual else y,)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """Each sum is rounded once; GELU's slope is below 1.13, and its polynomial is within 1e-6 of it."""
        y, *others = (np.abs(x.astype(np.float64)) for x in inputs)
        return (1e-6 + 4 * FP32_UNIT * (y + sum(others)),)


@dataclass(frozen=True)
class Softmax(Op):
    """exp(scores) over their sum along the last axis, in place; masked keys get no weight.

    scores: (batch, queries, keys). mask: (keys,), 0 for keys that no query may attend to.
    """

    batch: int
    queries: int
    keys: int
    masked: bool = False
    name: str = field(default="softmax", compare=False)

    def __post_init__(self) -> None:
        check_sizes(self, self.batch, self.queries, self.keys)

    @property
    def operands(self) -> tuple[Operand, ...]:
        shape = (self.batch, self.queries, self.keys)
        mask = [Operand("mask", (self.keys,))] if self.masked else []
        return (
            Operand("scores", shape if self.batch > 1 else shape[1:], Direction.INOUT),
            *mask,
        )

    @property
    def macs(self) -> int:
        return 0

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        scores = inputs[0].astype(np.float64)
        if self.masked:
            scores = np.where(inputs[1] != 0, scores, -np.inf)
        return (softmax_reference(scores),)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """The exponential is within 3e-7, the sum of the keys and the division add (keys + 2) roundings.

        Weights below e^-80 of the largest may be 0.
        """
        (weights,) = self.reference(*inputs)
        largest = np.abs(np.where(np.isfinite(inputs[0]), inputs[0], 0)).max(axis=-1, keepdims=True)
        relative = 6e-7 + (self.keys + 4) * FP32_UNIT + 4 * FP32_UNIT * largest.astype(np.float64)
        return (weights * relative + np.exp(-80.0),)


def gelu_reference(x: F64) -> F64:
    """x Phi(x) in float64."""
    y: F64 = 0.5 * x * (1 + np.vectorize(erf, otypes=[np.float64])(x / np.sqrt(2)))
    return y


def softmax_reference(scores: F64) -> F64:
    """Along the last axis, in float64."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights: F64 = powers / powers.sum(axis=-1, keepdims=True)
    return weights
