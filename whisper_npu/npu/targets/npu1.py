"""What an XDNA1 array (Phoenix, Hawk Point; `npu1` in MLIR-AIE) is made of: numbers, each with its source.

Sources: AM020 = AMD Versal AIE-ML architecture manual; UG1603 = AMD AIE-ML kernel coding guide;
driver = github.com/amd/xdna-driver; mlir-aie = github.com/Xilinx/mlir-aie; 2512.13282 = arXiv.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True)
class TileLimits:
    """One kind of tile: memory, DMA channels, buffer descriptors, locks, and what a descriptor may say."""

    memory_bytes: int  # 0: the shim has none of its own
    dma_channels: int  # each direction
    buffer_descriptors: int
    locks: int
    dma_dimensions: int  # of one transfer; the shim has one more that only repeats
    max_wrap: int  # elements of 32 bits in one dimension
    max_step: int  # 32-bit words from one element of a dimension to the next


@dataclass(frozen=True)
class ArrayLimits:
    """One NPU generation."""

    target: str  # MLIR-AIE's device name
    pci_id: str  # vendor:device
    columns: int  # those that have a shim DMA
    core_rows: int
    core: TileLimits
    memtile: TileLimits
    shim: TileLimits
    micro_tile: tuple[int, int, int]  # r,s,t of one bf16 mmul
    macs_per_cycle: int  # bf16, one core, at the peak
    clock_hz: float
    dram_bytes_per_second: float
    hw_contexts: int  # open at once
    max_lock_value: int
    max_repeat: int
    max_bd_size: int
    stack_bytes: int  # of a core, at the bottom of its memory

    @property
    def cores(self) -> int:
        return self.columns * self.core_rows


XDNA1 = ArrayLimits(
    target="npu1",
    pci_id="1022:1502",  # driver, npu1_regs.c
    columns=4,  # mlir-aie device model npu1; a fifth column has no shim DMA
    core_rows=4,  # rows 2 to 5, above one shim and one memtile row
    # AM020; wraps and steps: the DMA register fields, as mlir-aie's verifiers check them
    core=TileLimits(
        memory_bytes=64 * KIB,
        dma_channels=2,
        buffer_descriptors=16,
        locks=16,
        dma_dimensions=3,
        max_wrap=255,
        max_step=2**13,
    ),
    memtile=TileLimits(
        memory_bytes=512 * KIB,
        dma_channels=6,
        buffer_descriptors=48,  # 24 for the even channels, 24 for the odd
        locks=64,
        dma_dimensions=4,
        max_wrap=1023,
        max_step=2**17,
    ),
    shim=TileLimits(
        memory_bytes=0,
        dma_channels=2,
        buffer_descriptors=16,
        locks=16,
        dma_dimensions=3,
        max_wrap=1023,
        max_step=2**20,
    ),
    max_lock_value=63,  # AM020
    max_repeat=64,  # of the shim's fourth dimension, where its stride is not zero; mlir-aie's verifier
    max_bd_size=512,  # of any dimension in aie.dma_bd; mlir-aie's verifier rejects 513
    stack_bytes=3328,  # 0xD00, mlir-aie's programming examples for matrix products
    micro_tile=(4, 8, 4),  # AIE API, aie::mmul<4, 8, 4, bfloat16, bfloat16>
    macs_per_cycle=128,  # AIE API, bf16 mmul on AIE-ML
    clock_hz=1.0e9,  # 2512.13282
    dram_bytes_per_second=15e9,  # 2512.13282, "about 15 GB/s"
    hw_contexts=6,  # driver, npu1_regs.c: the seventh fails with EINVAL
)
