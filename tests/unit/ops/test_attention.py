"""Attention: against the paper's formula head by head, masks, and a tolerance that notices a slip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from tests.support.ops import Rounded, attentions, heads, in_float32, random_inputs, unrounded
from whisper_npu.dtypes import F32, Rounding
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.ops import (
    Attention,
    Batched,
    Direction,
    EncoderLayer,
    Matmul,
    MergeHeads,
    Numerics,
    Operand,
    Softmax,
    SplitHeads,
)
from whisper_npu.ops.op import BF16_NUMERICS, F64

FP32 = Numerics(0.0)
seeds = st.integers(0, 9999)


def bf16(x: F32) -> F32:
    return on_grid(np.ascontiguousarray(x), Rounding.NEAREST_EVEN)


def plain(op: Attention, qkv: F32, mask: F32 | None = None) -> F64:
    """softmax(Q K^T) V of one head after the other."""
    q, k, v = np.split(qkv.astype(np.float64), 3, axis=1)
    keys = np.ones(op.n_ctx, bool) if mask is None else mask != 0
    y = np.empty((op.n_ctx, op.n_state))
    for first in range(0, op.n_state, op.d_head):
        of_head = slice(first, first + op.d_head)
        weights = special.softmax(q[:, of_head] @ k[keys, of_head].T, axis=1)
        y[:, of_head] = weights @ v[keys, of_head]
    return y


def test_operands() -> None:
    qkv, y = Operand("qkv", (5, 36)), Operand("y", (5, 12), Direction.OUT)
    assert Attention(5, 12, 3).operands == (qkv, y)
    assert Attention(5, 12, 3, masked=True).operands == (qkv, Operand("mask", (5,)), y)


@given(attentions, seeds)
def test_it_is_the_formula(op: Attention, seed: int) -> None:
    inputs = random_inputs(op, seed)
    np.testing.assert_allclose(op.reference(*inputs)[0], plain(op, *inputs), rtol=1e-9, atol=1e-12)
    assert op.macs == 2 * op.n_ctx**2 * op.n_state


def test_its_parts_are_five() -> None:
    assert [part.op for part in Attention(5, 12, 3, masked=True).lower()] == [
        SplitHeads(5, 12, 3),
        Matmul(5, 4, 5, 3, Batched.SCORES),
        Softmax(3, 5, 5, masked=True),
        Matmul(5, 5, 4, 3, Batched.CONTEXT),
        MergeHeads(5, 12, 3),
    ]


def test_its_products_have_names_below_its_own() -> None:
    op = Attention(5, 12, 3, name="layer.attention")
    assert [part.op.name for part in op.lower() if part.op.macs] == [
        "layer.attention.scores",
        "layer.attention.context",
    ]


@given(heads, st.integers(1, 9))
def test_scores_and_context_are_told_apart_where_their_sizes_do_not(n_head: int, size: int) -> None:
    """n_ctx = d_head: two products of one shape, whose matrices lie in different ways."""
    op = Attention(size, n_head * size, n_head)
    scores, context = op.scores, op.context
    assert (scores.M, scores.K, scores.N) == (context.M, context.K, context.N) == (size, size, size)
    assert (scores.batched, context.batched) == (Batched.SCORES, Batched.CONTEXT)
    assert scores != context


@given(attentions, seeds)
def test_a_masked_key_has_no_say(op: Attention, seed: int) -> None:
    masked = Attention(op.n_ctx, op.n_state, op.n_head, masked=True)
    qkv, mask = random_inputs(masked, seed)
    other = qkv.copy()
    other[mask == 0, op.n_state :] = 1e3  # k and v of keys that nobody may attend to
    assert np.array_equal(masked.reference(qkv, mask)[0], masked.reference(other, mask)[0])
    unmasked = Attention(op.n_ctx, op.n_state, op.n_head)
    (everything,) = unmasked.reference(qkv)
    np.testing.assert_allclose(
        masked.reference(qkv, np.ones_like(mask))[0], everything, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize(
    ("numerics", "rounded"), [(FP32, unrounded), (BF16_NUMERICS, bf16)], ids=["fp32", "bf16"]
)
@given(op=attentions, seed=seeds, scale=st.sampled_from([1e-2, 1.0, 4.0]))
def test_evaluated_by_parts_it_keeps_its_tolerance(
    numerics: Numerics, rounded: Rounded, op: Attention, seed: int, scale: float
) -> None:
    qkv, *mask = random_inputs(op, seed)
    inputs = np.float32(scale) * qkv, *mask
    (result,) = in_float32(rounded)(op, inputs)
    assert (np.abs(result - op.reference(*inputs)[0]) <= op.tolerance(numerics, *inputs)[0]).all()


@pytest.mark.parametrize("numerics", [FP32, BF16_NUMERICS], ids=["fp32", "bf16"])
def test_a_slip_is_noticed(numerics: Numerics) -> None:
    op = Attention(24, 32, 4, masked=True)
    qkv, mask = inputs = random_inputs(op)
    qkv[:, :32] *= np.float32(8**-0.5)  # as a model's weights scale q
    (exact,), (tolerance,) = op.reference(*inputs), op.tolerance(numerics, *inputs)
    n = op.n_state
    q, k, v = qkv[:, :n], qkv[:, n : 2 * n], qkv[:, 2 * n :]

    def of(*parts: F32) -> F64:
        return plain(op, np.concatenate(parts, axis=1), mask)

    wrong = {
        "no mask": plain(op, qkv),
        "the mask turned round": plain(op, qkv, 1 - mask),
        "q and k exchanged": of(k, q, v),
        "k and v exchanged": of(q, v, k),
        "the next head's q": of(np.roll(q, op.d_head, axis=1), k, v),
        "the next head's v": of(q, k, np.roll(v, op.d_head, axis=1)),
        "the next key's v": of(q, k, np.roll(v, 1, axis=0)),
        "scaled by 1 / sqrt(d_head) once more": of(q * np.float32(8**-0.5), k, v),
        "not scaled": of(q * np.float32(8**0.5), k, v),
        "heads merged the wrong way": exact.reshape(24, 4, 8).swapaxes(1, 2).reshape(24, 32),
        "one head for all": plain(Attention(24, 32, 1), qkv, mask),
        "queries exchanged": exact[::-1],
    }
    assert [name for name, result in wrong.items() if not (np.abs(result - exact) > tolerance).any()] == []


def test_operands_in_bf16_are_noticed_where_float32_is_promised() -> None:
    op = Attention(24, 32, 4)
    inputs = random_inputs(op)
    (result,) = in_float32(bf16)(op, inputs)
    assert (np.abs(result - op.reference(*inputs)[0]) > op.tolerance(FP32, *inputs)[0]).any()


def test_a_tolerance_stays_a_number_where_the_scores_are_huge() -> None:
    """Scores of which bf16 leaves nothing certain: the context is still a mean of v's rows."""
    op = Attention(8, 16, 2)
    qkv = np.float32(100) * random_inputs(op)[0]
    (result,) = in_float32(bf16)(op, (qkv,))
    (tolerance,) = op.tolerance(BF16_NUMERICS, qkv)
    assert (np.abs(result - op.reference(qkv)[0]) <= tolerance).all()
    assert np.isfinite(tolerance).all()


