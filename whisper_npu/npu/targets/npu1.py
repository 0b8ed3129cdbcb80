"""XDNA1 (Phoenix, Hawk Point; `npu1` in MLIR-AIE): numbers, each with its source.

Sources: AM020 = AMD Versal AIE-ML architecture manual; UG1603 = AMD AIE-ML kernel coding guide;
driver = github.com/amd/xdna-driver; mlir-aie = github.com/Xilinx/mlir-aie; 2512.13282 = arXiv;
aie-rt = github.com/Xilinx/aie-rt; ignite = github.com/jdominick05/ignite-xdna, docs/SILICON.md, on an 8700G
with Windows; xdna-emu = github.com/FIM43-Redeye/xdna-emu, docs/superpowers/findings, on Phoenix with Linux.
"""

from __future__ import annotations

from whisper_npu.npu.targets.target import KIB, CoreRate, Dram, Profile, Rates, Target, TileLimits

_MACS_PER_CYCLE = 128  # AIE API, bf16 mmul on AIE-ML
# One core of the record kernel reaches 112.6 MAC per cycle with k = 56 (2512.13282, table 1): what that
# leaves of the peak is taken as the price of a step.
_RECORD_MACS_PER_CYCLE, _RECORD_K = 112.6, 56
_BLOCK_CYCLES = 16 * 16 * _RECORD_K / _MACS_PER_CYCLE
_RECORD_OVERHEAD = _BLOCK_CYCLES * (_MACS_PER_CYCLE / _RECORD_MACS_PER_CYCLE - 1)

