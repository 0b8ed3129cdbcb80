"""Every op on every device.

The same as the smaller ops that it lowers to, in results and in what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.contracts import MATMUL_64X64, MATMUL_64X512, SMALL, SMALL_BF16, SMALL_F32, SMALL_FLOOR
from tests.support.trace_format import checked
from whisper_npu.benchmark.trace import Lane, Recorder, as_trace
from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import PlanError, UnknownKernelError
from whisper_npu.host.gemm import Bf16Dot, Blas
from whisper_npu.kernels import registry
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, TiledMatmul, tiled_plan
from whisper_npu.npu.checksum import Checked
from whisper_npu.npu.device import Device, Recording, Value
from whisper_npu.npu.emulator import blocks
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.planner import Choice, smallest
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import (
    Activation,
    Attention,
    Direction,
    EncoderLayer,
    Epilogue,
    Linear,
    Matmul,
    Norm,
    Op,
    Softmax,
)

contracts = st.sampled_from([SMALL, SMALL_BF16, SMALL_FLOOR, SMALL_F32])
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 70)


def integers(rng: np.random.Generator, *shape: int) -> F32:
    """Small enough for every sum to be exact, and for bf16."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def normal(rng: np.random.Generator, *shape: int) -> F32:
    return rng.standard_normal(shape).astype(np.float32)


def with_results(op: Op, operands: dict[str, F32]) -> dict[str, Value]:
    """The operands, and room for the results; what an op changes in place is copied."""
    values: dict[str, Value] = {}
    for operand in op.operands:
        if operand.direction is Direction.OUT:
            values[operand.name] = np.full(operand.shape, np.nan, np.float32)
        elif operand.direction is Direction.INOUT:
            values[operand.name] = operands[operand.name].copy()
        else:
            values[operand.name] = operands[operand.name]
    return values


def run(device: Device, op: Op, operands: dict[str, F32]) -> tuple[dict[str, F32], Recording]:
    """The results by name, and what was executed."""
    values = with_results(op, operands)
    with device.recording() as recording:
        device.run(op, values)
    return {o.name: np.asarray(values[o.name]) for o in op.outputs}, recording


def run_lowered(device: Device, op: Op, operands: dict[str, F32]) -> tuple[dict[str, F32], Recording]:
    """The same by the smallest ops, each run by itself."""
    values = {name: array.copy() for name, array in operands.items()}

    def lowered(op: Op, names: dict[str, str], prefix: str) -> None:
        parts = op.lower()
        for part in parts:
            inner = {n: names.get(v, f"{prefix}{v}") for n, v in part.operands.items()}
            lowered(part.op, inner, f"{prefix}{part.op.name}/")
        if not parts:
            given = {o.name: values[names[o.name]] for o in op.inputs}
            results, _ = run(device, op, given)
            values.update({names[name]: result for name, result in results.items()})

    with device.recording() as recording:
        lowered(op, {operand.name: operand.name for operand in op.operands}, "")
    return {o.name: values[o.name] for o in op.outputs}, recording


def counts(recording: Recording) -> list[tuple[object, ...]]:
    return [
        (
            run.name,
            run.plan,
            run.stats.calls,
            run.stats.dispatches,
            run.stats.submissions,
            run.stats.bytes_to_device,
            run.stats.bytes_from_device,
        )
        for run in recording.by_plan
    ]


