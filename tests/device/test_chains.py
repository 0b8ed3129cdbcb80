"""Product, function of the host, product: the same as two runs, in results and in what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.device.test_products import SMALL, SMALL_BF16, SMALL_F32, SMALL_FLOOR
from tests.support.trace_format import checked
from whisper_npu.benchmark.trace import Lane, Recorder, as_trace
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.elementwise import softmax
from whisper_npu.npu.contract import MATMUL_64X64, MATMUL_64X512, Contract, DType
from whisper_npu.npu.device import Chain, ChainCompletion, Device, Enters, Fidelity, run_steps
from whisper_npu.npu.emulator import blocks as emulator_runs
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.matmul import Matmul, Product
from whisper_npu.npu.plan import Loop, Plan, Problem, tiled_plan
from whisper_npu.npu.planner import Choice, Fixed

Between = Callable[[F32], object]
NAMES = ("first", "second")
contracts = st.sampled_from([SMALL, SMALL_BF16, SMALL_FLOOR, SMALL_F32])
orientations = st.sampled_from(Enters)


class Case:
    """Operands of attention: queries, keys and values of some heads, arranged for either orientation."""

    def __init__(
        self, heads: int, n_queries: int, n_keys: int, width: int, enters: Enters, q: F32, k: F32, v: F32
    ) -> None:
        self.enters = enters
        self.keys_axis = -1 if enters is Enters.A else -2
        upright = q, k.swapaxes(1, 2), v
        transposed = k, q.swapaxes(1, 2), v.swapaxes(1, 2)
        self.a, self.b, self.other = upright if enters is Enters.A else transposed

    def chained(self, matmul: Matmul, between: Between) -> F32:
        return matmul.chain(self.a, self.b, between, self.other, enters=self.enters, operations=NAMES)

    def separately(self, matmul: Matmul, between: Between) -> F32:
        scores = matmul(self.a, self.b, NAMES[0])
        between(scores)
        operands = (scores, self.other) if self.enters is Enters.A else (self.other, scores)
        return matmul(*operands, NAMES[1])


@st.composite
def cases(draw: st.DrawFn, *, integers: bool) -> Case:
    heads, d_head = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    n_queries, n_keys, width = draw(st.integers(1, 70)), draw(st.integers(1, 60)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = (heads, n_queries, d_head), (heads, n_keys, d_head), (heads, n_keys, width)
    if integers:
        q, k, v = (rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes)
    else:
        q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return Case(heads, n_queries, n_keys, width, draw(orientations), q, k, v)


def counts(products: tuple[Product, ...]) -> list[tuple[object, ...]]:
    return [
        (p.operation, p.plan, p.calls, p.dispatches, p.bytes_to_device, p.bytes_from_device) for p in products
    ]


def less_than_the_largest(scores: F32, axis: int) -> None:
    """Of integers, exact: how far below the query's best, and nothing for the masked key 0."""
    scores.swapaxes(axis, -1)[..., 0] = -5
    scores -= scores.max(axis=axis, keepdims=True)
    np.maximum(scores, -9, out=scores)


@given(case=cases(integers=True), contract=contracts, scores_bytes=st.sampled_from([1, 8000, 3 << 19]))
def test_a_chain_is_its_two_products_exactly(
    device: Device, case: Case, contract: Contract, scores_bytes: int
) -> None:
    """Integers: no order of summation, block or tile can excuse a difference."""
    between = partial(less_than_the_largest, axis=case.keys_axis)
    matmul = Matmul(device, contract)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulator_runs, "SCORES_BYTES", scores_bytes)  # so that few queries make a block
        chained = case.chained(matmul, between)
    recorded = matmul.take_products()
    assert np.array_equal(chained, case.separately(matmul, between))
    assert counts(recorded) == counts(matmul.take_products())
    assert all(p.dispatches == p.plan.dispatches for p in recorded)


@pytest.mark.parametrize("kernels", [(SMALL, SMALL_F32), (SMALL_F32, SMALL)], ids=["A F32", "F32 A"])
@given(case=cases(integers=True))
def test_a_chain_of_two_kernels(device: Device, kernels: tuple[Contract, Contract], case: Case) -> None:
    """What the second takes is rounded and laid out as the second wants it."""
    (heads, M, K), N = case.a.shape, case.b.shape[2]
    upright = case.enters is Enters.A
    first = Problem(M, K, N, heads)
    second = (
        Problem(M, N, case.other.shape[2], heads) if upright else Problem(case.other.shape[1], M, N, heads)
    )
    if first == second:
        return  # which has one kernel
    choice = Choice((Fixed(kernels[0]),), contracts=dict(zip((first, second), kernels, strict=True)))
    matmul = Matmul(device, choice)
    between = partial(less_than_the_largest, axis=case.keys_axis)
    chained = case.chained(matmul, between)
    assert np.array_equal(chained, case.separately(matmul, between))
    assert {p.plan.contract for p in matmul.take_products()} == set(kernels)


@given(case=cases(integers=False), contract=contracts, masked=st.booleans())
def test_a_chain_with_softmax_is_its_two_products(
    device: Device, case: Case, contract: Contract, masked: bool
) -> None:
    def between(scores: F32) -> None:
        keys = scores.swapaxes(case.keys_axis, -1)
        if masked and keys.shape[-1] > 1:
            keys[..., ::2] = -np.inf
        softmax(scores, case.keys_axis)

    matmul = Matmul(device, contract)
    chained, separate = case.chained(matmul, between), case.separately(matmul, between)
    # Scores differ by their order of summation; that may tip a rounding to bf16, of scores or of weights.
    largest = np.abs(case.other).max()
    scores_in_bf16 = contract.result_dtype is DType.BF16
    bound = 2e-5 if contract.operand_dtype is DType.F32 else 2.0**-7
    assert np.abs(chained - separate).max() <= bound * largest * (8 if scores_in_bf16 else 1)


