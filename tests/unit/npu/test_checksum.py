"""Checksums of products: what is right passes, however it was rounded, and what is wrong does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from whisper_npu.dtypes import F32, Rounding
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.threads import Threads
from whisper_npu.host.vmac import accumulate
from whisper_npu.npu import checksum
from whisper_npu.npu.checksum import PERIOD, Checked, Sums, Turns, Wrong, wrong_in
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul, Numerics

THREADS = Threads(1)
FP32 = Numerics(0.0)
sizes = st.integers(1, 210)
ops = st.builds(Matmul, sizes, sizes, sizes, st.integers(1, 2))


def operands(op: Matmul, seed: int, scale: float = 1.0, spread: float = 0.0) -> tuple[F32, F32]:
    """On bf16's grid. spread: of the powers of two by which elements differ."""
    rng = np.random.default_rng(seed)
    shapes = (op.batch, op.M, op.K), (op.batch, op.K, op.N)
    with np.errstate(over="ignore", under="ignore"):
        a, b = (
            (rng.standard_normal(shape) * scale * np.exp2(rng.uniform(-spread, spread, shape))).astype("f4")
            for shape in shapes
        )
        return on_grid(a, Rounding.NEAREST_EVEN), on_grid(b, Rounding.NEAREST_EVEN)


def found(
    op: Matmul,
    a: F32,
    b: F32,
    c: F32,
    *,
    numerics: Numerics = FP32,
    seed: int = 0,
) -> Wrong | None:
    rng = np.random.default_rng(seed)

    def rows_of(x: F32) -> Callable[[int, slice], F32]:
        return lambda index, rows: x[index, rows]

    of_b = Sums.of(op, rows_of(b), THREADS, rng)
    return wrong_in(op, numerics, rows_of(a), rows_of(b), c, of_b, THREADS)


def product(a: F32, b: F32) -> F32:
    with np.errstate(all="ignore"):
        return np.matmul(a, b)


@given(
    op=ops,
    seed=st.integers(0, 99),
    scale=st.sampled_from([1.0, 1e-20, 1e-38, 1e-45, 1e18, 1e37, 0.0]),
    spread=st.sampled_from([0.0, 4.0, 40.0]),
)
@example(Matmul(1500, 64, 1500), 0, 1.0, 0.0)
@example(Matmul(64, 2048, 300), 0, 1e-20, 40.0)
@example(Matmul(1, 1, 1), 0, 1e37, 0.0)
def test_what_is_right_passes(op: Matmul, seed: int, scale: float, spread: float) -> None:
    """Huge, small and subnormal; overflowing sums; flushed to zero or not."""
    a, b = operands(op, seed, scale, spread)
    c = product(a, b)
    assert found(op, a, b, c, seed=seed) is None
    with np.errstate(all="ignore"):
        flushed_a, flushed_b = (np.where(np.abs(x) < 2.0**-126, 0, x).astype("f4") for x in (a, b))
    c = product(flushed_a, flushed_b)
    c[np.abs(c) < 2.0**-126] = 0
    assert found(op, a, b, c, seed=seed) is None


@settings(max_examples=10)
@given(op=ops, seed=st.integers(0, 99), constant=st.booleans())
def test_what_the_array_sums_passes(op: Matmul, seed: int, constant: bool) -> None:
    """To the bit as a core does, where all errors have one sign too; and partial results in bf16."""
    a, b = operands(op, seed)
    if constant:
        a[:], b[:] = np.float32(1.0078125), np.float32(0.3359375)
    c = np.zeros((op.batch, op.M, op.N), np.float32)
    for index in range(op.batch):
        accumulate(c[index], a[index], b[index], NPU1.micro_tile[1])
    assert found(op, a, b, c, seed=seed) is None
    for rounding in Rounding:
        parts = [
            on_grid(product(a[:, :, k : k + 64], b[:, k : k + 64]), rounding) for k in range(0, op.K, 64)
        ]
        numerics = Numerics(0.0, rounding.unit, 64)
        assert found(op, a, b, np.sum(parts, axis=0, dtype="f4"), numerics=numerics, seed=seed) is None


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan], ids=str)
def test_operands_that_are_no_numbers_give_none(value: float) -> None:
    op = Matmul(70, 50, 90)
    a, b = operands(op, 0)
    a[0, 5, 7] = value
    c = product(a, b)
    assert found(op, a, b, c) is None
    b[0, 9, 80] = value
    assert found(op, a, b, product(a, b)) is None
    wrong = c.copy()
    wrong[0, 6] = 0
    b[0, 9, 80] = 1
    assert found(op, a, b, wrong) is not None


Spoil = Callable[[F32, F32, F32], object]  # C, A and B


def a_tile_of_zeros(c: F32, a: F32, b: F32) -> None:
    c[-1, 32:96, 64:112] = 0


def a_tile_of_garbage(c: F32, a: F32, b: F32) -> None:
    c[-1, 32:96, 64:112] = 0.001


def a_tile_of_the_dispatch_before(c: F32, a: F32, b: F32) -> None:
    c[0, 64:128, :64] = c[0, :64, :64]


def two_tiles_swapped(c: F32, a: F32, b: F32) -> None:
    c[0, :64, :64], c[0, :64, 64:128] = c[0, :64, 64:128].copy(), c[0, :64, :64].copy()