@pytest.fixture
def small_blocks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Few rows and few queries per block, so that small ops take several."""
    with pytest.MonkeyPatch.context() as patch:
        for gemm in (Blas, Bf16Dot):
            patch.setattr(gemm, "longest_block", 7)
        patch.setattr(blocks, "BLOCK_BYTES", 600)
        patch.setattr(blocks, "SCORES_BYTES", 8000)
        yield


# ------------------------------------------------------------------------------------------------ Linear


@st.composite
def linears(draw: st.DrawFn, *, norm: bool = False) -> Linear:
    activation = draw(st.sampled_from(Activation)) if norm else Activation.NONE
    return Linear(
        draw(sizes), draw(sizes), draw(sizes), norm=norm, activation=activation, residual=draw(st.booleans())
    )


def operands_of_linear(op: Linear, rng: np.random.Generator, draw: str = "integers") -> dict[str, F32]:
    make = integers if draw == "integers" else normal
    return {operand.name: make(rng, *operand.shape) for operand in op.inputs}


@pytest.mark.parametrize("in_small_blocks", [False, True])
@given(op=linears(), contract=contracts, seed=seeds)
def test_a_linear_layer_of_integers_is_its_parts_exactly(
    device: Device, in_small_blocks: bool, op: Linear, contract: MatmulContract, seed: int
) -> None:
    """No order of summation, block or tile can excuse a difference."""
    prepared = device.prepared([op], contract)
    operands = operands_of_linear(op, np.random.default_rng(seed))
    before = {name: array.copy() for name, array in operands.items()}
    with pytest.MonkeyPatch.context() as patch:
        if in_small_blocks:
            for gemm in (Blas, Bf16Dot):
                patch.setattr(gemm, "longest_block", 7)
            patch.setattr(blocks, "BLOCK_BYTES", 600)
        whole, recorded = run(prepared, op, operands)
    parts, recorded_of_parts = run_lowered(prepared, op, operands)
    assert np.array_equal(whole["y"], parts["y"])
    if contract.result_dtype is DType.F32:
        assert np.array_equal(whole["y"], op.reference(*(operands[o.name] for o in op.inputs))[0])
    assert counts(recorded) == counts(recorded_of_parts)
    assert all(np.array_equal(before[name], array) for name, array in operands.items())


@given(op=linears(norm=True), contract=st.sampled_from([SMALL, SMALL_F32]), seed=seeds)
def test_a_linear_layer_is_within_its_tolerance_whole_and_in_parts(
    device: Device, op: Linear, contract: MatmulContract, seed: int
) -> None:
    prepared = device.prepared([op], contract)
    operands = operands_of_linear(op, np.random.default_rng(seed), "normal")
    given_values = [operands[operand.name] for operand in op.inputs]
    (reference,), (bound,) = op.reference(*given_values), op.tolerance(contract.numerics, *given_values)
    for way in (run, run_lowered):
        results, _ = way(prepared, op, operands)
        assert (np.abs(results["y"] - reference) <= bound).all()


def test_a_staged_weight_is_the_weight(device: Device) -> None:
    rng = np.random.default_rng(0)
    op = Linear(30, 40, 50)
    prepared = device.prepared([op], SMALL)
    operands = operands_of_linear(op, rng)
    expected, _ = run(prepared, op, operands)
    staged = prepared.stage(op, operands["weight"])
    operands["weight"][:] = np.nan  # it is read no more
    for M in (1, 7, 30):
        y = np.empty((M, 50), np.float32)
        few = {"x": operands["x"][:M], "weight": staged, "bias": operands["bias"], "y": y}
        prepared.run(replace(op, M=M), few)
        assert np.array_equal(y, expected["y"][:M])


# --------------------------------------------------------------------------------------------- Attention


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    n_head = draw(st.integers(1, 4))
    return Attention(draw(sizes), n_head * draw(st.integers(1, 30)), n_head, masked=draw(st.booleans()))


def operands_of_attention(op: Attention, rng: np.random.Generator) -> dict[str, F32]:
    operands = {"qkv": normal(rng, op.n_ctx, 3 * op.n_state)}
    if op.masked:
        mask = (rng.random(op.n_ctx) < 0.5).astype(np.float32)
        mask[rng.integers(op.n_ctx)] = 1
        operands["mask"] = mask
    return operands


@given(op=attentions(), contract=contracts, seed=seeds)
def test_attention_is_its_parts(device: Device, op: Attention, contract: MatmulContract, seed: int) -> None:
    prepared = device.prepared([op], contract)
    operands = operands_of_attention(op, np.random.default_rng(seed))
    whole, recorded = run(prepared, op, operands)
    parts, recorded_of_parts = run_lowered(prepared, op, operands)
    assert counts(recorded) == counts(recorded_of_parts)
    # Scores differ by their order of summation; that may tip a rounding to bf16, of scores or of weights.
    largest = np.abs(operands["qkv"]).max()
    scores_in_bf16 = contract.result_dtype is DType.BF16
    bound = 2e-5 if contract.operand_dtype is DType.F32 else 2.0**-7
    assert np.abs(whole["y"] - parts["y"]).max() <= bound * largest * (8 if scores_in_bf16 else 1)


@given(op=attentions(), seed=seeds, contract=st.sampled_from([SMALL, SMALL_F32, MATMUL_64X512]))
def test_attention_is_within_its_tolerance(
    device: Device, op: Attention, seed: int, contract: MatmulContract
) -> None:
    operands = operands_of_attention(op, np.random.default_rng(seed))
    given_values = [operands[operand.name] for operand in op.inputs]
    (reference,), (bound,) = op.reference(*given_values), op.tolerance(contract.numerics, *given_values)
    results, _ = run(device.prepared([op], contract), op, operands)
    assert (np.abs(results["y"] - reference) <= bound).all()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("contract", [SMALL, SMALL_F32, MATMUL_64X64, MATMUL_64X512], ids=lambda c: c.name)
@settings(max_examples=10)
@given(n_ctx=st.integers(1, 130), n_head=st.integers(1, 3), seed=seeds)
def test_attention_to_one_key_each_is_exact(
    device: Device, contract: MatmulContract, n_ctx: int, n_head: int, seed: int
) -> None:
    """Each query gets exactly the values of its key.

    No tile, head, block or orientation may be taken for another.
    """
    rng = np.random.default_rng(seed)
    bits = 8
    codes = rng.permutation(2**bits)[:n_ctx]  # a code of its own for each key
    keys = np.where(codes[:, None] >> np.arange(bits) & 1, 32, -32).astype(np.float32)  # (n_ctx, bits)
    chosen = rng.integers(0, n_ctx, (n_head, n_ctx))  # by each query
    values = rng.integers(-200, 201, (n_head, n_ctx, bits)).astype(np.float32)
    qkv = np.empty((n_ctx, 3, n_head, bits), np.float32)
    for head in range(n_head):
        qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head] = keys[chosen[head]], keys, values[head]
    op = Attention(n_ctx, n_head * bits, n_head)
    results, _ = run(device.prepared([op], contract), op, {"qkv": qkv.reshape(n_ctx, -1)})
    expected = np.stack([values[head][chosen[head]] for head in range(n_head)], axis=1)
    assert np.array_equal(results["y"], expected.reshape(n_ctx, -1))


@pytest.mark.parametrize("kernels", [(SMALL, SMALL_F32), (SMALL_F32, SMALL)], ids=["bf16 f32", "f32 bf16"])
@given(op=attentions(), seed=seeds)
def test_two_kernels_in_one_op(
    device: Device, kernels: tuple[MatmulContract, MatmulContract], op: Attention, seed: int
) -> None:
    """What the second takes is rounded and laid out as the second wants it."""
    plans: dict[Op, MatmulPlan] = {
        product: TiledMatmul(kernel).plan(product)
        for product, kernel in zip((op.scores, op.context), kernels, strict=True)
    }
    prepared = device.prepared([op], Choice((TiledMatmul(kernels[0]),), plans=plans))
    operands = operands_of_attention(op, np.random.default_rng(seed))
    whole, recorded = run(prepared, op, operands)
    parts, _ = run_lowered(prepared, op, operands)
    assert [run.plan.contract for run in recorded.runs] == list(kernels)
    assert np.abs(whole["y"] - parts["y"]).max() <= 2.0**-7 * np.abs(operands["qkv"]).max()


# ------------------------------------------------------------------------------------------------- layer


def operands_of_layer(op: EncoderLayer, rng: np.random.Generator) -> dict[str, F32]:
    operands = {}
    for operand in op.inputs:
        scale = operand.shape[0] ** -0.5 if len(operand.shape) == 2 and operand.name != "x" else 1.0
        operands[operand.name] = (normal(rng, *operand.shape) * scale).astype(np.float32)
    return operands


@settings(max_examples=10)
@given(
    n_ctx=st.integers(1, 90),
    n_head=st.integers(1, 3),
    d_head=st.integers(1, 20),
    n_mlp=st.integers(1, 60),
    contract=st.sampled_from([SMALL, SMALL_F32]),
    seed=seeds,
)
def test_an_encoder_layer_is_its_parts_and_near_float64(
    device: Device, n_ctx: int, n_head: int, d_head: int, n_mlp: int, contract: MatmulContract, seed: int
) -> None:
    op = EncoderLayer(n_ctx, n_head * d_head, n_head, n_mlp)
    prepared = device.prepared([op], contract)
    operands = operands_of_layer(op, np.random.default_rng(seed))
    whole, recorded = run(prepared, op, operands)
    parts, recorded_of_parts = run_lowered(prepared, op, operands)
    assert counts(recorded) == counts(recorded_of_parts)
    given_values = [operands[operand.name] for operand in op.inputs]
    (reference,), (bound,) = op.reference(*given_values), op.tolerance(contract.numerics, *given_values)
    for results in (whole, parts):
        assert (np.abs(results["y"] - reference) <= bound).all()


def test_a_layer_records_its_products_in_order(device: Device) -> None:
    op = EncoderLayer(20, 16, 2, 24)
    _, recorded = run(device.prepared([op], SMALL), op, operands_of_layer(op, np.random.default_rng(0)))
    names = [each.name for each in smallest([op]) if isinstance(each, Matmul)]
    assert [run.name for run in recorded.runs] == names


# ------------------------------------------------------------------------------------------ ops on rows


@given(M=sizes, N=sizes, residual=st.booleans(), seed=seeds)
def test_norm_is_within_its_tolerance(device: Device, M: int, N: int, residual: bool, seed: int) -> None:
    op = Norm(M, N, residual=residual)
    rng = np.random.default_rng(seed)
    operands = {operand.name: normal(rng, *operand.shape) * 3 + 1 for operand in op.inputs}
    given_values = [operands[operand.name] for operand in op.inputs]
    results, recorded = run(device.prepared([op], SMALL), op, operands)
    bounds = op.tolerance(SMALL.numerics, *given_values)
    for operand, reference, bound in zip(op.outputs, op.reference(*given_values), bounds, strict=True):
        assert (np.abs(results[operand.name] - reference) <= bound).all()
    assert recorded.runs == []  # the host's


@given(M=sizes, N=sizes, activation=st.sampled_from(Activation), residual=st.booleans(), seed=seeds)
def test_an_epilogue_is_within_its_tolerance(
    device: Device, M: int, N: int, activation: Activation, residual: bool, seed: int
) -> None:
    op = Epilogue(M, N, activation, residual)
    rng = np.random.default_rng(seed)
    operands = {operand.name: normal(rng, *operand.shape) for operand in op.inputs}
    given_values = [operands[operand.name] for operand in op.inputs]
    results, _ = run(device, op, operands)
    (reference,), (bound,) = op.reference(*given_values), op.tolerance(SMALL.numerics, *given_values)
    assert (np.abs(results["y"] - reference) <= bound).all()


@given(batch=st.integers(1, 3), queries=sizes, keys=sizes, masked=st.booleans(), seed=seeds)
def test_softmax_is_within_its_tolerance(
    device: Device, batch: int, queries: int, keys: int, masked: bool, seed: int
) -> None:
    op = Softmax(batch, queries, keys, masked)
    rng = np.random.default_rng(seed)
    operands = {"scores": normal(rng, *op.operands[0].shape) * 10}
    if masked:
        operands["mask"] = (np.arange(keys) % 2 == 0).astype(np.float32)
    given_values = [operands[operand.name] for operand in op.inputs]
    results, _ = run(device, op, operands)
    (reference,), (bound,) = op.reference(*given_values), op.tolerance(SMALL.numerics, *given_values)
    assert (np.abs(results["scores"] - reference) <= bound).all()


# ----------------------------------------------------------------------------------------- wrong plans


def without_last_row(plan: MatmulPlan) -> MatmulPlan:
    fewer = [replace(loop, count=loop.count - 1) if loop.name == "i" else loop for loop in plan.loops]
    return replace(plan, loops=tuple(fewer))


@pytest.fixture
def believed(device: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Without checksums, which would see what a wrong plan does."""
    monkeypatch.setattr(device.turns, "checked", Checked.NOTHING)
    return device


