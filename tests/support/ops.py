"""Ops drawn at random, inputs for them, and what plain float32 makes of them, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf

from whisper_npu.dtypes import F32
from whisper_npu.ops import (
    Activation,
    Attention,
    Batched,
    EncoderLayer,
    Epilogue,
    Linear,
    Matmul,
    MergeHeads,
    Norm,
    Op,
    Part,
    Softmax,
    SplitHeads,
)

Arrays = Sequence[NDArray[Any]]
Evaluate = Callable[[Op, Arrays], tuple[NDArray[Any], ...]]
Rounded = Callable[[F32], F32]  # an operand of a product to what the product takes

sizes = st.integers(1, 24)
heads = st.integers(1, 4)
activations = st.sampled_from(list(Activation))
matmuls = st.builds(Matmul, sizes, sizes, sizes, batch=heads, batched=st.sampled_from(list(Batched)))
norms = st.builds(Norm, sizes, sizes, residual=st.booleans())
epilogues = st.builds(Epilogue, sizes, sizes, activations, residual=st.booleans())
softmaxes = st.builds(Softmax, heads, sizes, sizes, masked=st.booleans())
linears = st.builds(
    Linear, sizes, sizes, sizes, norm=st.booleans(), activation=activations, residual=st.booleans()
)


@st.composite
def of_heads(draw: st.DrawFn, kind: Callable[..., Op], **more: st.SearchStrategy[Any]) -> Op:
    """n_head divides n_state; d_head and n_ctx may be equal."""
    n_head, d_head = draw(heads), draw(st.integers(1, 6))
    return kind(draw(sizes), n_head * d_head, n_head, **{name: draw(value) for name, value in more.items()})


attentions = of_heads(Attention, masked=st.booleans())
layers = of_heads(EncoderLayer, n_mlp=sizes)
smallest = st.one_of(matmuls, norms, epilogues, softmaxes, of_heads(SplitHeads), of_heads(MergeHeads))
ops = st.one_of(smallest, linears, attentions, layers)


def random_inputs(op: Op, seed: int = 0) -> tuple[F32, ...]:
    """Normal numbers, matrices of weights of a size that keeps a row's; a mask leaves at least one key."""
    rng = np.random.default_rng(seed)

    def one(name: str, shape: tuple[int, ...]) -> F32:
        if name == "mask":
            mask = rng.integers(0, 2, shape).astype(np.float32)
            mask[rng.integers(len(mask))] = 1
            return mask
        values = rng.standard_normal(shape)
        return (values * shape[0] ** -0.5 if name.endswith("weight") and len(shape) == 2 else values).astype(
            "f4"
        )

    return tuple(one(operand.name, operand.shape) for operand in op.inputs)


def by_parts(op: Op, inputs: Arrays, evaluate: Evaluate) -> tuple[NDArray[Any], ...]:
    """An op's results by what it is lowered to."""
    return evaluated(op.lower(), op, inputs, evaluate)


def evaluated(parts: Iterable[Part], op: Op, inputs: Arrays, evaluate: Evaluate) -> tuple[NDArray[Any], ...]:
    """An op's results by these parts, one after the other."""
    values = {operand.name: x for operand, x in zip(op.inputs, inputs, strict=True)}
    for part in parts:
        results = evaluate(part.op, [values[part.operands[operand.name]] for operand in part.op.inputs])
        names = [part.operands[operand.name] for operand in part.op.outputs]
        values |= dict(zip(names, results, strict=True))
    return tuple(values[operand.name] for operand in op.outputs)


def unrounded(x: F32) -> F32:
    return x


def in_float32(rounded: Rounded = unrounded) -> Evaluate:
    """An evaluation in float32 whose products take their operands as `rounded` leaves them."""

    def evaluate(op: Op, inputs: Arrays) -> tuple[NDArray[Any], ...]:
        if op.lower():
            return by_parts(op, inputs, evaluate)
        match op:
            case Matmul():
                a, b = inputs
                results = (rounded(a) @ rounded(b),)
            case Norm():
                *added, weight, bias = inputs
                s = added[0] + added[1] if op.residual else added[0]
                centred = s - s.mean(axis=1, keepdims=True)
                variance = (centred * centred).mean(axis=1, keepdims=True)
                y = centred / np.sqrt(variance + np.float32(1e-5)) * weight + bias
                results = (s, y) if op.residual else (y,)
            case Epilogue():
                y, bias, *residual = inputs
                y = y + bias
                if op.activation is Activation.GELU:
                    y = np.float32(0.5) * y * (1 + erf(y / np.sqrt(np.float32(2))))
                results = (y + residual[0] if residual else y,)
            case Softmax():
                scores, *mask = inputs
                scores = np.where(mask[0] != 0, scores, np.float32(-np.inf)) if mask else scores
                powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
                results = (powers / powers.sum(axis=-1, keepdims=True),)
            case SplitHeads():
                results = op.views(inputs[0])
            case MergeHeads():
                results = (op.merged(inputs[0]).reshape(op.n_ctx, op.n_state),)
            case _:
                raise AssertionError(f"{op} has no parts and no evaluation here")
        assert all(result.dtype == np.float32 for result in results)
        return results

    return evaluate
