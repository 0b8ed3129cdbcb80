"""Cycles: which resource is busy longest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.verifier_designs import column, one_core, run
from whisper_npu.kernels.verifier import DesignError, FunctionCall, count_cycles, parse
from whisper_npu.kernels.verifier.cycles import macs
from whisper_npu.npu.targets.npu1 import XDNA1


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (FunctionCall("matmul_bf16_f32", ((64, 32), (32, 16), (64, 16))), 64 * 32 * 16),
        (FunctionCall("matmul_pair", ((32 * (64 + 16),), (64, 16))), 64 * 32 * 16),
        (FunctionCall("zero_f32", ((64, 16),)), 0),
    ],
)
def test_macs(call: FunctionCall, expected: int) -> None:
    assert macs(call) == expected


@pytest.mark.parametrize("shapes", [((64, 32), (32, 16), (1024,)), ((64, 32), (32, 17), (64, 16))])
def test_macs_of_no_product(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(DesignError, match="matmul"):
        macs(FunctionCall("matmul", shapes))


def test_cycles() -> None:
    text = column()
    execution, _ = run(text, 24, 32, 48)
    cycles = count_cycles(parse(text), execution, XDNA1)
    assert set(cycles.compute.values()) == {6 * 8 * 16 * 12 // 128}
    of_fifo = {channel.fifo: count for channel, count in cycles.channels.items()}
    assert of_fifo["A_L2L1"] == 24 * 32 * 2 // 4
    assert of_fifo["B_L3L2"] == 3 * 32 * 48 * 2 // 4
    assert cycles.bound.startswith("DMA channel")
    assert "B_L3L2" in cycles.bound
    assert cycles.cycles == of_fifo["B_L3L2"]


def test_bound() -> None:
    text = one_core(m=16, k=32, n=16)
    execution, _ = run(text, 16, 96, 16)
    design = parse(text)
    slow_core = replace(XDNA1, macs_per_cycle=1)
    assert count_cycles(design, execution, slow_core).bound == "compute"
    slow_dram = replace(XDNA1, dram_bytes_per_second=1e6)
    cycles = count_cycles(design, execution, slow_dram)
    assert (cycles.bound, cycles.cycles) == ("DRAM", execution.dram_bytes * 1000)
