"""Matrix products of fixed sizes as designs: on one core, on the whole array, and in pairs.

Host matrices are row-major; a memtile's DMA puts A and B into micro-tile order on the way to a core, and C
back into rows on the way out.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisper_npu.dtypes import DType
from whisper_npu.kernels.matmul.core import MATMUL_CC, units
from whisper_npu.kernels.matmul.kernel import DEPTH_AB, DEPTH_C, MatmulContract
from whisper_npu.kernels.mlir import (
    Array,
    DesignParameterError,
    Dims,
    Text,
    Value,
    check_multiple,
    core,
    memref,
)
from whisper_npu.kernels.shim import move, traffic
from whisper_npu.kernels.toolchain import NEWEST, Generation

STEPS = "%steps"  # of a core's loop over K


def design(contract: MatmulContract, toolchain: Generation = NEWEST) -> str:
    """MLIR text, as a toolchain spells it.

    Raises DesignParameterError, before a line is printed, for what the array cannot hold.
    """
    check_tile(contract)
    _check_sizes(contract)
    if contract.packs_pairs:
        return batch_of_pairs(contract, toolchain)
    return (one_core if contract.cores == 1 else wide)(contract, toolchain)


# ---------------------------------------------------------------------------------------------- designs


def one_core(contract: MatmulContract, toolchain: Generation) -> str:
    """(m,k)@(k,n) on one core: the shape of the baseline.

    L1 of 64x64x64: 2 x (64x64 + 64x64) bf16 + 64x64 fp32 + 3,328 stack = 52,480 bytes.
    """
    m, k, n = core_tile(contract)
    target, dtype = contract.target, contract.result_dtype.value
    text = Text(toolchain)
    with text.device(target.device(1)):
        declare_functions(text, contract)

        text.section("Tiles")
        text.tiles([(0, 0), (0, 1), core(0, 0)])

        text.section("Data movement in the array")
        text.fifo("A_L3L2", (0, 0), [(0, 1)], DEPTH_AB, (m * k,), "bf16")
        text.fifo("A_L2L1", (0, 1), [core(0, 0)], DEPTH_AB, (m, k), "bf16", a_to_micro_tiles(contract))
        text.link(["A_L3L2"], ["A_L2L1"])
        text.fifo("B_L3L2", (0, 0), [(0, 1)], DEPTH_AB, (k * n,), "bf16")
        text.fifo("B_L2L1", (0, 1), [core(0, 0)], DEPTH_AB, (k, n), "bf16", b_to_micro_tiles(contract))
        text.link(["B_L3L2"], ["B_L2L1"])
        text.fifo("C_L1L2", core(0, 0), [(0, 1)], DEPTH_C, (m, n), dtype)
        text.fifo("C_L2L3", (0, 1), [(0, 0)], DEPTH_C, (m * n,), dtype, c_to_rows(contract))
        text.link(["C_L1L2"], ["C_L2L3"])

        text.section("Core task")
        with text.core(core(0, 0), target.stack_bytes, {STEPS: 1}):
            product_over_k(text, contract, "A_L2L1", "B_L2L1", "C_L1L2")

        text.section("DRAM movement")
        with text.sequence(contract.arguments):
            a = traffic(contract, "A", "A_L3L2", 0, [], [(m, k), (k, 1)])
            b = traffic(contract, "B", "B_L3L2", 0, [], [(k, n), (n, 1)])
            c = traffic(contract, "C", "C_L2L3", 0, [], [(m, n), (n, 1)])
            move(text, target, [a, b], [c])
    return str(text)


def batch_of_pairs(contract: MatmulContract, toolchain: Generation) -> str:
    """`batch` independent (m,k)@(k,n); each core takes one of as many as there are cores.

    One stream per core: pairs, A then B, already in micro-tile order. With A and B apart a memtile would feed
    two streams to each core of its column and one to DRAM: nine output channels for four cores, where XDNA's
    memtiles have six. L1 of 64x64x64: 2 x pair (16 KiB) + 64x64 fp32 + 3,328 stack = 52,480 bytes.
    """
    m, k, n = core_tile(contract)
    array = Array(contract.target)
    in_column = len(array.rows)
    pair, c_tile, rounds = m * k + k * n, m * n, contract.batch // contract.target.cores
    text = Text(toolchain)
    with text.device(contract.target.device()):
        declare_functions(text, contract)

        text.section("Tiles")
        text.tiles(array.tiles)

        text.section("Data movement in the array")
        for c in array.columns:
            text.fifo(f"AB_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (in_column * pair,), "bf16")
            for j in array.rows:
                text.fifo(f"AB_L2L1_{c}_{j}", (c, 1), [core(c, j)], DEPTH_AB, (pair,), "bf16")
            to_cores = [f"AB_L2L1_{c}_{j}" for j in array.rows]
            text.link([f"AB_L3L2_{c}"], to_cores, [j * pair for j in array.rows])
            join_c(text, contract, c)

        text.section("Core task")
        for c in array.columns:
            for j in array.rows:
                with text.core(core(c, j), contract.target.stack_bytes, {STEPS: 1}):
                    product = text.acquire(f"C_L1L2_{c}_{j}", "Produce")
                    operands = text.acquire(f"AB_L2L1_{c}_{j}", "Consume")
                    text.call("matmul_pair_bf16_f32", operands, product)
                    text.release(f"AB_L2L1_{c}_{j}", "Consume")
                    text.release(f"C_L1L2_{c}_{j}", "Produce")

        text.section("DRAM movement")
        with text.sequence(contract.arguments):
            cores, inputs, outputs = contract.target.cores, [], []
            for c in array.columns:
                first, order = c * in_column, [(rounds, cores * pair)]
                pairs = [(in_column, pair), (pair // n, n), (n, 1)]
                inputs.append(traffic(contract, "AB", f"AB_L3L2_{c}", c, order, pairs, first * pair))
                tiles, order = [(in_column, c_tile), (m, n), (n, 1)], [(rounds, cores * c_tile)]
                outputs.append(traffic(contract, "C", f"C_L2L3_{c}", c, order, tiles, first * c_tile))
            move(text, contract.target, inputs, outputs)
    return str(text)


def wide(contract: MatmulContract, toolchain: Generation) -> str:
    """(m,K)@(K,N): A for everybody, columns of B and C spread over all cores; K summed on the core.

    Core (column c, row j) owns columns (rows * c + j) * n of each round's rows * columns * n. A comes by
    column 0 and is broadcast. L1 of 64x64x32: 2 x (64x64 + 64x32) bf16 + 64x32 fp32 + 3,328 stack = 36,096
    bytes.
    """
    m, k, n = core_tile(contract)
    target, array = contract.target, Array(contract.target)
    K, N, in_column = contract.k, contract.n, len(array.rows)
    steps, group = K // k, in_column * n  # columns of B that one column of the array works on
    width = len(array.columns) * group
    text = Text(toolchain)
    with text.device(target.device()):
        declare_functions(text, contract)

        text.section("Tiles")
        text.tiles(array.tiles)

        text.section("Data movement in the array")
        text.fifo("A_L3L2", (0, 0), [(0, 1)], DEPTH_AB, (m * k,), "bf16")
        text.fifo("A_L2L1", (0, 1), array.cores, DEPTH_AB, (m, k), "bf16", a_to_micro_tiles(contract))
        text.link(["A_L3L2"], ["A_L2L1"])
        for c in array.columns:
            text.fifo(f"B_L3L2_{c}", (c, 0), [(c, 1)], DEPTH_AB, (in_column * k * n,), "bf16")
            for j in array.rows:
                name, order = f"B_L2L1_{c}_{j}", b_to_micro_tiles(contract)
                text.fifo(name, (c, 1), [core(c, j)], DEPTH_AB, (k, n), "bf16", order)
            to_cores = [f"B_L2L1_{c}_{j}" for j in array.rows]
            text.link([f"B_L3L2_{c}"], to_cores, [j * k * n for j in array.rows])
            join_c(text, contract, c)

        text.section("Core task")
        for c in array.columns:
            for j in array.rows:
                with text.core(core(c, j), target.stack_bytes, {STEPS: steps}):
                    product_over_k(text, contract, "A_L2L1", f"B_L2L1_{c}_{j}", f"C_L1L2_{c}_{j}")

        text.section("DRAM movement")
        with text.sequence(contract.arguments):
            rounds = N // width
            inputs, outputs = [], []
            inputs.append(traffic(contract, "A", "A_L3L2", 0, [(rounds, 0)], [(steps, k), (m, K), (k, 1)]))
            for c in array.columns:
                order, first = [(rounds, width)], c * group
                tiles = [(steps, k * N), (in_column, n), (k, N), (n, 1)]
                inputs.append(traffic(contract, "B", f"B_L3L2_{c}", c, order, tiles, first))
                rows = [(in_column, n), (m, N), (n, 1)]
                outputs.append(traffic(contract, "C", f"C_L2L3_{c}", c, order, rows, first))
            move(text, target, inputs, outputs)
    return str(text)


# --------------------------------------------------------------------------------- what designs share


def core_tile(contract: MatmulContract) -> tuple[int, int, int]:
    if contract.core_tile is None:
        raise DesignParameterError(f"{contract.name} has no design: its contract names no tile of a core")
    return contract.core_tile


def a_to_micro_tiles(contract: MatmulContract) -> Dims:
    """A (m,k) in rows, sent as (m/r, k/s, r, s)."""
    (m, k, _), (r, s, _) = core_tile(contract), contract.target.micro_tile
    return [(m // r, r * k), (k // s, s), (r, k), (s, 1)]


def b_to_micro_tiles(contract: MatmulContract) -> Dims:
    """B (k,n) in rows, sent as (k/s, n/t, s, t)."""
    (_, k, n), (_, s, t) = core_tile(contract), contract.target.micro_tile
    return [(k // s, s * n), (n // t, t), (s, n), (t, 1)]


def c_to_rows(contract: MatmulContract) -> Dims:
    """C as (m/r, n/t, r, t), sent in rows (m,n)."""
    (m, _, n), (r, _, t) = core_tile(contract), contract.target.micro_tile
    return [(m // r, r * n), (r, t), (n // t, r * t), (t, 1)]


def declare_functions(text: Text, contract: MatmulContract) -> None:
    """What the design calls of matmul.cc, compiled for its tile."""
    m, k, n = core_tile(contract)
    a, b = memref((m, k), "bf16"), memref((k, n), "bf16")
    c = memref((m, n), contract.result_dtype.value)
    declared: dict[str, Sequence[str]]
    if contract.packs_pairs:
        declared = {"matmul_pair_bf16_f32": (memref((m * k + k * n,), "bf16"), c)}
    elif contract.result_dtype is DType.BF16:
        declared = {"matmul_bf16_bf16": (a, b, c)}
    else:
        declared = {"zero_f32": (c,), "matmul_bf16_f32": (a, b, c)}
    for name, types in declared.items():
        text.function(name, types, MATMUL_CC.object_name(m, k, n))


def join_c(text: Text, contract: MatmulContract, c: int) -> None:
    """The C tiles of a column's cores, joined in its memtile, leave in rows, core after core."""
    m, _, n = core_tile(contract)
    rows, dtype = Array(contract.target).rows, contract.result_dtype.value
    for j in rows:
        text.fifo(f"C_L1L2_{c}_{j}", core(c, j), [(c, 1)], DEPTH_C, (m, n), dtype)
    joined = (len(rows) * m * n,)
    text.fifo(f"C_L2L3_{c}", (c, 1), [(c, 0)], DEPTH_C, joined, dtype, c_to_rows(contract))
    text.link([f"C_L1L2_{c}_{j}" for j in rows], [f"C_L2L3_{c}"], [j * m * n for j in rows])


