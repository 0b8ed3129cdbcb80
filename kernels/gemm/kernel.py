"""Whole matrices in one dispatch, M and N in rounds of one core tile per core, the sum over K on the cores.

Sizes and the number of matrices stand in the instructions, so that all sizes of one core tile share one
overlay. Numerics are those of kernels/matmul/kernel.py, with K never cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from whisper_npu.dtypes import DType
from whisper_npu.kernels.matmul.kernel import (
    BatchLayout,
    MatmulContract,
    MatmulPlan,
    cheapest_way_round,
    is_for_all,
    tiled_plan,
)
from whisper_npu.kernels.tasks import task_number
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import modelled_plan_seconds
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Along
from whisper_npu.npu.targets import WORD_BYTES, Target
from whisper_npu.ops import Matmul, Op

CoreTile = tuple[int, int, int]  # m,k,n of one core's step

# What the planner takes for Whisper tiny, base and small, as tests/unit/npu/test_planner.py holds it.
GEMM_TILE: CoreTile = (96, 64, 48)

# The matrices of a batch are side by side in A and C, and one below the other in B: A and B lie as those of
# one product with a longer K, whose sum the cores cut. So Q is read as columns of (n_ctx, n_state), and each
# head's context is written as such.
HEADS = BatchLayout(a=Along.COLS, b=Along.ROWS, c=Along.COLS)


@dataclass(frozen=True)
class GemmContract(MatmulContract):
    """A product of whole, padded matrices."""

    __hash__ = Contract.__hash__

    @property
    def overlay(self) -> str:
        assert self.core_tile is not None
        return overlay_name(self.core_tile, self.result_dtype)

    @property
    def tasks(self) -> int:
        """As kernels/gemm/design.py issues them."""
        assert self.core_tile is not None
        assert self.block is not None
        (rows, columns), (_, k, _) = self.block, self.core_tile
        words = self.target.shim.max_step  # of A and of C, from one round to the one below
        a_words = rows * self.batch * self.k * self.operand_dtype.nbytes // WORD_BYTES
        c_words = rows * self.batch * self.n * self.result_dtype.nbytes // WORD_BYTES
        return _tasks(
            self.target,
            self.m // rows,
            self.n // columns,
            has_steps=self.batch * self.k > k,
            b_is_one=self.batch * self.k <= self.target.shim.max_wrap,
            has_batch=self.batch > 1,
            a_fits=a_words <= words,
            c_fits=c_words <= words,
        )

    @property
    def writes(self) -> int:
        """How many steps K has, to each core."""
        return self.cores

    @property
    def stream_bytes(self) -> tuple[int, int]:
        """Each column brings the A of its rows of cores, and B and C of its own cores."""
        columns, rows = self.target.columns, self.target.core_rows
        a, b = self.operand_bytes
        return max(a // rows * -(-rows // columns), b // columns), self.bytes_from_device // columns


@lru_cache(maxsize=4096)
def _tasks(
    target: Target,
    down: int,
    across: int,
    *,
    has_steps: bool,
    b_is_one: bool,
    has_batch: bool,
    a_fits: bool,
    c_fits: bool,
) -> int:
    """For so many rounds of each matrix: below one another, and beside one another.

    The planner asks for many sizes, and most are alike. b_is_one: whether the rows of all steps of B are one
    loop. fits: whether a shim can step that far.
    """
    far = (target.shim.max_step + 1) * WORD_BYTES  # in elements of at least a byte

    def of_fifo(step_down: int, step_across: int, *, is_deep: bool) -> tuple[int, int]:
        """With the next round beside the one before, and with the next round below it."""
        loops = [(down, step_down), (across, step_across)]
        of_round = [(2, 9), (2, 3), (2, 1)][0 if is_deep else 1 :]
        return (
            task_number(target, 1, loops, of_round),
            task_number(target, 1, loops[::-1], of_round),
        )

    a = of_fifo(1 if a_fits else far, 0, is_deep=has_steps)
    b = of_fifo(0, 1, is_deep=has_steps and not b_is_one)
    c = of_fifo(1 if c_fits else far, 1, is_deep=has_batch)
    with_a = min(target.columns, target.core_rows)
    return min(
        with_a * of_a + target.columns * (of_b + of_c) for of_a, of_b, of_c in zip(a, b, c, strict=True)
    )


def overlay_name(core_tile: CoreTile, result_dtype: DType = DType.F32) -> str:
    """The name of the array's configuration that all sizes of this core tile share."""
    name = f"gemm_{'x'.join(map(str, core_tile))}"
    return name if result_dtype is DType.F32 else f"{name}_{result_dtype.value}"


def gemm(
    target: Target,
    M: int,
    K: int,
    N: int,
    core_tile: CoreTile = GEMM_TILE,
    result_dtype: DType = DType.F32,
) -> GemmContract:
    """One product of sizes that whole rounds cover."""
    return _gemm(target, 1, M, K, N, None, core_tile, result_dtype)


def gemm_of_batch(
    target: Target,
    batch: int,
    M: int,
    K: int,
    N: int,
    core_tile: CoreTile = GEMM_TILE,
    result_dtype: DType = DType.F32,
) -> GemmContract:
    """`gemm` for each matrix of a batch in one dispatch: the instructions walk from one to the next."""
    return _gemm(target, batch, M, K, N, HEADS, core_tile, result_dtype)


