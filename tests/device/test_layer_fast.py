"""Whole layers on the emulator's fast fidelity: the same phases as exact, sums in another order.

A sum in another order moves by its terms' roundings. What is then rounded to bf16 may come out one step
apart, and what is made of that follows; nearly all elements are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.ops import random_inputs
from whisper_npu.dtypes import F32
from whisper_npu.host.gemm import blas, fastest
from whisper_npu.host.threads import Threads
from whisper_npu.kernels.layer.numerics import GELU_ERROR
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator import phases
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.ops import Activation, Attention, EncoderLayer, Linear, Op

STEP = 2.0**-7  # of bf16, relative, at most
OF_SUMS = 2.0**-22  # of each term: what both orders round together
# Factors in two parts, which fast takes whole, move GELU by 2^-15. A sum that moves may become another bf16
# argument of the polynomial besides, which is GELU_ERROR from GELU on either side.
OF_GELU = 2.0**-15 + 2 * GELU_ERROR
IN_A_LAYER = 2.0**-9  # of the norm of what a layer makes: 2^-10.5 was the most found


def run(device: Device, op: Op, inputs: tuple[F32, ...]) -> F32:
    y = np.full(op.outputs[0].shape, np.nan, np.float32)
    names = [operand.name for operand in op.operands]
    device.run(op, dict(zip(names, (*inputs, y), strict=True)))
    return y


def both(op: Op, inputs: tuple[F32, ...]) -> tuple[F32, F32]:
    """By fast and by exact."""
    fast, exact = (
        run(Emulator(fidelity).prepared([op], "layer"), op, inputs)
        for fidelity in (Fidelity.FAST, Fidelity.EXACT)
    )
    return fast, exact


def bound_of_linear(op: Linear, inputs: tuple[F32, ...], exact: F32) -> NDArray[Any]:
    """How far fast may be from exact: of sums, of a norm's bf16 one step apart, of the result's."""
    given = dict(zip((operand.name for operand in op.inputs), inputs, strict=True))
    x, weight = given["x"].astype(np.float64), np.abs(given["weight"].astype(np.float64))
    per_term = OF_SUMS * op.K
    if op.norm:
        weight *= np.abs(given["norm_weight"].astype(np.float64))[:, None]
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        per_term += STEP
    bound = 1.2 * per_term * np.abs(x) @ weight + OF_SUMS * np.abs(given["bias"])
    if op.activation is Activation.GELU:
        bound = 1.2 * bound + OF_GELU
    if op.residual:
        return np.asarray(bound + OF_SUMS * (np.abs(exact) + np.abs(given["residual"])))
    return np.asarray(bound + STEP * (np.abs(exact) + bound))


@settings(max_examples=20)
@given(
    M=st.integers(1, 300),
    K=st.integers(1, 130),
    N=st.integers(1, 600),
    norm=st.booleans(),
    activation=st.sampled_from(list(Activation)),
    residual=st.booleans(),
)
def test_a_linear_layer(M: int, K: int, N: int, norm: bool, activation: Activation, residual: bool) -> None:
    op = Linear(M, 64 * -(-K // 64) if norm else K, N, norm, activation, residual)
    inputs = random_inputs(op, M + K + N)
    fast, exact = both(op, inputs)
    assert (np.abs(fast - exact) <= bound_of_linear(op, inputs, exact)).all()
    if not residual:  # in bf16 nearly all are alike
        assert (fast != exact).mean() <= 0.05 + 8 / exact.size


@pytest.mark.parametrize(
    "op",
    [
        Linear(1100, 1088, 16, norm=True),
        Linear(1100, 64, 1088, residual=True),
        Linear(3, 64, 2700, activation=Activation.GELU),
    ],
    ids=["x in two blocks", "y in two blocks", "in two phases"],
)
def test_what_is_cut(op: Linear) -> None:
    inputs = random_inputs(op)
    fast, exact = both(op, inputs)
    assert (np.abs(fast - exact) <= bound_of_linear(op, inputs, exact)).all()


@settings(max_examples=15)
@given(
    n_ctx=st.integers(1, 330),
    n_head=st.integers(1, 6),
    masked=st.booleans(),
    spread=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
)
def test_attention(n_ctx: int, n_head: int, masked: bool, spread: float) -> None:
    """Of a weight, a power and its total each may be one step apart; spread: of the scores."""
    op = Attention(n_ctx, 64 * n_head, n_head, masked)
    qkv, *mask = random_inputs(op, n_ctx)
    qkv[:, : op.n_state] *= np.float32(spread / 8)
    fast, exact = both(op, (qkv, *mask))
    absolute = qkv.copy()
    absolute[:, 2 * op.n_state :] = np.abs(qkv[:, 2 * op.n_state :])
    (of_weights,) = op.reference(absolute, *mask)  # of |V|
    moved = 2 * STEP + OF_SUMS * 64 * (1 + np.abs(qkv).max() ** 2)
    assert (np.abs(fast - exact) <= moved * of_weights + STEP * np.abs(exact)).all()
    if spread <= 1:  # nearly all are alike, but one weight moves a row of 64; larger scores move by more
        assert (fast != exact).mean() <= 0.05 + 2 * 64 / exact.size


def test_scores_that_differ_much() -> None:
    """One dominant key, and equal keys."""
    op = Attention(70, 128, 2)
    (qkv,) = random_inputs(op)
    q, k = qkv[:, :64], qkv[:, 128:192]
    k[:] = 0
    k[11], q[:] = 30 * np.sign(q[0]), np.sign(q[0])
    qkv[:, 192:256] = qkv[0, 192:256]
    y = run(Emulator().prepared([op], "layer"), op, (qkv,))
    v = qkv[:, 256:].astype(np.float64)
    assert np.abs(y[:, :64] - v[11, :64]).max() <= 2.0**-7 * np.abs(v[11]).max()
    assert np.abs(y[:, 64:] - v[:, 64:].mean(axis=0)).max() <= 2.0**-7 * np.abs(v).mean()


@pytest.mark.parametrize(
    ("n_ctx", "n_head", "n_mlp"), [(1, 1, 100), (31, 4, 500), (300, 1, 256), (257, 6, 1536)], ids=str
)
def test_an_encoder_layer(n_ctx: int, n_head: int, n_mlp: int) -> None:
    op = EncoderLayer(n_ctx, 64 * n_head, n_head, n_mlp)
    inputs = layer_inputs(op)
    fast, exact = both(op, inputs)
    assert np.linalg.norm(fast - exact) <= IN_A_LAYER * np.linalg.norm(exact)


def layer_inputs(op: EncoderLayer) -> tuple[F32, ...]:
    inputs = random_inputs(op, op.n_ctx)
    qkv, bias = inputs[3], inputs[4]
    qkv[:, : op.n_state] /= 8  # q over sqrt(d_head)
    bias[: op.n_state] /= 8
    return inputs


def test_without_a_compiler_and_on_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops in NumPy, and a gemm of float32: as near to exact as the others."""
    op = EncoderLayer(100, 128, 2, 500)
    inputs = layer_inputs(op)
    exact = run(Emulator(Fidelity.EXACT).prepared([op], "layer"), op, inputs)
    for gemm_of in (fastest, blas):
        for loops in (phases.compiled, lambda: None):
            monkeypatch.setattr(phases, "compiled", loops)
            y = run(Emulator(gemm_of=gemm_of).prepared([op], "layer"), op, inputs)
            assert np.linalg.norm(y - exact) <= IN_A_LAYER * np.linalg.norm(exact)


