"""Plans: the counts that must come out, and that every tile product is there exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import MATMUL_64X64, MATMUL_64X512, MATMUL_128X512
from whisper_npu.errors import PlanError
from whisper_npu.kernels.gemm.kernel import gemm_of_batch
from whisper_npu.kernels.matmul.kernel import MatmulContract, loop, tiled_plan
from whisper_npu.npu.cost import BASELINE, BASELINE_2025, modelled_seconds
from whisper_npu.npu.layout import Along
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul

sizes = st.integers(1, 300)
tiles = st.sampled_from([4, 8, 12, 16, 24, 32])
contracts = st.builds(
    MatmulContract, st.just("matmul_test"), st.just(NPU1), m=tiles, k=tiles, n=tiles, core_count=st.just(1)
)


@pytest.mark.parametrize(
    ("contract", "dispatches"), [(MATMUL_64X64, 3008), (MATMUL_64X512, 376), (MATMUL_128X512, 192)]
)
def test_the_baselines_problem_takes_the_known_number_of_dispatches(
    contract: MatmulContract, dispatches: int
) -> None:
    plan = tiled_plan(Matmul(3001, 512, 512), contract)
    assert plan.dispatches == len(plan.walk()) == dispatches


def test_bytes_are_those_of_the_tiles() -> None:
    plan = tiled_plan(Matmul(3001, 512, 512), MATMUL_64X64)
    assert plan.bytes_to_device == 3008 * (64 * 64 + 64 * 64) * 2
    assert plan.bytes_from_device == 3008 * 64 * 64 * 4
    assert plan.a.padded == (3008, 512)
    assert plan.a.nbytes == 3008 * 512 * 2


@given(sizes, sizes, sizes, contracts)
def test_a_plan_walks_every_tile_product_exactly_once(
    M: int, K: int, N: int, contract: MatmulContract
) -> None:
    plan = tiled_plan(Matmul(M, K, N), contract)
    i, k, j = (range(-(-size // tile)) for size, tile in ((M, contract.m), (K, contract.k), (N, contract.n)))
    wanted = Counter(((x, z), (z, y), (x, y)) for x, y, z in product(i, j, k))
    walked = Counter((tuple(a), tuple(b), tuple(c)) for a, b, c in plan.walk())
    assert walked == wanted
    assert plan.dispatches == len(plan.walk())


@pytest.mark.parametrize("size", [(0, 1, 1), (1, 0, 1), (1, 1, -3)])
def test_a_problem_without_elements_is_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(PlanError, match="at least 1"):
        Matmul(*size)


def test_a_dispatch_outside_its_operand_is_refused_by_name() -> None:
    plan = tiled_plan(Matmul(128, 64, 64), MATMUL_64X64)
    too_far = replace(plan, loops=(loop("i", 3, a=(1, 0), c=(1, 0)), *plan.loops[1:]))
    with pytest.raises(PlanError, match=r"product 2 of 3 names tile \(2, 0\) of A, which has 2x1 tiles"):
        too_far.walk()


def test_a_plan_prints_its_loop_nest() -> None:
    text = str(tiled_plan(Matmul(3001, 512, 512), MATMUL_64X512))
    assert "(3001,512)@(512,512) by matmul_64x512: 376 dispatches" in text
    assert "for i in 47: A+(1, 0) C+(1, 0)" in text
    assert "for k in 8: A+(0, 1) B+(1, 0)" in text


def test_the_baselines_profile_gives_the_baselines_seconds() -> None:
    plan = tiled_plan(BASELINE.problem, MATMUL_64X64)
    seconds = modelled_seconds(MATMUL_64X64, plan.dispatches, BASELINE_2025)
    assert (seconds.cautious_s, seconds.optimistic_s) == pytest.approx((163.7, 163.7))


def test_a_larger_dispatch_is_modelled_dearer_but_fewer_of_them_cheaper() -> None:
    problem = Matmul(1500, 512, 2048)
    for end in ("cautious_s", "middle", "optimistic_s"):
        one = [getattr(modelled_seconds(c, 1, NPU1.profile), end) for c in (MATMUL_64X512, MATMUL_128X512)]
        assert one[0] < one[1]
        whole = [
            getattr(modelled_seconds(c, tiled_plan(problem, c).dispatches, NPU1.profile), end)
            for c in (MATMUL_64X64, MATMUL_64X512, MATMUL_128X512)
        ]
        assert whole[0] > whole[1] > whole[2]


SCORES = gemm_of_batch(NPU1, 8, 1536, 64, 1536)


def test_all_heads_are_one_dispatch_of_a_kernel_that_walks_over_them() -> None:
    plan = tiled_plan(Matmul(1500, 64, 1500, batch=8), SCORES)
    assert plan.dispatches == 1
    assert len(plan.walk()) == 8
    assert plan.bytes_from_device == 8 * 1536 * 1536 * 4
    assert (plan.a.along, plan.b.along, plan.c.along) == (Along.COLS, Along.ROWS, Along.COLS)


@pytest.mark.parametrize(
    "problem",
    [
        Matmul(1500, 64, 1500, batch=7),
        Matmul(1500, 64, 1500),
        Matmul(1537, 64, 1500, batch=8),
        Matmul(1500, 65, 1500, batch=8),
        Matmul(1500, 64, 1537, batch=8),
    ],
    ids=str,
)
def test_other_heads_than_it_walks_over_are_refused(problem: Matmul) -> None:
    with pytest.raises(
        PlanError, match=r"gemm_96x64x48_8x1536x64x1536 takes 8 heads of at most \(1536,64\)@\(64,1536\)"
    ):
        tiled_plan(problem, SCORES)
