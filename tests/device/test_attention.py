"""AttentionNPU on every device, without checkpoint and without audio, against float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.attention import Case
from tests.support.contracts import F32_OPERANDS, MATMUL_64X64, MATMUL_64X512, MATMUL_128X512
from whisper_npu import AttentionNPU
from whisper_npu.dtypes import DType
from whisper_npu.errors import UsageError
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, tiled_plan
from whisper_npu.npu.device import Device, Recording
from whisper_npu.ops import Batched, Matmul


def problems_of(recording: Recording) -> dict[str, Matmul]:
    """What was multiplied, by name."""
    return {run.name: run.plan.problem for run in recording.runs if isinstance(run.plan, MatmulPlan)}


@settings(max_examples=15)
@given(
    n_ctx=st.integers(1, 150),
    n_head=st.integers(1, 5),
    d_head=st.integers(1, 40),
    contract=st.sampled_from([MATMUL_64X64, MATMUL_64X512, MATMUL_128X512]),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_size_is_close_to_float64(
    device: Device, n_ctx: int, n_head: int, d_head: int, contract: MatmulContract, masked: bool, seed: int
) -> None:
    case = Case(n_ctx, n_head * d_head, n_head, seed)
    mask = np.random.default_rng(seed).random(n_ctx) < 0.5 if masked else None
    if mask is not None:
        mask[seed % n_ctx] = True
    y = case.on(device, contract)(case.x, mask)
    assert y.dtype == np.float32
    # Three bf16 roundings deep, each 2^-8 of values around 1.
    assert np.abs(y - case.reference(mask)).max() < 0.06


@pytest.mark.parametrize("n_ctx", [1500, 1, 77])
@pytest.mark.parametrize("contract", [MATMUL_64X64, F32_OPERANDS], ids=lambda c: c.name)
def test_masked_keys_get_no_attention(device: Device, n_ctx: int, contract: MatmulContract) -> None:
    case = Case(n_ctx, 128, 2, seed=n_ctx)
    mask = np.arange(n_ctx) % 3 == 0
    y = case.on(device, contract)(case.x, mask)
    bound = 0.03 if contract.operand_dtype is DType.BF16 else 2e-5
    assert np.abs(y - case.reference(mask)).max() < bound
    if n_ctx > 1:
        assert np.abs(y - case.reference()).max() > 2 * bound  # the mask matters


def test_x_may_have_any_strides(device: Device) -> None:
    case = Case(90, 64, 2)
    attention = case.on(device, MATMUL_64X512)
    expected = attention(case.x)
    assert np.array_equal(attention(np.asfortranarray(case.x)), expected)
    assert np.array_equal(attention(np.repeat(case.x, 2, axis=1)[:, ::2]), expected)


def test_a_mask_may_hold_zeros_and_ones_and_nothing_else() -> None:
    case = Case(5, 16, 2)
    attention = AttentionNPU(*case.weights, n_head=2)
    expected = attention(case.x, np.array([True, True, False, True, False]))
    assert np.array_equal(attention(case.x, np.array([1, 1, 0, 1, 0])), expected)
    assert np.array_equal(attention(case.x, [1, 1, 0, 1, 0]), expected)
    with pytest.raises(UsageError, match="key_mask holds -10000"):
        attention(case.x, [0, 0, -10000, 0, -10000])  # an additive mask


def test_what_a_masked_key_says_does_not_matter(device: Device) -> None:
    case = Case(90, 64, 2)
    mask = np.arange(90) < 60
    attention = case.on(device, MATMUL_64X512)
    before = attention(case.x, mask)[mask]
    case.x[~mask] = 1000.0
    assert np.array_equal(attention(case.x, mask)[mask], before)


def test_padding_gets_no_attention(device: Device) -> None:
    """1500 keys are padded to 1536: 36 zero keys would take some 2 % of the weight of every query."""
    case = Case(1500, 64, 1)
    case.x *= 0.01  # scores near 0, so that a zero key would count as much as any other
    y = case.on(device, F32_OPERANDS)(case.x)
    assert np.abs(y - case.reference()).max() < 1e-5


def test_a_kernel_wide_in_n_is_used_transposed(device: Device) -> None:
    case = Case(300, 128, 2)
    attention = case.on(device, MATMUL_64X512)
    with attention.device.recording() as recording:
        attention(case.x)
    problems = problems_of(recording)
    assert problems["attention.context"] == Matmul(64, 300, 300, 2, Batched.CONTEXT)
    assert problems["attention.scores"] == Matmul(300, 64, 300, 2, Batched.SCORES)


def test_every_product_is_dispatched(device: Device) -> None:
    case = Case(100, 128, 4)
    attention = case.on(device, MATMUL_64X64)
    with attention.device.recording() as recording:
        attention(case.x)
    done = {run.name: (run.stats.calls, run.stats.dispatches) for run in recording.by_plan}

    def dispatches(M: int, K: int, N: int) -> int:
        return tiled_plan(Matmul(M, K, N), MATMUL_64X64).dispatches

    assert done == {
        "attention.qkv": (1, dispatches(100, 128, 384)),
        "attention.scores": (1, 4 * dispatches(100, 32, 100)),
        "attention.context": (1, 4 * dispatches(100, 100, 32)),
        "attention.out": (1, dispatches(100, 128, 128)),
    }


@pytest.mark.parametrize("n_ctx", [7, 300])
def test_threads_may_share_it(device: Device, n_ctx: int) -> None:
    case = Case(n_ctx, 64, 4)
    attention = case.on(device, MATMUL_64X512)
    xs = [case.x * scale for scale in np.linspace(-3, 3, 8, dtype=np.float32)]
    right = [attention(x) for x in xs]
    for _ in range(3):
        with ThreadPoolExecutor(4) as threads:
            assert all(map(np.array_equal, threads.map(attention, xs), right))


def test_arrays_may_come_as_lists() -> None:
    weight = np.eye(4, dtype=np.float32).tolist()
    for n_head in (np.int64(2), 2.0):
        attention = AttentionNPU(weight, weight, weight, weight, n_head=n_head, out_bias=[1, 2, 3, 4])
        assert attention([[1, 0, 0, 0]]).tolist() == [[2, 2, 3, 4]]


def test_weights_are_staged_once_and_not_read_again(device: Device) -> None:
    case = Case(20, 64, 2)
    attention = case.on(device, MATMUL_64X512)
    before = attention(case.x)
    for weight in case.weights:
        weight[:] = np.nan
    assert np.array_equal(attention(case.x), before)


def test_it_needs_nothing_but_weights() -> None:
    case = Case(10, 32, 4)
    attention = AttentionNPU(*case.weights, n_head=4)
    case.biases = [np.zeros(32, np.float32)] * 4
    assert np.abs(attention(case.x) - case.reference()).max() < 0.06
    assert attention.device.name in ("emulator", "npu")


@pytest.mark.parametrize(
    ("n_head", "x", "mask", "message"),
    [
        (3, np.zeros((4, 8)), None, "n_head 3 does not divide n_state 8"),
        (0, np.zeros((4, 8)), None, "n_head 0 does not divide n_state 8"),
        (2.5, np.zeros((4, 8)), None, "n_head 2.5 does not divide n_state 8"),
        (2, np.zeros((4, 7)), None, r"x has shape \(4, 7\), must be \(n_ctx, 8\)"),
        (2, np.zeros((0, 8)), None, r"n_ctx at least 1"),
        (2, np.zeros((4, 8)), np.ones(5, bool), r"key_mask has shape \(5,\)"),
        (2, np.zeros((4, 8)), np.zeros(4, bool), "leaves no key"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    n_head: int, x: NDArray[np.float64], mask: NDArray[np.bool_] | None, message: str
) -> None:
    weights = [np.eye(8)] * 4
    with pytest.raises(UsageError, match=message):
        AttentionNPU(*weights, n_head=n_head)(x, mask)


def test_a_weight_of_another_shape_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"v_weight has shape \(8, 4\), must be \(8, 8\)"):
        AttentionNPU(np.eye(8), np.eye(8), np.ones((8, 4)), np.eye(8), n_head=2)
    for nothing in (np.float32(1), np.ones((0, 0))):
        with pytest.raises(UsageError, match=r"q_weight has shape \(.*\), must be \(1, 1\)"):
            AttentionNPU(nothing, nothing, nothing, nothing, n_head=1)
