"""Whole matrices in one dispatch, M and N in rounds of one core tile per core, the sum over K on the cores.

Sizes and the number of matrices stand in the instructions, so that all sizes of one core tile share one
overlay. Numerics are those of kernels/matmul/kernel.py, with K never cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import modelled_plan_seconds, modelled_seconds
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Along
from whisper_npu.npu.targets import Target
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
    m, _, n = core_tile
    return GemmContract(
        f"{overlay_name(core_tile, result_dtype)}_{M}x{K}x{N}",
        target,
        M,
        K,
        N,
        core_count=target.cores,
        core_tile=core_tile,
        block=(target.core_rows * m, target.columns * n),
        result_dtype=result_dtype,
    )


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
    one = gemm(target, M, K, N, core_tile, result_dtype)
    name = f"{one.overlay}_{batch}x{M}x{K}x{N}"
    return replace(one, name=name, products=batch, batch_layout=HEADS)


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
        tile
        for tile in tiles
        if padded_gemm(target, Matmul(1, 1, 1), tile).l1_bytes <= target.core.memory_bytes
    )


def best_gemm(target: Target, op: Matmul) -> GemmContract:
    """The whole-matrix kernel of least modelled time for a product, of all of `gemm_tiles`."""
    kernels = (padded_gemm(target, op, tile) for tile in gemm_tiles(target))
    return min(kernels, key=lambda contract: modelled_seconds(contract, 1, target.profile))


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
    return min(same, key=lambda c: modelled_plan_seconds(tiled_plan(op, c), c.target.profile))


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
    found = re.fullmatch(r"gemm_(\d+)x(\d+)x(\d+)(_bf16)?_(?:(\d+)x)?(\d+)x(\d+)x(\d+)", name)
    if found is None:
        return None
    m, k, n, M, K, N = (int(found[group]) for group in (1, 2, 3, 6, 7, 8))
    dtype = DType.BF16 if found[4] else DType.F32
    if found[5] is None:
        return gemm(target, M, K, N, (m, k, n), dtype)
    return gemm_of_batch(target, int(found[5]), M, K, N, (m, k, n), dtype)
