"""What one generation of the array is made of, as a table: whoever needs a limit is handed a Target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

KIB = 1024
WORD_BYTES = 4  # what a stream moves per cycle, and what steps of DMAs are counted in


@dataclass(frozen=True)
class TileLimits:
    """One kind of tile: memory, DMA channels, buffer descriptors, locks, and what a descriptor may say."""

    memory_bytes: int  # of data; 0: the shim has none of its own
    banks: int  # of that memory, one behind the other; two accesses to one bank take a cycle more than to two
    dma_channels: int  # in each direction
    buffer_descriptors: int
    locks: int
    dma_dimensions: int  # of one transfer; the shim has one more that only repeats
    max_wrap: int  # elements of 32 bits in one dimension
    max_step: int  # 32-bit words from one element of a dimension to the next
    program_bytes: int = 0  # memory of instructions, a core's
    startup_bytes: int = 0  # of these, what runs before a core's own program


@dataclass(frozen=True)
class CoreRate:
    """How fast a core multiplies bf16: its inner loop, and what each block of a step costs besides."""

    macs_per_cycle: float  # of the inner loop
    block_overhead: float  # cycles per step of k and 16x16 block of C: its sums are read and written

    @classmethod
    def of_loop(
        cls, vmacs_per_cycle: float, micro_tile: tuple[int, int, int], block_overhead: float
    ) -> CoreRate:
        """The rate of a compiled inner loop, which takes one cycle per bundle.

        vmacs_per_cycle: multiplications over bundles of the loop, as llvm-objdump shows them. micro_tile:
        what one of them multiplies.
        """
        return cls(vmacs_per_cycle * prod(micro_tile), block_overhead)

    def cycles(self, macs: int, k: int) -> float:
        """MODELLED cycles of one core, in steps of k."""
        block = 16 * 16 * k
        return macs / block * (block / self.macs_per_cycle + self.block_overhead)


@dataclass(frozen=True)
class Dram:
    """What DRAM gives the array, in bytes per second."""

    read: float
    write: float
    together: float  # of both directions at once

    def seconds(self, bytes_read: int, bytes_written: int) -> float:
        return max(
            bytes_read / self.read,
            bytes_written / self.write,
            (bytes_read + bytes_written) / self.together,
        )


@dataclass(frozen=True)
class Rates:
    """What things cost at one end of a range; None and 0 where the profile does not charge for it."""

    dispatch_seconds: float  # submit one and wait for it
    chained_seconds: float  # each further dispatch of a run list
    dram: Dram | None = None
    core: CoreRate | None = None
    task_cycles: float = 0.0  # of the array's controller, to start one task of a shim
    overlay_switch_seconds: float = 0.0  # another xclbin than the dispatch before
    wake_seconds: float = 0.0  # the first dispatch after the device has gone to sleep


@dataclass(frozen=True)
class Profile:
    """What dispatches cost, for the cost model: from cautious to optimistic."""

    name: str
    cautious: Rates
    optimistic: Rates
    clock_hz: float = 1.0  # of the array; whatever it is where nothing is charged in cycles
    # Cycles in which a shim's channel moves a 32-bit word: from DRAM, to DRAM.
    read_cycles_per_word: float = 0.0
    write_cycles_per_word: float = 0.0
    instruction_cycles: float = 0.0  # of the array's controller, for a number that it writes into a core
    host_bytes_per_second: float | None = None  # at which the laptop's CPU passes over rows
    sleeps_after_seconds: float | None = None  # without a dispatch

    @property
    def basis(self) -> str:
        """One line for the reader of a report."""
        at_clock = "" if self.optimistic.core is None else f", at {self.clock_hz / 1e9:g} GHz"
        return f"{self.charges}{at_clock}"

    @property
    def charges(self) -> str:
        """The same without the clock."""
        low, high = self.optimistic, self.cautious
        if low.dram is None or high.dram is None or low.core is None or high.core is None:
            return f"{1e3 * high.dispatch_seconds:.1f} ms for every dispatch, whatever its size"
        return (
            f"{_between(1e6 * low.dispatch_seconds, 1e6 * high.dispatch_seconds)} us per dispatch "
            f"({_between(1e6 * low.chained_seconds, 1e6 * high.chained_seconds)} for each further one of a "
            f"list), {_between(low.task_cycles, high.task_cycles)} cycles per DMA task, and the longest of "
            f"DRAM ({low.dram.read / 1e9:g} GB/s each way to {high.dram.together / 1e9:g} GB/s both ways "
            f"together), streams (4 bytes per cycle) and arithmetic "
            f"({high.core.macs_per_cycle:g} to {low.core.macs_per_cycle:g} MAC/cycle per core, less what a "
            "step costs)"
        )

    def with_flat_rates(self) -> Profile:
        """The same as if a core's rate were that of its inner loop, and no step cost anything besides."""

        def flat(rates: Rates) -> Rates:
            return (
                rates if rates.core is None else replace(rates, core=replace(rates.core, block_overhead=0.0))
            )

        return replace(self, cautious=flat(self.cautious), optimistic=flat(self.optimistic))

    def at(self, clock_hz: float) -> Profile:
        """The same at another clock of the array; DRAM and the host keep their speed."""
        return replace(self, clock_hz=clock_hz)

    def compiled(self, slowest: float, fastest: float, micro_tile: tuple[int, int, int]) -> Profile:
        """The same with the rates of compiled inner loops, in vmacs per cycle, instead of assumed ones."""
        return replace(
            self,
            cautious=_with_loop(self.cautious, slowest, micro_tile),
            optimistic=_with_loop(self.optimistic, fastest, micro_tile),
        )


