"""Whole matrices as a design: one array configuration for every size, whose DRAM movement says the sizes."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_npu.dtypes import DType
from whisper_npu.kernels.gemm.kernel import GemmContract
from whisper_npu.kernels.matmul.design import (
    STEPS,
    a_to_micro_tiles,
    b_to_micro_tiles,
    check_multiples,
    check_tile,
    core_tile,
    declare_functions,
    join_c,
    step,
)
from whisper_npu.kernels.matmul.kernel import DEPTH_AB
from whisper_npu.kernels.mlir import Array, DesignParameterError, Dims, Text, Value, core
from whisper_npu.kernels.shim import Traffic, move, task_count, traffic
from whisper_npu.kernels.tasks import DIMENSIONS
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.layout import Along


def design(contract: GemmContract, toolchain: Generation = NEWEST) -> str:
    """MLIR text, as a toolchain spells it.

    Raises DesignParameterError, before a line is printed, for what the array cannot hold.
    """
    check_tile(contract)
    (m, k, n), target = core_tile(contract), contract.target
    if contract.cores != target.cores:
        raise DesignParameterError(f"{contract.name}: {contract.cores} cores; a gemm takes {target.cores}")
    if contract.result_dtype is not DType.F32:
        raise DesignParameterError(f"{contract.name}: a gemm adds up in C itself, which must be f32")
    check_multiples(contract, (m * target.core_rows, k, n * target.columns))
    return whole_matrices(contract, *dram_movement(contract), toolchain)


def whole_matrices(
    contract: GemmContract, inputs: list[Traffic], outputs: list[Traffic], toolchain: Generation
) -> str:
    """(M,K)@(K,N), one of it or each of a batch, in rounds of one tile of C per core and matrix.

    M, K, N and the batch stand in the DRAM movement only: whatever they are, the array's part of the text is
    the same, and so is the xclbin. The columns share out the rows of cores: each brings the A of its rows,
    which is broadcast along the row, and the B of its own cores, which is broadcast up the column. Each core
    reads how many steps K has from a buffer that the runtime sequence writes. It reads after it got its first
    A, so that the number is there.

    For npu1 and m,k,n = 96,64,48. L1: 2 x (96x64 + 64x48) x 2 bytes + 96x48 x 4 bytes + 3,328 stack + 4 for
    the number of steps = 58,628 of 64,512 bytes, with one C buffer. A row of A is 128 bytes, what DRAM gives
    in one burst; rounds of 384 rows pad Whisper's 1,500 positions to 1,536 and 3,000 to 3,072. Compute: a
    step is 96*64*48 / 128 = 2,304 cycles per core at the peak; Peano issues a loop like this one at half of
    it (kernels/matmul/product.hpp). DRAM: a step of the round brings 4 tiles of A and 4 of B, 73,728 bytes,
    4,915 ns at the cautious 15 GB/s of arXiv 2512.13282, about half of that at the 26 to 28 GB/s per
    direction that others measured (github.com/jdominick05/ignite-xdna, docs/SILICON.md). By the first figure
    DRAM bounds it, unless a cache on the way has A or B. No other tile that L1 holds asks less of DRAM for
    the sizes of tiny, base and small, their padding counted.
    """
    m, k, n = core_tile(contract)
    target, array = contract.target, Array(contract.target)
    text = Text(toolchain)
    with text.device(target.device()):
        declare_functions(text, contract)

        text.section("Tiles")
        text.tiles(array.tiles)
        steps = {
            (c, j): text.buffer(f"steps_{c}_{j}", core(c, j), (1,), "i32")
            for c in array.columns
            for j in array.rows
        }

        text.section("Data movement in the array")
        for c in array.columns:
            if rows := rows_of_a(array, c):
                text.fifo(f"A_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (len(rows) * m * k,), "bf16")
                for j in rows:
                    along_row = [core(column, j) for column in array.columns]
                    order = a_to_micro_tiles(contract)
                    text.fifo(f"A_L2L1_{j}", (c, 1), along_row, DEPTH_AB, (m, k), "bf16", order)
                to_rows = [f"A_L2L1_{j}" for j in rows]
                text.link([f"A_L3L2_{c}"], to_rows, [i * m * k for i in range(len(rows))])
            up_column, order = [core(c, j) for j in array.rows], b_to_micro_tiles(contract)
            text.fifo(f"B_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (k * n,), "bf16")
            text.fifo(f"B_L2L1_{c}", (c, 1), up_column, DEPTH_AB, (k, n), "bf16", order)
            text.link([f"B_L3L2_{c}"], [f"B_L2L1_{c}"])
            join_c(text, contract, c)

        text.section("Core task")
        for c in array.columns:
            for j in array.rows:
                with text.core(core(c, j), target.stack_bytes, loads_bounds=True):
                    product_over_runtime_k(text, steps[c, j], f"A_L2L1_{j}", f"B_L2L1_{c}", f"C_L1L2_{c}_{j}")

        text.section("DRAM movement")
        with text.sequence(contract.arguments):
            if (count := task_count(inputs, outputs)) > MANY_TASKS:
                text.line(f"// {count} tasks: {why_so_many(contract, inputs, outputs)}")
            for c, j in steps:
                text.write(f"steps_{c}_{j}", 0, contract.k // k)
            move(text, target, inputs, outputs)
    return str(text)


def rows_of_a(array: Array, column: int) -> range:
    """The rows of cores whose A this column brings: neighbours, as evenly spread as they can be."""
    rows, columns = len(array.rows), len(array.columns)
    return range(-(-column * rows // columns), -(-(column + 1) * rows // columns))


def product_over_runtime_k(text: Text, steps: Value, a_fifo: str, b_fifo: str, c_fifo: str) -> None:
    """One tile of C in as many steps as the runtime sequence says: the first, and then the others."""
    c_tile = text.acquire(c_fifo, "Produce")
    text.call("zero_f32", c_tile)
    a_tile = text.acquire(a_fifo, "Consume")
    b_tile = text.acquire(b_fifo, "Consume")
    # Only now: before A has come, the sequence may not have written the number yet.
    text.load_index(STEPS, steps)
    text.call("matmul_bf16_f32", a_tile, b_tile, c_tile)
    text.release(a_fifo, "Consume")
    text.release(b_fifo, "Consume")
    with text.loop("%kk", "%c1", STEPS):
        step(text, "matmul_bf16_f32", a_fifo, b_fifo, c_tile)
    text.release(c_fifo, "Produce")


# ------------------------------------------------------------------------------------------ DRAM movement

MANY_TASKS = 64  # more are explained where they stand


def why_so_many(contract: GemmContract, inputs: Sequence[Traffic], outputs: Sequence[Traffic]) -> str:
    """What keeps each fifo from fewer tasks, in one line."""
    shim = contract.target.shim
    most = {each.tasks[0].argument: len(each.tasks) for each in (*inputs, *outputs)}
    each_fifo = ", ".join(f"{count} of {argument}" for argument, count in most.items())
    return (
        f"{each_fifo} per fifo; of a descriptor's {DIMENSIONS} dimensions only the outermost may repeat, and "
        f"it counts to {shim.max_wrap:,} rows and {shim.max_step:,} words"
    )


def dram_movement(contract: GemmContract) -> tuple[list[Traffic], list[Traffic]]:
    """What streams in, all of A and then all of B; and what streams out.

    The next round is beside the one before or below it, whichever takes fewer tasks. Raises
    DesignParameterError where rows lie too far apart.
    """
    return min((_movement(contract, next_round) for next_round in Along), key=lambda way: task_count(*way))


def _movement(contract: GemmContract, next_round: Along) -> tuple[list[Traffic], list[Traffic]]:
    """Matrices of a batch lie side by side in A and C, and one below the other in B.

    So to A and B they are more steps along K, and only C tells them apart: each has a tile in every round.
    """
    (m, k, n), array = core_tile(contract), Array(contract.target)
    height, width, batch = len(array.rows) * m, len(array.columns) * n, contract.batch
    down, across, steps = contract.m // height, contract.n // width, batch * contract.k // k
    # From one row of an operand to the next.
    a_row, b_row, c_row = batch * contract.k, contract.n, batch * contract.n

    def rounds(step_down: int, step_across: int) -> Dims:
        loops = [(down, step_down), (across, step_across)]
        return loops if next_round is Along.COLS else loops[::-1]

    a, b, c = [], [], []
    for column in array.columns:
        if rows := rows_of_a(array, column):
            tiles, start = [(steps, k), (len(rows) * m, a_row), (k, 1)], rows[0] * m * a_row
            of_a = rounds(height * a_row, 0)
            a.append(traffic(contract, "A", f"A_L3L2_{column}", column, of_a, tiles, start))
        tiles, start = [(steps, k * b_row), (k, b_row), (n, 1)], column * n
        b.append(traffic(contract, "B", f"B_L3L2_{column}", column, rounds(0, width), tiles, start))
        tiles, of_c = [(batch, contract.n), (height, c_row), (n, 1)], rounds(height * c_row, width)
        c.append(traffic(contract, "C", f"C_L2L3_{column}", column, of_c, tiles, start))
    return [*a, *b], c
