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
        """A bound, not an estimate, where nothing overflows; operands exist whose error is above 0.9 of it.

        It is relative to |A| |B|, and has four parts:

        - Rounding moves each operand by at most u of itself, so a product by 2u + u^2.
        - A sum of k products moves by gamma(k) = k v / (1 - k v), v = 2^-24, in whatever order IEEE additions
          make it (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). So does the array's,
          whose vmac (host/vmac.hpp) adds s >= 2 products to an accumulator. Let 2^e be the power that sets
          its grid: the addend that set it is not below 2^e, and at most s others are rounded, each by v 2^e.
          Their sum is on the grid: below 2^(e+1) it is not rounded again; if it is at least 2^(e+j), j >= 1,
          its rounding and theirs are at most (1 + s / 2) v 2^(e+j). Both are at most s v of a magnitude that
          the sums up to there have reached; only where a step has one product or two it may be half a v more,
          and the first step has one rounding less.
        - What a core writes in bf16 moves by one more rounding; each partial result that the host adds, by v.
        - Subnormal numbers, below 2^-126, may be lost whole, and the array's grid takes them for 2^-126. With
          the factor that they meet, that is at most 2^-126 of the sum of the factors' magnitudes; each sum
          may be lost likewise.
        """
        a, b = (np.abs(x).astype(np.float64) for x in inputs)
        u = numerics.operand_unit
        k = min(self.K, numerics.partial_k or self.K)
        relative = (1 + 2 * u + u * u) * (1 + numerics.sum_error(k + -(-self.K // k) - 1)) - 1
        allowed = a @ b  # then in place: it may be as large as all heads' scores
        allowed *= relative
        allowed += (self.K + a.sum(axis=-1)[..., :, None]) * 2.0**-125
        allowed += b.sum(axis=-2)[..., None, :] * 2.0**-125
        return (allowed,)
