"""The contracts of whole layers: which ops they are for, where everything lies, what is known of results."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.toy_target import TOY
from whisper_npu.dtypes import DType
from whisper_npu.encoder import encoder_ops
from whisper_npu.errors import PlanError
from whisper_npu.kernels import registry
from whisper_npu.kernels.layer.dispatch import LayerOp, canonical, phases_of, rows_of, why_not, with_rows
from whisper_npu.kernels.layer.kernel import LayerContract, OnArray, layer, plan_of
from whisper_npu.kernels.layer.phases import (
    OBJECT,
    UNIT,
    Attend,
    Gemm,
    Matrix,
    Phase,
    Rows,
    Units,
    row_length,
)
from whisper_npu.kernels.layer.weights import objects_of_column
from whisper_npu.kernels.verifier import parse
from whisper_npu.kernels.verify import numpy_functions, verify
from whisper_npu.npu.cost import modelled_plan_seconds, spent, work_seconds
from whisper_npu.npu.planner import choose, whole_by
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Activation, Attention, Direction, EncoderLayer, Linear, Matmul, Norm
from whisper_npu.released import released_dimensions

LAYER = OnArray(NPU1)
PROFILE = NPU1.profile

linears = st.builds(
    lambda M, K, N, norm, activation, residual: Linear(
        M, 64 * -(-K // 64) if norm else K, N, norm, activation, residual
    ),
    st.integers(1, 4000),
    st.integers(1, 2048),
    st.integers(1, 2048),
    st.booleans(),
    st.sampled_from(list(Activation)),
    st.booleans(),
)
n_heads = st.integers(1, 20)
attentions = st.builds(
    lambda n_ctx, n_head, masked: Attention(n_ctx, 64 * n_head, n_head, masked),
    st.integers(1, 4000),
    n_heads,
    st.booleans(),
)
layers = st.builds(
    lambda n_ctx, n_head, n_mlp: EncoderLayer(n_ctx, 64 * n_head, n_head, n_mlp),
    st.integers(1, 4000),
    n_heads,
    st.integers(1, 6000),
)
ops = st.one_of(linears, attentions, layers)


# --- Which ops ----------------------------------------------------------------------------------------------


@given(ops)
def test_a_name_says_which_contract_it_is(op: LayerOp) -> None:
    contract = layer(op, NPU1)
    assert registry.contract_named(contract.name, NPU1) == contract
    assert registry.family_of(contract).NAME == "layer"
    assert contract.overlay == "layer"
    assert LAYER.contract(op) == contract


@pytest.mark.parametrize(
    "name",
    [
        "layer_linear_255x64x64",  # no whole rounds
        "layer_linear_0x64x64",
        "layer_linear_256x64x64_residual_norm",
        "layer_attention_32x64x3",
        "layer_attention_32x128x1",
        "layer_encoder_1504x512x8",
        "layer_encoder_9999999x512x8x2048",
    ],
)
def test_other_names_are_no_contract(name: str) -> None:
    assert registry.contract_named(name, NPU1) is None


@given(ops, st.integers(1, 4000))
def test_a_contract_is_for_fewer_rows_too(op: LayerOp, rows: int) -> None:
    """And for no other op: what is built is taken where it fits, the one that does the least work."""
    contract, other = layer(op, NPU1), with_rows(op, rows)
    assert contract.covers(op)
    assert contract.covers(other) == (rows_of(canonical(other, NPU1)) <= rows_of(contract.op))
    taken = OnArray(NPU1, (layer(with_rows(op, 8000), NPU1), contract)).contract(op)
    assert taken == contract
    wider = replace(op, N=op.N + 1) if isinstance(op, Linear) else replace(op, n_state=64, n_head=1)
    assert contract.covers(wider) == (canonical(wider, NPU1) == contract.op)


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (Attention(10, 64, 2), "heads have 32 numbers each, the kernels take 64"),
        (EncoderLayer(10, 256, 2, 512), "heads have 128 numbers each, the kernels take 64"),
        (Attention(8193, 64, 1), "8,193 keys, a header's mask has 8,192"),
        (
            EncoderLayer(10, 2112, 33, 64),
            "rows of its residual stream have 2,112 numbers, a core holds 2,048",
        ),
        (Linear(10, 64, 2049, residual=True), "have 2,049 numbers, a core holds 2,048"),
        (Linear(10, 100, 64, norm=True), "norm is of 100 numbers, a core takes multiples of 64"),
        (Linear(2**21, 64, 4096), "count to 65,536, a header's numbers end at 65,535"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_the_numbers(op: LayerOp, reason: str) -> None:
    assert LAYER.contract(op) is None
    with pytest.raises(PlanError, match=re.escape(reason)):
        phases_of(op, NPU1)
    with pytest.raises(PlanError, match=re.escape(reason)):
        LAYER.plan(op)


def test_an_array_of_another_shape_has_no_such_kernels() -> None:
    assert "2 columns of 3 cores" in str(why_not(Linear(1, 1, 1), TOY))
    assert not any(kernel.makes_whole for kernel in registry.kernels(TOY))


# --- Where everything lies ----------------------------------------------------------------------------------


def extents(phase: Phase) -> tuple[list[tuple[str, int, int]], list[tuple[str, int, int]]]:
    """What a phase reads and what it writes: argument, first element of bf16, end."""

    def rows(matrix: Matrix, number: int, width: int) -> tuple[str, int, int]:
        last = number - 1
        block, inside = divmod(last, matrix.block) if matrix.block else (0, last)
        return (
            matrix.argument,
            matrix.offset,
            matrix.offset + block * matrix.step + inside * matrix.ld + width,
        )

    def units(found: Units, M: int, row: int) -> tuple[str, int, int]:
        height = UNIT // row
        block, inside = divmod(M - height, found.block) if found.block else (0, M - height)
        end = block * found.step + inside // height * found.unit + found.half + UNIT
        return found.argument, found.offset, found.offset + end

    match phase:
        case Gemm():
            columns = NPU1.columns * objects_of_column(phase, NPU1)
            weights = ("WEIGHTS", phase.b * OBJECT, (phase.b + columns) * OBJECT)
            width = phase.N * phase.result.nbytes // 2
            return [rows(phase.a, phase.M, phase.K), weights], [rows(phase.c, phase.M, width)]
        case Attend():
            width = 64 * phase.n_head
            read = rows(phase.qkv, max(phase.M, phase.n_keys), 3 * width)
            return [read], [rows(phase.c, phase.M, width)]
        case Rows():
            row = row_length(phase.n_state)
            read = [units(phase.x, phase.M, row)]
            if phase.added:
                read.append(units(phase.added, phase.M, row))
            written = [units(phase.sum, phase.M, row)] if phase.sum else []
            return read, written + ([rows(phase.normed, phase.M, row)] if phase.normed else [])


@given(ops)
def test_every_phase_stays_inside_its_arguments_and_reads_what_was_written(op: LayerOp) -> None:
    contract = layer(op, NPU1)
    sizes = {argument.name: argument.nbytes // 2 for argument in contract.arguments}
    ways = {argument.name: argument.direction for argument in contract.arguments}
    assert contract.phases == phases_of(op, NPU1)
    for number, phase in enumerate(contract.phases):
        read, written = extents(phase)
        for name, start, end in [*read, *written]:
            assert 0 <= start < end <= sizes[name]
        assert all(ways[name] is not Direction.IN for name, *_ in written)
        own = [name for name, *_ in read if ways[name] is not Direction.IN]
        before = {name for earlier in contract.phases[:number] for name, *_ in extents(earlier)[1]}
        assert set(own) <= before
        assert (phase.header + NPU1.columns) * OBJECT <= sizes["HEADERS"]
    headers = [phase.header for phase in contract.phases]
    assert all(after - header == NPU1.columns for header, after in pairwise(headers))


@given(ops)
def test_the_arguments_of_a_dispatch(op: LayerOp) -> None:
    """No more than the firmware translates; only an encoder layer keeps something in a workspace."""
    contract = layer(op, NPU1)
    names = [argument.name for argument in contract.arguments]
    assert len(names) <= NPU1.kernel_arguments
    assert (names[1], names[-1], contract.results) == ("HEADERS", "Y", 1)
    workspaces = [argument.name for argument in contract.arguments if argument.is_workspace]
    assert workspaces == (["WORK"] if isinstance(op, EncoderLayer) else [])
    plan = plan_of(op, contract)
    assert [layout.operand for layout in plan.inputs] == [n for n in names[:-1] if n != "WORK"]
    for argument, layout in zip(contract.arguments, plan.inputs, strict=False):
        assert argument.is_workspace or argument.nbytes == layout.nbytes
    (y,) = contract.written
    assert contract.arguments[-1].nbytes == y.nbytes
    assert plan.dispatches == 1


@given(linears, st.integers(1, 4000))
def test_a_weight_lies_the_same_unless_its_product_leaves_in_fp32(op: Linear, M: int) -> None:
    others = replace(op, M=M), replace(op, norm=False, activation=Activation.GELU)
    assert {LAYER.plan(each).inputs[2] for each in (op, *others)} == {LAYER.plan(op).inputs[2]}
    in_fp32 = replace(op, residual=not op.residual)
    assert LAYER.plan(in_fp32).inputs[2] != LAYER.plan(op).inputs[2]
    turned = replace(op, K=op.N, N=op.K)
    assume(LAYER.matches(turned) and op.K != op.N)
    assert LAYER.plan(turned).inputs[2] != LAYER.plan(op).inputs[2]


def test_more_biases_than_a_header_holds_are_several_phases() -> None:
    phases = phases_of(Linear(300, 64, 5000), NPU1)
    assert [phase.N for phase in phases if isinstance(phase, Gemm)] == [2560, 2560]
    assert [phase.N for phase in phases_of(Linear(1, 64, 2560), NPU1) if isinstance(phase, Gemm)] == [2560]
    assert [phase.N for phase in phases_of(Linear(1, 64, 2561), NPU1) if isinstance(phase, Gemm)] == [
        1536,
        1280,
    ]


# --- Known answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op",
    [
        Linear(1, 70, 300),
        Linear(1, 70, 300, residual=True),
        Linear(1, 64, 300, norm=True),
        Linear(1, 64, 70, activation=Activation.GELU),
        Attention(90, 128, 2),
        EncoderLayer(90, 64, 1, 100),
    ],
    ids=str,
)
def test_a_known_answer_is_what_the_kernel_computes_and_nothing_near(op: LayerOp) -> None:
    contract = layer(op, NPU1)
    known = contract.known_answer(contract.trial_op, np.random.default_rng(0))
    plan = plan_of(contract.trial_op, contract)
    layouts = zip(plan.turned(known.inputs), plan.inputs, strict=True)
    tiles = [padded(given, layout.padded, layout.dtype) for given, layout in layouts]
    (tile,) = contract.compute(*tiles)
    y = plan.turned_back(tile[: plan.outputs[0].rows, : plan.outputs[0].cols])
    assert not known.wrong((y,))[0].any()
    swapped = y.copy()
    swapped[[0, 1]] = y[[1, 0]]
    for other in (swapped, np.zeros_like(y), np.full_like(y, np.nan), np.roll(y, 1, axis=1)):
        assert known.wrong((other,))[0].any()
    for distance in {8, 32, 64, 256} if len(y) > 256 else {8, 32, 64}:
        assert known.wrong((np.roll(y, distance, axis=0),))[0].mean() > 0.1


def padded(x: np.ndarray, shape: tuple[int, int], dtype: DType) -> np.ndarray:
    found = np.zeros(shape, np.float32)
    found[: x.shape[0], : x.shape[1]] = x
    return found.astype("bfloat16").astype(np.float32) if dtype is DType.BF16 else found


def test_what_no_phase_writes_is_no_number() -> None:
    class WithoutItsLast(LayerContract):
        @property
        def phases(self) -> tuple[Phase, ...]:
            return super().phases[:-1]

    for op in (Linear(256, 64, 256, residual=True), EncoderLayer(32, 64, 1, 100)):
        contract = WithoutItsLast("missing", NPU1, canonical(op, NPU1))
        plan = plan_of(contract.op, layer(op, NPU1))
        given = plan.turned(contract.known_answer(contract.op, np.random.default_rng(0)).inputs)
        tiles = (padded(x, layout.padded, layout.dtype) for x, layout in zip(given, plan.inputs, strict=True))
        (y,) = contract.compute(*tiles)
        assert np.isnan(plan.turned_back(y[: plan.outputs[0].rows])).all()


# --- What it costs, and who chooses it ----------------------------------------------------------------------


@settings(max_examples=20)
@given(ops)
def test_phases_are_charged_one_after_the_other(op: LayerOp) -> None:
    contract = layer(op, NPU1)
    for rates in (PROFILE.cautious, PROFILE.optimistic):
        parts = [spent(work, PROFILE, rates) for work in contract.works(rates.core)]
        assert len(parts) == len(contract.phases)
        assert all(
            part.seconds >= part.tasks + getattr(part, part.bound) > 0 or part.bound == "tasks"
            for part in parts
        )
    modelled = work_seconds(contract, PROFILE)
    assert modelled.cautious_s == pytest.approx(
        sum(spent(work, PROFILE, PROFILE.cautious).seconds for work in contract.works(PROFILE.cautious.core))
    )
    assert 0 < modelled.optimistic_s < modelled.cautious_s
    assert modelled_plan_seconds(plan_of(op, contract), PROFILE).cautious_s > modelled.cautious_s


@pytest.mark.parametrize("op", [Linear(256, 64, 256, residual=True), EncoderLayer(31, 64, 1, 100)], ids=str)
def test_the_text_of_a_dispatch_computes_and_moves_what_its_contract_says(op: LayerOp) -> None:
    contract = layer(op, NPU1)
    text = registry.design(contract)
    verdict = verify(contract, text, numpy_functions(contract, parse(text)))
    assert verdict.usage.l1_highest == contract.l1_bytes
    assert verdict.execution.dram_bytes == contract.bytes_to_device + contract.bytes_from_device
    assert text.count("aiex.npu.dma_memcpy_nd") == contract.tasks
    titles = r"// (?:Gemm|Attend|Rows)[^\n]*\n"  # between them stands what starts in the time of one phase
    started = [part.count("aiex.npu.dma_memcpy_nd") for part in re.split(titles, text)[1:]]
    assert started == [work.tasks for work in contract.works(None)]
    assert verdict.tolerance_used < 1


def test_asked_for_it_makes_whatever_it_can() -> None:
    everything, others = registry.kernels(NPU1), [k for k in registry.kernels(NPU1) if not k.makes_whole]
    assert LAYER in everything
    ops = encoder_ops(released_dimensions("base"))
    choice = whole_by(LAYER, ops, everything)
    assert [choice.plan(op).contract.name for op in ops[:2]] == [
        "layer_stem_1536x80x512",
        "layer_encoder_1504x512x8x2048",
    ]
    assert choice.plan(ops[-1]) is None  # the last norm is the host's
    assert choice.kernels == choose(ops, others).kernels
    assert choice.plan(Matmul(100, 64, 64)) == choose(ops, others).plan(Matmul(100, 64, 64))
    assert choice.name == "layer"
    assert len(choice.contracts) == 2


def test_without_other_kernels_it_makes_what_it_can() -> None:
    op = Linear(70, 64, 64)
    choice = whole_by(LAYER, [op, Norm(70, 64)], [LAYER])
    assert isinstance(choice.contracts[0], LayerContract)
    assert (choice.kernels, choice.name) == ((), "layer")
    assert choice.plan(op) == LAYER.plan(op)
    with pytest.raises(Exception, match="makes no matrix products"):
        choice.plan(Matmul(1, 1, 1))
