"""What holds for every op: operands, names, and that an op means the same as its parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ops import (
    Arrays,
    attentions,
    by_parts,
    evaluated,
    layers,
    linears,
    ops,
    random_inputs,
    smallest,
)
from whisper_npu.dtypes import DType, Rounding
from whisper_npu.ops import (
    Activation,
    Attention,
    Batched,
    Direction,
    EncoderLayer,
    Epilogue,
    Linear,
    Matmul,
    MergeHeads,
    Norm,
    Numerics,
    Op,
    Part,
    Softmax,
    SplitHeads,
    flattened,
)
from whisper_npu.ops.op import BF16_NUMERICS, F64

NUMERICS = st.sampled_from([Numerics(0.0), BF16_NUMERICS, Numerics(2.0**-7, 2.0**-7, 8)])


KINDS = [Matmul, Linear, Attention, EncoderLayer, Norm, Epilogue, Softmax, SplitHeads, MergeHeads]


def by_reference(op: Op, inputs: Arrays) -> tuple[F64, ...]:
    return op.reference(*inputs)


@given(ops)
def test_operands_have_names_of_their_own_and_results_come_last_but_for_those_in_place(op: Op) -> None:
    names = [operand.name for operand in op.operands]
    assert len(set(names)) == len(names)
    assert op.outputs
    assert [*op.inputs, *(o for o in op.operands if o.direction is Direction.OUT)] == list(op.operands)
    in_place = [o for o in op.operands if o.direction is Direction.INOUT]
    assert all(o in op.inputs and o in op.outputs for o in in_place)
    assert all(min(operand.shape) >= 1 and operand.dtype is DType.F32 for operand in op.operands)


@given(ops, st.integers(0, 99))
def test_a_reference_is_float64_of_the_results_shapes_and_leaves_its_inputs_alone(op: Op, seed: int) -> None:
    inputs = random_inputs(op, seed)
    before = [x.copy() for x in inputs]
    results = op.reference(*inputs)
    assert [result.shape for result in results] == [operand.shape for operand in op.outputs]
    assert all(result.dtype == np.float64 for result in results)
    assert all(np.array_equal(x, y) for x, y in zip(inputs, before, strict=True))


@given(ops, NUMERICS, st.integers(0, 99))
def test_a_tolerance_is_a_finite_number_for_each_element(op: Op, numerics: Numerics, seed: int) -> None:
    tolerances = op.tolerance(numerics, *random_inputs(op, seed))
    assert [tolerance.shape for tolerance in tolerances] == [operand.shape for operand in op.outputs]
    assert all((tolerance >= 0).all() and np.isfinite(tolerance).all() for tolerance in tolerances)


@given(st.one_of(linears, attentions, layers), st.integers(0, 99))
def test_an_op_means_the_same_as_its_parts(op: Op, seed: int) -> None:
    assert op.lower()
    inputs = random_inputs(op, seed)
    for whole, made in zip(op.reference(*inputs), by_parts(op, inputs, by_reference), strict=True):
        np.testing.assert_allclose(made, whole, rtol=1e-9, atol=1e-11)
    assert op.macs == sum(part.op.macs for part in op.lower())


@given(st.one_of(linears, attentions, layers))
def test_parts_fit_each_other_and_the_whole(op: Op) -> None:
    """Every value is there before it is read, has one shape, and each result of the op is made."""
    shapes = {operand.name: operand.shape for operand in op.inputs}
    own = {operand.name: operand.shape for operand in op.operands}
    made = set()
    for part in op.lower():
        assert list(part.operands) == [operand.name for operand in part.op.operands]
        for operand in part.op.operands:
            value = part.operands[operand.name]
            if operand.direction is not Direction.OUT:
                assert shapes[value] == operand.shape
            if operand.direction is not Direction.IN:
                assert value in made or value not in {o.name for o in op.inputs}, "an input is written"
                shapes.setdefault(value, operand.shape)
                made.add(value)
            assert shapes[value] == operand.shape == own.get(value, operand.shape)
    assert {operand.name for operand in op.outputs} <= made


@given(ops, st.frozensets(st.sampled_from(KINDS)), st.integers(0, 99))
def test_an_op_flattened_to_any_depth_means_the_same(op: Op, whole: frozenset[type[Op]], seed: int) -> None:
    """Whatever a device makes whole; no two parts' own values have one name."""
    inputs = random_inputs(op, seed)
    parts = list(flattened(op, lambda some: type(some) in whole))
    assert all(type(part.op) in whole or not part.op.lower() for part in parts)
    written = [
        part.operands[operand.name]
        for part in parts
        for operand in part.op.outputs
        if operand.direction is Direction.OUT
    ]
    assert len(set(written)) == len(written)
    results = evaluated(parts, op, inputs, by_reference)
    for exact, made in zip(op.reference(*inputs), results, strict=True):
        np.testing.assert_allclose(made, exact, rtol=1e-9, atol=1e-11)
    assert sum(part.op.macs for part in parts) == op.macs


@given(ops)
def test_an_op_that_is_whole_is_one_part_of_its_own_operands(op: Op) -> None:
    (part,) = flattened(op, lambda some: True)
    assert part == Part(op, {operand.name: operand.name for operand in op.operands})


@pytest.mark.parametrize(
    "op",
    [
        Matmul(2, 3, 4),
        Norm(2, 3),
        Epilogue(2, 3),
        Softmax(2, 3, 3),
        SplitHeads(4, 4, 2),
        MergeHeads(4, 4, 2),
        Linear(2, 3, 4),
        Attention(4, 4, 2),
        EncoderLayer(4, 4, 2, 8),
    ],
    ids=lambda op: type(op).__name__,
)
def test_a_name_makes_no_other_op(op: Op) -> None:
    other = replace(op, name="of somebody else")  # type: ignore[type-var]
    assert other == op
    assert hash(other) == hash(op)
    assert other.name != op.name


@pytest.mark.parametrize(
    ("op", "other"),
    [
        (Matmul(2, 3, 4, 5), Matmul(2, 3, 4, 5, Batched.CONTEXT)),
        (Norm(2, 3), Norm(2, 3, residual=True)),
        (Epilogue(2, 3), Epilogue(2, 3, Activation.GELU)),
        (Softmax(2, 3, 3), Softmax(2, 3, 3, masked=True)),
        (Linear(2, 3, 4), Linear(2, 3, 4, norm=True)),
        (Linear(2, 3, 4), Linear(2, 3, 4, activation=Activation.GELU)),
        (Attention(4, 4, 2), Attention(4, 4, 1)),
        (EncoderLayer(4, 4, 2, 8), EncoderLayer(4, 4, 2, 16)),
    ],
    ids=str,
)
def test_what_asks_for_something_else_is_another_op(op: Op, other: Op) -> None:
    assert op != other
    assert {op: 1, other: 2}[op] == 1


@given(smallest)
def test_the_smallest_ops_have_no_parts(op: Op) -> None:
    assert op.lower() == ()


def test_numerics_are_those_of_one_rounding() -> None:
    assert Numerics(2.0**-8) == BF16_NUMERICS
    assert Numerics.of(DType.F32) == Numerics(0.0)
    assert Numerics.of(DType.BF16, Rounding.TOWARD_ZERO) == Numerics(2.0**-7)
    assert Numerics.of(DType.BF16, Rounding.FLOOR) == Numerics(2.0**-7)
