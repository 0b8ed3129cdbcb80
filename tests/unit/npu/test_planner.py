"""The planner: least modelled time by brute force, overlays counted; weights that lie alike for every M."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.contracts import CONTRACTS, MATMUL_64X64, MATMUL_64X512, MATMUL_128X512
from whisper_npu.dtypes import Rounding
from whisper_npu.encoder import encoder_ops
from whisper_npu.errors import UnknownKernelError
from whisper_npu.kernels import registry
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, CoreTile, Gemm, gemm, padded_gemm
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan, TiledMatmul, tiled_plan
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import (
    NOTHING,
    Start,
    host_seconds,
    modelled_plan_seconds,
    modelled_run_seconds,
    overlay_change,
)
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.planner import Alternative, Choice, asked_for, choose, products, smallest, whole_by
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Activation, Batched, EncoderLayer, Linear, Matmul, Op
from whisper_npu.released import RELEASED, released_dimensions

EVERYTHING = registry.kernels(NPU1)
FOR_PRODUCTS = [kernel for kernel in EVERYTHING if not kernel.makes_whole]
LAYER = next(kernel for kernel in EVERYTHING if kernel.makes_whole)


@pytest.mark.parametrize(
    ("model", "tile"),
    [
        *((model, GEMM_TILE) for model in ("tiny", "base", "small")),
        *((model, (64, 64, 64)) for model in ("medium", "large-v3-turbo", "large-v3")),
    ],
)
def test_a_window_is_one_dispatch_per_product_on_one_overlay(model: str, tile: CoreTile) -> None:
    dims = released_dimensions(model)
    choice = choose(encoder_ops(dims), FOR_PRODUCTS)
    assert choice.alternatives[0].dispatches == 2 + 6 * dims.n_audio_layer
    assert {contract.overlay for contract in choice.contracts} == {choice.name}
    assert choice.kernels == (Gemm(NPU1, tile),)


@pytest.mark.parametrize("model", RELEASED)
def test_a_window_is_a_dispatch_per_layer_and_one_for_the_convolutions(model: str) -> None:
    dims = released_dimensions(model)
    choice = choose(encoder_ops(dims), EVERYTHING)
    taken, by_products, *_ = choice.alternatives
    assert (choice.name, {contract.overlay for contract in choice.contracts}) == ("layer", {"layer"})
    assert taken.dispatches == dims.n_audio_layer + 1
    assert by_products.dispatches == 2 + 6 * dims.n_audio_layer
    assert taken.with_host.middle < by_products.with_host.middle
    assert choice.seconds == taken.seconds


def test_the_reason_for_whole_layers_names_what_they_were_compared_with() -> None:
    reason = choose(encoder_ops(released_dimensions("base")), EVERYTHING).reason
    assert re.fullmatch(
        r"layer: 7 dispatches, [\d.]+ to [\d.]+ ms MODELLED \(xdna1\), the host's part included; "
        r"gemm_96x64x48: 38 dispatches, [\d.]+ to [\d.]+ ms",
        reason,
    )


whole_ops = st.one_of(
    st.builds(
        Linear,
        st.integers(1, 3000),
        st.integers(1, 20).map(lambda n: 64 * n),
        st.integers(1, 1500),
        st.booleans(),
        st.sampled_from(Activation),
        st.booleans(),
    ),
    st.builds(
        lambda n_ctx, n_head: EncoderLayer(n_ctx, 64 * n_head, n_head, 256 * n_head),
        st.integers(1, 1600),
        st.integers(1, 8),
    ),
)


@settings(max_examples=30)
@given(st.lists(whole_ops, min_size=1, max_size=3))
def test_whole_ops_are_made_at_once_where_it_is_modelled_faster(ops: list[Op]) -> None:
    """The host's part and changes of overlay included."""
    gemm_alone = Gemm(NPU1, GEMM_TILE)
    whole, lowered = whole_by(LAYER, ops, [gemm_alone]), choose(ops, [gemm_alone])
    at_once = sum((modelled_plan_seconds(whole.plans[op], NPU1.profile) for op in ops), NOTHING)
    products = [op for op in smallest(ops) if isinstance(op, Matmul)]
    apart = sum((modelled_plan_seconds(lowered.plans[op], NPU1.profile) for op in products), NOTHING)
    host = sum(host_seconds(op, NPU1.profile) for op in smallest(ops) if not isinstance(op, Matmul))
    choice = choose(ops, [gemm_alone, LAYER])
    assert bool(choice.whole) == (at_once.middle < apart.plus(host).middle)
    for op in ops:
        assert choice.plan(op) == (whole.plan(op) if choice.whole else None)


