"""Every strategy for one product: which plan of which kernel, and what the host does around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_npu.benchmark.host_paths import HostPath, naive, pipelined, whole
from whisper_npu.errors import UsageError, quoted
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, padded_gemm
from whisper_npu.kernels.matmul.kernel import (
    MatmulPlan,
    host_batched_plan,
    matmul_64x64,
    matmul_64x64_batch,
    matmul_64x512,
    matmul_64x512_k,
    matmul_128x512,
    tiled_plan,
)
from whisper_npu.near import did_you_mean
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Matmul

COLUMNS_AT_A_TIME = (1, 2, 4, 8)
BATCHES = (8, 16, 64, 376)
NAIVE_ROWS = 128  # two rows of tiles; all 3,001 rows would take a minute


@dataclass(frozen=True)
class Strategy:
    """One row of the comparison."""

    name: str
    variant: str  # tells apart strategies of the same name
    plan: MatmulPlan  # of the whole problem, for the cost model
    measured: MatmulPlan  # what is run: the same plan, or one of fewer rows
    path: HostPath

    @property
    def is_partial(self) -> bool:
        return self.measured.problem != self.plan.problem


def strategies(problem: Matmul, target: Target, naive_rows: int = NAIVE_ROWS) -> tuple[Strategy, ...]:
    """All strategies for one problem, whose N must be a multiple of 8 columns of 64.

    naive_rows: how many rows of A the naive strategy is measured on.
    """
    narrow, wide = matmul_64x64(target), matmul_64x512(target)
    tiled = tiled_plan(problem, narrow)
    few = Matmul(min(naive_rows, problem.M), problem.K, problem.N)
    K = _up(problem.K, 64)
    return (
        _whole("tiled", "", tiled),
        *(
            _whole("host-batched", f"columns {c}", host_batched_plan(problem, narrow, c))
            for c in COLUMNS_AT_A_TIME
        ),
        *(_whole("larger-kernel", "", tiled_plan(problem, k)) for k in (wide, matmul_128x512(target))),
        *(
            _whole("packed-batch", f"batch {b}", tiled_plan(problem, matmul_64x64_batch(target, b)))
            for b in BATCHES
        ),
        *(_whole("run-list", f"list of {b}", replace(tiled, run_list=b)) for b in BATCHES),
        *(
            Strategy("naive", "one by one", tiled_plan(problem, k), tiled_plan(few, k), naive)
            for k in (narrow, wide)
        ),
        *(
            Strategy("pipelined", "two sets", tiled_plan(problem, k), tiled_plan(problem, k), pipelined)
            for k in (narrow, wide)
        ),
        _whole("k-on-chip", f"K {K}", tiled_plan(problem, matmul_64x512_k(target, K))),
        _whole("gemm", "whole", tiled_plan(problem, padded_gemm(target, problem, GEMM_TILE))),
    )


NAMES = (
    "tiled",
    "host-batched",
    "larger-kernel",
    "packed-batch",
    "run-list",
    "naive",
    "pipelined",
    "k-on-chip",
    "gemm",
)


def check_names(names: Sequence[str]) -> None:
    """Raises UsageError for a name that no strategy has, and suggests the nearest one."""
    for name in names:
        if name not in NAMES:
            hint = did_you_mean(name, NAMES)
            raise UsageError(
                f"unknown strategy {quoted(name)}: {hint and f'{hint} '}there are {', '.join(NAMES)}"
            )


def _whole(name: str, variant: str, plan: MatmulPlan) -> Strategy:
    return Strategy(name, variant, plan, plan, whole)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
