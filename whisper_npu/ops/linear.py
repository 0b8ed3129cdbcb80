"""A linear layer with what comes before and after its product."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.ops.matmul import Matmul
from whisper_npu.ops.op import F64, Direction, Numerics, Op, Operand, Part, check_sizes
from whisper_npu.ops.rows import FP32_UNIT, Activation, Epilogue, Norm


@dataclass(frozen=True)
class Linear(Op):
    """y = activation(norm(x) W + bias) + residual, norm and residual only where they are asked for.

    W is (K, N): (in, out). Rows do not depend on each other.
    """

    M: int
    K: int
    N: int
    norm: bool = False
    activation: Activation = Activation.NONE
    residual: bool = False
    name: str = field(default="linear", compare=False)

    def __post_init__(self) -> None:
        check_sizes(self, self.M, self.K, self.N)

    @property
    def operands(self) -> tuple[Operand, ...]:
        norm = [Operand("norm_weight", (self.K,)), Operand("norm_bias", (self.K,))]
        return (
            Operand("x", (self.M, self.K)),
            *(norm if self.norm else []),
            Operand("weight", (self.K, self.N), is_weight=True),
            Operand("bias", (self.N,)),
            *([Operand("residual", (self.M, self.N))] if self.residual else []),
            Operand("y", (self.M, self.N), Direction.OUT),
        )

    @property
    def macs(self) -> int:
        return self.product.macs

    @property
    def product(self) -> Matmul:
        return Matmul(self.M, self.K, self.N, name=self.name)

    @property
    def prologue(self) -> Norm | None:
        return Norm(self.M, self.K, name=f"{self.name}.norm") if self.norm else None

    @property
    def epilogue(self) -> Epilogue:
        return Epilogue(self.M, self.N, self.activation, self.residual, name=f"{self.name}.epilogue")

    def lower(self) -> tuple[Part, ...]:
        norm = {"x": "x", "weight": "norm_weight", "bias": "norm_bias", "y": "normed"}
        finish = {"y": "y", "bias": "bias"} | ({"residual": "residual"} if self.residual else {})
        return (
            *([Part(self.prologue, norm)] if self.prologue else []),
            Part(self.product, {"a": "normed" if self.norm else "x", "b": "weight", "c": "y"}),
            Part(self.epilogue, finish),
        )

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        x, weight, *rest = self._normed(*inputs)
        return self.epilogue.reference(x.astype(np.float64) @ weight.astype(np.float64), *rest)

    def _normed(self, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        if self.prologue is None:
            return inputs
        x, weight, bias, *rest = inputs
        return (*self.prologue.reference(x, weight, bias), *rest)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """The product's, with what the norm adds to A; the epilogue's slope is below 1.13 (GELU's)."""
        a, weight, *rest = self._normed(*inputs)
        (product,) = self.product.tolerance(numerics, a, weight)
        if self.prologue is not None:
            (moved,) = self.prologue.tolerance(numerics, *inputs[:3])
            product = product + moved @ np.abs(weight).astype(np.float64) * (1 + numerics.operand_unit)
            # Where the norm moves a number, it may be rounded to the other neighbour.
        exact = a.astype(np.float64) @ weight.astype(np.float64)
        (finish,) = self.epilogue.tolerance(numerics, exact, *rest)
        return (1.13 * product + finish + FP32_UNIT * np.abs(exact),)