# --- Where the heads lie ------------------------------------------------------------------------------------


def test_operands_of_split_and_merge() -> None:
    split, merge = SplitHeads(5, 12, 3), MergeHeads(5, 12, 3)
    assert [(o.name, o.shape) for o in split.inputs] == [("qkv", (5, 36))]
    assert [(o.name, o.shape) for o in split.outputs] == [
        ("q", (3, 5, 4)),
        ("k_t", (3, 4, 5)),
        ("v", (3, 5, 4)),
    ]
    assert [(o.name, o.shape) for o in merge.inputs] == [("context", (3, 5, 4))]
    assert [(o.name, o.shape) for o in merge.outputs] == [("y", (5, 12))]
    assert [o.shape for o in SplitHeads(5, 12, 1).outputs] == [(5, 12), (12, 5), (5, 12)]
    assert [o.shape for o in MergeHeads(5, 12, 1).inputs] == [(5, 12)]
    assert split.macs == merge.macs == 0


@given(attentions, seeds)
def test_split_copies_nothing_and_merge_puts_heads_back(op: Attention, seed: int) -> None:
    split, merge = (kind(op.n_ctx, op.n_state, op.n_head) for kind in (SplitHeads, MergeHeads))
    (qkv,) = random_inputs(split, seed)
    q, k_t, v = split.views(qkv)
    assert all(np.shares_memory(part, qkv) for part in (q, k_t, v))
    parts = q, k_t.swapaxes(-1, -2), v
    for part, expected in zip(parts, np.split(qkv, 3, axis=1), strict=True):
        assert np.array_equal(merge.reference(part)[0], expected)
        for head, columns in enumerate(np.split(expected, op.n_head, axis=1)):
            assert np.array_equal(part.reshape(op.n_head, op.n_ctx, op.d_head)[head], columns)
    assert all(np.array_equal(x, y) for x, y in zip(split.reference(qkv), (q, k_t, v), strict=True))


@given(attentions)
def test_what_only_moves_numbers_has_no_tolerance(op: Attention) -> None:
    for moved in (SplitHeads(op.n_ctx, op.n_state, op.n_head), MergeHeads(op.n_ctx, op.n_state, op.n_head)):
        assert not any(tolerance.any() for tolerance in moved.tolerance(BF16_NUMERICS, *random_inputs(moved)))


@pytest.mark.parametrize("n_head", [0, -1, 3, 64])
def test_heads_of_unequal_width_are_refused(n_head: int) -> None:
    for op in (
        lambda: SplitHeads(5, 32, n_head),
        lambda: MergeHeads(5, 32, n_head),
        lambda: Attention(5, 32, n_head),
        lambda: EncoderLayer(5, 32, n_head, 64),
    ):
        with pytest.raises(PlanError, match=f"n_head {n_head} does not divide n_state 32"):
            op()
