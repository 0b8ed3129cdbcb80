"""One layer of an encoder: against the formula of its paper, and what its tolerance lets through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from tests.support.ops import Rounded, in_float32, layers, random_inputs, unrounded
from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.npu.planner import products
from whisper_npu.ops import Direction, EncoderLayer, Numerics
from whisper_npu.ops.op import BF16_NUMERICS, F64

FP32 = Numerics(0.0)
seeds = st.integers(0, 9999)
LAYER = EncoderLayer(n_ctx=24, n_state=32, n_head=4, n_mlp=64)


def bf16(x: F32) -> F32:
    return on_grid(np.ascontiguousarray(x), Rounding.NEAREST_EVEN)


def inputs_of(op: EncoderLayer, seed: int = 0) -> dict[str, F32]:
    """By name; q is scaled by its weights, as a model's is."""
    named = dict(zip((operand.name for operand in op.inputs), random_inputs(op, seed), strict=True))
    scale = np.float32((op.n_state // op.n_head) ** -0.5)
    named["qkv_weight"][:, : op.n_state] *= scale
    named["qkv_bias"][: op.n_state] *= scale
    return named


def normed(x: F64, weight: F64, bias: F64) -> F64:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * weight + bias


def plain(op: EncoderLayer, given: dict[str, F32], slip: str = "") -> F64:
    """x + attention(norm(x)), and to that the feed-forward of its norm. slip: what is done wrong."""
    w = {name: x.astype(np.float64) for name, x in given.items()}
    x = w["x"]
    h = x if slip == "no norm" else normed(x, w["attn_ln_weight"], w["attn_ln_bias"])
    q, k, v = (
        part.reshape(op.n_ctx, op.n_head, -1)
        for part in np.split(h @ w["qkv_weight"] + w["qkv_bias"], 3, axis=1)
    )
    weights = special.softmax(np.einsum("qhd,khd->hqk", q, k), axis=-1)
    context = np.einsum("hqk,khd->qhd", weights, v).reshape(op.n_ctx, op.n_state)
    attended = context @ w["out_weight"] + w["out_bias"]
    x = attended if slip == "no residual of attention" else x + attended
    h = normed(attended if slip == "norm without residual" else x, w["mlp_ln_weight"], w["mlp_ln_bias"])
    middle = h @ w["mlp0_weight"] + w["mlp0_bias"]
    if slip != "no activation":
        middle = middle * special.ndtr(middle)
    y = middle @ w["mlp2_weight"] + w["mlp2_bias"]
    return y + {"no residual of the feed-forward": 0, "the residual of attention twice": w["x"]}.get(slip, x)


def test_operands() -> None:
    op = EncoderLayer(5, 12, 3, 48)
    assert {operand.name: operand.shape for operand in op.operands} == {
        "x": (5, 12),
        "attn_ln_weight": (12,),
        "attn_ln_bias": (12,),
        "qkv_weight": (12, 36),
        "qkv_bias": (36,),
        "out_weight": (12, 12),
        "out_bias": (12,),
        "mlp_ln_weight": (12,),
        "mlp_ln_bias": (12,),
        "mlp0_weight": (12, 48),
        "mlp0_bias": (48,),
        "mlp2_weight": (48, 12),
        "mlp2_bias": (12,),
        "y": (5, 12),
    }
    assert [operand.name for operand in op.operands if operand.direction is not Direction.IN] == ["y"]


@given(layers, seeds)
def test_it_is_the_formula(op: EncoderLayer, seed: int) -> None:
    given = inputs_of(op, seed)
    np.testing.assert_allclose(op.reference(*given.values())[0], plain(op, given), rtol=1e-8, atol=1e-9)
    n_ctx, n_state, n_mlp = op.n_ctx, op.n_state, op.n_mlp
    assert op.macs == n_ctx * (4 * n_state**2 + 2 * n_state * n_mlp) + 2 * n_ctx**2 * n_state


def test_its_products_have_the_names_that_reports_show() -> None:
    named = [product.name for product in products([LAYER])]
    assert named == [
        "attention.qkv",
        "attention.scores",
        "attention.context",
        "attention.out",
        "mlp.0",
        "mlp.2",
    ]


@pytest.mark.parametrize(
    ("numerics", "rounded"), [(FP32, unrounded), (BF16_NUMERICS, bf16)], ids=["fp32", "bf16"]
)
@given(seed=seeds, n_head=st.sampled_from([1, 2, 4]), scale=st.sampled_from([0.3, 1.0, 10.0]))
def test_random_operands_keep_its_tolerance(
    numerics: Numerics, rounded: Rounded, seed: int, n_head: int, scale: float
) -> None:
    """An estimate for operands as a model has them: of several dozen numbers per row."""
    op = EncoderLayer(24, 32, n_head, 64)
    given = inputs_of(op, seed)
    given["x"] *= np.float32(scale)
    (result,) = in_float32(rounded)(op, tuple(given.values()))
    error = np.abs(result - op.reference(*given.values())[0])
    assert (error <= op.tolerance(numerics, *given.values())[0]).all()


@pytest.mark.parametrize(
    "slip",
    [
        "no norm",
        "no residual of attention",
        "norm without residual",
        "no activation",
        "no residual of the feed-forward",
        "the residual of attention twice",
    ],
)
def test_a_slip_is_noticed(slip: str) -> None:
    given = inputs_of(LAYER)
    (exact,), (tolerance,) = LAYER.reference(*given.values()), LAYER.tolerance(BF16_NUMERICS, *given.values())
    assert (np.abs(plain(LAYER, given, slip) - exact) > tolerance).any()


@pytest.mark.parametrize("name", [name for name in inputs_of(LAYER) if name != "x"])
def test_weights_in_another_order_are_noticed(name: str) -> None:
    given = inputs_of(LAYER)
    (exact,), (tolerance,) = LAYER.reference(*given.values()), LAYER.tolerance(BF16_NUMERICS, *given.values())
    moved = given | {name: np.roll(given[name], 1, axis=-1)}
    assert (np.abs(LAYER.reference(*moved.values())[0] - exact) > tolerance).any()


def test_operands_in_bf16_are_noticed_where_float32_is_promised() -> None:
    given = inputs_of(LAYER)
    (result,) = in_float32(bf16)(LAYER, tuple(given.values()))
    error = np.abs(result - LAYER.reference(*given.values())[0])
    assert (error > LAYER.tolerance(FP32, *given.values())[0]).any()
