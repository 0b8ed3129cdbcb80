"""Self-attention of several heads, from the fused projections to the heads side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.errors import PlanError
from whisper_npu.ops.matmul import Batched, Matmul
from whisper_npu.ops.op import F64, Direction, Numerics, Op, Operand, Part
from whisper_npu.ops.rows import Softmax, softmax_reference


def check_heads(n_state: int, n_head: int) -> None:
    """Raises PlanError where heads of equal width do not make up n_state."""
    if n_head < 1 or n_state % n_head:
        raise PlanError(f"n_head {n_head} does not divide n_state {n_state}: take a divisor")


@dataclass(frozen=True)
class SplitHeads(Op):
    """q, k^T and v of every head, as views of (n_ctx, 3 * n_state): q, k and v side by side."""

    n_ctx: int
    n_state: int
    n_head: int
    name: str = field(default="split_heads", compare=False)

    def __post_init__(self) -> None:
        check_heads(self.n_state, self.n_head)

    @property
    def operands(self) -> tuple[Operand, ...]:
        d_head = self.n_state // self.n_head
        heads = () if self.n_head == 1 else (self.n_head,)
        upright, turned = (*heads, self.n_ctx, d_head), (*heads, d_head, self.n_ctx)
        return (
            Operand("qkv", (self.n_ctx, 3 * self.n_state)),
            Operand("q", upright, Direction.OUT),
            Operand("k_t", turned, Direction.OUT),
            Operand("v", upright, Direction.OUT),
        )

    @property
    def macs(self) -> int:
        return 0

    def views(self, qkv: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Copies nothing."""
        heads = qkv.reshape(self.n_ctx, 3, self.n_head, -1).transpose(
            1, 2, 0, 3
        )  # (3, n_head, n_ctx, d_head)
        q, k, v = heads[:, 0] if self.n_head == 1 else heads
        return q, k.swapaxes(-1, -2), v

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        return self.views(inputs[0].astype(np.float64))

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """Nothing is computed."""
        return tuple(np.zeros(output.shape) for output in self.outputs)


@dataclass(frozen=True)
class MergeHeads(Op):
    """The heads' contexts side by side: (n_head, n_ctx, d_head) to (n_ctx, n_state)."""

    n_ctx: int
    n_state: int
    n_head: int
    name: str = field(default="merge_heads", compare=False)

    def __post_init__(self) -> None:
        check_heads(self.n_state, self.n_head)

    @property
    def operands(self) -> tuple[Operand, ...]:
        heads = () if self.n_head == 1 else (self.n_head,)
        shape = (*heads, self.n_ctx, self.n_state // self.n_head)
        return Operand("context", shape), Operand("y", (self.n_ctx, self.n_state), Direction.OUT)

    @property
    def macs(self) -> int:
        return 0

    def merged(self, context: NDArray[Any]) -> NDArray[Any]:
        """(n_ctx, n_head, d_head), a view."""
        heads: NDArray[Any] = context.reshape(self.n_head, self.n_ctx, -1).swapaxes(0, 1)
        return heads

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        return (self.merged(inputs[0].astype(np.float64)).reshape(self.n_ctx, self.n_state),)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """Nothing is computed."""
        return (np.zeros((self.n_ctx, self.n_state)),)


@dataclass(frozen=True)
class Attention(Op):
    """softmax(Q K^T) V of every head, with q, k and v side by side in one matrix; q is scaled already.

    Source: Vaswani et al., arXiv 1706.03762, section 3.2. mask: (n_ctx,), 0 for keys that no query may attend
    to, only where `masked`; at least one key must be left. Raises PlanError where n_head does not divide
    n_state.
    """

    n_ctx: int
    n_state: int
    n_head: int
    masked: bool = False
    name: str = field(default="attention", compare=False)

    def __post_init__(self) -> None:
        check_heads(self.n_state, self.n_head)

    @property
    def operands(self) -> tuple[Operand, ...]:
        return (
            Operand("qkv", (self.n_ctx, 3 * self.n_state)),
            *([Operand("mask", (self.n_ctx,))] if self.masked else []),
            Operand("y", (self.n_ctx, self.n_state), Direction.OUT),
        )

    @property
    def d_head(self) -> int:
        return self.n_state // self.n_head

    @property
    def macs(self) -> int:
        return self.scores.macs + self.context.macs

    @property
    def scores(self) -> Matmul:
        sizes = self.n_ctx, self.d_head, self.n_ctx, self.n_head
        return Matmul(*sizes, batched=Batched.SCORES, name=f"{self.name}.scores")

    @property
    def context(self) -> Matmul:
        sizes = self.n_ctx, self.n_ctx, self.d_head, self.n_head
        return Matmul(*sizes, batched=Batched.CONTEXT, name=f"{self.name}.context")

    def lower(self) -> tuple[Part, ...]:
        sizes = self.n_ctx, self.n_state, self.n_head
        softmax = Softmax(self.n_head, self.n_ctx, self.n_ctx, self.masked)
        mask = {"mask": "mask"} if self.masked else {}
        return (
            Part(SplitHeads(*sizes), {"qkv": "qkv", "q": "q", "k_t": "k_t", "v": "v"}),
            Part(self.scores, {"a": "q", "b": "k_t", "c": "scores"}),
            Part(softmax, {"scores": "scores"} | mask),
            Part(self.context, {"a": "scores", "b": "v", "c": "context"}),
            Part(MergeHeads(*sizes), {"context": "context", "y": "y"}),
        )

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        qkv, *mask = inputs
        q, k, v = qkv.astype(np.float64).reshape(self.n_ctx, 3, self.n_head, -1).transpose(1, 2, 0, 3)
        scores = q @ k.swapaxes(1, 2)
        if mask:
            scores[..., np.asarray(mask[0]) == 0] = -np.inf
        context = softmax_reference(scores) @ v  # (n_head, n_ctx, d_head)
        return (context.swapaxes(0, 1).reshape(self.n_ctx, self.n_state),)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """Scores that move by at most e change every weight by a factor between exp(-2e) and exp(2e).

        To that come the weights' own rounding, those that become 0 (see Softmax), and the product's
        tolerance. No weight is above 1, so none moves by more, however far the scores do.
        """
        qkv, *mask = inputs
        q, k, v = qkv.astype(np.float64).reshape(self.n_ctx, 3, self.n_head, -1).transpose(1, 2, 0, 3)
        keys = slice(None) if not mask else np.asarray(mask[0]) != 0
        k, v = k[:, keys], v[:, keys]
        scores = q @ k.swapaxes(1, 2)
        (moved,) = self.scores.tolerance(numerics, q, k.swapaxes(1, 2))
        weights = softmax_reference(scores)
        exponent = 2 * moved.max(axis=-1, keepdims=True)
        shift = np.expm1(np.minimum(exponent, 80)) + 2.0**-18
        change = np.where(exponent < 80, np.minimum(weights * shift + np.exp(-80.0), 1), 1)
        (product,) = self.context.tolerance(numerics, weights + change, v)
        bound = product + change @ np.abs(v)
        return (bound.swapaxes(0, 1).reshape(self.n_ctx, self.n_state),)
