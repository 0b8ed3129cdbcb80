"""The cost model beside what others measured on XDNA1, and its parts."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest

from tests.support.contracts import MATMUL_64X64, MATMUL_64X512
from whisper_npu.benchmark.published import HARD_POINT, PUBLISHED, PublishedGemm
from whisper_npu.kernels.gemm.kernel import best_gemm, padded_gemm
from whisper_npu.kernels.matmul.kernel import matmul_64x64_batch, tiled_plan
from whisper_npu.npu.cost import (
    BASELINE,
    BASELINE_2025,
    Start,
    modelled_plan_seconds,
    modelled_run_seconds,
    work_seconds,
)
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul


def line(point: PublishedGemm) -> str:
    tile = "x".join(map(str, point.contract.core_tile or ()))
    return (
        f"{point.problem!s:<22} tile {tile:<10} published {1e6 * point.seconds:>8.0f} us   modelled "
        f"{1e6 * point.modelled_seconds:>8.0f} us   ratio {point.ratio:.2f}   {point.source}"
    )


def test_the_model_is_near_what_others_measured(capsys: pytest.CaptureFixture[str]) -> None:
    ratios = [point.ratio for point in PUBLISHED]
    mean = exp(sum(map(log, ratios)) / len(ratios))
    with capsys.disabled():
        print("\n" + "\n".join(map(line, PUBLISHED)))
        print(f"geometric mean of the ratios {mean:.2f}")
        print(line(HARD_POINT) + "\n  outside the gate: one step of K, and all depends on how C reaches DRAM")
    assert min(ratios) >= 0.6
    assert max(ratios) <= 1.7
    assert 0.85 <= mean <= 1.2


def test_the_best_tile_fits_a_core() -> None:
    for point in PUBLISHED:
        assert best_gemm(NPU1, point.problem).l1_bytes <= NPU1.core.memory_bytes


def test_one_core_of_the_record_kernel_runs_at_its_published_rate() -> None:
    core = NPU1.profile.core
    assert core is not None
    macs = 96 * 56 * 96
    assert macs / (core.seconds(macs, 56) * core.clock_hz) == pytest.approx(112.6)
    assert core.seconds(macs, 8) > core.seconds(macs, 56)  # short steps pay more often


def test_the_baselines_profile_gives_the_baselines_seconds() -> None:
    tiled, wide = (tiled_plan(BASELINE.problem, contract) for contract in (MATMUL_64X64, MATMUL_64X512))
    assert modelled_plan_seconds(tiled, BASELINE_2025) == pytest.approx(163.7)
    assert modelled_plan_seconds(wide, BASELINE_2025) == pytest.approx(163.7 / 8)
    assert modelled_plan_seconds(wide, NPU1.profile) < 0.1


def test_a_run_list_saves_latency_and_nothing_else() -> None:
    plan = tiled_plan(BASELINE.problem, MATMUL_64X64)
    listed = replace(plan, run_list=8)
    assert listed.submissions == 376
    saved = modelled_plan_seconds(plan, NPU1.profile) - modelled_plan_seconds(listed, NPU1.profile)
    assert saved == pytest.approx((3008 - 376) * (110e-6 - 27.7e-6))
    assert modelled_plan_seconds(listed, BASELINE_2025) == pytest.approx(163.7)


def test_packing_products_saves_dispatches_and_uses_sixteen_cores() -> None:
    packed = tiled_plan(BASELINE.problem, matmul_64x64_batch(NPU1, 64))
    assert packed.dispatches == 47
    assert work_seconds(packed.contract, NPU1.profile) < 64 * work_seconds(MATMUL_64X64, NPU1.profile) + 1e-9
    assert modelled_plan_seconds(packed, NPU1.profile) < modelled_plan_seconds(
        tiled_plan(BASELINE.problem, MATMUL_64X64), NPU1.profile
    )


def test_sizes_that_stand_in_the_instructions_change_no_overlay() -> None:
    problems = Matmul(1500, 512, 512), Matmul(1500, 64, 1500, batch=8)
    for tiles, switches in ((((96, 64, 48),) * 2, 0), (((96, 64, 48), (64, 64, 64)), 1)):
        plans = [tiled_plan(p, padded_gemm(NPU1, p, tile)) for p, tile in zip(problems, tiles, strict=True)]
        work = sum(modelled_plan_seconds(plan, NPU1.profile) for plan in plans)
        run = modelled_run_seconds(plans, NPU1.profile, Start.AWAKE)
        assert run == pytest.approx(work + switches * 1.4e-3)


def test_changing_overlays_and_waking_up_are_charged() -> None:
    problem = Matmul(64, 64, 512)
    narrow, wide = (tiled_plan(problem, contract) for contract in (MATMUL_64X64, MATMUL_64X512))
    work = sum(modelled_plan_seconds(plan, NPU1.profile) for plan in (narrow, wide, narrow))
    awake = modelled_run_seconds([narrow, wide, narrow], NPU1.profile, Start.AWAKE)
    assert awake == pytest.approx(work + 2 * 1.4e-3)
    asleep = modelled_run_seconds([narrow, wide, narrow], NPU1.profile, Start.ASLEEP)
    assert asleep == pytest.approx(awake + 121e-3)
