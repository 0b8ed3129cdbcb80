"""Products of fixed sizes: 64x64 on one core, 64x512 and 128x512 on all, and many 64x64 in one dispatch.

The host cuts a problem into tiles of the kernel's m, k, n; where K is larger than k it adds the partial
results in fp32. bf16 operands are rounded to nearest even unless a contract says otherwise. The cores
sum in fp32 as host/vmac.hpp says: each vmac adds the s products of one step of the micro-tile, in the order
of k. `compute` gives the same bits; how far they may lie from float64, `Matmul.tolerance` derives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.host.vmac import accumulate
from whisper_npu.kernels.matmul import known_answer
from whisper_npu.kernels.tasks import task_number
from whisper_npu.npu.contract import Argument, Contract, KnownAnswer
from whisper_npu.npu.cost import modelled_plan_seconds
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Along, Layout, pack_pairs
from whisper_npu.npu.plan import STAY, Loop, Plan
from whisper_npu.npu.targets import WORD_BYTES, CoreRate, Target
from whisper_npu.ops import Batched, Direction, Matmul, Numerics, Op

DEPTH_AB = 2  # buffers of A and of B in a core: one is filled while the core works on the other
DEPTH_C = 1  # one fp32 C of 64x64 is 16 KiB; two would not leave room for A and B


@dataclass(frozen=True)
class BatchLayout:
    """Where the matrices of a batch lie, in a kernel that takes the whole batch per dispatch."""

    a: Along
    b: Along
    c: Along


@dataclass(frozen=True)
class MatmulContract(Contract):
    """C (m,n) = A (m,k) @ B (k,n), `batch` times per dispatch.

    The host rounds operands to `operand_dtype` by `operand_rounding` when it lays them out. The cores write C
    as `result_dtype`, rounded by `result_rounding` where that is bf16.
    """

    m: int
    k: int
    n: int
    core_count: int  # that share one dispatch
    core_tile: tuple[int, int, int] | None = None  # m,k,n of one core's step; None where there is no design
    block: tuple[int, int] | None = None  # rows, columns of C that a round makes; None: one round makes all
    products: int = 1  # of one dispatch, independent: packed in pairs, or lying as `batch_layout` says
    batch_layout: BatchLayout | None = None
    operand_dtype: DType = DType.BF16
    operand_rounding: Rounding = Rounding.NEAREST_EVEN
    result_dtype: DType = DType.F32
    result_rounding: Rounding = Rounding.NEAREST_EVEN

    __hash__ = Contract.__hash__

    @property
    def cores(self) -> int:
        return self.core_count

    @property
    def batch(self) -> int:
        return self.products

    @property
    def overlay(self) -> str:
        return self.name

    @property
    def packs_pairs(self) -> bool:
        """Whether its products are independent, A and B of each packed as a pair."""
        return self.batch > 1 and self.batch_layout is None

    @property
    def arguments(self) -> tuple[Argument, ...]:
        m, k, n, batch, dtype = self.m, self.k, self.n, self.batch, self.operand_dtype
        c = Argument("C", batch * m * n, self.result_dtype, Direction.OUT)
        if self.packs_pairs:
            return Argument("AB", batch * (m * k + k * n), dtype, Direction.IN), c
        a = Argument("A", batch * m * k, dtype, Direction.IN)
        return a, Argument("B", batch * k * n, dtype, Direction.IN), c

    @property
    def macs(self) -> int:
        return self.batch * self.m * self.k * self.n

    @property
    def bytes_to_device(self) -> int:
        return sum(self.operand_bytes)

    @property
    def operand_bytes(self) -> tuple[int, int]:
        """DRAM is read for A once per block of columns, for B once per block of rows."""
        rows, columns = self.block or (self.m, self.n)
        a, b = self.m * self.k * (self.n // columns), self.k * self.n * (self.m // rows)
        size = self.batch * self.operand_dtype.nbytes
        return a * size, b * size

    @property
    def bytes_from_device(self) -> int:
        return self.batch * self.m * self.n * self.result_dtype.nbytes

    @property
    def l1_bytes(self) -> int:
        """For `core_tile`: two buffers of A and B, one of C, and the stack."""
        assert self.core_tile is not None
        m, k, n = self.core_tile
        operands = DEPTH_AB * (m * k + k * n) * self.operand_dtype.nbytes
        return operands + DEPTH_C * m * n * self.result_dtype.nbytes + self.target.stack_bytes

    @property
    def numerics(self) -> Numerics:
        u = self.operand_rounding.unit if self.operand_dtype is DType.BF16 else 0.0
        result = self.result_rounding.unit if self.result_dtype is DType.BF16 else 0.0
        return Numerics(u, result, self.k)

    def layouts(self, op: Op) -> tuple[Layout, ...]:
        assert isinstance(op, Matmul)
        return self.a_layout(op), self.b_layout(op), self.c_layout(op)

    def a_layout(self, op: Matmul) -> Layout:
        along = self.batch_layout.a if self.batch_layout else Along.ROWS
        dtype, rounding = self.operand_dtype, self.operand_rounding
        return Layout("A", op.M, op.K, self.m, self.k, dtype, rounding, op.batch, along)

    def b_layout(self, op: Matmul) -> Layout:
        """The same for every M, so that weights are staged once."""
        along = self.batch_layout.b if self.batch_layout else Along.ROWS
        dtype, rounding = self.operand_dtype, self.operand_rounding
        return Layout("B", op.K, op.N, self.k, self.n, dtype, rounding, op.batch, along)

    def c_layout(self, op: Matmul) -> Layout:
        """The sum of the partial results: fp32, kept by the host."""
        along = self.batch_layout.c if self.batch_layout else Along.ROWS
        return Layout("C", op.M, op.N, self.m, self.n, DType.F32, self.result_rounding, op.batch, along)

    @property
    def written(self) -> tuple[Layout, ...]:
        along = self.batch_layout.c if self.batch_layout else Along.ROWS
        m, n, dtype, rounding = self.m, self.n, self.result_dtype, self.result_rounding
        return (Layout("C", m, n, m, n, dtype, rounding, self.batch, along),)

    @property
    def gathers(self) -> bool:
        return self.packs_pairs

    def gather(self, place: NDArray[Any], *tiles: NDArray[Any]) -> None:
        a, b = tiles
        pack_pairs(place, a, b, self.target.micro_tile)

    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        a, b = tiles
        if self.operand_dtype is DType.F32:  # no core multiplies it
            return (self.rounded(a @ b),)
        sums = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
        for index in np.ndindex(a.shape[:-2]):  # of a batch, or of none
            accumulate(sums[index], a[index], b[index], self.target.micro_tile[1])
        return (self.rounded(sums),)

    def rounded(self, sums: F32) -> F32:
        """What a core writes back of its fp32 accumulators."""
        return on_grid(sums, self.result_rounding) if self.result_dtype is DType.BF16 else sums

    def core_cycles(self, rate: CoreRate) -> float:
        """Its steps; and C leaves its only buffer, a word per cycle, before the next is begun."""
        sums = rate.cycles(self.macs // self.core_count, self.core_tile[1] if self.core_tile else self.k)
        c_bytes = self.products * self.m * self.n * self.result_dtype.nbytes
        return sums + c_bytes / (self.core_count * WORD_BYTES)

    @property
    def tasks(self) -> int:
        """As kernels/matmul/design.py issues them."""
        target, columns = self.target, self.target.columns
        if self.cores == 1:
            return len(self.arguments)
        if self.packs_pairs:
            in_parts = -(-self.batch // (self.cores * target.max_repeat))
            return columns * in_parts * len(self.arguments)
        assert self.core_tile is not None
        m, k, n = self.core_tile
        steps, rounds, beside = self.k // k, self.rounds, target.core_rows * n
        size, of_c = self.operand_dtype.nbytes, self.result_dtype.nbytes
        a = task_number(target, size, [(rounds, 0)], [(steps, k), (m, self.k), (k, 1)])
        order = [(rounds, columns * beside)]
        tiles = [(steps, k * self.n), (target.core_rows, n), (k, self.n), (n, 1)]
        b = task_number(target, size, order, tiles)
        c = task_number(target, of_c, order, [(target.core_rows, n), (m, self.n), (n, 1)])
        return a + columns * (b + c)

    @property
    def rounds(self) -> int:
        """Of one tile of C per core, which make one of the products."""
        rows, columns = self.block or (self.m, self.n)
        return self.m // rows * (self.n // columns)

    @property
    def stream_bytes(self) -> tuple[int, int]:
        """The columns share out B and C, and pairs; A comes through one channel for all."""
        columns = 1 if self.cores == 1 else self.target.columns
        written = self.bytes_from_device // columns
        if self.packs_pairs:
            return self.bytes_to_device // columns, written
        a, b = self.operand_bytes
        return max(a, b // columns), written

    def reference(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
        """The product in float64."""
        return self._op(a, b).reference(a, b)[0]

    def tolerance(self, a: F32, b: F32) -> NDArray[np.float64]:
        """How far from `reference` each element of C may lie, where the host adds what k products gave.

        a: (M, K), b: (K, N) float32. Returns (M, N).
        """
        return self._op(a, b).tolerance(self.numerics, a, b)[0]

    def _op(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> Matmul:
        return Matmul(a.shape[-2], a.shape[-1], b.shape[-1], *a.shape[:-2])

    @property
    def trial_op(self) -> Matmul:
        if self.packs_pairs:  # as many different A as B, or nearly
            rows = max(n for n in range(1, isqrt(self.batch) + 1) if self.batch % n == 0)
            return Matmul(self.m * rows, self.k, self.n * (self.batch // rows))
        return Matmul(self.m, self.k, self.n, self.batch)

    def known_answer(self, op: Op, rng: np.random.Generator) -> KnownAnswer:
        """Equal to the last bit."""
        assert isinstance(op, Matmul)
        a, b = known_answer.integers(op, self.operand_dtype, rng)
        c = known_answer.product(a, b, self.k, self.result_dtype, self.result_rounding)
        if self.operand_dtype is DType.BF16:
            a, b = (known_answer.before_rounding(x, self.operand_rounding) for x in (a, b))
        return KnownAnswer((a, b), (c,), (0.0,))


@dataclass(frozen=True)
class MatmulPlan(Plan):
    """A product as it stands, or C^T = B^T A^T where that leaves fewer cores idle."""

    transposed: bool = False

    __hash__ = Plan.__hash__

    @property
    def problem(self) -> Matmul:
        """What the dispatches multiply."""
        assert isinstance(self.op, Matmul)
        return self.op.transposed if self.transposed else self.op

    @property
    def kernel(self) -> MatmulContract:
        assert isinstance(self.contract, MatmulContract)
        return self.contract

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        return self.contract.layouts(self.problem)

    def turned(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.transposed:
            return inputs
        a, b = inputs
        return b.swapaxes(-1, -2), a.swapaxes(-1, -2)

    @property
    def weight(self) -> Layout:
        return self.b

    def turned_back(self, result: F32) -> F32:
        return result.swapaxes(-1, -2) if self.transposed else result

    @property
    def a(self) -> Layout:
        return self.layouts[0]

    @property
    def b(self) -> Layout:
        return self.layouts[1]

    @property
    def c(self) -> Layout:
        return self.layouts[2]


def loop(
    name: str, count: int, a: tuple[int, int] = STAY, b: tuple[int, int] = STAY, c: tuple[int, int] = STAY
) -> Loop:
    """A loop of a product's plan: how far each round moves the tiles of A, B and C on."""
    return Loop(name, count, (a, b, c))