def product_over_k(text: Text, contract: MatmulContract, a_fifo: str, b_fifo: str, c_fifo: str) -> None:
    """One tile of C: zeroed, then tiles of A and B added, step by step; or written at once in bf16."""
    c_tile = text.acquire(c_fifo, "Produce")
    if contract.result_dtype is DType.BF16:
        step(text, "matmul_bf16_bf16", a_fifo, b_fifo, c_tile)
    else:
        text.call("zero_f32", c_tile)
        with text.loop("%kk", "%c0", STEPS):
            step(text, "matmul_bf16_f32", a_fifo, b_fifo, c_tile)
    text.release(c_fifo, "Produce")


def step(text: Text, function: str, a_fifo: str, b_fifo: str, c_tile: Value) -> None:
    a_tile = text.acquire(a_fifo, "Consume")
    b_tile = text.acquire(b_fifo, "Consume")
    text.call(function, a_tile, b_tile, c_tile)
    text.release(a_fifo, "Consume")
    text.release(b_fifo, "Consume")


# ------------------------------------------------------------------------------------- what is refused


def check_tile(contract: MatmulContract) -> None:
    """Raises DesignParameterError, naming value and limit, for a tile or types that no core works on."""
    tile, target, name = core_tile(contract), contract.target, contract.name
    for size, value, unit in zip("mkn", tile, units(target), strict=True):
        check_multiple(name, f"tile {size}", value, unit)
    if contract.l1_bytes > target.l1_bytes:
        raise DesignParameterError(
            f"{name}: a core would hold {contract.l1_bytes:,} bytes of {target.l1_bytes:,}: "
            f"take a smaller tile than m,k,n = {','.join(map(str, tile))}"
        )
    if contract.operand_dtype is not DType.BF16:
        raise DesignParameterError(f"{name}: operands are {contract.operand_dtype.value}, designs take bf16")
    if contract.result_dtype is DType.BF16 and contract.k != tile[1]:
        raise DesignParameterError(
            f"{name}: bf16 C takes K = {contract.k} in one step, the tile has k = {tile[1]}"
        )


