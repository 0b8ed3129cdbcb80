"""Linear: norm, product, bias, activation, residual in this order; a tolerance that misses none of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from tests.support.ops import Rounded, in_float32, linears, random_inputs, unrounded
from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.ops import Activation, Direction, Epilogue, Linear, Matmul, Norm, Numerics, Op, Operand
from whisper_npu.ops.op import BF16_NUMERICS, F64

FP32 = Numerics(0.0)
seeds = st.integers(0, 9999)
WHOLE = Linear(20, 32, 24, norm=True, activation=Activation.GELU, residual=True)


def bf16(x: F32) -> F32:
    return on_grid(x.astype(np.float32), Rounding.NEAREST_EVEN)


def plain(op: Linear, *inputs: F32) -> F64:
    """The formula in float64."""
    given = {operand.name: x.astype(np.float64) for operand, x in zip(op.inputs, inputs, strict=True)}
    x = given["x"]
    if op.norm:
        mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        x = (x - mean) / np.sqrt(variance + 1e-5) * given["norm_weight"] + given["norm_bias"]
    y = np.einsum("mk,kn->mn", x, given["weight"]) + given["bias"]
    if op.activation is Activation.GELU:
        y = y * special.ndtr(y)
    return y + given["residual"] if op.residual else y


def test_operands() -> None:
    x, weight, bias = Operand("x", (2, 3)), Operand("weight", (3, 5), is_weight=True), Operand("bias", (5,))
    y = Operand("y", (2, 5), Direction.OUT)
    assert Linear(2, 3, 5).operands == (x, weight, bias, y)
    norm = Operand("norm_weight", (3,)), Operand("norm_bias", (3,))
    residual = Operand("residual", (2, 5))
    assert Linear(2, 3, 5, norm=True, residual=True).operands == (x, *norm, weight, bias, residual, y)


@given(linears, seeds)
def test_it_is_the_formula(op: Linear, seed: int) -> None:
    inputs = random_inputs(op, seed)
    np.testing.assert_allclose(op.reference(*inputs)[0], plain(op, *inputs), rtol=1e-9, atol=1e-9)
    assert op.macs == op.M * op.K * op.N


def test_its_parts_are_what_is_done_before_and_after_the_product() -> None:
    assert [part.op for part in WHOLE.lower()] == [
        Norm(20, 32),
        Matmul(20, 32, 24),
        Epilogue(20, 24, Activation.GELU, residual=True),
    ]
    assert [part.op for part in Linear(20, 32, 24).lower()] == [Matmul(20, 32, 24), Epilogue(20, 24)]


def test_the_product_has_its_name() -> None:
    """By which reports count it."""
    op = replace(WHOLE, name="attention.qkv")
    assert op.product.name == "attention.qkv"
    assert [part.op.name for part in op.lower() if part.op.macs] == ["attention.qkv"]


@given(linears, seeds, st.integers(0, 23))
def test_rows_do_not_depend_on_each_other(op: Linear, seed: int, row: int) -> None:
    row %= op.M
    inputs = random_inputs(op, seed)
    one = [
        x[row : row + 1] if operand.name in ("x", "residual") else x
        for operand, x in zip(op.inputs, inputs, strict=True)
    ]
    (alone,) = replace(op, M=1).reference(*one)
    np.testing.assert_allclose(alone[0], op.reference(*inputs)[0][row], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("numerics", "rounded"), [(FP32, unrounded), (BF16_NUMERICS, bf16)], ids=["fp32", "bf16"]
)
@given(op=linears, seed=seeds, scale=st.sampled_from([1e-2, 1.0, 10.0]))
def test_evaluated_by_parts_it_keeps_its_tolerance(
    numerics: Numerics, rounded: Rounded, op: Linear, seed: int, scale: float
) -> None:
    x, *others = random_inputs(op, seed)
    inputs = np.float32(scale) * x, *others
    (result,) = in_float32(rounded)(op, inputs)
    assert (np.abs(result - op.reference(*inputs)[0]) <= op.tolerance(numerics, *inputs)[0]).all()


def test_a_norm_of_rows_far_from_zero_keeps_its_tolerance_and_needs_it() -> None:
    """The mean of numbers near 1,000 moves by some of their last bits, of which few are left below it."""
    op = Linear(20, 32, 24, norm=True)
    x, *others = random_inputs(op)
    inputs = x + np.float32(1000), *others
    (result,) = in_float32(unrounded)(op, inputs)
    wrong = np.abs(result - op.reference(*inputs)[0])
    assert (wrong <= op.tolerance(FP32, *inputs)[0]).all()
    (normed,) = Norm(20, 32).reference(*inputs[:3])
    alone = Linear(20, 32, 24)
    assert (wrong > alone.tolerance(FP32, normed, *inputs[3:])[0]).any()


def slips() -> dict[str, Op]:
    """Whose reference is wrong for WHOLE, with the operands that it takes."""
    return {
        "no norm": replace(WHOLE, norm=False),
        "no activation": replace(WHOLE, activation=Activation.NONE),
        "no residual": replace(WHOLE, residual=False),
    }


@pytest.mark.parametrize("numerics", [FP32, BF16_NUMERICS], ids=["fp32", "bf16"])
def test_a_slip_is_noticed(numerics: Numerics) -> None:
    inputs = random_inputs(WHOLE)
    values = dict(zip((operand.name for operand in WHOLE.inputs), inputs, strict=True))
    (exact,), (tolerance,) = WHOLE.reference(*inputs), WHOLE.tolerance(numerics, *inputs)
    wrong = {
        name: op.reference(*(values[operand.name] for operand in op.inputs))[0]
        for name, op in slips().items()
    }
    for name in ("norm_weight", "norm_bias", "bias"):
        others = values | {name: np.roll(values[name], 1)}
        wrong[f"{name} moved on by one"] = WHOLE.reference(*others.values())[0]
    one_product = values["weight"].copy()
    one_product[-1] = 0
    wrong["one product of each sum is missing"] = WHOLE.reference(
        *(values | {"weight": one_product}).values()
    )[0]
    wrong["rows exchanged"] = exact[::-1]
    assert [name for name, result in wrong.items() if not (np.abs(result - exact) > tolerance).any()] == []


def test_operands_in_bf16_are_noticed_where_float32_is_promised() -> None:
    inputs = random_inputs(WHOLE)
    (result,) = in_float32(bf16)(WHOLE, inputs)
    assert (np.abs(result - WHOLE.reference(*inputs)[0]) > WHOLE.tolerance(FP32, *inputs)[0]).any()
