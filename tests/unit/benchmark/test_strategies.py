"""Every strategy: dispatches by counting, products against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.contracts import STRATEGIES_PROBLEM
from whisper_npu.benchmark.host_paths import HostPath, PathRun, naive, pipelined
from whisper_npu.benchmark.projection import operands
from whisper_npu.benchmark.strategies import NAMES, Strategy, check_names, strategies
from whisper_npu.errors import UsageError
from whisper_npu.kernels.matmul.kernel import MatmulPlan
from whisper_npu.npu.cost import BASELINE, BASELINE_2025, modelled_plan_seconds
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul

DISPATCHES = {
    "tiled , matmul_64x64": 3008,
    "host-batched columns 1, matmul_64x64": 3008,
    "host-batched columns 2, matmul_64x64": 3008,
    "host-batched columns 4, matmul_64x64": 3008,
    "host-batched columns 8, matmul_64x64": 3008,
    "larger-kernel , matmul_64x512": 376,
    "larger-kernel , matmul_128x512": 192,
    "packed-batch batch 8, matmul_64x64_batch8": 376,
    "packed-batch batch 16, matmul_64x64_batch16": 188,
    "packed-batch batch 64, matmul_64x64_batch64": 47,
    "packed-batch batch 376, matmul_64x64_batch376": 8,
    "run-list list of 8, matmul_64x64": 3008,
    "run-list list of 16, matmul_64x64": 3008,
    "run-list list of 64, matmul_64x64": 3008,
    "run-list list of 376, matmul_64x64": 3008,
    "naive one by one, matmul_64x64": 128,  # of 3,008: two rows of tiles
    "naive one by one, matmul_64x512": 16,  # of 376
    "pipelined two sets, matmul_64x64": 3008,
    "pipelined two sets, matmul_64x512": 376,
    "k-on-chip K 512, matmul_64x512_k512": 47,
    "gemm whole, gemm_96x64x48_3072x512x576": 1,
}


def title(strategy: Strategy) -> str:
    return f"{strategy.name} {strategy.variant}, {strategy.plan.contract.name}"


def run(strategy: Strategy, device: Device, problem: Matmul) -> PathRun:
    device.load(strategy.plan.contract)
    a, b = operands(problem)
    return strategy.path(device, strategy.measured, a[: strategy.measured.problem.M], b)


def assert_right(made: PathRun, plan: MatmulPlan, problem: Matmul) -> None:
    """Within the contract's bound, and every count the device's own."""
    a, b = operands(problem)
    a = a[: plan.problem.M]
    error = np.abs(made.c - plan.problem.reference(a, b)[0])
    assert made.c.shape == error.shape
    assert (error <= plan.kernel.tolerance(a, b)).all()
    assert made.stats.dispatches == plan.dispatches
    assert made.stats.bytes_to_device == plan.bytes_to_device
    assert made.stats.bytes_from_device == plan.bytes_from_device
    assert 0 < made.stats.kernel_measured_s <= made.total_measured_s


def test_the_operands_are_the_experiments() -> None:
    a, b = operands(BASELINE.problem)
    assert (a.shape, b.shape) == ((3001, 512), (512, 512))
    assert a.dtype == b.dtype == np.float32
    assert a[0, 0] == np.float32(0.1 * 0.4967141530112327)  # the first number of seed 42


@pytest.mark.parametrize("strategy", strategies(BASELINE.problem, NPU1), ids=title)
def test_the_experiments_product_by_counting(strategy: Strategy) -> None:
    with Emulator(Fidelity.EXACT) as device:
        made = run(strategy, device, BASELINE.problem)
    assert made.stats.dispatches == DISPATCHES[title(strategy)]
    assert_right(made, strategy.measured, BASELINE.problem)
    a, b = operands(BASELINE.problem)
    true = a[: len(made.c)].astype(np.float64) @ b.astype(np.float64)
    assert np.abs(made.c - true).max() <= 0.004


def test_every_strategy_is_there() -> None:
    assert [title(s) for s in strategies(BASELINE.problem, NPU1)] == list(DISPATCHES)
    assert tuple(dict.fromkeys(s.name for s in strategies(BASELINE.problem, NPU1))) == NAMES


@pytest.mark.parametrize("strategy", strategies(STRATEGIES_PROBLEM, NPU1), ids=title)
def test_a_small_product_of_unequal_sizes_on_every_device(strategy: Strategy, device: Device) -> None:
    assert_right(run(strategy, device, STRATEGIES_PROBLEM), strategy.measured, STRATEGIES_PROBLEM)


@pytest.mark.parametrize("path", [naive, pipelined])
@pytest.mark.parametrize("M", [1, 64, 65, 192])
def test_one_row_of_tiles_or_several(path: HostPath, M: int, device: Device) -> None:
    problem = Matmul(M, 70, 512)
    for strategy in strategies(problem, NPU1, naive_rows=M):
        if strategy.path is path:
            assert_right(run(strategy, device, problem), strategy.measured, problem)


def test_a_run_list_waits_less_often_for_as_many_dispatches() -> None:
    submissions = [s.plan.submissions for s in strategies(BASELINE.problem, NPU1) if s.name == "run-list"]
    assert submissions == [376, 188, 47, 8]


def test_the_model_is_the_experiment_for_64x64_and_20_seconds_for_64x512() -> None:
    seconds = {
        s.plan.contract.name: modelled_plan_seconds(s.plan, BASELINE_2025).middle
        for s in strategies(BASELINE.problem, NPU1)
        if s.name in ("tiled", "larger-kernel")
    }
    assert seconds["matmul_64x64"] == pytest.approx(163.7)
    assert seconds["matmul_64x512"] == pytest.approx(20.4625)


def test_an_unknown_strategy_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="'host-batch': did you mean host-batched"):
        check_names(["tiled", "host-batch"])