def check_multiples(contract: MatmulContract, multiples: tuple[int, int, int]) -> None:
    """The same for an M, K or N of one dispatch that rounds of core tiles do not cover."""
    sizes = contract.m, contract.k, contract.n
    for size, value, unit in zip("MKN", sizes, multiples, strict=True):
        check_multiple(contract.name, size, value, unit)


def _check_sizes(contract: MatmulContract) -> None:
    (m, k, n), target, name = core_tile(contract), contract.target, contract.name
    if contract.cores not in (1, target.cores):
        raise DesignParameterError(f"{name}: {contract.cores} cores; designs take 1 or {target.cores}")
    if contract.packs_pairs and (contract.cores == 1 or contract.batch % target.cores):
        raise DesignParameterError(
            f"{name}: a batch of {contract.batch} must be a multiple of {target.cores}, one per core"
        )
    if contract.batch_layout is not None:
        raise DesignParameterError(f"{name}: only a gemm takes matrices of a batch that lie in larger ones")
    is_wide = contract.cores > 1 and not contract.packs_pairs
    check_multiples(contract, (m, k, n * target.cores if is_wide else n))
    fixed = {"M": (contract.m, m)} | ({} if is_wide else {"K": (contract.k, k), "N": (contract.n, n)})
    for size, (value, of_tile) in fixed.items():
        if value != of_tile:
            raise DesignParameterError(f"{name}: {size} = {value} must be the tile's {of_tile}")