NPU1 = Target(
    name="npu1",
    title="XDNA1",
    pci_id="1022:1502",  # driver, npu1_regs.c
    columns=4,  # mlir-aie device model npu1; a fifth column has no shim DMA
    core_rows=4,  # rows 2 to 5
    # AM020; wraps and steps: the DMA register fields, as mlir-aie's verifiers check them
    core=TileLimits(
        memory_bytes=64 * KIB,
        # github.com/jdominick05/ignite-xdna, docs/SILICON.md: two loads in one bundle, and the same bank,
        # measured at 12.0 cycles per iteration; different banks at 11.0
        banks=4,
        dma_channels=2,
        buffer_descriptors=16,
        locks=16,
        dma_dimensions=3,
        max_wrap=255,
        max_step=2**13,
        program_bytes=16 * KIB,
        # What start-up and a core's own loop added to eight objects (github.com/jdominick05/ignite-xdna,
        # docs/SILICON.md, 1.2).
        startup_bytes=880,
    ),
    memtile=TileLimits(
        memory_bytes=512 * KIB,
        banks=8,  # as above
        dma_channels=6,
        buffer_descriptors=48,  # 24 for the even channels, 24 for the odd
        locks=64,
        dma_dimensions=4,
        max_wrap=1023,
        max_step=2**17,
    ),
    shim=TileLimits(
        memory_bytes=0,
        banks=0,
        dma_channels=2,
        buffer_descriptors=16,
        locks=16,
        dma_dimensions=3,
        max_wrap=1023,
        max_step=2**20,
    ),
    micro_tile=(4, 8, 4),  # AIE API, aie::mmul<4, 8, 4, bfloat16, bfloat16>
    compiler_triple="aie2-none-unknown-elf",  # Peano, github.com/Xilinx/llvm-aie
    hw_contexts=6,  # driver, npu1_regs.c: the seventh fails with EINVAL
    max_lock_value=63,  # AM020
    max_repeat=64,  # of the shim's fourth dimension, whatever its stride; mlir-aie, AIEXDialect.cpp
    # A fifth is dropped without an error (aie-rt xaie_dma.c, XAIE_DMA_MAX_QUEUE_SIZE; mlir-aie issue 3734).
    # Six in flight passed where the array had taken two of them, seven hung (mlir-air issue 1826).
    shim_queue=4,
    max_bd_size=512,  # of any dimension in aie.dma_bd; mlir-aie's verifier rejects 513
    # 0xD00, mlir-aie's programming examples for matrix products. The stack grows upward into the core's
    # buffers, unseen; a product's 16 accumulators, 1,024 bytes, may be spilled to it, and nobody has seen
    # what Peano makes of ours.
    stack_bytes=3328,
    vector_align=32,  # AIE API, aie::vector_decl_align; the first buffer begins where the stack ends
    # A core's own data lie behind its buffers: the linker fails where they do not fit (mlir-aie,
    # lib/Targets/AIETargetLdScript.cpp, and issue 3406 with 128 and 161 bytes too many), and from 1.4.3 on
    # aiecc reserves what it measures (pull request 3560). How much Peano needs for ours nobody has seen.
    core_data_bytes=1 * KIB,
    kernel_arguments=5,  # mlir-aie, lib/Targets/AIETargetNPU.cpp: of more the firmware translates no address
    # XRT hands 24 runs of a list to the driver as one command (xrt_kernel.cpp, runlist_impl); the one that is
    # waited for with a timeout comes behind them.
    run_list=25,
    macs_per_cycle=_MACS_PER_CYCLE,
    clocks={
        "Linux": 1.028e9,  # in the default power mode, whatever a program asks for (xdna-emu, 2026-08-04)
        "Windows": 1.80e9,  # in default, performance and turbo; balanced 1.03, powersaver 0.80 (ignite, 1.7)
    },
    idle_clock_hz=0.80e9,  # xdna-emu, 2026-08-04; ignite, 1.7
    profile=Profile(
        "xdna1",
        cautious=Rates(
            dispatch_seconds=136e-6,  # a passthrough kernel on an 8845HS, 121 to 136 us, open-xdna RESULTS
            chained_seconds=29.7e-6,  # in a pipeline, github.com/hardWorker254/Npu-Embeddings-XDNA1
            # 2512.13282, "about 15 GB/s"; read here as both directions together.
            dram=Dram(read=15e9, write=15e9, together=15e9),
            # Upstream's bf16 loop, compiled by Peano: one vmac in two cycles (ignite, 2.3.1). Outside of that
            # loop 87 bundles read and write as many bits of sums, of upstream's int8 kernel (the same table).
            core=CoreRate(macs_per_cycle=_MACS_PER_CYCLE / 2, block_overhead=87),
            # From one start to the next on a channel: 2,700 to read, 2,870 to write (xdna-emu, 2026-05-25).
            # The instructions that describe the transfer are in it.
            task_cycles=2870,
            overlay_switch_seconds=3.4e-3,  # the whole array configured anew, 2512.13282
            wake_seconds=136e-3,  # 121 to 136 ms after autosuspend, mlir-aie issue 2944
        ),
        optimistic=Rates(
            dispatch_seconds=100e-6,  # Npu-Embeddings-XDNA1, 100 to 110; xrt-smi's latency test gives 110
            chained_seconds=27.7e-6,  # xrt-smi's test on a 7640U, github.com/amd/RyzenAI-SW issue 142
            # ignite, 1.6: 64 MiB there and 64 MiB back at once over four channels each way.
            dram=Dram(read=28.1e9, write=28.1e9, together=56.2e9),
            core=CoreRate(macs_per_cycle=_MACS_PER_CYCLE, block_overhead=_RECORD_OVERHEAD),
            task_cycles=520,  # where another waits on the channel already (xdna-emu, 2026-05-27)
            overlay_switch_seconds=1.4e-3,  # half of 2.81 ms for a pair of switches, whisper-xdna README
            wake_seconds=121e-3,  # mlir-aie issue 2944
        ),
        clock_hz=1.028e9,
        read_cycles_per_word=1.05,  # xdna-emu, 2026-05-25
        write_cycles_per_word=1.00,
        instruction_cycles=112,  # xdna-emu, 2026-07-03: of the runtime sequence, that starts no task
        host_bytes_per_second=15e9,  # assumed: the CPU reads the same DRAM
        sleeps_after_seconds=5.0,  # driver, issue 535: autosuspend
    ),
)
