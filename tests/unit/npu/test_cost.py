"""The cost model beside what others measured on XDNA1, and its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contracts import CONTRACTS, MATMUL_64X64, MATMUL_64X512
from tests.support.toy_target import TOY
from whisper_npu.benchmark.known_points import as_markdown, page
from whisper_npu.benchmark.published import (
    IRON,
    PUBLISHED,
    PublishedGemm,
    mean_ratio,
    mean_ratio_with_its_loop,
)
from whisper_npu.dtypes import DType
from whisper_npu.kernels.gemm.kernel import GemmContract, gemm_tiles, padded_gemm
from whisper_npu.kernels.matmul.kernel import matmul_64x64_batch, tiled_plan
from whisper_npu.kernels.norm.kernel import norm
from whisper_npu.npu.contract import Work
from whisper_npu.npu.cost import (
    BASELINE,
    BASELINE_2025,
    NOTHING,
    Modelled,
    Start,
    modelled_plan_seconds,
    modelled_run_seconds,
    modelled_seconds,
    overlay_change,
    profiles,
    spent,
    total,
    work_seconds,
)
from whisper_npu.npu.targets import NPU1, CoreRate, Profile, Target
from whisper_npu.ops import Matmul
from whisper_npu.page import page_as_text

PAGE = Path(__file__).parents[3] / "docs/known-points.md"


# ------------------------------------------------------------------------------ what others have measured


@pytest.mark.parametrize(
    "point", PUBLISHED, ids=lambda p: f"{p.machine.name} {p.problem} {p.core_tile} {p.result_dtype.value}"
)
def test_the_model_is_near_what_others_measured(point: PublishedGemm) -> None:
    assert 0.6 < point.ratio < 1.6


def test_the_model_is_neither_too_fast_nor_too_slow_over_all() -> None:
    assert 0.85 < mean_ratio() < 1.2
    assert len({point.machine.name for point in PUBLISHED}) == 5


def test_the_rate_of_a_compiled_loop_narrows_the_range_and_brings_it_nearer() -> None:
    """Three authors ran upstream's loop, which takes two cycles per multiplication."""
    known = [point for point in PUBLISHED if point.machine.vmacs_per_cycle is not None]
    assert len({point.machine.name for point in known}) == 3
    for point in known:
        narrowed = point.modelled_with_its_loop
        assert narrowed is not None
        assert point.modelled.optimistic_s <= narrowed.optimistic_s
        assert narrowed.cautious_s <= point.modelled.cautious_s
    mine = [point for point in known if point.machine is IRON]
    nearer = mean_ratio_with_its_loop(mine)
    assert nearer is not None
    assert abs(nearer - 1) < 0.1 < abs(mean_ratio(mine) - 1)
    assert mean_ratio_with_its_loop([p for p in PUBLISHED if p not in known]) is None


def test_nearly_all_that_was_measured_lies_in_its_range() -> None:
    outside = [point for point in PUBLISHED if not point.is_within]
    assert len(outside) <= len(PUBLISHED) / 20
    # Steps of half the length: what each costs besides its loop is more than the int8 kernel's 87 bundles.
    assert {point.core_tile for point in outside} == {(128, 32, 64)}


def test_the_page_of_known_points_is_what_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == as_markdown()


@pytest.mark.parametrize("width", [45, 80])
def test_the_known_points_fit_the_screen(width: int) -> None:
    assert max(map(len, page_as_text(page(), width).splitlines())) <= width


# ------------------------------------------------------------------------------------------------- ranges


ends = st.floats(1e-9, 1e3)
ranges = st.builds(lambda a, b: Modelled(max(a, b), min(a, b)), ends, ends)


@given(ranges, ranges, st.integers(0, 1000))
def test_ranges_add_up(a: Modelled, b: Modelled, times: int) -> None:
    assert a + b == Modelled(a.cautious_s + b.cautious_s, a.optimistic_s + b.optimistic_s)
    assert a * times == Modelled(a.cautious_s * times, a.optimistic_s * times)
    assert total([a, b]) == a + b
    assert total([]) == NOTHING
    for whole in (a, a + b, a * times, a.plus(0.5)):
        assert whole.optimistic_s <= whole.cautious_s
        assert whole.optimistic_s * (1 - 1e-9) <= whole.middle <= whole.cautious_s * (1 + 1e-9)


