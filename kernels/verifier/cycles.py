"""How long a dispatch takes at the least: which resource is busy longest if none waits for another.

A lower bound by published peaks, and no prediction: a core may issue a multiplication only every other cycle
(github.com/jdominick05/ignite-xdna, docs/SILICON.md), and what starting a task costs is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from whisper_npu.kernels.verifier.design import Design, Tile
from whisper_npu.kernels.verifier.execute import Execution
from whisper_npu.kernels.verifier.wiring import Channel, channels
from whisper_npu.npu.targets import WORD_BYTES, Target


@dataclass(frozen=True)
class Cycles:
    """MODELLED cycles that each resource is busy."""

    compute: Mapping[
        Tile, int
    ]  # of each core, at the peak rate: its products, in a text nothing else has a rate
    channels: Mapping[Channel, int]  # a stream moves one 32-bit word per cycle
    dram: int
    bound: str  # the resource that is busy longest: "compute", "DMA channel ...", or "DRAM"
    cycles: int  # of that resource


def count_cycles(design: Design, execution: Execution, target: Target) -> Cycles:
    """A lower bound, from what moved and what ran, at the clock of laptops with Linux."""
    compute = {
        tile: ceil(sum(call.macs * count for call, count in calls.items()) / target.macs_per_cycle)
        for tile, calls in execution.calls.items()
    }
    streams = {channel: ceil(execution.fifo_bytes[channel.fifo] / WORD_BYTES) for channel in channels(design)}
    dram = _dram_cycles(execution.dram_bytes, target)
    busy = {"compute": max(compute.values(), default=0), "DRAM": dram}
    busy.update({str(channel): count for channel, count in streams.items()})
    bound = max(busy, key=lambda resource: busy[resource])
    return Cycles(compute, streams, dram, bound, busy[bound])


def _dram_cycles(count: int, target: Target) -> int:
    """How long `count` bytes keep DRAM busy, both directions at once."""
    return ceil(count / target.best_dram.together * target.profile.clock_hz)