def with_wrong(op: Op, product: Matmul) -> Choice:
    wrong = without_last_row(tiled_plan(product, SMALL, run_list=25))
    return Choice((TiledMatmul(SMALL),), plans={product: wrong})


@pytest.mark.parametrize("wrong", ["scores", "context"])
def test_a_wrong_plan_in_attention_gives_the_wrong_result_of_its_parts(believed: Device, wrong: str) -> None:
    op = Attention(40, 48, 2)
    product = op.scores if wrong == "scores" else op.context
    prepared = believed.prepared([op], with_wrong(op, product))
    operands = operands_of_attention(op, np.random.default_rng(0))
    whole, recorded = run(prepared, op, operands)
    parts, recorded_of_parts = run_lowered(prepared, op, operands)
    assert np.isnan(whole["y"]).any()
    assert np.array_equal(np.isnan(whole["y"]), np.isnan(parts["y"]))
    assert counts(recorded) == counts(recorded_of_parts)
    right = {run.name: run.stats.dispatches for run in run_on_right(believed, op, operands).runs}
    assert {run.name: run.stats.dispatches for run in recorded.runs}[product.name] < right[product.name]


def run_on_right(device: Device, op: Op, operands: dict[str, F32]) -> Recording:
    return run(device.prepared([op], SMALL), op, operands)[1]