def test_what_does_not_fit_is_refused_with_its_numbers_and_the_next_best_is_taken() -> None:
    op, narrow = EncoderLayer(1500, 512, 8, 2048), EncoderLayer(1500, 512, 16, 2048)
    choice = choose([op, narrow], EVERYTHING)
    assert choice.plan(op) is not None
    assert choice.plan(narrow) is None
    assert choice.plan(narrow.qkv.product) is not None
    assert (
        f"layer does not make {narrow}: its heads have 32 numbers each, the kernels take 64" in choice.reason
    )
    alone = choose([narrow], EVERYTHING)
    assert not alone.whole
    assert "its heads have 32 numbers each" in alone.reason


def test_only_what_is_built_is_taken() -> None:
    ops = encoder_ops(released_dimensions("tiny"))
    everything = choose(ops, EVERYTHING).contracts
    without_layers = [contract for contract in everything if "layer_encoder" not in contract.name]
    choice = choose(ops, registry.kernels_built((*without_layers, *CONTRACTS)))
    assert choice.plan(ops[1]) is None
    assert f"layer does not make {ops[1]}: none is built for it" in choice.reason
    complete = choose(ops, registry.kernels_built(everything))
    assert (complete.name, complete.kernels) == ("layer", ())
    with pytest.raises(UnknownKernelError, match="kernels build"):
        choose(ops, registry.kernels_built(without_layers))


@pytest.mark.parametrize("times", [1, 10])
def test_a_second_overlay_is_taken_where_it_pays_for_its_changes(times: int) -> None:
    main, second = Gemm(NPU1, (80, 64, 64)), Gemm(NPU1, (128, 64, 16))
    weight, batch = Matmul(1500, 1280, 1280), Matmul(300 * times, 300 * times, 64, 20, Batched.CONTEXT)
    choice = choose([weight] * 9 + [batch, weight], [main, second])
    assert choice.plan(weight) == main.plan(weight)
    assert choice.plan(batch) == (second if times == 10 else main).plan(batch)
    assert choice.seconds == choice.alternatives[0].seconds
    assert choice.alternatives[0].made_by_second == (1 if times == 10 else 0)
    assert middle(choice.alternatives[0]) < min(map(middle, choice.alternatives[1:]))


def middle(alternative: Alternative) -> float:
    """What the planner compares."""
    plans = alternative.plans
    changes = sum(a.contract.overlay != b.contract.overlay for a, b in pairwise(plans))
    work = sum(modelled_plan_seconds(plan, NPU1.profile).middle for plan in plans)
    return work + changes * overlay_change(NPU1.profile).middle


def test_the_reason_is_one_line_that_names_what_was_rejected() -> None:
    reason = choose(encoder_ops(released_dimensions("base")), FOR_PRODUCTS).reason
    assert "\n" not in reason
    first, *others = reason.split("; ")
    assert first.startswith("gemm_96x64x48 for all: 38 dispatches, ")
    assert first.endswith(" ms MODELLED (xdna1)")
    assert all(other.endswith(" ms MODELLED") for other in others)
    assert any("64x512" in other for other in others)
    assert any(", and gemm_" in other for other in others)


sizes = st.integers(1, 700)
some_products = st.lists(
    st.builds(
        Matmul, sizes, sizes, sizes, batch=st.sampled_from([1, 3]), batched=st.sampled_from(list(Batched))
    ),
    min_size=1,
    max_size=4,
)
SOME_TILES = [(64, 64, 64), (16, 64, 128), (128, 64, 16)]
SOME = (TiledMatmul(MATMUL_64X64), TiledMatmul(MATMUL_128X512), *(Gemm(NPU1, tile) for tile in SOME_TILES))


def made(kernel: Kernel, op: Matmul, *, transposed: bool) -> MatmulPlan:
    """One kernel's plan, one way round."""
    if isinstance(kernel, TiledMatmul):
        contract = kernel.only
    else:
        assert isinstance(kernel, Gemm)
        contract = padded_gemm(NPU1, op, kernel.core_tile, transposed=transposed)
    return tiled_plan(op, contract, transposed=transposed, run_list=NPU1.run_list)


def ways(ops: list[Matmul]) -> list[float]:
    """Every run that the planner may take: a kernel for all, and a second for any of its batched shapes."""
    batches = [op for op in dict.fromkeys(ops) if op.batch > 1]
    subsets = [{op} for op in batches] + [set(batches), set()]
    found = []
    for main, second, some in product(SOME, SOME, subsets):
        for turned in product([False, True], repeat=len(batches)):
            turn = dict(zip(batches, turned, strict=True))
            plans = [made(second if op in some else main, op, transposed=turn.get(op, False)) for op in ops]
            found.append(middle(Alternative((main,), tuple(plans), 0, NOTHING)))
    return found


