"""A product with functions of the host around its rows: as its steps, in results and in what is recorded."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device.test_chains import counts
from tests.device.test_products import SMALL, SMALL_BF16, SMALL_F32, SMALL_FLOOR
from tests.support.trace_format import checked
from whisper_npu.benchmark.trace import Lane, Recorder, as_trace
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.gemm import Bf16Dot, Blas
from whisper_npu.layers import Linear
from whisper_npu.npu.contract import MATMUL_64X64, MATMUL_64X512, Contract, DType
from whisper_npu.npu.device import Device, Fidelity, RowProduct, run_rows_in_steps
from whisper_npu.npu.emulator import blocks as emulator_runs
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.matmul import Matmul, RowStep, as_it_is
from whisper_npu.npu.plan import Problem, tiled_plan

contracts = st.sampled_from([SMALL, SMALL_BF16, SMALL_FLOOR, SMALL_F32])


def integers(rng: np.random.Generator, *shape: int) -> F32:
    return rng.integers(-4, 5, shape).astype(np.float32)


def doubled_sums(x: F32) -> F32:
    """(rows, 2 K) -> (rows, K): a function that changes the width."""
    half = x.shape[1] // 2
    return x[:, :half] + x[:, half:]


@given(
    sizes=st.tuples(*[st.integers(1, 70)] * 3),
    contract=contracts,
    seed=st.integers(0, 2**32 - 1),
    longest=st.sampled_from([1, 7, 384]),
    cache_bytes=st.sampled_from([1, 600, 1 << 19]),
)
def test_functions_around_a_product_are_steps_before_and_after_it(
    device: Device, sizes: tuple[int, int, int], contract: Contract, seed: int, longest: int, cache_bytes: int
) -> None:
    """Integers: no order of summation, block or tile can excuse a difference."""
    M, K, N = sizes
    rng = np.random.default_rng(seed)
    x, w, residual = integers(rng, M, 2 * K), integers(rng, K, N), integers(rng, M, N)
    given = x.copy()

    def after(y: F32, rows: slice) -> None:
        np.maximum(y, 0, out=y)
        y += residual[rows]

    matmul = Matmul(device, contract)
    weight = matmul.stage(w)
    with pytest.MonkeyPatch.context() as patch:
        for gemm in (Blas, Bf16Dot):
            patch.setattr(gemm, "longest_block", longest)
        patch.setattr(emulator_runs, "BLOCK_BYTES", cache_bytes)
        fused = matmul.by_rows(x, RowStep(weight, "test", doubled_sums, after))
    recorded = matmul.take_products()
    separate = np.maximum(matmul(doubled_sums(x), weight, "test"), 0) + residual
    assert np.array_equal(fused, separate)
    assert counts(recorded) == counts(matmul.take_products())
    assert np.array_equal(x, given)


@given(
    sizes=st.tuples(*[st.integers(1, 70)] * 4),
    contract=contracts,
    seed=st.integers(0, 2**32 - 1),
    longest=st.sampled_from([1, 7, 384]),
)
def test_steps_take_the_rows_of_one_another(
    device: Device, sizes: tuple[int, int, int, int], contract: Contract, seed: int, longest: int
) -> None:
    """Integers, and small ones between the products: bf16 holds them."""
    M, K, middle, N = sizes
    rng = np.random.default_rng(seed)
    x, first, second, residual = (
        integers(rng, *shape) for shape in ((M, K), (K, middle), (middle, N), (M, N))
    )

    def signs(y: F32, rows: slice) -> None:
        np.sign(y, out=y)

    def add(y: F32, rows: slice) -> None:
        y += residual[rows]

    matmul = Matmul(device, contract)
    weights = matmul.stage(first), matmul.stage(second)
    steps = RowStep(weights[0], "first", np.negative, signs), RowStep(weights[1], "second", as_it_is, add)
    with pytest.MonkeyPatch.context() as patch:
        for gemm in (Blas, Bf16Dot):
            patch.setattr(gemm, "longest_block", longest)
        y = matmul.by_rows(x, *steps)
    recorded = matmul.take_products()
    one_by_one = matmul.by_rows(matmul.by_rows(x, steps[0]), steps[1])
    assert np.array_equal(y, one_by_one)
    assert counts(recorded) == counts(matmul.take_products())
    if contract.result_dtype is DType.F32:
        assert np.array_equal(y, np.sign(-x @ first) @ second + residual)


@pytest.mark.parametrize("contract", [MATMUL_64X64, MATMUL_64X512], ids=lambda c: c.name)
def test_both_fidelities_at_the_kernels_own_size(contract: Contract) -> None:
    rng = np.random.default_rng(0)
    x, w, bias = integers(rng, 900, 130), integers(rng, 130, 200), integers(rng, 200)
    fast, exact = (
        Linear(w.T, bias, Matmul(Emulator(f), contract), name="test")(x, before=np.negative, add=-x @ w)
        for f in (Fidelity.FAST, Fidelity.EXACT)
    )
    assert np.array_equal(fast, exact)
    assert np.array_equal(fast, -2 * (x @ w) + bias)


def test_a_wrong_plan_gives_the_wrong_result_of_its_steps(device: Device) -> None:
    rng = np.random.default_rng(0)
    x, w = integers(rng, 20, 30), integers(rng, 30, 40)
    plan = tiled_plan(Problem(20, 30, 40), SMALL)
    fewer = tuple(replace(loop, count=loop.count - 1) if loop.name == "i" else loop for loop in plan.loops)
    a, b = device.alloc(plan.a), device.alloc(plan.b)
    b.write(w)
    wrong = RowProduct(as_it_is, replace(plan, loops=fewer), a, b, lambda y, rows: None)
    c, (done,) = device.run_rows([wrong], x)
    c_of_steps, (steps,) = run_rows_in_steps(device, [wrong], x)
    assert np.isnan(c).any()
    assert np.array_equal(c, c_of_steps, equal_nan=True)
    assert done.product.dispatches == steps.product.dispatches == wrong.plan.dispatches


def test_the_time_is_divided_among_the_steps(device: Device) -> None:
    recorder = Recorder()
    matmul = Matmul(device, MATMUL_64X64)
    matmul.on_product = recorder.on_product
    x = np.random.default_rng(0).standard_normal((500, 200)).astype(np.float32)
    steps = [
        RowStep(matmul.stage(w), name, np.tanh, lambda y, rows: np.sin(y, out=y))
        for name, w in (("first", x.T), ("second", x))
    ]
    start = perf_counter()
    matmul.by_rows(x, *steps)
    end = perf_counter()
    checked(as_trace(recorder.spans, "a test"))
    spans = [span for span in recorder.spans if span.lane is Lane.OPERATIONS]
    assert [span.name for span in spans] == ["first", "second"]
    assert start < spans[0].start < spans[0].end <= spans[1].start < spans[1].end < end
    for product, span in zip(matmul.take_products(), spans, strict=True):
        assert product.kernel_seconds > 0
        assert product.pack_seconds > 0
        assert product.kernel_seconds + product.pack_seconds < span.end - span.start


@pytest.mark.parametrize("width", [1, 7, 9, 800])
def test_rows_of_another_width_are_refused(device: Device, width: int) -> None:
    matmul = Matmul(device, SMALL)
    layers = [Linear(np.ones((8, 8), np.float32), np.zeros(8), matmul, name=name) for name in ("a", "b")]
    x = np.ones((40, 8), np.float32)

    def widened(rows: F32) -> F32:
        return np.ones((len(rows), width), np.float32)

    for steps in ([layers[0].step(before=widened)], [layers[0].step(), layers[1].step(before=widened)]):
        with pytest.raises(PlanError, match=rf"{width}\), but .* takes 8 numbers a row"):
            matmul.by_rows(x, *steps)
    with pytest.raises(PlanError, match="takes 8 numbers a row"):
        layers[0](np.ones((40, width), np.float32))
    assert np.array_equal(layers[0](x), x @ np.ones((8, 8)))


@pytest.mark.parametrize("which", ["before", "after"])
def test_an_error_of_a_function_comes_out(device: Device, which: str) -> None:
    def before(x: F32) -> F32:
        if which == "before":
            raise ZeroDivisionError
        return x

    def after(y: F32, rows: slice) -> None:
        raise ZeroDivisionError

    matmul = Matmul(device, SMALL)
    weight = matmul.stage(np.ones((8, 8), np.float32))
    with pytest.raises(ZeroDivisionError):
        matmul.by_rows(np.ones((40, 8), np.float32), RowStep(weight, "test", before, after))
