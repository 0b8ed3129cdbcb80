"""One layer of a transformer's encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.ops.attention import Attention, check_heads
from whisper_npu.ops.linear import Linear
from whisper_npu.ops.op import F64, Direction, Numerics, Op, Operand, Part
from whisper_npu.ops.rows import EPSILON, Activation, Norm


@dataclass(frozen=True)
class EncoderLayer(Op):
    """x + attention(norm(x)), and to that the feed-forward of its norm. q is scaled by its weights already.

    Source: Vaswani et al., arXiv 1706.03762, with the norms first, as in openai/whisper's
    ResidualAttentionBlock. Raises PlanError where n_head does not divide n_state.
    """

    n_ctx: int
    n_state: int
    n_head: int
    n_mlp: int
    name: str = field(default="layer", compare=False)

    def __post_init__(self) -> None:
        check_heads(self.n_state, self.n_head)

    @property
    def operands(self) -> tuple[Operand, ...]:
        n_state, n_mlp, stream = self.n_state, self.n_mlp, (self.n_ctx, self.n_state)
        shapes = {
            "attn_ln_weight": (n_state,),
            "attn_ln_bias": (n_state,),
            "qkv_weight": (n_state, 3 * n_state),
            "qkv_bias": (3 * n_state,),
            "out_weight": (n_state, n_state),
            "out_bias": (n_state,),
            "mlp_ln_weight": (n_state,),
            "mlp_ln_bias": (n_state,),
            "mlp0_weight": (n_state, n_mlp),
            "mlp0_bias": (n_mlp,),
            "mlp2_weight": (n_mlp, n_state),
            "mlp2_bias": (n_state,),
        }
        weights = [Operand(name, shape, is_weight=len(shape) == 2) for name, shape in shapes.items()]
        return Operand("x", stream), *weights, Operand("y", stream, Direction.OUT)

    @property
    def qkv(self) -> Linear:
        return Linear(self.n_ctx, self.n_state, 3 * self.n_state, norm=True, name="attention.qkv")

    @property
    def attention(self) -> Attention:
        return Attention(self.n_ctx, self.n_state, self.n_head)

    @property
    def out(self) -> Linear:
        return Linear(self.n_ctx, self.n_state, self.n_state, name="attention.out")

    @property
    def norm(self) -> Norm:
        return Norm(self.n_ctx, self.n_state, residual=True, name="mlp_ln")

    @property
    def mlp0(self) -> Linear:
        return Linear(self.n_ctx, self.n_state, self.n_mlp, activation=Activation.GELU, name="mlp.0")

    @property
    def mlp2(self) -> Linear:
        return Linear(self.n_ctx, self.n_mlp, self.n_state, residual=True, name="mlp.2")

    @property
    def macs(self) -> int:
        return sum(part.op.macs for part in self.lower())

    def lower(self) -> tuple[Part, ...]:
        return (
            Part(
                self.qkv,
                {
                    "x": "x",
                    "norm_weight": "attn_ln_weight",
                    "norm_bias": "attn_ln_bias",
                    **_weights("qkv"),
                    "y": "qkv",
                },
            ),
            Part(self.attention, {"qkv": "qkv", "y": "context"}),
            Part(self.out, {"x": "context", **_weights("out"), "y": "attended"}),
            Part(
                self.norm,
                {
                    "x": "attended",
                    "residual": "x",
                    "weight": "mlp_ln_weight",
                    "bias": "mlp_ln_bias",
                    "sum": "stream",
                    "y": "normed",
                },
            ),
            Part(self.mlp0, {"x": "normed", **_weights("mlp0"), "y": "middle"}),
            Part(self.mlp2, {"x": "middle", **_weights("mlp2"), "residual": "stream", "y": "y"}),
        )

    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        return (self._values(inputs)["y"].astype(np.float64),)

    def _values(self, inputs: tuple[NDArray[Any], ...]) -> dict[str, NDArray[Any]]:
        """Everything that the parts take and make, in float64."""
        values = {o.name: x for o, x in zip(self.inputs, inputs, strict=True)}
        for part in self.lower():
            given = [values[part.operands[o.name]] for o in part.op.inputs]
            results = part.op.reference(*given)
            values |= {part.operands[o.name]: y for o, y in zip(part.op.outputs, results, strict=True)}
        return values

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """An estimate, no bound: the worst case of one product multiplies that of the next.

        Each product moves what it makes by a few roundings of its operands, relative to the largest element,
        for attention mixes the rows. The norm of the stream divides what has moved so far by the row's
        spread.
        """
        values = self._values(inputs)
        stream, y = values["stream"], values["y"]
        u = max(numerics.operand_unit, numerics.result_unit, 2.0**-20)
        amplified = 1 + np.abs(stream).max() / (stream.std(axis=1, keepdims=True) + EPSILON**0.5)
        return (np.broadcast_to(8 * u * np.abs(y).max() * amplified, y.shape),)


def _weights(name: str) -> dict[str, str]:
    return {"weight": f"{name}_weight", "bias": f"{name}_bias"}
