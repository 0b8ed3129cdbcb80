"""The kernels as MLIR-AIE designs: plain Python that prints text for the `npu1` array.

    python -m whisper_npu.kernels.designs      # writes kernels/mlir/

A design reads in the order of its sections: tiles, data movement in the array, core task, DRAM movement. Case
tells the level: M,K,N the problem, m,k,n one core's tile, r,s,t the micro-tile. A fifo's name tells its hop:
A_L3L2 goes from DRAM to a memtile, A_L2L1 from there to cores. The array's rows: 0 shim, 1 memtile, 2 to 5
cores.

Host matrices are row-major; a memtile's DMA puts A and B into micro-tile order on the way to a core, and C
back into rows on the way out. Spelling: mlir-aie's dialects aie and aiex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.encoder import encoder_problems
from whisper_npu.errors import WhisperNpuError
from whisper_npu.npu.contract import (
    DEPTH_AB,
    DEPTH_C,
    GEMM_TILE,
    MATMUL_64X64,
    MATMUL_64X64_BF16,
    MATMUL_64X512,
    MATMUL_64X512_BF16,
    MATMUL_128X512,
    MATMUL_128X512_BF16,
    Along,
    Contract,
    DType,
    find_contract,
    gemm,
    matmul_64x64_batch,
    matmul_64x512_k,
)
from whisper_npu.npu.cost import padded_gemm
from whisper_npu.npu.targets.npu1 import XDNA1
from whisper_npu.released import released_dimensions

MLIR_FOLDER = Path(__file__).parent / "mlir"

R, S, T = XDNA1.micro_tile
COLUMNS, ROWS = range(XDNA1.columns), range(XDNA1.core_rows)
FIRST_CORE_ROW = 2
WHOLE_ARRAY = [(column, row) for row in range(FIRST_CORE_ROW + len(ROWS)) for column in COLUMNS]
REGISTER_BLOCK = 4  # micro-tiles each way that kernels/matmul.cc holds in registers
FOREVER = 4294967295
STEPS = "%steps"  # of a core's loop over K

Dims = Sequence[tuple[int, int]]  # (size, stride) in elements, outermost first


class DesignParameterError(WhisperNpuError):
    """A contract that the array cannot hold: names the value and the limit."""


@dataclass(frozen=True)
class Design:
    """A kernel's contract and the function that prints its design."""

    contract: Contract
    generate: Callable[[Contract], str]

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def text(self) -> str:
        """The design. Raises DesignParameterError before a line is printed if the array cannot hold it."""
        check_parameters(self.contract)
        return self.generate(self.contract)


# ---------------------------------------------------------------------------------------------- designs