def tiled_plan(
    op: Matmul, contract: MatmulContract, *, transposed: bool = False, run_list: int = 1
) -> MatmulPlan:
    """One tile product for each (i, j, k) of tiles, k innermost so that a tile of C is finished at once.

    Raises PlanError for a kernel that takes a whole batch per dispatch, and a problem of another batch or of
    larger matrices.
    """
    problem = op.transposed if transposed else op
    batch = problem.batch
    sizes = ((problem.M, contract.m), (problem.K, contract.k), (problem.N, contract.n))
    fits = batch == contract.batch and all(size <= held for size, held in sizes)
    if contract.batch_layout is not None and not fits:
        raise PlanError(
            f"{contract.name} takes {contract.batch} heads of at most ({contract.m},{contract.k})@"
            f"({contract.k},{contract.n}), not {problem}: take a kernel for that"
        )
    i, k, j = (-(-size // held) for size, held in sizes)
    loops = (
        *([loop("head", batch, a=(i, 0), b=(k, 0), c=(i, 0))] if batch > 1 else []),
        loop("i", i, a=(1, 0), c=(1, 0)),
        loop("j", j, b=(0, 1), c=(0, 1)),
        loop("k", k, a=(0, 1), b=(1, 0)),
    )
    return MatmulPlan(op, contract, loops, run_list, transposed)


def cheapest_way_round(op: Matmul, contract_of: Callable[[Matmul, bool], MatmulContract]) -> MatmulPlan:
    """The product as it stands, or transposed if that is modelled cheaper; only a batch may be turned.

    N of a head's context is d_head, and of its transpose M is: what is wide in N, or in M, stays half empty.
    Scores that cost the same either way come the way round in which the context takes them.

    contract_of: the kernel for an op, as it stands or transposed.
    """
    contract = contract_of(op, False)
    upright = tiled_plan(op, contract, run_list=contract.target.run_list)
    if op.batch == 1:
        return upright
    contract = contract_of(op, True)
    turned = tiled_plan(op, contract, transposed=True, run_list=contract.target.run_list)
    seconds, turned_seconds = (
        modelled_plan_seconds(plan, contract.target.profile).middle for plan in (upright, turned)
    )
    if seconds == turned_seconds and op.batched is Batched.SCORES:
        context = Matmul(op.M, op.N, op.K, op.batch, Batched.CONTEXT)
        return turned if cheapest_way_round(context, contract_of).transposed else upright
    return turned if turned_seconds < seconds else upright


def host_batched_plan(op: Matmul, contract: MatmulContract, columns: int) -> MatmulPlan:
    """tiled_plan with the tile columns of B taken `columns` at a time: another order, no dispatch less.

    columns divides the tile columns of B, or PlanError.
    """
    i, k = contract.a_layout(op).matrix_grid
    j = contract.b_layout(op).matrix_grid[1]
    if op.batch != 1:
        raise PlanError(f"no host-batched plan for {op}: it is for one product")
    if columns < 1 or j % columns:
        raise PlanError(f"{columns} columns at a time do not divide the {j} tile columns of {op}")
    loops = (
        loop("batch of j", j // columns, b=(0, columns), c=(0, columns)),
        loop("i", i, a=(1, 0), c=(1, 0)),
        loop("j", columns, b=(0, 1), c=(0, 1)),
        loop("k", k, a=(0, 1), b=(1, 0)),
    )
    return MatmulPlan(op, contract, loops)


# ------------------------------------------------------------------------------------------- the contracts


def matmul_64x64(target: Target) -> MatmulContract:
    return MatmulContract("matmul_64x64", target, 64, 64, 64, core_count=1, core_tile=(64, 64, 64))


def matmul_64x512(target: Target) -> MatmulContract:
    return MatmulContract(
        "matmul_64x512", target, 64, 64, 512, core_count=target.cores, core_tile=(64, 64, 32)
    )


def matmul_128x512(target: Target) -> MatmulContract:
    return MatmulContract(
        "matmul_128x512", target, 128, 64, 512, core_count=target.cores, core_tile=(128, 32, 32)
    )


def in_bf16(contract: MatmulContract) -> MatmulContract:
    """The same with C rounded to bf16 by the core: half the bytes back.

    One step covers k, for what a core adds to lies in C itself.
    """
    assert contract.core_tile is not None
    m, _, n = contract.core_tile
    name, tile = f"{contract.name}_bf16", (m, contract.k, n)
    return replace(contract, name=name, core_tile=tile, result_dtype=DType.BF16)


def matmul_64x64_batch(target: Target, batch: int) -> MatmulContract:
    """`batch` independent (64,64)@(64,64), spread over all cores."""
    name = f"matmul_64x64_batch{batch}"
    return replace(matmul_64x64(target), name=name, core_count=target.cores, products=batch)


def matmul_64x512_k(target: Target, K: int, N: int = 512) -> MatmulContract:
    """(64,K)@(K,N) with the sum over K on the cores; N in rounds of 512 columns."""
    name = f"matmul_64x512_k{K}" + ("" if N == 512 else f"_n{N}")
    return replace(matmul_64x512(target), name=name, k=K, n=N, block=(64, 512))


def matmul_64x64_baseline(target: Target) -> MatmulContract:
    """The numerics of the experiment that took 163.7 s.

    Operands truncated, results floored. It has no design.
    """
    return replace(
        matmul_64x64(target),
        name="matmul_64x64_baseline",
        core_tile=None,
        operand_rounding=Rounding.TOWARD_ZERO,
        result_dtype=DType.BF16,
        result_rounding=Rounding.FLOOR,
    )


def contracts(target: Target) -> tuple[MatmulContract, ...]:
    """The kernels of this family that have a name of their own."""
    plain = matmul_64x64(target), matmul_64x512(target), matmul_128x512(target)
    return (
        *plain,
        *map(in_bf16, plain),
        matmul_64x64_batch(target, 16),
        matmul_64x64_batch(target, 64),
        matmul_64x512_k(target, 512),
        matmul_64x512_k(target, 2048),
        matmul_64x64_baseline(target),
    )


# --------------------------------------------------------------------------------------------- the family


@dataclass(frozen=True)
class TiledMatmul(Kernel):
    """One contract, into whose tiles every product is cut."""

    only: MatmulContract

    @property
    def name(self) -> str:
        return self.only.name

    @property
    def known(self) -> tuple[Contract, ...]:
        return (self.only,)

    def contract(self, op: Op) -> MatmulContract | None:
        return self.only if isinstance(op, Matmul) else None

    def plan(self, op: Op) -> MatmulPlan:
        assert isinstance(op, Matmul)
        if self.only.batch_layout is not None:  # it says which matrices lie where
            return tiled_plan(op, self.only, run_list=self.only.target.run_list)
        return cheapest_way_round(op, lambda way, transposed: self.only)


def is_for_all(contract: Contract) -> bool:
    """Whether the planner may choose it unasked: the best numerics, and operands as they are."""
    return (
        isinstance(contract, MatmulContract)
        and contract.result_dtype is DType.F32
        and contract.operand_rounding is Rounding.NEAREST_EVEN
        and not contract.packs_pairs
    )


def kernels(target: Target) -> tuple[Kernel, ...]:
    """What the planner may choose from."""
    return kernels_built(contracts(target))


def kernels_built(built: Iterable[Contract]) -> tuple[Kernel, ...]:
    """The same where only these kernels are built."""
    return tuple(
        TiledMatmul(contract)
        for contract in built
        if type(contract) is MatmulContract and is_for_all(contract)
    )


def kernel_of(contract: Contract) -> Kernel:
    assert isinstance(contract, MatmulContract)
    return TiledMatmul(contract)


def contract_named(name: str, target: Target) -> MatmulContract | None:
    return next((contract for contract in contracts(target) if contract.name == name), None)