@settings(max_examples=5)
@pytest.mark.parametrize("enters", Enters)
@pytest.mark.parametrize("contract", [MATMUL_64X64, MATMUL_64X512], ids=lambda c: c.name)
@given(n_ctx=st.integers(1, 700), heads=st.integers(1, 3))
def test_at_the_kernels_own_size(contract: Contract, enters: Enters, n_ctx: int, heads: int) -> None:
    """More than one block of queries, and both fidelities."""
    rng = np.random.default_rng(n_ctx)
    q, k, v = rng.integers(-4, 5, (3, heads, n_ctx, 64)).astype(np.float32)
    case = Case(heads, n_ctx, n_ctx, 64, enters, q, k, v)
    between = partial(less_than_the_largest, axis=case.keys_axis)
    fast, exact = (
        case.chained(Matmul(Emulator(f), contract), between) for f in (Fidelity.FAST, Fidelity.EXACT)
    )
    assert np.array_equal(fast, exact)


def run_chain(
    device: Device, chain: Chain, a: F32, b: F32, other: F32, *, by_steps: bool
) -> tuple[F32, ChainCompletion]:
    second = chain.second
    layouts = chain.first.a, chain.first.b, second.b if chain.enters is Enters.A else second.a
    buffers = [device.alloc(layout) for layout in layouts]
    for buffer, matrix in zip(buffers, (a, b, other), strict=True):
        buffer.write(matrix)
    c = device.alloc(second.c)
    operands = (chain, *buffers, c)
    done = run_steps(device, *operands) if by_steps else device.run_chain(*operands)
    return c.read(), done


def without_last_row(plan: Plan) -> Plan:
    i = next(loop for loop in plan.loops if loop.name == "i")
    fewer = tuple(Loop("i", i.count - 1, i.a, i.b, i.c) if loop is i else loop for loop in plan.loops)
    return replace(plan, loops=fewer)


@pytest.mark.parametrize("wrong", ["first", "second"])
@pytest.mark.parametrize("enters", Enters)
def test_a_wrong_plan_in_a_chain_gives_the_wrong_result_of_its_steps(
    device: Device, wrong: str, enters: Enters
) -> None:
    rng = np.random.default_rng(0)
    a, b, other = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((20, 30), (30, 40), (40, 20)))
    sizes = (20, 40, 20) if enters is Enters.A else (40, 20, 40)
    plans = tiled_plan(Problem(20, 30, 40), SMALL), tiled_plan(Problem(*sizes), SMALL)
    right = Chain(plans[0], lambda scores: None, plans[1], enters)
    chain = replace(right, **{wrong: without_last_row(getattr(right, wrong))})
    c, done = run_chain(device, chain, a, b, other, by_steps=False)
    steps, steps_done = run_chain(device, chain, a, b, other, by_steps=True)
    assert np.array_equal(c, steps, equal_nan=True)
    assert np.isnan(c).any()
    assert (done.first.dispatches, done.second.dispatches) == (
        steps_done.first.dispatches,
        steps_done.second.dispatches,
    )
    assert done.first.dispatches == chain.first.dispatches


def test_the_right_chain_is_right(device: Device) -> None:
    rng = np.random.default_rng(0)
    a, b, other = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((20, 30), (30, 40), (40, 20)))
    plans = tiled_plan(Problem(20, 30, 40), SMALL_F32), tiled_plan(Problem(20, 40, 20), SMALL_F32)
    chain = Chain(plans[0], lambda scores: np.negative(scores, out=scores), plans[1], Enters.A)
    for by_steps in (True, False):
        c, _ = run_chain(device, chain, a, b, other, by_steps=by_steps)
        assert np.array_equal(c, -(a @ b) @ other)


def test_products_that_do_not_fit_are_refused() -> None:
    first, second = tiled_plan(Problem(20, 30, 40), SMALL), tiled_plan(Problem(20, 41, 20), SMALL)
    with pytest.raises(PlanError, match=r"sizes must agree"):
        Chain(first, softmax, second, Enters.A)


def test_the_seconds_of_a_chain_are_those_of_its_parts(device: Device) -> None:
    """Spans of the trace follow one another: what is attributed to both products fits into the call."""
    recorder = Recorder()
    matmul = Matmul(device, MATMUL_64X64)
    matmul.on_product = recorder.on_product
    q = np.random.default_rng(0).standard_normal((2, 200, 64)).astype(np.float32)
    case = Case(2, 200, 200, 64, Enters.A, q, q, q)
    case.chained(matmul, partial(softmax, axis=-1))
    checked(as_trace(recorder.spans, "a test"))
    operations = [span for span in recorder.spans if span.lane is Lane.OPERATIONS]
    assert [span.name for span in operations] == list(NAMES)
    products = matmul.take_products()
    for product in products:
        assert product.kernel_seconds > 0
        assert product.pack_seconds > 0
    spent = sum(product.kernel_seconds + product.pack_seconds for product in products)
    assert spent <= operations[1].end - operations[0].start


def test_an_error_of_the_function_comes_out(device: Device) -> None:
    def between(scores: F32) -> None:
        raise ZeroDivisionError

    q = np.ones((3, 40, 8), np.float32)
    with pytest.raises(ZeroDivisionError):
        Case(3, 40, 40, 8, Enters.A, q, q, q).chained(Matmul(device, SMALL), between)
