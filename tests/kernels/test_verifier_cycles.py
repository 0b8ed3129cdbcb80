"""Cycles: which resource is busy longest."""

from __future__ import annotations

from dataclasses import replace

from tests.support.verifier_designs import NumpyFunctions, column, one_core, run
from whisper_npu.kernels.verifier import count_cycles, parse
from whisper_npu.npu.targets import NPU1, Dram


def test_cycles() -> None:
    text = column()
    execution, _ = run(text, 24, 32, 48)
    cycles = count_cycles(parse(text), execution, NPU1)
    assert set(cycles.compute.values()) == {-(-6 * NumpyFunctions.macs_per_call // 128)}
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
    assert count_cycles(design, execution, replace(NPU1, macs_per_cycle=1)).bound == "compute"
    best = replace(NPU1.profile.optimistic, dram=Dram(read=1e6, write=1e6, together=1e6))
    slow_dram = replace(NPU1, profile=replace(NPU1.profile, optimistic=best))
    cycles = count_cycles(design, execution, slow_dram)
    assert (cycles.bound, cycles.cycles) == ("DRAM", execution.dram_bytes * 1028)