def test_the_middle_is_as_many_times_above_the_one_end_as_below_the_other() -> None:
    modelled = Modelled(cautious_s=9.0, optimistic_s=1.0)
    assert modelled.middle == 3.0
    assert modelled.in_units(1e3) == "1,000 to 9,000"
    assert modelled.in_units(1) == "1 to 9"
    assert Modelled(0.0123456, 0.00123456).in_units(1e3) == "1.23 to 12.3"
    assert Modelled(2.0, 2.0).in_units(1) == "2"
    assert Modelled(163.7, 163.7).in_units(1) == "163.7"
    assert Modelled(163.7, 163.7).in_units(1e3) == "163,700"
    assert modelled.as_document == {"cautious": 9.0, "middle": 3.0, "optimistic": 1.0}
    assert list(modelled.as_fields("x")) == [
        "modelled_cautious_seconds_x",
        "modelled_middle_seconds_x",
        "modelled_optimistic_seconds_x",
    ]


sizes = st.integers(1, 3000)
targets = st.sampled_from([NPU1, TOY])


@given(M=sizes, K=sizes, N=sizes, target=targets, data=st.data())
def test_no_optimistic_end_is_above_its_cautious_one(
    M: int, K: int, N: int, target: Target, data: st.DataObject
) -> None:
    tile = data.draw(st.sampled_from(gemm_tiles(target)))
    for contract in (*CONTRACTS, padded_gemm(target, Matmul(M, K, N), tile), norm(NPU1, M * 16, 128)):
        for profile in profiles(contract.target):
            modelled = modelled_seconds(contract, 3, profile)
            assert 0 < modelled.optimistic_s <= modelled.cautious_s
            if profile is not BASELINE_2025:
                assert work_seconds(contract, profile).optimistic_s > 0


# ------------------------------------------------------------------------------ what a dispatch is charged


BASE = padded_gemm(NPU1, Matmul(1536, 512, 1536))


@given(tasks=st.integers(0, 50), hidden=st.integers(0, 50), cycles=st.integers(0, 200_000))
def test_hidden_tasks_cost_what_they_take_longer_than_all_else(tasks: int, hidden: int, cycles: int) -> None:
    profile, rates = NPU1.profile, NPU1.profile.cautious
    work = Work(0, 0, (0, 0), tasks + hidden, core_cycles=cycles, hidden_tasks=hidden)
    one = rates.task_cycles
    expected = (tasks * one + max(hidden * one, cycles)) / profile.clock_hz
    assert spent(work, profile, rates).seconds == pytest.approx(expected)


def test_a_dispatch_of_one_part_hides_no_task() -> None:
    for contract in (*CONTRACTS, BASE, norm(NPU1, 1500, 512)):
        (work,) = contract.works(None)
        assert (work.tasks, work.hidden_tasks) == (contract.tasks, 0)


def charged(profile: Profile = NPU1.profile, **fields: object) -> Modelled:
    """Of a gemm of which some properties are others."""
    contract = type("Changed", (GemmContract,), dict(fields))
    known = {name: getattr(BASE, name) for name in BASE.__dataclass_fields__}
    return work_seconds(contract(**known), profile)


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("tasks", 10, 11),
        ("writes", 10, 1000),
        ("bytes_to_device", 10**8, 2 * 10**8),
        ("bytes_from_device", 10**8, 2 * 10**8),
        ("stream_bytes", (10**8, 1), (2 * 10**8, 1)),
        ("stream_bytes", (1, 10**8), (1, 2 * 10**8)),
        ("macs", 10**11, 2 * 10**11),
    ],
)
def test_more_of_anything_takes_longer(name: str, less: object, more: object) -> None:
    first, second = (charged(**{name: value}) for value in (less, more))
    assert first.cautious_s < second.cautious_s
    assert first.optimistic_s < second.optimistic_s


def test_a_task_and_a_number_are_charged_in_cycles() -> None:
    one, more = charged(tasks=0, writes=0), charged(tasks=10, writes=100)
    assert more.cautious_s - one.cautious_s == pytest.approx((10 * 2870 + 100 * 112) / 1.028e9)
    assert more.optimistic_s - one.optimistic_s == pytest.approx((10 * 520 + 100 * 112) / 1.028e9)


def test_dram_is_charged_by_direction_and_together() -> None:
    mega = 10**8
    only_dram = {"tasks": 0, "writes": 0, "stream_bytes": (0, 0), "bytes_to_device": mega}
    alone = charged(**only_dram, bytes_from_device=0)
    assert (alone.cautious_s, alone.optimistic_s) == pytest.approx((mega / 15e9, mega / 28.1e9))
    both = charged(**only_dram, bytes_from_device=mega)
    assert both.cautious_s == pytest.approx(2 * mega / 15e9)
    assert both.optimistic_s == pytest.approx(mega / 28.1e9, rel=1e-3)