def two_rows_swapped(c: F32, a: F32, b: F32) -> None:
    c[0, [3, 4]] = c[0, [4, 3]]


def the_last_row_of_the_one_before(c: F32, a: F32, b: F32) -> None:
    c[-1, -1] = c[-1, -2]


def the_last_row_missing(c: F32, a: F32, b: F32) -> None:
    c[-1, -1] = 0


def a_part_of_the_sum_missing(c: F32, a: F32, b: F32) -> None:
    c[-1] = product(a[-1, :, 64:], b[-1, 64:])


def the_last_step_twice(c: F32, a: F32, b: F32) -> None:
    c[-1] += product(a[-1, :, -64:], b[-1, -64:])


def heads_swapped(c: F32, a: F32, b: F32) -> None:
    c[:] = c[::-1].copy()


def not_a_number(c: F32, a: F32, b: F32) -> None:
    c[-1, -1, -1] = np.nan


def infinite(c: F32, a: F32, b: F32) -> None:
    c[0, 0, 0] = np.inf


def huge(c: F32, a: F32, b: F32) -> None:
    c[0, 0, 0] = 3e38


LIES = [
    a_tile_of_zeros,
    a_tile_of_garbage,
    a_tile_of_the_dispatch_before,
    two_tiles_swapped,
    two_rows_swapped,
    the_last_row_of_the_one_before,
    the_last_row_missing,
    a_part_of_the_sum_missing,
    the_last_step_twice,
    heads_swapped,
    not_a_number,
    infinite,
    huge,
]


@pytest.mark.parametrize("scale", [1.0, 1e-15])
@pytest.mark.parametrize(
    "op",
    [Matmul(200, 384, 150, 2), Matmul(130, 2048, 128, 2)],
    ids=str,
)
@pytest.mark.parametrize("lie", LIES)
def test_what_is_wrong_is_found(lie: Spoil, op: Matmul, scale: float) -> None:
    a, b = operands(op, 0, scale)
    c = product(a, b)
    before = c.copy()
    lie(c, a, b)
    wrong = found(op, a, b, c)
    assert wrong is not None
    told = (wrong.index, wrong.rows, wrong.cols)
    assert not np.array_equal(c[told], before[told], equal_nan=True)  # the place is one of the wrong ones


def test_the_weights_of_attention_are_small_and_what_is_wrong_is_found_all_the_same() -> None:
    op = Matmul(300, 1500, 64, 2)
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((op.batch, op.M, op.K))
    a = on_grid((np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).astype("f4"), Rounding.NEAREST_EVEN)
    _, b = operands(op, 1)
    right = product(a, b)
    assert found(op, a, b, right) is None
    for lie in (the_last_row_missing, two_rows_swapped, a_part_of_the_sum_missing, heads_swapped):
        c = right.copy()
        lie(c, a, b)
        assert found(op, a, b, c) is not None


WINDOWS = {layers: 2 + 6 * layers for layers in (4, 6, 12, 24, 32)}  # products, by the encoder's layers


@pytest.mark.parametrize("first", [0, 9, PERIOD - 1])
@pytest.mark.parametrize("n_products", WINDOWS.values(), ids=[f"{layers}-layers" for layers in WINDOWS])
def test_the_turn_comes_to_every_product_of_every_model(n_products: int, first: int) -> None:
    turns = Turns(Checked.ONE, np.random.default_rng(0))
    while first > 0:
        first -= 1
        turns.comes()
    checked: set[int] = set()
    for _ in range(PERIOD):
        of_window = [number for number in range(n_products) if turns.comes()]
        assert of_window  # no window goes without
        assert len(of_window) <= -(-n_products // PERIOD)
        checked.update(of_window)
    assert checked == set(range(n_products))


def test_short_runs_check_different_products() -> None:
    def first(seed: int) -> int:
        turns = Turns(Checked.ONE, np.random.default_rng(seed))
        return next(number for number in range(PERIOD) if turns.comes())

    assert {first(seed) for seed in range(300)} == set(range(PERIOD))


def test_all_and_nothing_know_no_turn() -> None:
    rng = np.random.default_rng(0)
    assert [Turns(Checked.ALL, rng).comes() for _ in range(3)] == [True] * 3
    assert not any(Turns(Checked.NOTHING, rng).comes() for _ in range(2 * PERIOD))


def test_sums_are_small_and_those_of_many_steps_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    op = Matmul(1, 700, 300, 2)
    _, b = operands(op, 0)

    def sums() -> Sums:
        return Sums.of(op, lambda index, rows: b[index, rows], THREADS, np.random.default_rng(0))

    whole = sums()
    monkeypatch.setattr(checksum, "AT_A_TIME", 7 * op.N)
    in_steps = sums()
    exact = np.einsum("bkn,vn->bvk", b.astype(np.float64), whole.vectors.astype(np.float64))
    for one in (whole, in_steps):
        np.testing.assert_allclose(one.sums, exact, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.norms, np.linalg.norm(b.astype(np.float64), axis=(1, 2)))
    kept = sum(array.nbytes for array in (whole.vectors, whole.sums, whole.norms, whole.norms_of_sums))
    assert kept < b.nbytes / 50
