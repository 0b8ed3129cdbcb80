"""The planner: least modelled time by brute force, overlays counted; weights that lie alike for every M."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_npu.encoder import encoder_problems
from whisper_npu.errors import UnknownKernelError
from whisper_npu.npu.contract import (
    CONTRACTS,
    GEMM_TILE,
    MATMUL_64X64,
    MATMUL_64X512,
    MATMUL_128X512,
    Contract,
    gemm,
)
from whisper_npu.npu.cost import (
    XDNA1_PROFILE,
    Start,
    gemm_tiles,
    modelled_plan_seconds,
    modelled_run_seconds,
    padded_gemm,
)
from whisper_npu.npu.plan import Problem, b_layout, tiled_plan
from whisper_npu.npu.planner import Choice, Fixed, Gemm, Kernel, asked_for, choose, kernels_of
from whisper_npu.released import RELEASED, released_dimensions

EVERYTHING = kernels_of(CONTRACTS, gemm_tiles())


@pytest.mark.parametrize(
    ("model", "dispatches"), [("tiny", 2 + 6 * 4), ("base", 2 + 6 * 6), ("small", 2 + 6 * 12)]
)
def test_a_window_is_one_dispatch_a_product_on_one_overlay(model: str, dispatches: int) -> None:
    choice = choose(encoder_problems(released_dimensions(model)), EVERYTHING)
    assert choice.alternatives[0].dispatches == dispatches
    assert {contract.overlay for contract in choice.contracts.values()} == {choice.name}
    assert choice.kernels == (Gemm(GEMM_TILE),)


@pytest.mark.parametrize("model", ["medium", "large-v3"])
def test_a_second_overlay_is_taken_where_it_pays_for_its_changes(model: str) -> None:
    dims = released_dimensions(model)
    choice = choose(encoder_problems(dims), EVERYTHING)
    assert choice.alternatives[0].dispatches == 2 + 6 * dims.n_audio_layer
    assert len({contract.overlay for contract in choice.contracts.values()}) == 2
    one = next(other for other in choice.alternatives if len(other.kernels) == 1)
    assert choice.seconds is not None
    assert choice.seconds < one.seconds


def test_the_reason_is_one_line_that_names_what_was_rejected() -> None:
    reason = choose(encoder_problems(released_dimensions("base")), EVERYTHING).reason
    assert "\n" not in reason
    first, *others = reason.split("; ")
    assert first.startswith("gemm_96x64x48 for all: 38 dispatches, ")
    assert first.endswith(" ms MODELLED (xdna1)")
    assert any("64x512" in other for other in others)
    assert any(", and gemm_" in other for other in others)


tiny_problems = st.lists(
    st.builds(
        Problem, st.integers(1, 700), st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 3])
    ),
    min_size=1,
    max_size=4,
)
SOME_TILES = [(64, 64, 64), (16, 64, 128), (128, 64, 16)]
SOME = (Fixed(MATMUL_64X64), Fixed(MATMUL_128X512), *(Gemm(tile) for tile in SOME_TILES))


def ways(problems: list[Problem]) -> list[float]:
    """Every run that the planner may take: a kernel for all, and a second for any of its shapes of heads."""
    of_heads = [p for p in dict.fromkeys(problems) if p.heads > 1]
    subsets = [{p} for p in of_heads] + [set(of_heads), set()]
    found = []
    for main, second, some in product(SOME, SOME, subsets):
        kernels = [second if p in some else main for p in problems]
        for turned in product([False, True], repeat=len(of_heads)):
            turn = dict(zip(of_heads, turned, strict=True))
            plans = []
            for kernel, p in zip(kernels, problems, strict=True):
                way = p.transposed if turn.get(p) else p
                plans.append(tiled_plan(way, kernel.contract(way)))
            found.append(modelled_run_seconds(plans, XDNA1_PROFILE, Start.AWAKE))
    return found


@settings(max_examples=25)
@given(tiny_problems)
def test_no_way_is_modelled_cheaper(problems: list[Problem]) -> None:
    choice = choose(problems, SOME)
    taken = choice.alternatives[0]
    assert choice.seconds == taken.seconds
    assert taken.seconds == pytest.approx(modelled_run_seconds(taken.plans, XDNA1_PROFILE, Start.AWAKE))
    assert taken.seconds == pytest.approx(min(ways(problems)))
    made = [plan.problem for plan in taken.plans]
    assert all(got in (asked, asked.transposed) for got, asked in zip(made, problems, strict=True))
    assert all(choice.contract(plan.problem) == plan.contract for plan in taken.plans)


def test_the_kernel_of_least_modelled_time_is_taken() -> None:
    fixed = [Fixed(contract) for contract in (MATMUL_64X64, MATMUL_64X512, MATMUL_128X512)]
    for problem, best in {
        Problem(1500, 512, 512): MATMUL_128X512,
        Problem(64, 64, 512): MATMUL_64X512,  # half of 128 rows idle
        Problem(64, 64, 64): MATMUL_64X64,
    }.items():
        assert choose([problem], fixed).kernels == (Fixed(best),)


def test_idle_cores_are_counted() -> None:
    """V^T with 64 rows fills a quarter of a round of 256, and is worked on like a whole one."""
    tile = (64, 64, 64)
    transposed, whole = (padded_gemm(Problem(M, 1536, 1536), tile) for M in (64, 256))
    assert transposed == whole
    narrow = padded_gemm(Problem(1536, 1536, 64), (64, 64, 16))
    assert narrow.macs == 1536 * 1536 * 64  # 16 columns a core fill all of it
    assert transposed.macs == 4 * narrow.macs


def test_without_a_kernel_there_is_nothing_to_choose() -> None:
    with pytest.raises(UnknownKernelError, match="kernels build"):
        choose([Problem(1, 1, 1)], ())


# --- A device that has what was built, and nothing else -----------------------------------------------------

BASE = choose(encoder_problems(released_dimensions("base")), [Gemm(GEMM_TILE)])
BUILT = tuple(BASE.contracts.values())
(OF_BUILT,) = kernels_of(BUILT, ())


def test_what_was_built_for_a_model_serves_it_in_as_many_dispatches() -> None:
    choice = choose(encoder_problems(released_dimensions("base")), kernels_of((*CONTRACTS, *BUILT), ()))
    assert choice.contracts == BASE.contracts
    assert choice.alternatives[0].dispatches == 38


def test_only_what_was_built_is_used() -> None:
    for model in ("tiny", "small", "large-v3"):
        choice = choose(encoder_problems(released_dimensions(model)), [OF_BUILT])
        assert set(choice.contracts.values()) <= set(BUILT)


@given(
    K=st.integers(1, 3000),
    N=st.integers(1, 3000),
    M=st.lists(st.integers(1, 4000), min_size=2, max_size=4),
    kernel=st.sampled_from([OF_BUILT, Gemm(GEMM_TILE), Gemm((16, 64, 128)), Fixed(MATMUL_64X512)]),
)
def test_a_weight_lies_the_same_for_every_number_of_rows(
    K: int, N: int, M: list[int], kernel: Kernel
) -> None:
    choice = asked_for(kernel)
    staged = b_layout(choice.contract_of_weight(K, N), K, N)
    assert {tiled_plan(Problem(m, K, N), choice.contract(Problem(m, K, N))).b for m in M} == {staged}


def test_a_weight_lies_as_chosen_for_too() -> None:
    for model in dict.fromkeys(RELEASED):
        problems = encoder_problems(released_dimensions(model))
        choice = choose(problems, EVERYTHING)
        for p in dict.fromkeys(problems):
            if p.heads == 1:
                staged = b_layout(choice.contract_of_weight(p.K, p.N), p.K, p.N)
                assert tiled_plan(p, choice.contract(p)).b == staged


def test_an_unknown_product_of_heads_is_planned_by_the_same_rule() -> None:
    main, second = Gemm((80, 64, 64)), Gemm((128, 64, 16))
    choice = Choice((main, second))
    small, large = Problem(100, 100, 64, heads=2), Problem(3000, 3000, 64, heads=40)
    assert choice.contract(small) == main.contract(small)  # not worth two changes of overlay
    assert choice.contract(large) == second.contract(large)
    gain = [
        modelled_plan_seconds(tiled_plan(p, main.contract(p)), XDNA1_PROFILE)
        - modelled_plan_seconds(tiled_plan(p, second.contract(p)), XDNA1_PROFILE)
        for p in (small, large)
    ]
    assert gain[0] < 2 * XDNA1_PROFILE.overlay_switch_seconds < gain[1]


@pytest.mark.parametrize(
    ("contract", "listed"),
    [
        (MATMUL_64X512, True),
        (gemm(384, 64, 192), True),
        *((contract, False) for contract in CONTRACTS if "bf16" in contract.name or "batch" in contract.name),
        *((contract, False) for contract in CONTRACTS if contract.name == "matmul_64x64_baseline"),
    ],
    ids=lambda value: value.name if isinstance(value, Contract) else "",
)
def test_auto_takes_kernels_of_the_best_numerics_only(contract: Contract, listed: bool) -> None:
    assert bool(kernels_of([contract], ())) == listed
