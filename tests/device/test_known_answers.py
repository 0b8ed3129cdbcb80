"""What a kernel computes before its first dispatch: no fault of a device may leave that answer right.

The faults are injected in a chip that computes otherwise (tests/support/fake_pyxrt).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import stand_in_kernels
from tests.support.contracts import (
    CONTRACTS,
    NEAREST_BF16,
    SMALL,
    SMALL_BF16,
    SMALL_CONTEXT,
    SMALL_F32,
    SMALL_FLOOR,
    SMALL_PAIRS,
    SMALL_SCORES,
)
from tests.support.fake_pyxrt import FakeXrt
from tests.support.npu import opened_npu
from tests.support.products import Multiply
from tests.support.stand_in_kernels import (
    ROUNDINGS,
    Elements,
    Instructions,
    Memory,
    PairsMatmul,
    SeparateMatmul,
    Work,
    as_elements,
    as_f32,
)
from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.errors import DispatchError
from whisper_npu.host.bf16 import on_grid, to_bf16
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import gemm
from whisper_npu.kernels.matmul import known_answer
from whisper_npu.kernels.matmul.kernel import MatmulContract, matmul_64x512_k
from whisper_npu.npu.contract import KnownAnswer
from whisper_npu.npu.device import Device
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.xrt import buffer
from whisper_npu.ops import Matmul

LONG = replace(SMALL, name="matmul_8x24_k200", k=200)
FEW = (SMALL, SMALL_BF16, SMALL_FLOOR, SMALL_F32, SMALL_PAIRS, SMALL_SCORES, SMALL_CONTEXT, LONG)
HEADS = (SMALL_PAIRS, SMALL_SCORES, SMALL_CONTEXT)
ALL = (*FEW, *CONTRACTS, NEAREST_BF16, gemm(NPU1, 384, 5120, 192), matmul_64x512_k(NPU1, 4160))


def by_name(contracts: tuple[MatmulContract, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("contract", contracts, ids=lambda contract: contract.name)


def known(contract: MatmulContract, seed: int = 0) -> KnownAnswer:
    return contract.known_answer(contract.trial_op, np.random.default_rng(seed))


# --- The operands -------------------------------------------------------------------------------------------


@by_name(ALL)
def test_no_order_of_additions_rounds_and_no_sum_is_zero(contract: MatmulContract) -> None:
    a, b = known_answer.integers(contract.trial_op, contract.operand_dtype, np.random.default_rng(0))
    assert np.array_equal(a, np.rint(a))
    assert np.array_equal(b, np.rint(b))
    assert np.matmul(np.abs(a), np.abs(b)).max() < 2**24  # a grid of ones for all that is added, and its sum
    assert (np.matmul(a, b) % 2 == 1).all()
    if contract.operand_dtype is DType.BF16:
        for x in (a, b):
            assert np.array_equal(on_grid(x, Rounding.TOWARD_ZERO), x)


@by_name(ALL)
def test_the_answer_is_the_product_of_the_rounded_operands(contract: MatmulContract) -> None:
    answer = known(contract)
    a, b = answer.inputs
    if contract.operand_dtype is DType.BF16:
        a, b = (to_bf16(x, contract.operand_rounding).astype(np.float32) for x in (a, b))
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
    if contract.result_dtype is DType.BF16:
        exact = to_bf16(exact, contract.result_rounding).astype(np.float32)
    assert not answer.wrong((exact,))[0].any()
    assert answer.wrong((np.full_like(exact, np.nan),))[0].all()
    assert answer.wrong((np.nextafter(exact, np.float32(0)),))[0].all()


@pytest.mark.parametrize("rounding", Rounding)
def test_operands_lie_as_far_from_the_grid_as_their_rounding_allows(rounding: Rounding) -> None:
    rng = np.random.default_rng(0)
    values, _ = known_answer.integers(Matmul(64, 64, 64), DType.BF16, rng)
    given = known_answer.before_rounding(values, rounding)
    assert np.array_equal(on_grid(given, rounding), values)
    for other in Rounding:
        if other is not rounding:
            assert (on_grid(given, other) != values).mean() > 0.2
    if rounding is Rounding.NEAREST_EVEN:  # ties, from both sides: neither away from zero nor up
        bits = given.view(np.uint32)
        ties = (bits & 0xFFFF) == 0x8000
        assert ties.mean() > 0.2
        away = (bits + 0x8000 & 0xFFFF0000).view(np.float32)
        assert (away != values).mean() > 0.1


@by_name(FEW)
def test_every_device_answers_it(device: Device, contract: MatmulContract) -> None:
    answer = known(contract, seed=1)
    a, b = answer.inputs
    assert not answer.wrong((Multiply(device, contract)(a, b),))[0].any()


@pytest.mark.parametrize("contract", [SMALL, SMALL_BF16, NEAREST_BF16], ids=lambda contract: contract.name)
def test_every_device_answers_one_that_is_cut_into_tiles(device: Device, contract: MatmulContract) -> None:
    """Of bf16 results the host adds several, each rounded."""
    op = Matmul(2 * contract.m + 1, 2 * contract.k + 3, contract.n + 5)
    answer = contract.known_answer(op, np.random.default_rng(2))
    a, b = answer.inputs
    assert not answer.wrong((Multiply(device, contract)(a, b),))[0].any()


@pytest.mark.parametrize(("dtype", "K"), [(DType.BF16, 2**14), (DType.F32, 2**10)])
def test_the_longest_sums_are_exact_as_well(dtype: DType, K: int) -> None:
    a, b = known_answer.integers(Matmul(8, K, 8), dtype, np.random.default_rng(0))
    assert (np.abs(a).astype(np.float64) @ np.abs(b)).max() < 2**24
    assert b.any(axis=0).all()


# --- Faults -------------------------------------------------------------------------------------------------

Breaks = Callable[[Elements, Elements, Elements], None]  # what is done to C; of A, B and C


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


@pytest.fixture
def npu(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    with opened_npu(tmp_path, fake, FEW) as npu:
        yield npu


def matrices(what: Work, data: list[Memory]) -> tuple[Elements, Elements, Elements]:
    assert isinstance(what, Instructions)
    assert isinstance(what.operation, (SeparateMatmul, PairsMatmul))
    elements = [
        as_elements(memory[: argument.nbytes], argument.dtype)
        for argument, memory in zip(what.arguments, data, strict=True)
    ]
    return what.operation.matrices(*elements)


def broken_by(spoil: Breaks) -> Callable[[Work, list[Memory]], None]:
    """The right results, and then a fault."""

    def compute(what: Work, data: list[Memory]) -> None:
        what.compute(*data)
        spoil(*matrices(what, data))

    return compute


def is_refused(npu: Device, fake: FakeXrt, contract: MatmulContract) -> str:
    """The error with which a kernel is refused; it is taken once the fault is gone."""
    with pytest.raises(DispatchError, match="another result") as caught:
        npu.load(contract)
    fake.heal()
    npu.load(contract)
    return str(caught.value)


def last_row_of_the_one_before(a: Elements, b: Elements, c: Elements) -> None:
    c[-1, -1] = c[-1, -2]


def last_row_missing(a: Elements, b: Elements, c: Elements) -> None:
    c[-1, -1] = 0


def last_column_of_the_one_before(a: Elements, b: Elements, c: Elements) -> None:
    c[-1, :, -1] = c[-1, :, -2]


def one_micro_tile_of_its_neighbour(a: Elements, b: Elements, c: Elements) -> None:
    c[-1, 4:8, 8:12] = c[-1, 4:8, 12:16]


def two_micro_tiles_swapped(a: Elements, b: Elements, c: Elements) -> None:
    c[0, :4, :4], c[0, 4:, 20:] = c[0, 4:, 20:].copy(), c[0, :4, :4].copy()


def one_element_by_its_last_digit(a: Elements, b: Elements, c: Elements) -> None:
    c[-1, -1, -1:] = (
        np.nextafter(c[-1, -1, -1:], np.float32(0)) if c.dtype == np.float32 else c[-1, -1, -1] ^ 1
    )


@by_name(FEW)
@pytest.mark.parametrize(
    "spoil",
    [
        last_row_of_the_one_before,
        last_row_missing,
        last_column_of_the_one_before,
        one_micro_tile_of_its_neighbour,
        two_micro_tiles_swapped,
        one_element_by_its_last_digit,
    ],
)
def test_a_part_that_is_wrong_is_seen(
    npu: Device, fake: FakeXrt, contract: MatmulContract, spoil: Breaks
) -> None:
    fake.compute_by(broken_by(spoil))
    message = is_refused(npu, fake, contract)
    *matrix, rows, cols = known(contract).results[0].shape
    if spoil is last_row_missing:
        last = rows - 1 if contract.packs_pairs or not matrix else f"{contract.batch - 1},{contract.m - 1}"
        assert f" to [{last},{cols - 1}]" in message


def swapped(a: Elements, b: Elements, c: Elements) -> None:
    c[[0, -1]] = c[[-1, 0]]


def first_for_all(a: Elements, b: Elements, c: Elements) -> None:
    c[:] = c[0]


def with_b_of_the_first(a: Elements, b: Elements, c: Elements) -> None:
    stand_in_kernels.store(np.matmul(as_f32(a), as_f32(b)[:1]), c)


def with_a_of_the_first(a: Elements, b: Elements, c: Elements) -> None:
    stand_in_kernels.store(np.matmul(as_f32(a)[:1], as_f32(b)), c)


@by_name(HEADS)
@pytest.mark.parametrize("spoil", [swapped, first_for_all, with_b_of_the_first, with_a_of_the_first])
def test_heads_that_are_exchanged_are_seen(
    npu: Device, fake: FakeXrt, contract: MatmulContract, spoil: Breaks
) -> None:
    fake.compute_by(broken_by(spoil))
    is_refused(npu, fake, contract)


@by_name((SMALL_BF16, SMALL_FLOOR))
@pytest.mark.parametrize("rounding", Rounding)
def test_results_that_are_rounded_otherwise_are_seen(
    npu: Device, fake: FakeXrt, contract: MatmulContract, rounding: Rounding
) -> None:
    def compute(what: Work, data: list[Memory]) -> None:
        assert isinstance(what, Instructions)
        assert isinstance(what.operation, SeparateMatmul)
        replace(what, operation=replace(what.operation, rounding=ROUNDINGS.index(rounding))).compute(*data)

    fake.compute_by(compute)
    if rounding is contract.result_rounding:
        npu.load(contract)
    else:
        is_refused(npu, fake, contract)


@by_name(FEW)
@pytest.mark.parametrize("step", [4, 8])
def test_sums_that_are_kept_in_bf16_are_seen(
    npu: Device, fake: FakeXrt, contract: MatmulContract, step: int
) -> None:
    """Rounded after every few products, and at the end as the contract says."""

    def compute(what: Work, data: list[Memory]) -> None:
        a, b, c = matrices(what, data)
        total = np.zeros(c.shape, np.float32)
        for i in range(0, a.shape[-1], step):
            total = on_grid(total, Rounding.NEAREST_EVEN)
            total += np.matmul(as_f32(a[..., i : i + step]), as_f32(b[:, i : i + step]))
        assert isinstance(what, Instructions)
        assert isinstance(what.operation, (SeparateMatmul, PairsMatmul))
        stand_in_kernels.store(total, c, ROUNDINGS[what.operation.rounding])

    fake.compute_by(compute)
    is_refused(npu, fake, contract)


def away_from_zero(x: F32, rounding: Rounding) -> NDArray[ml_dtypes.bfloat16]:
    """To nearest, ties away: what adding half before cutting gives."""
    return to_bf16((x.view(np.uint32) + np.uint32(0x8000)).view(np.float32), Rounding.TOWARD_ZERO)


def cut(x: F32, rounding: Rounding) -> NDArray[ml_dtypes.bfloat16]:
    other = {Rounding.NEAREST_EVEN: Rounding.TOWARD_ZERO, Rounding.TOWARD_ZERO: Rounding.NEAREST_EVEN}
    return to_bf16(x, other[rounding])


@by_name(tuple(contract for contract in FEW if contract.operand_dtype is DType.BF16))
@pytest.mark.parametrize("round_otherwise", [cut, away_from_zero])
def test_operands_that_are_rounded_otherwise_are_seen(
    npu: Device,
    contract: MatmulContract,
    round_otherwise: Callable[[F32, Rounding], NDArray[ml_dtypes.bfloat16]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffer, "to_bf16", round_otherwise)
        with pytest.raises(DispatchError, match="another result"):
            npu.load(contract)
    npu.load(contract)


def test_what_a_trial_multiplies_has_as_many_different_a_as_b() -> None:
    pairs = replace(SMALL_PAIRS, products=12)
    plan = registry.family_of(pairs).trial(pairs)
    assert plan.dispatches == 1
    tiles = plan.walk().tiles
    assert [len({tuple(at) for at in operand.tolist()}) for operand in tiles] == [3, 4, 12]