@settings(max_examples=25)
@given(some_products)
def test_no_way_is_modelled_cheaper(ops: list[Matmul]) -> None:
    choice = choose(ops, SOME)
    taken = choice.alternatives[0]
    assert choice.seconds == taken.seconds
    modelled = modelled_run_seconds(taken.plans, NPU1.profile, Start.AWAKE)
    assert taken.seconds.cautious_s == pytest.approx(modelled.cautious_s)
    assert taken.seconds.optimistic_s == pytest.approx(modelled.optimistic_s)
    assert middle(taken) == pytest.approx(min(ways(ops)))
    assert [plan.op for plan in taken.plans] == ops
    for plan in taken.plans:
        assert isinstance(plan, MatmulPlan)
        assert plan.problem == (plan.op.transposed if plan.transposed else plan.op)
        assert not (plan.transposed and plan.problem.batch == 1)  # a weight is staged one way round
    assert all(choice.plan(plan.op) == plan for plan in taken.plans)


def test_the_kernel_of_least_modelled_time_is_taken() -> None:
    fixed = [TiledMatmul(contract) for contract in (MATMUL_64X64, MATMUL_64X512, MATMUL_128X512)]
    for op, best in {
        Matmul(1500, 512, 512): MATMUL_128X512,
        Matmul(64, 64, 512): MATMUL_64X512,  # half of 128 rows idle
        Matmul(64, 64, 64): MATMUL_64X64,
    }.items():
        assert choose([op], fixed).kernels == (TiledMatmul(best),)


def test_idle_cores_are_counted() -> None:
    """V^T with 64 rows fills a quarter of a round of 256, and is worked on like a whole one."""
    tile = (64, 64, 64)
    transposed, whole = (padded_gemm(NPU1, Matmul(M, 1536, 1536), tile) for M in (64, 256))
    assert transposed == whole
    narrow = padded_gemm(NPU1, Matmul(1536, 1536, 64), (64, 64, 16))
    assert narrow.macs == 1536 * 1536 * 64  # 16 columns per core fill all of it
    assert transposed.macs == 4 * narrow.macs


def test_without_a_kernel_there_is_nothing_to_choose() -> None:
    with pytest.raises(UnknownKernelError, match="kernels build"):
        choose([Matmul(1, 1, 1)], ())


# --- A device that has what was built, and nothing else -----------------------------------------------------

BASE = choose(encoder_ops(released_dimensions("base")), [Gemm(NPU1, GEMM_TILE)])
BUILT = BASE.contracts
(OF_BUILT,) = registry.kernels_built(BUILT)


def test_what_was_built_for_a_model_serves_it_in_as_many_dispatches() -> None:
    choice = choose(encoder_ops(released_dimensions("base")), registry.kernels_built((*CONTRACTS, *BUILT)))
    assert choice.plans == BASE.plans
    assert choice.contracts == BASE.contracts
    assert choice.alternatives[0].dispatches == 38


def test_only_what_was_built_is_used() -> None:
    for model in ("tiny", "small", "large-v3"):
        choice = choose(encoder_ops(released_dimensions(model)), [OF_BUILT])
        assert set(choice.contracts) <= set(BUILT)


def plan_of(choice: Choice, op: Matmul) -> MatmulPlan:
    plan = choice.plan(op)
    assert isinstance(plan, MatmulPlan)
    return plan


def weight_layout(choice: Choice, K: int, N: int) -> Layout:
    """How a weight is staged."""
    return choice.plan_of_weight(Matmul(1, K, N)).inputs[1]


@given(
    K=st.integers(1, 3000),
    N=st.integers(1, 3000),
    M=st.lists(st.integers(1, 4000), min_size=2, max_size=4),
    kernel=st.sampled_from(
        [OF_BUILT, Gemm(NPU1, GEMM_TILE), Gemm(NPU1, (16, 64, 128)), TiledMatmul(MATMUL_64X512)]
    ),
)
def test_a_weight_lies_the_same_for_every_number_of_rows(
    K: int, N: int, M: list[int], kernel: Kernel
) -> None:
    choice = asked_for(kernel)
    assert {plan_of(choice, Matmul(m, K, N)).b for m in M} == {weight_layout(choice, K, N)}


def test_a_weight_lies_as_chosen_for_too() -> None:
    for model in dict.fromkeys(RELEASED):
        ops = encoder_ops(released_dimensions(model))
        choice = choose(ops, EVERYTHING)
        for op in dict.fromkeys(products(ops)):
            if op.batch == 1:
                assert plan_of(choice, op).b == weight_layout(choice, op.K, op.N)