def test_a_stream_moves_four_bytes_per_cycle() -> None:
    mega = 10**9
    reading, writing = charged(tasks=0, writes=0, stream_bytes=(mega, 0)), None
    writing = charged(tasks=0, writes=0, stream_bytes=(0, mega))
    for end in ("cautious_s", "optimistic_s"):
        assert getattr(reading, end) == pytest.approx(1.05 * mega / 4 / 1.028e9)
        assert getattr(writing, end) == pytest.approx(mega / 4 / 1.028e9)


def test_a_faster_clock_is_no_faster_where_dram_is_what_takes_long() -> None:
    fast = NPU1.profile.at(NPU1.clocks["Windows"])
    assert fast.clock_hz == 1.8 * 1e9
    busy = {"tasks": 0, "writes": 0, "macs": 10**12}
    assert charged(fast, **busy).cautious_s == pytest.approx(charged(**busy).cautious_s * 1.028 / 1.8)
    moved = {"tasks": 0, "writes": 0, "bytes_to_device": 10**10}
    assert charged(fast, **moved) == charged(**moved)


def test_idle_cores_do_not_work_for_others() -> None:
    """One product keeps one core as busy as sixteen products keep each of sixteen."""
    sixteen = matmul_64x64_batch(NPU1, 16)
    for rates in (NPU1.profile.cautious, NPU1.profile.optimistic):
        assert rates.core is not None
        assert MATMUL_64X64.core_cycles(rates.core) == sixteen.core_cycles(rates.core)
        few, all_rows = (padded_gemm(NPU1, Matmul(rows, 512, 512)) for rows in (1, 384))
        assert few.core_cycles(rates.core) == all_rows.core_cycles(rates.core)


def test_a_dispatch_on_one_core_is_charged_that_cores_work() -> None:
    """Where arithmetic takes longest, one core with a product takes as long as sixteen with one each."""
    assert NPU1.profile.cautious.core is not None
    core = replace(NPU1.profile.cautious.core, macs_per_cycle=0.01)
    slow = replace(NPU1.profile.cautious, core=core, dram=None, task_cycles=0)
    profile = replace(NPU1.profile, cautious=slow, optimistic=slow, instruction_cycles=0)
    one, sixteen = (work_seconds(c, profile) for c in (MATMUL_64X64, matmul_64x64_batch(NPU1, 16)))
    assert one == sixteen
    assert one.cautious_s == one.optimistic_s == pytest.approx(64**3 / 0.01 / 1.028e9, rel=1e-3)


# --------------------------------------------------------------------------------------------- core's rate


def test_one_core_of_the_record_kernel_runs_at_its_published_rate() -> None:
    core = NPU1.profile.optimistic.core
    assert core is not None
    macs = 96 * 56 * 96
    assert macs / core.cycles(macs, 56) == pytest.approx(112.6)
    assert core.cycles(macs, 8) > core.cycles(macs, 56)  # short steps pay more often


def test_upstreams_loop_takes_two_cycles_per_multiplication() -> None:
    core = NPU1.profile.cautious.core
    assert core is not None
    assert core == CoreRate.of_loop(16 / 32, NPU1.micro_tile, core.block_overhead)
    assert core.macs_per_cycle == 64


@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_a_compiled_loops_own_rate_replaces_what_was_assumed(one: float, another: float) -> None:
    slowest, fastest = sorted((one, another))
    built = NPU1.profile.compiled(slowest, fastest, NPU1.micro_tile)
    for before, rates, vmacs_per_cycle in (
        (NPU1.profile.cautious, built.cautious, slowest),
        (NPU1.profile.optimistic, built.optimistic, fastest),
    ):
        assert before.core is not None
        assert rates.core == CoreRate(128 * vmacs_per_cycle, before.core.block_overhead)
        assert replace(rates, core=before.core) == before
    modelled = work_seconds(BASE, built)
    assert modelled.optimistic_s <= modelled.cautious_s


# ------------------------------------------------------------------------------------------- whole plans


def test_the_baselines_profile_gives_the_baselines_seconds() -> None:
    tiled, wide = (tiled_plan(BASELINE.problem, contract) for contract in (MATMUL_64X64, MATMUL_64X512))
    for plan, seconds in ((tiled, 163.7), (wide, 163.7 / 8)):
        modelled = modelled_plan_seconds(plan, BASELINE_2025)
        assert modelled.cautious_s == modelled.optimistic_s == pytest.approx(seconds)
    assert modelled_plan_seconds(wide, NPU1.profile).cautious_s < 0.1


