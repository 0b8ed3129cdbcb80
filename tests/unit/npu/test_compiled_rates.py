"""What the cost model takes from the manifests of built kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from whisper_npu.npu.artifacts import as_compiled
from whisper_npu.npu.targets import NPU1, Target

VMAC = 4 * 8 * 4  # products of one vmac


def with_loops(folder: Path, *loops: Any) -> Target:
    """The target where kernels with these inner loops are built."""
    for name, loop in zip(("matmul_64x64", "matmul_64x512", "matmul_128x512"), loops, strict=False):
        (folder / name).mkdir()
        document = {"core_programs": {"core.o": {"inner_loop": loop}}}
        (folder / name / "manifest.json").write_text(json.dumps(document))
    return as_compiled(NPU1, [folder])


def rates(target: Target) -> tuple[float, float]:
    """Cautious and optimistic, in products per cycle."""
    cautious, optimistic = target.profile.cautious.core, target.profile.optimistic.core
    assert cautious is not None
    assert optimistic is not None
    return cautious.macs_per_cycle, optimistic.macs_per_cycle


def test_the_slowest_loop_is_cautious_and_the_fastest_optimistic(tmp_path: Path) -> None:
    target = with_loops(
        tmp_path, {"bundles": 4, "vmacs": 2}, {"bundles": 3, "vmacs": 3}, {"bundles": 4, "vmacs": 3}
    )
    assert rates(target) == (VMAC / 2, VMAC)


@pytest.mark.parametrize(
    "loop",
    [
        {"bundles": 3, "vmacs": 4},  # more than one per cycle
        {"bundles": 0, "vmacs": 0},
        {"bundles": 4, "vmacs": 0},
        {"bundles": 4.0, "vmacs": 2},
        {"bundles": True, "vmacs": True},
        {"bundles": 4},
        [4, 2],
        None,
    ],
)
def test_what_is_no_count_leaves_what_was_assumed(tmp_path: Path, loop: Any) -> None:
    assert with_loops(tmp_path, loop) is NPU1
