"""Ops on rows: against SciPy's and plain float64, and tolerances that float32 keeps and a slip does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from tests.support.ops import epilogues, in_float32, norms, random_inputs, softmaxes
from whisper_npu.dtypes import F32
from whisper_npu.host.threads import Threads
from whisper_npu.npu.host_ops import run_on_host
from whisper_npu.ops import EPSILON, Activation, Direction, Epilogue, Norm, Numerics, Op, Operand, Softmax
from whisper_npu.ops.op import F64

FP32 = Numerics(0.0)
THREADS = Threads(1)
seeds = st.integers(0, 9999)


def by_host(op: Op, inputs: tuple[F32, ...]) -> tuple[F32, ...]:
    """The op as this CPU does it beside a device."""
    values = {operand.name: x.copy() for operand, x in zip(op.inputs, inputs, strict=True)}
    run_on_host(op, values, THREADS)
    return tuple(values[operand.name] for operand in op.outputs)


def assert_kept(op: Op, inputs: tuple[F32, ...]) -> None:
    """By this module's float32 and by the host's."""
    exact, tolerances = op.reference(*inputs), op.tolerance(FP32, *inputs)
    for results in (in_float32()(op, inputs), by_host(op, inputs)):
        for result, right, tolerance in zip(results, exact, tolerances, strict=True):
            assert (np.abs(result - right) <= tolerance).all()


def is_noticed(op: Op, inputs: tuple[F32, ...], wrong: F64 | F32, number: int = -1) -> bool:
    return bool((np.abs(wrong - op.reference(*inputs)[number]) > op.tolerance(FP32, *inputs)[number]).any())


# --- Norm ---------------------------------------------------------------------------------------------------


def test_operands_of_a_norm() -> None:
    x, row = Operand("x", (2, 3)), (3,)
    weight, bias, y = Operand("weight", row), Operand("bias", row), Operand("y", (2, 3), Direction.OUT)
    assert Norm(2, 3).operands == (x, weight, bias, y)
    residual, stream = Operand("residual", (2, 3)), Operand("sum", (2, 3), Direction.OUT)
    assert Norm(2, 3, residual=True).operands == (x, residual, weight, bias, stream, y)
    assert Norm(2, 3).macs == 0


@given(norms, seeds)
def test_a_norm_is_the_z_score_scaled_and_shifted(op: Norm, seed: int) -> None:
    inputs = random_inputs(op, seed)
    *added, weight, bias = (x.astype(np.float64) for x in inputs)
    stream = added[0] + added[1] if op.residual else added[0]
    variance = stats.moment(stream, 2, axis=1)[:, None]
    expected = (stream - stats.tmean(stream, axis=1)[:, None]) * (variance + 1e-5) ** -0.5 * weight + bias
    results = op.reference(*inputs)
    np.testing.assert_allclose(results[-1], expected, rtol=1e-9, atol=1e-9)
    assert len(results) == 1 + op.residual
    if op.residual:
        assert np.array_equal(results[0], stream)


@given(norms, seeds, st.sampled_from([0.0, 1.0, -30.0]), st.sampled_from([1e-3, 1.0, 40.0]))
def test_float32_keeps_the_tolerance_of_a_norm(op: Norm, seed: int, shift: float, scale: float) -> None:
    x, *others = random_inputs(op, seed)
    assert_kept(op, (np.float32(scale) * x + np.float32(shift), *others))


def test_a_slip_in_a_norm_is_noticed() -> None:
    op = Norm(20, 64, residual=True)
    x, residual, weight, bias = inputs = random_inputs(op)
    s = x.astype(np.float64) + residual
    centred = s - s.mean(axis=1, keepdims=True)
    spread = np.sqrt(s.var(axis=1, keepdims=True) + EPSILON)
    slips = {
        "of N - 1": centred / np.sqrt(s.var(axis=1, keepdims=True, ddof=1)) * weight + bias,
        "not centred": s / spread * weight + bias,
        "no weight": centred / spread + bias,
        "no bias": centred / spread * weight,
        "another epsilon": centred / np.sqrt(s.var(axis=1, keepdims=True) + 1e-3) * weight + bias,
        "of columns": (s - s.mean(axis=0)) / np.sqrt(s.var(axis=0) + EPSILON) * weight + bias,
        "no residual": op.reference(x, 0 * residual, weight, bias)[1],
        "rows exchanged": op.reference(*inputs)[1][::-1],
    }
    assert [name for name, wrong in slips.items() if not is_noticed(op, inputs, wrong)] == []
    assert is_noticed(op, inputs, x, number=0)
    small = (1e-3 * x, 1e-3 * residual, weight, bias)  # where epsilon counts
    s = 1e-3 * s
    without = (s - s.mean(axis=1, keepdims=True)) / s.std(axis=1, keepdims=True) * weight + bias
    assert is_noticed(op, small, without)


# --- Epilogue -----------------------------------------------------------------------------------------------


def test_operands_of_an_epilogue() -> None:
    y, bias, residual = (
        Operand("y", (2, 3), Direction.INOUT),
        Operand("bias", (3,)),
        Operand("residual", (2, 3)),
    )
    assert Epilogue(2, 3).operands == (y, bias)
    assert Epilogue(2, 3, residual=True).operands == (y, bias, residual)
    assert Epilogue(2, 3).inputs == (y, bias)
    assert Epilogue(2, 3).outputs == (y,)
    assert Epilogue(2, 3).macs == 0


@given(epilogues, seeds)
def test_an_epilogue_is_bias_then_activation_then_residual(op: Epilogue, seed: int) -> None:
    inputs = random_inputs(op, seed)
    y, bias, *residual = (x.astype(np.float64) for x in inputs)
    expected = y + bias
    if op.activation is Activation.GELU:
        expected = expected * special.ndtr(expected)
    if residual:
        expected = expected + residual[0]
    np.testing.assert_allclose(op.reference(*inputs)[0], expected, rtol=1e-12, atol=1e-15)


@given(epilogues, seeds, st.sampled_from([1e-3, 1.0, 30.0]))
def test_float32_keeps_the_tolerance_of_an_epilogue(op: Epilogue, seed: int, scale: float) -> None:
    y, *others = random_inputs(op, seed)
    assert_kept(op, (np.float32(scale) * y, *others))


def test_a_slip_in_an_epilogue_is_noticed() -> None:
    op = Epilogue(20, 64, Activation.GELU, residual=True)
    y, bias, residual = inputs = random_inputs(op)
    x = y.astype(np.float64) + bias
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    slips = {
        "no bias": y * special.ndtr(y) + residual,
        "no activation": x + residual,
        "no residual": x * special.ndtr(x),
        "the residual goes through the activation": (x + residual) * special.ndtr(x + residual),
        "GELU by tanh": tanh + residual,
        "a sigmoid": x * special.expit(1.702 * x) + residual,
        "bf16": (x * special.ndtr(x) + residual) * (1 + 2.0**-8),
    }
    assert [name for name, wrong in slips.items() if not is_noticed(op, inputs, wrong)] == []


# --- Softmax ------------------------------------------------------------------------------------------------


def test_operands_of_a_softmax() -> None:
    scores = Operand("scores", (2, 3, 5), Direction.INOUT)
    assert Softmax(2, 3, 5).operands == (scores,)
    assert Softmax(2, 3, 5, masked=True).operands == (scores, Operand("mask", (5,)))
    assert Softmax(1, 3, 5).operands == (Operand("scores", (3, 5), Direction.INOUT),)
    assert Softmax(2, 3, 5).macs == 0


@given(softmaxes, seeds)
def test_a_softmax_is_scipys_and_masked_keys_get_no_weight(op: Softmax, seed: int) -> None:
    scores, *mask = inputs = random_inputs(op, seed)
    (weights,) = op.reference(*inputs)
    wide = scores.astype(np.float64)
    keys = mask[0] != 0 if mask else np.ones(op.keys, bool)
    np.testing.assert_allclose(weights[..., keys], special.softmax(wide[..., keys], axis=-1), rtol=1e-12)
    assert not weights[..., ~keys].any()
    np.testing.assert_allclose(weights.sum(axis=-1), 1)


@given(softmaxes, seeds, st.sampled_from([1e-3, 1.0, 30.0, 300.0]))
def test_float32_keeps_the_tolerance_of_a_softmax(op: Softmax, seed: int, scale: float) -> None:
    scores, *mask = random_inputs(op, seed)
    assert_kept(op, (np.float32(scale) * scores, *mask))


def test_a_slip_in_a_softmax_is_noticed() -> None:
    op = Softmax(3, 20, 24, masked=True)
    scores, mask = inputs = random_inputs(op)
    s = np.where(mask != 0, scores.astype(np.float64), -np.inf)
    slips = {
        "no mask": special.softmax(scores.astype(np.float64), axis=-1),
        "the mask turned round": special.softmax(
            np.where(mask == 0, scores.astype(np.float64), -np.inf), axis=-1
        ),
        "of queries": special.softmax(scores.astype(np.float64), axis=-2) * mask,
        "of all heads": special.softmax(s, axis=(0, 2)),
        "scaled once more": special.softmax(s / 8, axis=-1),
        "not divided": np.exp(s - s.max(axis=-1, keepdims=True)),
        "bf16": special.softmax(s, axis=-1) * (1 + 2.0**-8),
    }
    assert [name for name, wrong in slips.items() if not is_noticed(op, inputs, wrong)] == []


@pytest.mark.parametrize("op", [Norm(4, 8, residual=True), Epilogue(4, 8), Softmax(2, 4, 8)], ids=str)
def test_what_is_no_number_is_noticed(op: Op) -> None:
    inputs = random_inputs(op)
    for wrong in (op.reference(*inputs)[-1] * np.nan, op.reference(*inputs)[-1] + np.inf):
        assert not (np.abs(wrong - op.reference(*inputs)[-1]) <= op.tolerance(FP32, *inputs)[-1]).any()