def test_a_run_list_saves_latency_and_nothing_else() -> None:
    plan = tiled_plan(BASELINE.problem, MATMUL_64X64)
    listed = replace(plan, run_list=8)
    assert listed.submissions == 376
    alone, together = (modelled_plan_seconds(p, NPU1.profile) for p in (plan, listed))
    assert alone.cautious_s - together.cautious_s == pytest.approx((3008 - 376) * (136e-6 - 29.7e-6))
    assert alone.optimistic_s - together.optimistic_s == pytest.approx((3008 - 376) * (100e-6 - 27.7e-6))
    assert modelled_plan_seconds(listed, BASELINE_2025).middle == pytest.approx(163.7)


@pytest.mark.parametrize(("run_list", "parts"), [(24, 126), (25, 121), (26, 231), (64, 141), (376, 128)])
def test_a_list_longer_than_the_driver_takes_at_once_has_a_latency_for_each_part(
    run_list: int, parts: int
) -> None:
    """3,008 dispatches: 26 are 25 and 1, 64 are 25, 25 and 14, 376 are 15 times 25 and 1."""
    assert NPU1.run_list == 25
    plan = tiled_plan(BASELINE.problem, MATMUL_64X64, run_list=run_list)
    latency = parts * 100e-6 + (3008 - parts) * 27.7e-6
    work = 3008 * work_seconds(MATMUL_64X64, NPU1.profile).optimistic_s
    assert modelled_plan_seconds(plan, NPU1.profile).optimistic_s == pytest.approx(latency + work)


def test_packing_products_saves_dispatches_and_uses_sixteen_cores() -> None:
    packed = tiled_plan(BASELINE.problem, matmul_64x64_batch(NPU1, 64))
    assert packed.dispatches == 47
    of_pairs, of_one = (work_seconds(c, NPU1.profile) for c in (packed.contract, MATMUL_64X64))
    assert of_pairs.cautious_s < 64 * of_one.cautious_s
    assert of_pairs.optimistic_s < 64 * of_one.optimistic_s
    tiled = modelled_plan_seconds(tiled_plan(BASELINE.problem, MATMUL_64X64), NPU1.profile)
    assert modelled_plan_seconds(packed, NPU1.profile).cautious_s < tiled.optimistic_s


def test_sizes_that_stand_in_the_instructions_change_no_overlay() -> None:
    problems = Matmul(1500, 512, 512), Matmul(1500, 64, 1500, batch=8)
    for tiles, switches in ((((96, 64, 48),) * 2, 0), (((96, 64, 48), (64, 64, 64)), 1)):
        plans = [tiled_plan(p, padded_gemm(NPU1, p, tile)) for p, tile in zip(problems, tiles, strict=True)]
        work = total(modelled_plan_seconds(plan, NPU1.profile) for plan in plans)
        run = modelled_run_seconds(plans, NPU1.profile, Start.AWAKE)
        assert run.cautious_s == pytest.approx(work.cautious_s + switches * 3.4e-3)
        assert run.optimistic_s == pytest.approx(work.optimistic_s + switches * 1.4e-3)


def test_changing_overlays_and_waking_up_are_charged() -> None:
    problem = Matmul(64, 64, 512)
    narrow, wide = (tiled_plan(problem, contract) for contract in (MATMUL_64X64, MATMUL_64X512))
    work = total(modelled_plan_seconds(plan, NPU1.profile) for plan in (narrow, wide, narrow))
    awake = modelled_run_seconds([narrow, wide, narrow], NPU1.profile, Start.AWAKE)
    assert awake.cautious_s == pytest.approx((work + overlay_change(NPU1.profile) * 2).cautious_s)
    asleep = modelled_run_seconds([narrow, wide, narrow], NPU1.profile, Start.ASLEEP)
    assert asleep.cautious_s == pytest.approx(awake.cautious_s + 136e-3)
    assert asleep.optimistic_s == pytest.approx(awake.optimistic_s + 121e-3)
    assert modelled_run_seconds([], NPU1.profile, Start.ASLEEP) == NOTHING


def test_results_in_bf16_are_half_the_bytes() -> None:
    problem = Matmul(1536, 64, 1536)
    wide, narrow = (padded_gemm(NPU1, problem, result_dtype=dtype) for dtype in (DType.F32, DType.BF16))
    assert work_seconds(narrow, NPU1.profile).cautious_s < work_seconds(wide, NPU1.profile).cautious_s