def test_a_wrong_plan_in_a_linear_layer_gives_the_wrong_result_of_its_parts(believed: Device) -> None:
    op = Linear(20, 30, 40, residual=True)
    prepared = believed.prepared([op], with_wrong(op, op.product))
    operands = operands_of_linear(op, np.random.default_rng(0))
    whole, recorded = run(prepared, op, operands)
    parts, recorded_of_parts = run_lowered(prepared, op, operands)
    assert np.isnan(whole["y"]).any()
    assert np.array_equal(whole["y"], parts["y"], equal_nan=True)
    assert counts(recorded) == counts(recorded_of_parts)
    assert recorded.stats.dispatches < run_on_right(believed, op, operands).stats.dispatches


def test_a_wrong_plan_in_a_layer_is_seen(believed: Device) -> None:
    op = EncoderLayer(20, 16, 2, 24)
    operands = operands_of_layer(op, np.random.default_rng(0))
    for product in (op.qkv.product, op.attention.context, op.out.product, op.mlp0.product, op.mlp2.product):
        whole, _ = run(believed.prepared([op], with_wrong(op, product)), op, operands)
        assert np.isnan(whole["y"]).any()


# ------------------------------------------------------------------------------------- sizes and errors


@pytest.mark.parametrize("contract", [MATMUL_64X64, MATMUL_64X512], ids=lambda c: c.name)
def test_both_fidelities_at_the_kernels_own_size(contract: MatmulContract) -> None:
    op = Linear(900, 130, 200, residual=True)
    operands = operands_of_linear(op, np.random.default_rng(0))
    fast, exact = (run(Emulator(f).prepared([op], contract), op, operands)[0]["y"] for f in Fidelity)
    assert np.array_equal(fast, exact)
    assert np.array_equal(fast, op.reference(*(operands[o.name] for o in op.inputs))[0])


