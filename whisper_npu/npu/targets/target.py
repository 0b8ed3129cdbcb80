"""What one generation of the array is made of, as a table: whoever needs a limit is handed a Target."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024


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
    """How fast a core multiplies bf16: at its peak, except for what each block of a step costs besides."""

    macs_per_cycle: int
    block_overhead: float  # cycles per step of k and 16x16 block of C: its sums are read and written
    clock_hz: float

    def seconds(self, macs: int, k: int) -> float:
        """MODELLED seconds of one core, in steps of k.

        A block's k * 256 / macs_per_cycle cycles and its overhead.
        """
        block = 16 * 16 * k
        cycles = block / self.macs_per_cycle + self.block_overhead
        return macs / block * cycles / self.clock_hz


@dataclass(frozen=True)
class Profile:
    """What dispatches cost, for the cost model; None and 0 where the profile does not charge for it."""

    name: str
    dispatch_seconds: float  # submit one and wait for it
    chained_seconds: float  # each further dispatch of a run list
    dma_bytes_per_second: float | None = None
    core: CoreRate | None = None
    overlay_switch_seconds: float = 0.0  # another xclbin than the dispatch before
    wake_seconds: float = 0.0  # the first dispatch after 10 s without one
    host_bytes_per_second: float | None = None  # at which the laptop's CPU passes over rows

    @property
    def basis(self) -> str:
        """One line for the reader of a report."""
        if self.dma_bytes_per_second is None or self.core is None:
            return f"{1e3 * self.dispatch_seconds:.1f} ms for every dispatch, whatever its size"
        first, further = 1e6 * self.dispatch_seconds, 1e6 * self.chained_seconds
        return (
            f"{first:.0f} us latency per dispatch ({further:g} us for each further one of a list), plus the "
            f"longer of DMA ({self.dma_bytes_per_second / 1e9:g} GB/s) and arithmetic (up to "
            f"{self.core.macs_per_cycle} MAC/cycle per core at {self.core.clock_hz / 1e9:g} GHz)"
        )


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
    run_list: int  # dispatches that are submitted together, unless a plan says otherwise
    profile: Profile

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def cores(self) -> int:
        return self.columns * self.core_rows

    @property
    def macs_per_cycle(self) -> int:
        """bf16, of one core, at its peak."""
        assert self.profile.core is not None
        return self.profile.core.macs_per_cycle

    @property
    def clock_hz(self) -> float:
        assert self.profile.core is not None
        return self.profile.core.clock_hz

    @property
    def dram_bytes_per_second(self) -> float:
        assert self.profile.dma_bytes_per_second is not None
        return self.profile.dma_bytes_per_second

    def device(self, columns: int | None = None) -> str:
        """What aie.device takes: the whole array, or its first columns."""
        return self.name if columns in (None, self.columns) else f"{self.name}_{columns}col"