def _with_loop(rates: Rates, vmacs_per_cycle: float, micro_tile: tuple[int, int, int]) -> Rates:
    assert rates.core is not None
    return replace(rates, core=CoreRate.of_loop(vmacs_per_cycle, micro_tile, rates.core.block_overhead))


def _between(low: float, high: float) -> str:
    return f"{low:,g}" if low == high else f"{low:,g} to {high:,g}"


@dataclass(frozen=True)
class Target:
    """One generation: the array's shape and limits, how one compiles for it and finds it, what it costs."""

    name: str  # MLIR-AIE's device name, of the whole array
    title: str  # AMD's name for the generation
    pci_id: str  # vendor:device
    columns: int  # those that have a shim DMA
    core_rows: int  # above one row of shims and one of memtiles
    core: TileLimits
    memtile: TileLimits
    shim: TileLimits
    micro_tile: tuple[int, int, int]  # r,s,t of one bf16 mmul
    compiler_triple: str  # Peano's name for a core
    hw_contexts: int  # open at once
    max_lock_value: int
    max_repeat: int  # of the shim's fourth dimension
    shim_queue: int  # tasks that a channel of the shim holds
    max_bd_size: int
    stack_bytes: int  # of a core, at the bottom of its memory; the least that a design may ask for
    vector_align: int  # bytes; where a vector in a core's memory begins
    core_data_bytes: int  # of a core's memory, left to what the compiler puts there
    kernel_arguments: int  # bos of one dispatch
    run_list: int  # dispatches that are submitted together, unless a plan says otherwise
    macs_per_cycle: int  # bf16, of one core, at its peak
    clocks: Mapping[str, float]  # Hz of the array while it works, by operating system
    idle_clock_hz: float  # while it does not
    profile: Profile  # of laptops with Linux

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def cores(self) -> int:
        return self.columns * self.core_rows

    @property
    def l1_bytes(self) -> int:
        """What the stack and the buffers of a core may take of its memory."""
        return self.core.memory_bytes - self.core_data_bytes

    @property
    def best_dram(self) -> Dram:
        """The most that anybody measured."""
        assert self.profile.optimistic.dram is not None
        return self.profile.optimistic.dram

    def device(self, columns: int | None = None) -> str:
        """What aie.device takes: the whole array, or its first columns."""
        return self.name if columns in (None, self.columns) else f"{self.name}_{columns}col"
