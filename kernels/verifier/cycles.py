"""How long a dispatch takes at the least: which resource is busy longest if none waits for another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

from whisper_npu.kernels.verifier.design import Design, Tile
from whisper_npu.kernels.verifier.errors import DesignError
from whisper_npu.kernels.verifier.execute import Execution
from whisper_npu.kernels.verifier.program import FunctionCall
from whisper_npu.kernels.verifier.structure import WORD_BYTES
from whisper_npu.kernels.verifier.wiring import Channel, channels
from whisper_npu.npu.targets.npu1 import XDNA1, ArrayLimits


@dataclass(frozen=True)
class Cycles:
    """Cycles that each resource is busy."""

    compute: Mapping[Tile, int]  # of each core, at the peak rate; products only
    channels: Mapping[Channel, int]  # a stream moves one 32-bit word a cycle
    dram: int
    bound: str  # the resource that is busy longest: "compute", "DMA channel ...", or "DRAM"
    cycles: int  # of that resource


def count_cycles(design: Design, execution: Execution, limits: ArrayLimits = XDNA1) -> Cycles:
    """A lower bound, from what moved and what ran."""
    compute = {
        tile: ceil(sum(macs(call) * count for call, count in calls.items()) / limits.macs_per_cycle)
        for tile, calls in execution.calls.items()
    }
    streams = {channel: ceil(execution.fifo_bytes[channel.fifo] / WORD_BYTES) for channel in channels(design)}
    dram = dram_cycles(execution.dram_bytes, limits)
    busy = {"compute": max(compute.values(), default=0), "DRAM": dram}
    busy.update({str(channel): count for channel, count in streams.items()})
    bound = max(busy, key=lambda resource: busy[resource])
    return Cycles(compute, streams, dram, bound, busy[bound])


def dram_cycles(count: int, limits: ArrayLimits = XDNA1) -> int:
    """How long `count` bytes keep DRAM busy."""
    return ceil(count / limits.dram_bytes_per_second * limits.clock_hz)


def macs(call: FunctionCall) -> int:
    """Multiply-accumulates of a call: m*k*n of a function matmul..., 0 of any other.

    Its last argument is C (m,n); the others are A (m,k) and B (k,n), or both in one: k * (m + n) elements.
    """
    if not call.function.startswith("matmul"):
        return 0
    *operands, c = call.shapes
    if len(c) != 2:
        raise DesignError(f"{call.function}: the last argument should be C (m,n), it is {c}")
    m, n = c
    elements = sum(prod(shape) for shape in operands)
    k, rest = divmod(elements, m + n)
    if rest:
        raise DesignError(f"{call.function}: operands of {elements} elements make no product of {m}x{n}")
    return m * k * n