def _gemm(
    target: Target,
    batch: int,
    M: int,
    K: int,
    N: int,
    layout: BatchLayout | None,
    core_tile: CoreTile,
    result_dtype: DType,
) -> GemmContract:
    m, _, n = core_tile
    of_batch = "" if layout is None else f"{batch}x"
    return GemmContract(
        f"{overlay_name(core_tile, result_dtype)}_{of_batch}{M}x{K}x{N}",
        target,
        M,
        K,
        N,
        core_count=target.cores,
        core_tile=core_tile,
        block=(target.core_rows * m, target.columns * n),
        products=batch,
        batch_layout=layout,
        result_dtype=result_dtype,
    )


def padded_gemm(
    target: Target,
    op: Matmul,
    core_tile: CoreTile = GEMM_TILE,
    result_dtype: DType = DType.F32,
    *,
    transposed: bool = False,
) -> GemmContract:
    """The kernel for a product, its sizes rounded up to what rounds of core tiles cover.

    transposed: for C^T = B^T A^T of it.
    """
    problem = op.transposed if transposed else op
    m, k, n = core_tile
    units = target.core_rows * m, k, target.columns * n
    sizes = (problem.M, problem.K, problem.N)
    M, K, N = (-(-size // unit) * unit for size, unit in zip(sizes, units, strict=True))
    if problem.batch == 1:
        return gemm(target, M, K, N, core_tile, result_dtype)
    return gemm_of_batch(target, problem.batch, M, K, N, core_tile, result_dtype)


@lru_cache(maxsize=8)
def gemm_tiles(target: Target) -> tuple[CoreTile, ...]:
    """All core tiles that L1 holds, by one rule, those of more rows first.

    m and n in multiples of 16, the register block; k in multiples of 64, so that a row of A is read from DRAM
    in bursts of 128 bytes; C in fp32.
    """
    tiles = product(range(160, 0, -16), range(64, 193, 64), range(16, 161, 16))
    return tuple(
        tile for tile in tiles if padded_gemm(target, Matmul(1, 1, 1), tile).l1_bytes <= target.l1_bytes
    )


@dataclass(frozen=True)
class Gemm(Kernel):
    """The whole-matrix kernels of one core tile: one overlay for all of them, one dispatch per product.

    For one K and N, B lies the same whatever M is, so that weights can be staged before M is known.
    """

    target: Target
    core_tile: CoreTile
    built: tuple[MatmulContract, ...] | None = None  # the only ones there are; None: one for any shape

    @property
    def name(self) -> str:
        return overlay_name(self.core_tile)

    @property
    def group(self) -> str:
        return "gemm"

    def contract(self, op: Op) -> MatmulContract | None:
        return self._contract(op) if isinstance(op, Matmul) else None

    def _contract(self, op: Matmul, *, transposed: bool = False) -> MatmulContract:
        wanted = padded_gemm(self.target, op, self.core_tile, transposed=transposed)
        if self.built is None or (op.batch > 1 and wanted in self.built):
            return wanted
        way = op.transposed if transposed else op
        return _best_built([contract for contract in self.built if contract.batch == 1], way)

    def plan(self, op: Op) -> MatmulPlan:
        assert isinstance(op, Matmul)
        return cheapest_way_round(op, lambda way, transposed: self._contract(way, transposed=transposed))


def _best_built(contracts: Sequence[MatmulContract], op: Matmul) -> MatmulContract:
    """The largest k and n of those that pad B least; and of their contracts the fastest, as modelled."""

    def padding(sizes: tuple[int, int]) -> tuple[int, int]:
        (k, n), (K, N) = sizes, (op.K, op.N)
        down, across = -(-K // k), -(-N // n)
        return down * k * across * n, down * across

    k, n = min({(contract.k, contract.n) for contract in contracts}, key=padding)
    same = [contract for contract in contracts if (contract.k, contract.n) == (k, n)]
    return min(same, key=lambda c: modelled_plan_seconds(tiled_plan(op, c), c.target.profile).middle)


def contracts(target: Target) -> tuple[MatmulContract, ...]:
    """None: a gemm has any size, and its name says which."""
    return ()


def kernels(target: Target) -> tuple[Kernel, ...]:
    """What the planner may choose from."""
    return tuple(Gemm(target, tile) for tile in gemm_tiles(target))


def kernels_built(built: Iterable[Contract]) -> tuple[Kernel, ...]:
    """The same where only these kernels are built.

    A core tile without a kernel for single products is none.
    """
    mine = [contract for contract in built if isinstance(contract, GemmContract) and is_for_all(contract)]
    tiles = {
        (contract.target, contract.core_tile)
        for contract in mine
        if contract.batch == 1 and contract.core_tile
    }
    return tuple(
        Gemm(target, tile, tuple(contract for contract in mine if contract.core_tile == tile))
        for target, tile in sorted(tiles, key=lambda found: found[1])
    )


def contract_named(name: str, target: Target) -> GemmContract | None:
    """The contract of exactly this name, of any sizes; None for any other name."""
    size = "(0|[1-9][0-9]{0,8})"
    found = re.fullmatch(f"gemm_{size}x{size}x{size}(_bf16)?_(?:{size}x)?{size}x{size}x{size}", name)
    if found is None:
        return None
    m, k, n, M, K, N = (int(found[group]) for group in (1, 2, 3, 6, 7, 8))
    dtype = DType.BF16 if found[4] else DType.F32
    if found[5] is None:
        return gemm(target, M, K, N, (m, k, n), dtype)
    return gemm_of_batch(target, int(found[5]), M, K, N, (m, k, n), dtype)