def test_operands_of_another_shape_and_missing_ones_are_refused(device: Device) -> None:
    op = Linear(4, 8, 6)
    operands = with_results(op, operands_of_linear(op, np.random.default_rng(0)))
    prepared = device.prepared([op], SMALL)
    for width in (1, 7, 9, 800):
        with pytest.raises(PlanError, match=rf"x of linear has shape \(4, {width}\), must be \(4, 8\)"):
            prepared.run(op, operands | {"x": np.ones((4, width), np.float32)})
    with pytest.raises(PlanError, match="bias is missing"):
        prepared.run(op, {name: value for name, value in operands.items() if name != "bias"})
    staged = prepared.stage(op, np.ones((8, 6), np.float32))
    with pytest.raises(PlanError, match="y of linear is a result: give a float32 array"):
        prepared.run(Linear(8, 8, 6), operands | {"x": np.ones((8, 8), np.float32), "y": staged})
    square = prepared.stage(Linear(8, 8, 8), np.ones((4, 8), np.float32).repeat(2, axis=0))
    with pytest.raises(PlanError, match="x of linear is no weight, and only weights are staged"):
        prepared.run(Linear(8, 8, 6), operands | {"x": square, "y": np.empty((8, 6), np.float32)})
    prepared.run(op, operands)  # it still works


@pytest.mark.parametrize(
    "make",
    [
        lambda: Linear(0, 1, 1),
        lambda: Norm(1, 0),
        lambda: Epilogue(0, 1),
        lambda: Softmax(1, 1, 0),
        lambda: Matmul(1, 0, 1),
    ],
)
def test_a_size_below_one_is_refused(make: Callable[[], Op]) -> None:
    with pytest.raises(PlanError, match="at least 1"):
        make()


def test_a_kernel_that_makes_no_product_cannot_be_asked_for() -> None:
    norm = registry.contract_named("norm_1504x512", NPU1)
    assert norm is not None
    with pytest.raises(UnknownKernelError, match="norm_1504x512 makes no matrix products"):
        Emulator().prepared((), norm)