def one_core(contract: Contract) -> str:
    """(m,k)@(k,n) on one core: the shape of the baseline.

    L1: 2 x (64x64 + 64x64) bf16 + 64x64 fp32 + stack = 52,480 of 65,536 bytes.
    """
    m, k, n = _core_tile(contract)
    text = Text()
    with text.block("module"), text.block("aie.device(npu1_1col)"):
        text.functions(contract)

        text.section("Tiles")
        text.tiles([(0, 0), (0, 1), (0, 2)])

        text.section("Data movement in the array")
        text.fifo("A_L3L2", (0, 0), [(0, 1)], DEPTH_AB, (m * k,), "bf16")
        text.fifo("A_L2L1", (0, 1), [(0, 2)], DEPTH_AB, (m, k), "bf16", a_to_micro_tiles(m, k))
        text.link(["A_L3L2"], ["A_L2L1"])
        text.fifo("B_L3L2", (0, 0), [(0, 1)], DEPTH_AB, (k * n,), "bf16")
        text.fifo("B_L2L1", (0, 1), [(0, 2)], DEPTH_AB, (k, n), "bf16", b_to_micro_tiles(k, n))
        text.link(["B_L3L2"], ["B_L2L1"])
        text.fifo("C_L1L2", (0, 2), [(0, 1)], DEPTH_C, (m, n), contract.result_dtype.value)
        text.fifo("C_L2L3", (0, 1), [(0, 0)], DEPTH_C, (m * n,), contract.result_dtype.value, c_to_rows(m, n))
        text.link(["C_L1L2"], ["C_L2L3"])

        text.section("Core task")
        with text.core((0, 2), steps=contract.k // k):
            _product_over_k(text, contract, "A_L2L1", "B_L2L1", "C_L1L2")

        text.section("DRAM movement")
        with text.sequence(_host_matrices(contract)):
            text.dma("C", 0, [(1, 0), (1, m * n), (m, n), (n, 1)], 2, "C_L2L3", token=True)
            text.dma("A", 0, [(1, 0), (1, m * k), (m, k), (k, 1)], 0, "A_L3L2")
            text.dma("B", 0, [(1, 0), (1, k * n), (k, n), (n, 1)], 1, "B_L3L2")
            text.wait("C_L2L3")
    return str(text)


def batch_of_pairs(contract: Contract) -> str:
    """`batch` independent (m,k)@(k,n), each core taking every 16th.

    One stream a core: pairs, A then B, already in micro-tile order. With A and B apart a memtile would feed
    eight streams to its four cores and one to DRAM, nine output channels where it has six.
    L1: 2 x pair (16 KiB) + 64x64 fp32 + stack = 52,480 of 65,536 bytes.
    """
    m, k, n = _core_tile(contract)
    pair, tile, rounds = m * k + k * n, m * n, contract.batch // (len(COLUMNS) * len(ROWS))
    text = Text()
    with text.block("module"), text.block("aie.device(npu1)"):
        text.functions(contract)

        text.section("Tiles")
        text.tiles(WHOLE_ARRAY)

        text.section("Data movement in the array")
        for c in COLUMNS:
            text.fifo(f"AB_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (len(ROWS) * pair,), "bf16")
            for j in ROWS:
                text.fifo(f"AB_L2L1_{c}_{j}", (c, 1), [core(c, j)], DEPTH_AB, (pair,), "bf16")
            text.link([f"AB_L3L2_{c}"], [f"AB_L2L1_{c}_{j}" for j in ROWS], [j * pair for j in ROWS])
            _join_c(text, contract, c)

        text.section("Core task")
        for c in COLUMNS:
            for j in ROWS:
                with text.core(core(c, j), steps=1):
                    product = text.acquire(f"C_L1L2_{c}_{j}", "Produce")
                    operands = text.acquire(f"AB_L2L1_{c}_{j}", "Consume")
                    text.call("matmul_pair_bf16_f32", operands, product)
                    text.release(f"AB_L2L1_{c}_{j}", "Consume")
                    text.release(f"C_L1L2_{c}_{j}", "Produce")

        text.section("DRAM movement")
        lots = contract.batch
        with text.sequence({"AB": ((lots * pair,), "bf16"), "C": ((lots * tile,), "f32")}):
            round_of = len(COLUMNS) * len(ROWS)
            for c in COLUMNS:
                first = c * len(ROWS)
                rows = [(rounds, round_of * tile), (len(ROWS), tile), (m, n), (n, 1)]
                text.dma("C", first * tile, rows, 1, f"C_L2L3_{c}", token=True)
                pairs = [(rounds, round_of * pair), (len(ROWS), pair), (pair // n, n), (n, 1)]
                text.dma("AB", first * pair, pairs, 0, f"AB_L3L2_{c}")
            for c in COLUMNS:
                text.wait(f"C_L2L3_{c}")
    return str(text)


def wide(contract: Contract) -> str:
    """(m,K)@(K,N): A for everybody, columns of B and C spread over the 16 cores; K summed on the core.

    Core (column c, row j) owns columns (4 c + j) * n of every 512. A comes by column 0 and is broadcast. For
    512 columns and n = 32: L1 is 2 x (64x64 + 64x32) bf16 + 64x32 fp32 + stack = 36,096 bytes.
    """
    m, k, n = _core_tile(contract)
    K, N = contract.k, contract.n
    steps, group = K // k, len(ROWS) * n  # columns of B that one column of the array works on
    width = len(COLUMNS) * group
    text = Text()
    with text.block("module"), text.block("aie.device(npu1)"):
        text.functions(contract)

        text.section("Tiles")
        text.tiles(WHOLE_ARRAY)

        text.section("Data movement in the array")
        everybody = [core(c, j) for c in COLUMNS for j in ROWS]
        text.fifo("A_L3L2", (0, 0), [(0, 1)], DEPTH_AB, (m * k,), "bf16")
        text.fifo("A_L2L1", (0, 1), everybody, DEPTH_AB, (m, k), "bf16", a_to_micro_tiles(m, k))
        text.link(["A_L3L2"], ["A_L2L1"])
        for c in COLUMNS:
            text.fifo(f"B_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (len(ROWS) * k * n,), "bf16")
            for j in ROWS:
                name = f"B_L2L1_{c}_{j}"
                text.fifo(name, (c, 1), [core(c, j)], DEPTH_AB, (k, n), "bf16", b_to_micro_tiles(k, n))
            text.link([f"B_L3L2_{c}"], [f"B_L2L1_{c}_{j}" for j in ROWS], [j * k * n for j in ROWS])
            _join_c(text, contract, c)

        text.section("Core task")
        for c in COLUMNS:
            for j in ROWS:
                with text.core(core(c, j), steps=steps):
                    _product_over_k(text, contract, "A_L2L1", f"B_L2L1_{c}_{j}", f"C_L1L2_{c}_{j}")

        text.section("DRAM movement")
        with text.sequence(_host_matrices(contract)):
            for number in range(N // width):
                bds = _Descriptors(number)
                column_of = [number * width + c * group for c in COLUMNS]
                for c in COLUMNS:
                    rows = [(1, 0), (len(ROWS), n), (m, N), (n, 1)]
                    text.dma("C", column_of[c], rows, bds.c, f"C_L2L3_{c}", token=True)
                text.dma("A", 0, [(1, 0), (steps, k), (m, K), (k, 1)], bds.a, "A_L3L2")
                for c in COLUMNS:
                    # The repeat count of the outermost dimension ends at 64: longer K goes in parts.
                    for part, first in enumerate(range(0, steps, XDNA1.max_repeat)):
                        count = min(XDNA1.max_repeat, steps - first)
                        chunks = [(count, k * N), (len(ROWS), n), (k, N), (n, 1)]
                        text.dma("B", column_of[c] + first * k * N, chunks, bds.b(part), f"B_L3L2_{c}")
                if number > 0:
                    text.waits(f"C_L2L3_{c}" for c in COLUMNS)  # of the round before
            text.waits(f"C_L2L3_{c}" for c in COLUMNS)
    return str(text)


def whole_matrices(contract: Contract) -> str:
    """(M,K)@(K,N), of one head or of each of several, in rounds of 4x4 tiles, one tile of C a core.

    M, K, N and the heads stand in the DRAM movement only: whatever they are, the array's part of the text is
    the same, and so is the xclbin. Column c brings A for row c of cores, which is broadcast along the row,
    and B for its own column, which is broadcast up the column. How many steps K has, each core reads from a
    buffer that the runtime sequence writes, after it got its first A, so that the number is there.

    Tile sizes, m,k,n = 96,64,48. L1: 2 x (96x64 + 64x48) x 2 bytes + 96x48 x 4 bytes + 3,328 stack = 58,624
    of 65,536 bytes, with one C buffer. A row of A is 128 bytes, what DRAM gives in one burst; rounds of 384
    rows pad Whisper's 1,500 positions to 1,536 and 3,000 to 3,072. Compute: a step is 96*64*48 / 128 = 2,304
    cycles a core. DRAM: a step of the round brings 4 tiles of A and 4 of B, 73,728 bytes, 4,915 ns at 15
    GB/s, so DRAM bounds it unless A or B is found in a cache on the way. Of tiles that L1 holds, this one
    asks least of DRAM for the sizes of tiny, base and small, their padding counted.
    """
    m, k, n = _core_tile(contract)
    text = Text()
    with text.block("module"), text.block("aie.device(npu1)"):
        text.functions(contract)

        text.section("Tiles")
        text.tiles(WHOLE_ARRAY)
        for c in COLUMNS:
            for j in ROWS:
                text.steps_buffer(c, j)

        text.section("Data movement in the array")
        for c in COLUMNS:
            along_row = [core(column, c) for column in COLUMNS]
            text.fifo(f"A_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (m * k,), "bf16")
            text.fifo(f"A_L2L1_{c}", (c, 1), along_row, DEPTH_AB, (m, k), "bf16", a_to_micro_tiles(m, k))
            text.link([f"A_L3L2_{c}"], [f"A_L2L1_{c}"])
            up_column = [core(c, j) for j in ROWS]
            text.fifo(f"B_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (k * n,), "bf16")
            text.fifo(f"B_L2L1_{c}", (c, 1), up_column, DEPTH_AB, (k, n), "bf16", b_to_micro_tiles(k, n))
            text.link([f"B_L3L2_{c}"], [f"B_L2L1_{c}"])
            _join_c(text, contract, c)

        text.section("Core task")
        for c in COLUMNS:
            for j in ROWS:
                with text.core(core(c, j), steps=None):
                    _product_over_runtime_k(text, c, j, f"A_L2L1_{j}", f"B_L2L1_{c}", f"C_L1L2_{c}_{j}")

        text.section("DRAM movement")
        with text.sequence(_host_matrices(contract)):
            for c in COLUMNS:
                for j in ROWS:
                    text.write_steps(c, j, contract.k // k)
            for number, strip in enumerate(_strips(contract)):
                bds = _Descriptors(number)
                for c in COLUMNS:
                    text.dma("C", *strip.c(c), bds.c, f"C_L2L3_{c}", token=True)
                    text.dma("A", *strip.a(c), bds.a, f"A_L3L2_{c}")
                    text.dma("B", *strip.b(c), bds.b(0), f"B_L3L2_{c}")
                if number > 0:
                    text.waits(f"C_L2L3_{c}" for c in COLUMNS)  # of the strip before
            text.waits(f"C_L2L3_{c}" for c in COLUMNS)
    return str(text)


Transfer = tuple[int, Dims]  # where it starts, and its dimensions


@dataclass(frozen=True)
class _Strip:
    """Rounds of one head's C that one transfer of each fifo serves: beside or below one another.

    Either A or B is the same for all of them and is read again for each: an outermost dimension of stride 0.
    """

    contract: Contract
    head: int
    row: int  # of C in the head, where the strip starts
    column: int
    down: int  # rounds
    across: int

    def a(self, c: int) -> Transfer:
        m, k, _ = _core_tile(self.contract)
        start, stride = _matrix_of_head(self.contract, "A", self.head)
        rounds = (self.across, 0) if self.down == 1 else (self.down, len(ROWS) * m * stride)
        return start + (self.row + c * m) * stride, [rounds, (self._steps, k), (m, stride), (k, 1)]

    def b(self, c: int) -> Transfer:
        _, k, n = _core_tile(self.contract)
        start, stride = _matrix_of_head(self.contract, "B", self.head)
        rounds = (self.across, len(COLUMNS) * n) if self.down == 1 else (self.down, 0)
        return start + self.column + c * n, [rounds, (self._steps, k * stride), (k, stride), (n, 1)]

    def c(self, c: int) -> Transfer:
        m, _, n = _core_tile(self.contract)
        start, stride = _matrix_of_head(self.contract, "C", self.head)
        rounds = (self.across, len(COLUMNS) * n)
        tiles = (self.down * len(ROWS), m * stride)  # of four cores below one another, round below round
        return start + self.row * stride + self.column + c * n, [rounds, tiles, (m, stride), (n, 1)]

    @property
    def _steps(self) -> int:
        return self.contract.k // _core_tile(self.contract)[1]

    @property
    def fits(self) -> bool:
        """Whether each transfer is one that a shim's descriptor can say."""
        words = [
            stride * dtype.nbytes // 4
            for transfer, dtype in (
                (self.a, DType.BF16),
                (self.b, DType.BF16),
                (self.c, self.contract.result_dtype),
            )
            for size, stride in transfer(0)[1]
            if size > 1
        ]
        return max(words) <= XDNA1.shim.max_step


def _strips(contract: Contract) -> list[_Strip]:
    """All rounds of all heads in as few strips as the shim's descriptors allow."""
    m, _, n = _core_tile(contract)
    height, width = len(ROWS) * m, len(COLUMNS) * n
    down, across = contract.m // height, contract.n // width

    def parts(rounds: int) -> list[tuple[int, int]]:
        """First and count of each: no repeat count of the outermost dimension is above its limit."""
        limit = XDNA1.max_repeat
        return [(first, min(limit, rounds - first)) for first in range(0, rounds, limit)]

    def rows(head: int) -> list[_Strip]:
        return [
            _Strip(contract, head, i * height, first * width, 1, count)
            for i in range(down)
            for first, count in parts(across)
        ]

    def columns(head: int) -> list[_Strip]:
        return [
            _Strip(contract, head, first * height, j * width, count, 1)
            for j in range(across)
            for first, count in parts(down)
        ]

    possible = [way for way in (rows, columns) if all(strip.fits for strip in way(0))]
    if not possible:
        raise DesignParameterError(
            f"{contract.name}: a transfer would step over more than {XDNA1.shim.max_step:,} words: take a "
            "smaller core tile"
        )
    way = min(possible, key=lambda way: len(way(0)))
    return [strip for head in range(contract.batch) for strip in way(head)]


def _matrix_of_head(contract: Contract, operand: str, head: int) -> tuple[int, int]:
    """Where a head's matrix starts in its operand, and how far it is from row to row."""
    shapes = {"A": (contract.m, contract.k), "B": (contract.k, contract.n), "C": (contract.m, contract.n)}
    rows, cols = shapes[operand]
    if contract.heads_along is not None and getattr(contract.heads_along, operand.lower()) is Along.COLS:
        return head * cols, contract.batch * cols
    return head * rows * cols, cols


def gemm_design(contract: Contract) -> Design:
    """For any gemm, of one head or of several."""
    return Design(contract, whole_matrices)


# Whisper tiny, base and small: each product of a window, as the planner has them.
WHISPER: tuple[Contract, ...] = tuple(
    dict.fromkeys(
        padded_gemm(problem, GEMM_TILE)
        for model in ("tiny", "base", "small")
        for problem in encoder_problems(released_dimensions(model))
    )
)
DESIGNS: tuple[Design, ...] = (
    Design(MATMUL_64X64, one_core),
    Design(MATMUL_64X64_BF16, one_core),
    Design(matmul_64x64_batch(16), batch_of_pairs),
    Design(matmul_64x64_batch(64), batch_of_pairs),
    Design(MATMUL_64X512, wide),
    Design(MATMUL_64X512_BF16, wide),
    Design(MATMUL_128X512, wide),
    Design(MATMUL_128X512_BF16, wide),
    Design(matmul_64x512_k(512), wide),
    Design(matmul_64x512_k(2048), wide),
    gemm_design(gemm(3072, 512, 576)),  # the experiment's (3001,512)@(512,512)
    *map(gemm_design, WHISPER),
)


# ------------------------------------------------------------------------------------- what designs share


def core(column: int, row: int) -> tuple[int, int]:
    """The tile of a core, its row counted from the lowest core."""
    return column, FIRST_CORE_ROW + row


def a_to_micro_tiles(m: int, k: int) -> Dims:
    """A (m,k) in rows, sent as (m/r, k/s, r, s)."""
    return [(m // R, R * k), (k // S, S), (R, k), (S, 1)]


def b_to_micro_tiles(k: int, n: int) -> Dims:
    """B (k,n) in rows, sent as (k/s, n/t, s, t)."""
    return [(k // S, S * n), (n // T, T), (S, n), (T, 1)]


def c_to_rows(m: int, n: int) -> Dims:
    """C as (m/r, n/t, r, t), sent in rows (m,n)."""
    return [(m // R, R * n), (R, T), (n // T, R * T), (T, 1)]


def check_parameters(contract: Contract) -> None:
    """Raises DesignParameterError, naming value and limit, where the array cannot hold the contract."""
    m, k, n = _core_tile(contract)
    name = contract.name
    for size, value, unit in (("m", m, REGISTER_BLOCK * R), ("k", k, S), ("n", n, REGISTER_BLOCK * T)):
        if value < unit or value % unit:
            raise DesignParameterError(f"{name}: tile {size} = {value} must be a multiple of {unit}")
    if contract.l1_bytes > XDNA1.core.memory_bytes:
        raise DesignParameterError(
            f"{name}: a core would hold {contract.l1_bytes:,} bytes of {XDNA1.core.memory_bytes:,}: "
            f"take a smaller tile than m,k,n = {m},{k},{n}"
        )
    if contract.operand_dtype is not DType.BF16:
        raise DesignParameterError(f"{name}: operands are {contract.operand_dtype.value}, designs take bf16")
    if contract.result_dtype is DType.BF16 and contract.k != k:
        raise DesignParameterError(f"{name}: bf16 C takes K = {contract.k} in one step, the tile has k = {k}")
    if contract.cores not in (1, XDNA1.cores):
        raise DesignParameterError(f"{name}: {contract.cores} cores; designs take 1 or {XDNA1.cores}")
    if contract.packs_pairs and contract.batch % XDNA1.cores:
        raise DesignParameterError(f"{name}: a batch of {contract.batch} must be a multiple of {XDNA1.cores}")
    for size, value, unit in zip("MKN", (contract.m, contract.k, contract.n), _units(contract), strict=True):
        if value < unit or value % unit:
            raise DesignParameterError(f"{name}: {size} = {value} must be a multiple of {unit}")


def _units(contract: Contract) -> tuple[int, int, int]:
    """What M, K and N of one dispatch are multiples of."""
    m, k, n = _core_tile(contract)
    if contract.cores == 1 or contract.packs_pairs:
        return m, k, n
    if contract.sizes_at_run_time:
        return m * XDNA1.core_rows, k, n * XDNA1.columns
    return m, k, n * XDNA1.cores  # wide: every core another n columns


def _core_tile(contract: Contract) -> tuple[int, int, int]:
    if contract.core_tile is None:
        raise DesignParameterError(f"{contract.name} has no design: its contract names no tile of a core")
    return contract.core_tile


def _host_matrices(contract: Contract) -> dict[str, tuple[tuple[int, ...], str]]:
    m, k, n = contract.m, contract.k, contract.n
    heads = contract.batch
    return {
        "A": ((heads * m * k,), "bf16"),
        "B": ((heads * k * n,), "bf16"),
        "C": ((heads * m * n,), contract.result_dtype.value),
    }


def _join_c(text: Text, contract: Contract, c: int) -> None:
    """The C tiles of a column's four cores, joined in its memtile, leave in rows, core after core."""
    m, _, n = _core_tile(contract)
    dtype = contract.result_dtype.value
    for j in ROWS:
        text.fifo(f"C_L1L2_{c}_{j}", core(c, j), [(c, 1)], DEPTH_C, (m, n), dtype)
    joined = (len(ROWS) * m * n,)
    text.fifo(f"C_L2L3_{c}", (c, 1), [(c, 0)], DEPTH_C, joined, dtype, c_to_rows(m, n))
    pieces = [f"C_L1L2_{c}_{j}" for j in ROWS]
    text.link(pieces, [f"C_L2L3_{c}"], [j * m * n for j in ROWS])


def _product_over_k(text: Text, contract: Contract, a_fifo: str, b_fifo: str, c_fifo: str) -> None:
    """One tile of C: zeroed, then tiles of A and B added, step by step; or written at once in bf16."""
    c_tile = text.acquire(c_fifo, "Produce")
    if contract.result_dtype is DType.BF16:
        _step(text, "matmul_bf16_bf16", a_fifo, b_fifo, c_tile)
    else:
        text.call("zero_f32", c_tile)
        with text.loop("%kk", "%c0", STEPS):
            _step(text, "matmul_bf16_f32", a_fifo, b_fifo, c_tile)
    text.release(c_fifo, "Produce")


def _product_over_runtime_k(text: Text, c: int, j: int, a_fifo: str, b_fifo: str, c_fifo: str) -> None:
    """The same with as many steps as the runtime sequence says: the first, and then the others."""
    c_tile = text.acquire(c_fifo, "Produce")
    text.call("zero_f32", c_tile)
    a_tile = text.acquire(a_fifo, "Consume")
    b_tile = text.acquire(b_fifo, "Consume")
    # Only now: before A has come, the sequence may not have written the number yet.
    text.load_steps(c, j)
    text.call("matmul_bf16_f32", a_tile, b_tile, c_tile)
    text.release(a_fifo, "Consume")
    text.release(b_fifo, "Consume")
    with text.loop("%kk", "%c1", STEPS):
        _step(text, "matmul_bf16_f32", a_fifo, b_fifo, c_tile)
    text.release(c_fifo, "Produce")


def _step(text: Text, function: str, a_fifo: str, b_fifo: str, c_tile: Value) -> None:
    a_tile = text.acquire(a_fifo, "Consume")
    b_tile = text.acquire(b_fifo, "Consume")
    text.call(function, a_tile, b_tile, c_tile)
    text.release(a_fifo, "Consume")
    text.release(b_fifo, "Consume")


@dataclass(frozen=True)
class _Descriptors:
    """Buffer descriptors of a round, other ones than those of the round before, which may still run."""

    number: int

    @property
    def _first(self) -> int:
        return self.number % 2 * (XDNA1.shim.buffer_descriptors // 2)

    @property
    def c(self) -> int:
        return self._first

    @property
    def a(self) -> int:
        return self._first + 1

    def b(self, part: int) -> int:
        return self._first + 2 + part


# ------------------------------------------------------------------------------------------------- text


@dataclass(frozen=True)
class Value:
    """An SSA name and its memref type."""

    name: str
    type: str


class Text:
    """MLIR text, line by line: one method an operation, spelled as mlir-aie's parser wants it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0
        self._names = 0
        self._types: dict[str, str] = {}  # fifo -> memref type of its elements
        self._functions: dict[str, tuple[str, ...]] = {}

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def line(self, text: str) -> None:
        self._lines.append("  " * self._depth + text)

    def section(self, title: str) -> None:
        self._lines.append("")
        self.line(f"// {title}")

    @contextmanager
    def block(self, head: str, end: str = "}") -> Iterator[None]:
        self.line(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line(end)

    # array

    def functions(self, contract: Contract) -> None:
        """Declare what the design calls of kernels/matmul.cc, compiled for its tile."""
        m, k, n = _core_tile(contract)
        a, b = memref((m, k), "bf16"), memref((k, n), "bf16")
        c = memref((m, n), contract.result_dtype.value)
        if contract.packs_pairs:
            self._functions["matmul_pair_bf16_f32"] = (memref((m * k + k * n,), "bf16"), c)
        elif contract.result_dtype is DType.BF16:
            self._functions["matmul_bf16_bf16"] = (a, b, c)
        else:
            self._functions["zero_f32"] = (c,)
            self._functions["matmul_bf16_f32"] = (a, b, c)
        for name, types in self._functions.items():
            link_with = f'attributes {{link_with = "matmul_{m}x{k}x{n}.o"}}'
            self.line(f"func.func private @{name}({', '.join(types)}) {link_with}")

    def tiles(self, places: Sequence[tuple[int, int]]) -> None:
        for place in places:
            self.line(f"{tile(place)} = aie.tile({place[0]}, {place[1]})")

    def steps_buffer(self, c: int, j: int) -> None:
        self.line(
            f'%steps_{c}_{j} = aie.buffer({tile(core(c, j))}) {{sym_name = "steps_{c}_{j}"}} : memref<1xi32>'
        )

    def fifo(
        self,
        name: str,
        producer: tuple[int, int],
        consumers: Sequence[tuple[int, int]],
        depth: int,
        shape: tuple[int, ...],
        dtype: str,
        to_stream: Dims = (),
    ) -> None:
        self._types[name] = memref(shape, dtype)
        order = ", ".join(f"<size = {size}, stride = {stride}>" for size, stride in to_stream)
        transform = f" dimensionsToStream [{order}]" if to_stream else ""
        receivers = ", ".join(tile(place) for place in consumers)
        self.line(
            f"aie.objectfifo @{name}({tile(producer)}{transform}, {{{receivers}}}, {depth} : i32) "
            f": !aie.objectfifo<{self._types[name]}>"
        )

    def link(self, inputs: Sequence[str], outputs: Sequence[str], offsets: Sequence[int] = ()) -> None:
        def names(fifos: Sequence[str]) -> str:
            return ", ".join(f"@{fifo}" for fifo in fifos)

        joins = offsets if len(inputs) > 1 else ()
        splits = offsets if len(outputs) > 1 else ()
        self.line(
            f"aie.objectfifo.link [{names(inputs)}] -> [{names(outputs)}]({list(joins)} {list(splits)})"
        )

    # cores

    @contextmanager
    def core(self, place: tuple[int, int], *, steps: int | None) -> Iterator[None]:
        """A core that does its task forever. steps: of its loop over K; None where they come at run time."""
        dynamic = "dynamic_objfifo_lowering = true, " if steps is None else ""
        end = f"}} {{{dynamic}stack_size = {XDNA1.stack_bytes} : i32}}"
        constants = {"%c0": 0, "%c1": 1, "%forever": FOREVER} | ({} if steps is None else {STEPS: steps})
        self._names = 0
        with self.block(f"%core_{place[0]}_{place[1]} = aie.core({tile(place)})", end):
            for name, value in constants.items():
                self.line(f"{name} = arith.constant {value} : index")
            with self.loop("%round", "%c0", "%forever"):
                yield
            self.line("aie.end")

    @contextmanager
    def loop(self, variable: str, start: str, end: str) -> Iterator[None]:
        with self.block(f"scf.for {variable} = {start} to {end} step %c1"):
            yield

    def load_steps(self, c: int, j: int) -> None:
        self.line(f"%steps_i32 = memref.load %steps_{c}_{j}[%c0] : memref<1xi32>")
        self.line(f"{STEPS} = arith.index_cast %steps_i32 : i32 to index")

    def acquire(self, fifo: str, port: str) -> Value:
        view, element, type = f"%view{self._names}", f"%tile{self._names}", self._types[fifo]
        self._names += 1
        subview = f"!aie.objectfifosubview<{type}>"
        self.line(f"{view} = aie.objectfifo.acquire @{fifo}({port}, 1) : {subview}")
        self.line(f"{element} = aie.objectfifo.subview.access {view}[0] : {subview} -> {type}")
        return Value(element, type)

    def release(self, fifo: str, port: str) -> None:
        self.line(f"aie.objectfifo.release @{fifo}({port}, 1)")

    def call(self, function: str, *arguments: Value) -> None:
        names = ", ".join(argument.name for argument in arguments)
        types = ", ".join(argument.type for argument in arguments)
        assert self._functions[function] == tuple(argument.type for argument in arguments)
        self.line(f"func.call @{function}({names}) : ({types}) -> ()")

    # DRAM

    @contextmanager
    def sequence(self, matrices: dict[str, tuple[tuple[int, ...], str]]) -> Iterator[None]:
        self._matrices = {name: memref(shape, dtype) for name, (shape, dtype) in matrices.items()}
        arguments = ", ".join(f"%{name}: {type}" for name, type in self._matrices.items())
        with self.block(f"aie.runtime_sequence @sequence({arguments})"):
            yield

    def dma(
        self, matrix: str, offset: int, dims: Dims, descriptor: int, fifo: str, *, token: bool = False
    ) -> None:
        """Move part of a host matrix through a fifo; `token` lets the sequence wait for it."""
        sizes = ", ".join(str(size) for size, _ in dims)
        strides = ", ".join(str(stride) for _, stride in dims)
        issue = ", issue_token = true" if token else ""
        self.line(
            f"aiex.npu.dma_memcpy_nd(%{matrix}[0, 0, 0, {offset}][{sizes}][{strides}]) "
            f"{{id = {descriptor} : i64, metadata = @{fifo}{issue}}} : {self._matrices[matrix]}"
        )

    def wait(self, fifo: str) -> None:
        self.line(f"aiex.npu.dma_wait {{symbol = @{fifo}}}")

    def waits(self, fifos: Iterator[str]) -> None:
        for fifo in fifos:
            self.wait(fifo)

    def write_steps(self, c: int, j: int, steps: int) -> None:
        self.line(f"aiex.npu.rtp_write(@steps_{c}_{j}, 0, {steps})")


def memref(shape: tuple[int, ...], dtype: str) -> str:
    return f"memref<{'x'.join(map(str, shape))}x{dtype}>"


def tile(place: tuple[int, int]) -> str:
    return f"%t{place[0]}_{place[1]}"


def find_design(name: str) -> Design:
    """The design called `name`, with or without its `matmul_` in front. Raises UnknownKernelError."""
    contract = find_contract(name, [design.contract for design in DESIGNS])
    return next(design for design in DESIGNS if design.contract is contract)


def main() -> None:
    """Write every design to kernels/mlir/."""
    MLIR_FOLDER.mkdir(exist_ok=True)
    for design in DESIGNS:
        (MLIR_FOLDER / f"{design.name}.mlir").write_text(design.text, encoding="utf-8")


if __name__ == "__main__":
    main()
