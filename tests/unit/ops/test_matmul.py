"""Products: against einsum, and a tolerance that every rounding keeps and a wrong product does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ops import in_float32, matmuls, random_inputs
from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.ops import Batched, Matmul, Numerics, Operand
from whisper_npu.ops.op import BF16_NUMERICS, Direction

FP32 = Numerics(0.0)


def bf16(x: F32) -> F32:
    return on_grid(x, Rounding.NEAREST_EVEN)


def test_operands() -> None:
    assert Matmul(2, 3, 5).operands == (
        Operand("a", (2, 3)),
        Operand("b", (3, 5), is_weight=True),
        Operand("c", (2, 5), Direction.OUT),
    )
    assert [operand.shape for operand in Matmul(2, 3, 5, 7).operands] == [(7, 2, 3), (7, 3, 5), (7, 2, 5)]


@given(matmuls, st.integers(0, 99))
def test_it_is_the_product_of_each_pair(op: Matmul, seed: int) -> None:
    a, b = random_inputs(op, seed)
    wide = a.astype(np.float64), b.astype(np.float64)
    np.testing.assert_allclose(
        op.reference(a, b)[0], np.einsum("...mk,...kn->...mn", *wide), rtol=1e-12, atol=1e-14
    )
    assert op.macs == op.batch * op.M * op.K * op.N


@given(matmuls, st.integers(0, 99))
def test_the_transposed_op_makes_the_transposed_result_of_the_same_kind(op: Matmul, seed: int) -> None:
    a, b = random_inputs(op, seed)
    turned = op.transposed
    (c,) = turned.reference(b.swapaxes(-1, -2), a.swapaxes(-1, -2))
    np.testing.assert_allclose(c.swapaxes(-1, -2), op.reference(a, b)[0], rtol=1e-12, atol=1e-14)
    assert (turned.batch, turned.batched, turned.name, turned.macs) == (
        op.batch,
        op.batched,
        op.name,
        op.macs,
    )
    assert turned.transposed == op


@pytest.mark.parametrize("size", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, -3, 1), (1, 1, 1, 0)])
def test_a_product_without_elements_is_refused(size: tuple[int, int, int, int]) -> None:
    with pytest.raises(PlanError, match="at least 1"):
        Matmul(*size)


def test_it_reads_like_a_product() -> None:
    assert str(Matmul(2, 3, 5)) == "(2,3)@(3,5)"
    assert str(Matmul(2, 3, 5, 7, Batched.CONTEXT)) == "7 x (2,3)@(3,5)"


def rounded_by(rounding: Rounding) -> Callable[[F32], F32]:
    return lambda x: on_grid(x, rounding)


def cut(a: F32, b: F32, k: int, written: Callable[[F32], F32]) -> F32:
    """A product whose partial results, of k products each, are written by a core and added by the host."""
    c = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    for at in range(0, a.shape[-1], k):
        c += written(a[..., at : at + k] @ b[..., at : at + k, :])
    return c


@given(
    matmuls,
    st.sampled_from(Rounding),
    st.sampled_from([None, *Rounding]),
    st.integers(1, 24),
    st.integers(0, 9999),
    st.sampled_from([1e-20, 1e-3, 1.0, 1e6]),
)
def test_the_tolerance_is_a_bound_for_every_rounding_and_cut(
    op: Matmul, rounding: Rounding, written: Rounding | None, k: int, seed: int, scale: float
) -> None:
    a, b = random_inputs(op, seed)
    a *= np.float32(scale)
    numerics = Numerics(rounding.unit, 0.0 if written is None else written.unit, k)
    c = cut(
        on_grid(a, rounding),
        on_grid(b, rounding),
        k,
        (lambda x: x) if written is None else rounded_by(written),
    )
    (exact,), (tolerance,) = op.reference(a, b), op.tolerance(numerics, a, b)
    assert (np.abs(c - exact) <= tolerance).all()


@given(matmuls, st.integers(0, 9999))
def test_float32_keeps_a_tolerance_without_roundings(op: Matmul, seed: int) -> None:
    inputs = random_inputs(op, seed)
    (c,) = in_float32()(op, inputs)
    assert (np.abs(c - op.reference(*inputs)[0]) <= op.tolerance(FP32, *inputs)[0]).all()


OP = Matmul(40, 48, 56, 2)
A, B = random_inputs(OP)
WRONG: dict[str, F32] = {
    "one of 48 products is missing": bf16(np.where(np.arange(48) == 47, np.float32(0), A)) @ bf16(B),
    "one of 48 products counts twice": bf16(np.where(np.arange(48) == 0, 2 * A, A)) @ bf16(B),
    "two rows have changed places": (bf16(A) @ bf16(B))[:, np.r_[1, 0, 2:40]],
    "two columns have changed places": (bf16(A) @ bf16(B))[:, :, np.r_[1, 0, 2:56]],
    "the batch has changed places": (bf16(A) @ bf16(B))[::-1],
    "nothing but zeros": np.zeros((2, 40, 56), np.float32),
    "5 percent too much": np.float32(1.05) * (bf16(A) @ bf16(B)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_product_is_outside_the_tolerance(wrong: F32) -> None:
    (exact,), (tolerance,) = OP.reference(A, B), OP.tolerance(BF16_NUMERICS, A, B)
    assert (np.abs(bf16(A) @ bf16(B) - exact) <= tolerance).all()
    assert (np.abs(wrong - exact) > tolerance).any()


def test_a_coarser_rounding_than_promised_is_outside_the_tolerance() -> None:
    """Operands of one product each, where the bound is nearly reached."""
    op = Matmul(64, 1, 64)
    a, b = random_inputs(op)
    (exact,) = op.reference(a, b)
    kept = {
        "float32": (FP32, a @ b),
        "nearest": (BF16_NUMERICS, bf16(a) @ bf16(b)),
        "cut off": (Numerics.of(DType.BF16, Rounding.TOWARD_ZERO), cut_off(a) @ cut_off(b)),
        "cut off, and written so": (Numerics(2.0**-7, 2.0**-7), cut_off(cut_off(a) @ cut_off(b))),
    }
    names = list(kept)
    for (finer, (numerics, _)), coarser in zip(kept.items(), names[1:], strict=False):
        (tolerance,) = op.tolerance(numerics, a, b)
        assert (np.abs(kept[finer][1] - exact) <= tolerance).all()
        assert (np.abs(kept[coarser][1] - exact) > tolerance).any()


def cut_off(x: F32) -> F32:
    return on_grid(x, Rounding.TOWARD_ZERO)


def test_a_tolerance_grows_with_each_rounding_of_partial_results() -> None:
    whole, one = (OP.tolerance(replace(BF16_NUMERICS, partial_k=k), A, B)[0] for k in (48, 8))
    written = OP.tolerance(replace(BF16_NUMERICS, result_unit=2.0**-8), A, B)[0]
    assert (one < whole).all()  # 8 products, and 5 additions of the host
    assert (whole < written).all()


def test_subnormal_numbers_may_be_lost() -> None:
    op = Matmul(1, 1, 1)
    a, b = np.full((1, 1), 2.0**-126, np.float32), np.full((1, 1), 0.5, np.float32)
    (exact,), (tolerance,) = op.reference(a, b), op.tolerance(FP32, a, b)
    assert 0 < exact[0, 0] <= tolerance[0, 0]