def test_any_number_of_threads_gives_the_same() -> None:
    op = EncoderLayer(300, 128, 2, 500)
    inputs = layer_inputs(op)
    ys = [run(Emulator(threads=Threads(n)).prepared([op], "layer"), op, inputs) for n in (1, 3)]
    assert np.array_equal(*ys)


def test_the_phases_are_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the last one nothing is written where the result lies: NaN in each stretch of it."""
    op = EncoderLayer(31, 64, 1, 100)
    inputs = layer_inputs(op)
    assert np.isfinite(run(Emulator().prepared([op], "layer"), op, inputs)).all()

    def all_but_one(of: Any, told: Any, products: Any, *others: Any) -> None:
        phases.run_phases(of[:-1], told[:-1], products[:-1], *others)

    monkeypatch.setattr("whisper_npu.npu.emulator.device.run_phases", all_but_one)
    assert np.isnan(run(Emulator().prepared([op], "layer"), op, inputs)).any()


def test_what_lay_in_the_workspace_before_changes_nothing() -> None:
    small, large = EncoderLayer(257, 64, 1, 100), EncoderLayer(288, 64, 1, 100)  # one contract
    device = Emulator().prepared([large], "layer")
    alone = run(Emulator().prepared([large], "layer"), small, layer_inputs(small))
    x, *others = layer_inputs(large)
    run(device, large, (np.full_like(x, 1e15), *others))
    assert np.array_equal(run(device, small, layer_inputs(small)), alone)
