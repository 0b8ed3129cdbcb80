"""A target that no chip has: unequal to npu1 in every number, so that a number taken from elsewhere shows."""

from __future__ import annotations

from whisper_npu.npu.targets import CoreRate, Profile, Target, TileLimits

TOY = Target(
    name="toy",
    title="Toy",
    pci_id="1234:5678",
    columns=2,
    core_rows=3,
    core=TileLimits(
        memory_bytes=40 * 1024,
        banks=5,
        dma_channels=3,
        buffer_descriptors=12,
        locks=14,
        dma_dimensions=4,
        max_wrap=511,
        max_step=2**12,
        program_bytes=10 * 1024,
        startup_bytes=500,
    ),
    memtile=TileLimits(
        memory_bytes=300 * 1024,
        banks=3,
        dma_channels=7,
        buffer_descriptors=40,
        locks=50,
        dma_dimensions=5,
        max_wrap=2047,
        max_step=2**16,
    ),
    shim=TileLimits(
        memory_bytes=0,
        banks=0,
        dma_channels=3,
        buffer_descriptors=10,
        locks=13,
        dma_dimensions=4,
        max_wrap=2047,
        max_step=2**15,
    ),
    micro_tile=(8, 4, 2),
    compiler_triple="toy-none-unknown-elf",
    hw_contexts=3,
    max_lock_value=31,
    max_repeat=5,
    shim_queue=3,
    max_bd_size=600,
    stack_bytes=2048,
    run_list=7,
    profile=Profile(
        "toy",
        dispatch_seconds=50e-6,
        chained_seconds=10e-6,
        dma_bytes_per_second=5e9,
        core=CoreRate(macs_per_cycle=64, block_overhead=10.0, clock_hz=0.5e9),
        overlay_switch_seconds=2e-3,
        wake_seconds=0.1,
        host_bytes_per_second=4e9,
    ),
)
