"""Whole matrices as a design: one array configuration for every size, and a runtime sequence of strips."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.dtypes import DType
from whisper_npu.kernels.gemm.kernel import GemmContract
from whisper_npu.kernels.matmul.design import (
    STEPS,
    Descriptors,
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
from whisper_npu.kernels.mlir import Array, DesignParameterError, Dims, Text, Value, core, parts
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.layout import Along

Transfer = tuple[int, Dims]  # where it starts, and its dimensions


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
    return whole_matrices(contract, strips(contract), toolchain)


def whole_matrices(contract: GemmContract, all_strips: list[Strip], toolchain: Generation) -> str:
    """(M,K)@(K,N), one of it or each of a batch, in rounds of one tile of C per core.

    M, K, N and the batch stand in the DRAM movement only: whatever they are, the array's part of the text is
    the same, and so is the xclbin. The columns share out the rows of cores: each brings the A of its rows,
    which is broadcast along the row, and the B of its own cores, which is broadcast up the column. Each core
    reads how many steps K has from a buffer that the runtime sequence writes. It reads after it got its first
    A, so that the number is there.

    For npu1 and m,k,n = 96,64,48. L1: 2 x (96x64 + 64x48) x 2 bytes + 96x48 x 4 bytes + 3,328 stack = 58,624
    of 65,536 bytes, with one C buffer. A row of A is 128 bytes, what DRAM gives in one burst; rounds of 384
    rows pad Whisper's 1,500 positions to 1,536 and 3,000 to 3,072. Compute: a step is 96*64*48 / 128 = 2,304
    cycles per core at the peak; Peano issues a loop like this one at half of it (kernels/matmul/matmul.cc).
    DRAM: a step of the round brings 4 tiles of A and 4 of B, 73,728 bytes, 4,915 ns at the cautious 15 GB/s
    of arXiv 2512.13282, about half of that at the 26 to 28 GB/s per direction that others measured
    (github.com/jdominick05/ignite-xdna, docs/SILICON.md). By the first figure DRAM bounds it, unless a cache
    on the way has A or B. No other tile that L1 holds asks less of DRAM for the sizes of tiny,
    base and small, their padding counted.
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
            for c, j in steps:
                text.write(f"steps_{c}_{j}", 0, contract.k // k)
            for number, strip in enumerate(all_strips):
                bds = Descriptors(target, number)
                for c in array.columns:
                    text.dma("C", *strip.c(c), bds.c, f"C_L2L3_{c}", token=True)
                    if rows := rows_of_a(array, c):
                        text.dma("A", *strip.a(rows), bds.a, f"A_L3L2_{c}")
                    text.dma("B", *strip.b(c), bds.b(0), f"B_L3L2_{c}")
                if number > 0:
                    text.waits(f"C_L2L3_{c}" for c in array.columns)  # of the strip before
            text.waits(f"C_L2L3_{c}" for c in array.columns)
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


# ------------------------------------------------------------------------------------------------ strips


@dataclass(frozen=True)
class Strip:
    """Rounds of one matrix of C that one transfer per fifo serves: beside or below one another.

    Either A or B is the same for all of them and is read again for each: an outermost dimension of stride 0.
    """

    contract: GemmContract
    index: int  # of the matrix in the batch
    row: int  # of C in the matrix, where the strip starts
    column: int
    down: int  # rounds
    across: int

    def a(self, rows: range) -> Transfer:
        """For these rows of cores."""
        m, k, _ = core_tile(self.contract)
        start, stride = self._matrix("A")
        rounds = (self.across, 0) if self.down == 1 else (self.down, self._rows * m * stride)
        height = len(rows) * m
        return start + (self.row + rows[0] * m) * stride, [
            rounds,
            (self._steps, k),
            (height, stride),
            (k, 1),
        ]

    def b(self, c: int) -> Transfer:
        """For column c of cores."""
        _, k, n = core_tile(self.contract)
        start, stride = self._matrix("B")
        rounds = (self.across, self._columns * n) if self.down == 1 else (self.down, 0)
        return start + self.column + c * n, [rounds, (self._steps, k * stride), (k, stride), (n, 1)]

    def c(self, c: int) -> Transfer:
        """From column c of cores."""
        m, _, n = core_tile(self.contract)
        start, stride = self._matrix("C")
        rounds = (self.across, self._columns * n)
        tiles = (self.down * self._rows, m * stride)  # of a column's cores, round below round
        return start + self.row * stride + self.column + c * n, [rounds, tiles, (m, stride), (n, 1)]

    @property
    def _rows(self) -> int:
        return self.contract.target.core_rows

    @property
    def _columns(self) -> int:
        return self.contract.target.columns

    @property
    def _steps(self) -> int:
        return self.contract.k // core_tile(self.contract)[1]

    def _matrix(self, operand: str) -> tuple[int, int]:
        """Where the strip's matrix starts in its operand, and how far it is from row to row."""
        contract = self.contract
        shapes = {
            "A": (contract.m, contract.k),
            "B": (contract.k, contract.n),
            "C": (contract.m, contract.n),
        }
        rows, cols = shapes[operand]
        layout = contract.batch_layout
        if layout is not None and getattr(layout, operand.lower()) is Along.COLS:
            return self.index * cols, contract.batch * cols
        return self.index * rows * cols, cols

    @property
    def fits(self) -> bool:
        """Whether each transfer is one that a shim's descriptor can say."""
        contract = self.contract
        of_operand = contract.operand_dtype.nbytes
        transfers = (
            (self.a(rows_of_a(Array(contract.target), 0)), of_operand),
            (self.b(0), of_operand),
            (self.c(0), contract.result_dtype.nbytes),
        )
        words = [stride * nbytes // 4 for (_, dims), nbytes in transfers for size, stride in dims if size > 1]
        return max(words) <= contract.target.shim.max_step


def strips(contract: GemmContract) -> list[Strip]:
    """All rounds of all matrices in as few strips as the shim's descriptors allow.

    Raises DesignParameterError where a transfer would step too far.
    """
    (m, _, n), target = core_tile(contract), contract.target
    height, width = target.core_rows * m, target.columns * n
    down, across = contract.m // height, contract.n // width

    def rows(index: int) -> list[Strip]:
        return [
            Strip(contract, index, i * height, first * width, 1, count)
            for i in range(down)
            for first, count in parts(across, target.max_repeat)
        ]

    def columns(index: int) -> list[Strip]:
        return [
            Strip(contract, index, first * height, j * width, count, 1)
            for j in range(across)
            for first, count in parts(down, target.max_repeat)
        ]

    possible = [way for way in (rows, columns) if all(strip.fits for strip in way(0))]
    if not possible:
        raise DesignParameterError(
            f"{contract.name}: a transfer would step over more than {target.shim.max_step:,} words: take a "
            "smaller core tile"
        )
    way = min(possible, key=lambda way: len(way(0)))
    return [strip for index in range(contract.batch) for strip in way(index)]
