"""C = A B, of one pair of matrices or of a batch of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import PlanError
from whisper_npu.ops.op import F64, Direction, Numerics, Op, Operand


class Batched(Enum):
    """What the products of a batch are in attention: it says which of their matrices lie side by side."""

    SCORES = "scores"  # Q K^T of every head
    CONTEXT = "context"  # P V of every head


@dataclass(frozen=True)
class Matmul(Op):
    """A (M,K) @ B (K,N) -> C (M,N), for each of `batch` products.

    Raises PlanError where a size is below 1.
    """

    M: int
    K: int
    N: int
    batch: int = 1
    batched: Batched = Batched.SCORES  # of a batch of 1 it says nothing
    name: str = field(default="matmul", compare=False)

    def __post_init__(self) -> None:
        if min(self.M, self.K, self.N, self.batch) < 1:
            raise PlanError(f"no plan for {self}: every size must be at least 1")

    def __str__(self) -> str:
        times = f"{self.batch} x " if self.batch != 1 else ""
        return f"{times}({self.M},{self.K})@({self.K},{self.N})"

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (
            Operand("a", self._shape(self.M, self.K)),
            Operand("b", self._shape(self.K, self.N), is_weight=self.batch == 1),
            Operand("c", self._shape(self.M, self.N), Direction.OUT),
        )

    def _shape(self, rows: int, cols: int) -> tuple[int, ...]:
        return (rows, cols) if self.batch == 1 else (self.batch, rows, cols)

    @property
    def macs(self) -> int:
        return self.batch * self.M * self.K * self.N

    @cached_property
    def transposed(self) -> Matmul:
        """C^T = B^T A^T."""
        return replace(self, M=self.N, N=self.M)

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        a, b = inputs
        return (a.astype(np.float64) @ b.astype(np.float64),)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """A bound, not an estimate, relative to |A| |B|.

        Rounding moves each operand by at most u of itself, so a product by 2u + u^2. The sum of K products
        moves by at most 1.25 * 2^-24 for each addend, in whatever order and grouping the cores add: they
        align nine addends to the largest and round them and their sum (github.com/FIM43-Redeye/xdna-emu,
        src/interpreter/execute/vector_matmul/bf16_pipeline.rs); sequences of IEEE additions stay within it as
        well (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). A bf16 result moves each
        partial result by one more rounding. Subnormal numbers, below 2^-126, may be lost whole.
        """
        a, b = inputs
        magnitude: F64 = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
        u = numerics.operand_unit
        steps = self.K + (numerics.partial_k or self.K)
        relative = (1 + 2 * u + u * u) * (1 + 1.25 * steps * 2.0**-24) * (1 + numerics.result_unit) - 1
        return (magnitude * relative + self.K * 2.0**-125,)