def test_results_that_cannot_be_written_are_refused(device: Device) -> None:
    op = Linear(4, 8, 8, residual=True)
    operands = with_results(op, operands_of_linear(op, np.random.default_rng(0)))
    prepared = device.prepared([op], SMALL)
    for dtype in (np.float64, np.float16, np.int32):
        wrong = f"y of linear is a result of dtype {np.dtype(dtype)}, must be float32"
        with pytest.raises(PlanError, match=wrong):
            prepared.run(op, operands | {"y": np.zeros((4, 8), dtype)})
    fixed = np.zeros((4, 8), np.float32)
    fixed.flags.writeable = False
    with pytest.raises(PlanError, match="y of linear is a result, and its array is read-only"):
        prepared.run(op, operands | {"y": fixed})
    with pytest.raises(PlanError, match="y of linear shares memory with residual"):
        prepared.run(op, operands | {"y": operands["residual"]})


def test_operands_that_are_no_arrays_or_unknown_are_refused(device: Device) -> None:
    op = Linear(4, 8, 6)
    operands = with_results(op, operands_of_linear(op, np.random.default_rng(0)))
    prepared = device.prepared([op], SMALL)
    as_list = np.asarray(operands["x"]).tolist()
    with pytest.raises(PlanError, match="x of linear is a list, must be an array of NumPy"):
        prepared.run(op, operands | {"x": as_list})
    with pytest.raises(PlanError, match="linear takes x, weight, bias, y, not residual"):
        prepared.run(op, operands | {"residual": np.zeros((4, 6), np.float32)})


@pytest.mark.parametrize(
    "op",
    [
        Matmul(33, 20, 30),
        Linear(33, 20, 30, residual=True),
        Attention(33, 24, 3),
        EncoderLayer(33, 24, 3, 40),
    ],
    ids=lambda op: op.name,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_operands_may_have_any_strides_and_inputs_any_float(
    device: Device, op: Op, dtype: type[np.floating]
) -> None:
    rng = np.random.default_rng(0)
    inputs = {o.name: normal(rng, *o.shape).astype(np.float16) for o in op.inputs}
    prepared = device.prepared([op], SMALL)
    expected, _ = run(prepared, op, {name: x.astype(np.float32) for name, x in inputs.items()})
    (result,) = op.outputs
    rows, cols = result.shape
    around = np.full((2 * rows, 2 * cols), 7, np.float32)
    columns = np.zeros((cols, rows), np.float32).T
    for y in (columns, around[::2, ::2], np.zeros((rows, cols), np.float32)[::-1, ::-1]):
        prepared.run(op, {name: np.asfortranarray(x, dtype) for name, x in inputs.items()} | {result.name: y})
        np.testing.assert_allclose(y, expected[result.name], rtol=1e-4, atol=1e-4)
    around[::2, ::2] = 7
    assert (around == 7).all()  # nothing beside it


def test_a_weight_staged_for_another_kernel_is_refused(device: Device) -> None:
    op = Linear(10, 20, 30)
    operands = with_results(op, operands_of_linear(op, np.random.default_rng(0)))
    staged = device.prepared([op], MATMUL_64X64).stage(op, np.ones((20, 30), np.float32))
    with pytest.raises(PlanError, match="B lies as"):
        device.prepared([op], SMALL).run(op, operands | {"weight": staged})


@pytest.mark.parametrize(
    "op", [Attention(200, 128, 2), EncoderLayer(300, 64, 2, 96)], ids=["attention", "layer"]
)
def test_the_time_is_divided_among_the_products(device: Device, op: Op) -> None:
    """Spans of the trace follow one another: what is attributed to the products fits into the call."""
    operands = (
        operands_of_layer(op, np.random.default_rng(0))
        if isinstance(op, EncoderLayer)
        else {"qkv": normal(np.random.default_rng(0), 200, 384)}
    )
    prepared = device.prepared([op], MATMUL_64X64)
    start = perf_counter()
    _, recorded = run(prepared, op, operands)
    end = perf_counter()
    recorder = Recorder()
    for each in recorded.runs:
        recorder.on_run(each)
        assert each.stats.kernel_measured_s > 0
        assert each.stats.pack_measured_s > 0
        assert each.stats.kernel_measured_s + each.stats.pack_measured_s <= each.end - each.start + 1e-9
    checked(as_trace(recorder.spans, "a test"))
    spans = [span for span in recorder.spans if span.lane is Lane.OPERATIONS]
    assert start < spans[0].start
    assert spans[-1].end < end