def test_an_unknown_product_of_a_batch_is_planned_by_the_same_rule() -> None:
    main, second = Gemm(NPU1, (80, 64, 64)), Gemm(NPU1, (128, 64, 16))
    choice = Choice((main, second))
    small, large = (
        Matmul(n_ctx, n_ctx, 64, batch, Batched.CONTEXT) for n_ctx, batch in ((100, 2), (3000, 40))
    )
    assert choice.plan(small) == main.plan(small)  # not worth two changes of overlay
    assert choice.plan(large) == second.plan(large)
    gain = [
        modelled_plan_seconds(main.plan(op), NPU1.profile).middle
        - modelled_plan_seconds(second.plan(op), NPU1.profile).middle
        for op in (small, large)
    ]
    assert gain[0] < 2 * overlay_change(NPU1.profile).middle < gain[1]


MAIN, SECOND = Gemm(NPU1, (80, 64, 64)), Gemm(NPU1, (128, 64, 16))


def gain(op: Matmul) -> float:
    """Modelled seconds that the second kernel saves, in changes of overlay."""
    seconds = [modelled_plan_seconds(kernel.plan(op), NPU1.profile).middle for kernel in (MAIN, SECOND)]
    return (seconds[0] - seconds[1]) / overlay_change(NPU1.profile).middle


def test_a_second_kernel_is_charged_for_each_change_of_overlay() -> None:
    """One that pays for a single change is taken at the end of a run, and not in its middle."""
    contexts = (
        Matmul(n, n, 64, batch, Batched.CONTEXT) for n in range(500, 3001, 50) for batch in range(2, 21, 2)
    )
    op = next(op for op in contexts if 1.1 < gain(op) < 1.9)
    layer = Matmul(1500, 4096, 4096)
    assert gain(layer) < -4  # the main kernel's in any case
    for run, kernels in (([layer, op], (MAIN, SECOND)), ([op, layer], (MAIN, SECOND))):
        assert choose(run, [MAIN, SECOND]).kernels == kernels
    assert choose([layer, op, layer], [MAIN, SECOND]).kernels == (MAIN,)


def test_an_unknown_product_of_a_batch_pays_for_the_way_there_and_back() -> None:
    """Between one change of overlay and two its choice turns."""
    contexts = [
        Matmul(n, n, 64, batch, Batched.CONTEXT) for n in range(500, 3001, 50) for batch in range(2, 21, 2)
    ]
    for low, high, kernel in ((1.1, 1.9, MAIN), (2.1, 2.9, SECOND)):
        op = next(op for op in contexts if low < gain(op) < high)
        assert Choice((MAIN, SECOND)).plan(op) == kernel.plan(op)


@pytest.mark.parametrize("M", [1, 100, 1500, 6000])
def test_a_weight_that_was_not_planned_for_takes_the_first_kernel_however_slow(M: int) -> None:
    """The second may lay B out otherwise, and a weight is staged before M is known."""
    slow, fast = TiledMatmul(MATMUL_64X64), Gemm(NPU1, GEMM_TILE)
    op = Matmul(M, 512, 2048)
    for choice in (Choice((slow, fast)), Choice((fast, slow))):
        assert choice.plan(op) == choice.kernels[0].plan(op)
        assert plan_of(choice, op).b == weight_layout(choice, op.K, op.N)
    assert plan_of(Choice((slow, fast)), op).b != plan_of(Choice((fast, slow)), op).b


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("contract", [MATMUL_64X512, gemm(NPU1, 384, 64, 192)], ids=lambda c: c.name)
def test_auto_takes_no_kernel_whose_operands_are_rounded_otherwise(
    contract: MatmulContract, rounding: Rounding
) -> None:
    """Whatever type its results have."""
    listed = registry.kernels_built([replace(contract, operand_rounding=rounding)])
    assert bool(listed) == (rounding is Rounding.NEAREST_EVEN)


@pytest.mark.parametrize(
    ("contract", "listed"),
    [
        (MATMUL_64X512, True),
        (gemm(NPU1, 384, 64, 192), True),
        *((contract, False) for contract in CONTRACTS if "bf16" in contract.name or "batch" in contract.name),
        *((contract, False) for contract in CONTRACTS if contract.name == "matmul_64x64_baseline"),
    ],
    ids=lambda value: value.name if isinstance(value, Contract) else "",
)
def test_auto_takes_kernels_of_the_best_numerics_only(contract: Contract, listed: bool) -> None:
    assert bool(registry.kernels_built([contract])) == listed
