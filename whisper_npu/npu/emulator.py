"""A device without hardware: it executes a plan's dispatches on this CPU with the contract's numerics.

`cpu_gemm.py` holds operands and multiplies them, in float32 or, where the CPU can, in bf16: products of bf16
are exact in float32's range, so sums are fp32 sums, as in the core.

What is computed follows from walking the plan and from nothing else: the problem's sizes only say how
large the buffers are. C starts as NaN, so that a tile which no dispatch writes cannot pass for a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from threading import Thread
from time import perf_counter
from types import TracebackType

import numpy as np

from whisper_npu.errors import PlanError
from whisper_npu.npu.bf16 import F32, on_grid
from whisper_npu.npu.contract import CONTRACTS, Contract, DType
from whisper_npu.npu.cost import gemm_tiles
from whisper_npu.npu.cpu_gemm import CpuGemm, Held, blas, compile_for_this_cpu, fastest
from whisper_npu.npu.device import (
    Buffer,
    Chain,
    ChainCompletion,
    Completion,
    Device,
    Enters,
    Fidelity,
    RowProduct,
    RowsDone,
    run_rows_in_steps,
    run_steps,
)
from whisper_npu.npu.packing import tile_of
from whisper_npu.npu.plan import Layout, Plan, Walk
from whisper_npu.npu.threads import BLOCK_BYTES, Threads, split

SCORES_BYTES = 3 << 19  # of the scores that one thread keeps in cache


class EmulatedBuffer:
    """Matrices without their padding: operands as `gemm` holds them, C as float32."""

    def __init__(self, layout: Layout, gemm: CpuGemm, threads: Threads) -> None:
        self._layout = layout
        self._threads = threads
        self.gemm = gemm
        self.held: Held | None = None  # of C (heads, rows, cols)

    @property
    def layout(self) -> Layout:
        return self._layout

    def write(self, matrix: F32) -> None:
        layout = self.layout
        if matrix.shape != layout.shape:
            raise PlanError(f"a matrix of shape {matrix.shape} does not fit a buffer of {layout}")
        matrix = matrix.reshape(layout.heads, layout.rows, layout.cols)
        self.held = self.gemm.hold(matrix, layout, self._threads, self.held)

    def read(self) -> F32:
        if self.held is None:
            raise PlanError(f"a buffer of {self.layout} is read before anything was written to it")
        return self.matrix().reshape(self.layout.shape)

    def close(self) -> None:
        self.held = None

    @property
    def written(self) -> Held:
        """`held`, for a run to read."""
        if self.held is None:
            raise PlanError("an operand was never written: write A and B before the plan runs")
        return self.held

    def matrix(self) -> F32:
        """(heads, rows, cols) float32 of what was written."""
        return self.gemm.matrix(self.written, self.layout)

    def transposed(self) -> Held:
        """The operand of the transposed product."""
        return self.gemm.transposed(self.written, self.layout, self._threads)


@dataclass(frozen=True)
class Box:
    """A plan's products where they are every (head, i, j, k) of four ranges, each exactly once."""

    head: slice
    i: slice
    k: slice
    j: slice


class Emulator:
    """Executes plans on this CPU. Its seconds are the CPU's.

    gemm_of: what multiplies an operand; None for `fastest`, and for NumPy where every dispatch is executed.
    """

    def __init__(
        self,
        fidelity: Fidelity = Fidelity.FAST,
        threads: Threads | None = None,
        gemm_of: Callable[[Layout], CpuGemm] | None = None,
    ) -> None:
        self.fidelity = fidelity
        self._threads = threads or Threads()
        self._gemm_of = gemm_of or (fastest if fidelity is Fidelity.FAST else blas)
        # Compiled while the model is read, where it is not yet.
        Thread(target=compile_for_this_cpu, name="whisper-npu compiles").start()

    @property
    def name(self) -> str:
        return "emulator"

    @property
    def description(self) -> str:
        return f"emulator ({self.fidelity.value}), no NPU: the NPU's plans and numerics on this CPU"

    @property
    def clock(self) -> str:
        return "CPU"

    @property
    def threads(self) -> Threads:
        return self._threads

    def kernels(self) -> tuple[Contract, ...]:
        return CONTRACTS

    def gemm_tiles(self) -> tuple[tuple[int, int, int], ...]:
        return gemm_tiles()

    def load(self, contract: Contract) -> None:
        """Nothing to load: a contract says all that the emulator needs."""

    def alloc(self, layout: Layout) -> Buffer:
        return EmulatedBuffer(layout, self._gemm_of(layout), self._threads)

    def run(self, plan: Plan, a: Buffer, b: Buffer, c: Buffer) -> Completion:
        start = perf_counter()
        a, b, c = _checked("A", plan.a, a), _checked("B", plan.b, b), _checked("C", plan.c, c)
        walk, box = _walked(plan)
        if box is not None and self.fidelity is Fidelity.FAST:
            c.held = _run_box(plan, box, a.gemm, a.written, b.written, self._threads)
        else:
            c.held = _run_dispatches(plan, walk, a.matrix(), b.matrix())
        return _completion(plan, walk, perf_counter() - start)

    def run_rows(self, products: Sequence[RowProduct], given: F32) -> tuple[F32, tuple[RowsDone, ...]]:
        start = perf_counter()
        walks = [_walked(rows.plan) for rows in products]
        whole = all(box == _whole(rows.plan) for rows, (_, box) in zip(products, walks, strict=True))
        if self.fidelity is Fidelity.EXACT or not whole:
            return run_rows_in_steps(self, products, given)
        weights = [_checked("B", rows.plan.b, rows.b) for rows in products]
        spent: Spent = []
        c = _run_rows(products, weights, given, self._threads, spent)
        shares = _shares(spent, perf_counter() - start)
        done = []
        for number, (rows, (walk, _)) in enumerate(zip(products, walks, strict=True)):
            before, pack, product, after = shares[4 * number : 4 * number + 4]
            completion = _completion(rows.plan, walk, product)
            done.append(RowsDone(completion, pack, before + pack + product + after))
        return c, tuple(done)

    def run_chain(self, chain: Chain, a: Buffer, b: Buffer, other: Buffer, c: Buffer) -> ChainCompletion:
        start = perf_counter()
        first, second = chain.first, chain.second
        (first_walk, first_box), (second_walk, second_box) = _walked(first), _walked(second)
        whole = first_box == _whole(first) and second_box == _whole(second)
        if self.fidelity is Fidelity.EXACT or not whole:
            return run_steps(self, chain, a, b, other, c)
        a, b, c = _checked("A", first.a, a), _checked("B", first.b, b), _checked("C", second.c, c)
        spent: Spent = []
        if chain.enters is Enters.A:
            other = _checked("B", second.b, other)
            operands = a.written, b.written, other.written
        else:  # C^T = between(B^T A^T) other^T
            other = _checked("A", second.a, other)
            operands = b.transposed(), a.transposed(), other.transposed()
        c.held = _run_fused(chain, a.gemm, *operands, self._threads, spent)
        first_seconds, _, pack_seconds, second_seconds = _shares(spent, perf_counter() - start)
        return ChainCompletion(
            _completion(first, first_walk, first_seconds),
            _completion(second, second_walk, second_seconds),
            pack_seconds,
        )

    def close(self) -> None:
        self._threads.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(operand: str, layout: Layout, buffer: Buffer) -> EmulatedBuffer:
    if buffer.layout != layout:
        raise PlanError(f"{operand} lies as {buffer.layout}, the plan reads {layout}")
    assert isinstance(buffer, EmulatedBuffer)
    return buffer


def _completion(plan: Plan, walk: Walk, seconds: float) -> Completion:
    dispatches = -(-len(walk) // plan.contract.batch)
    return Completion(
        dispatches=dispatches,
        bytes_to_device=dispatches * plan.contract.bytes_to_device,
        bytes_from_device=dispatches * plan.contract.bytes_from_device,
        seconds=seconds,
    )


def _run_dispatches(plan: Plan, walk: Walk, a: F32, b: F32) -> F32:
    """One dispatch after another, as the device would; the host adds each C tile to what is there."""
    a, b = _padded(a, plan.a), _padded(b, plan.b)
    c = np.full((plan.c.heads, *plan.c.padded), np.nan, np.float32)
    written = np.zeros(plan.c.grid, bool)
    for a_at, b_at, c_at in walk:
        partial = _core_output(plan.contract, tile_of(a, plan.a, a_at) @ tile_of(b, plan.b, b_at))  # (m, n)
        c_tile = tile_of(c, plan.c, c_at)
        if written[tuple(c_at)]:
            c_tile += partial
        else:
            c_tile[:] = partial
            written[tuple(c_at)] = True
    return c[:, : plan.c.rows, : plan.c.cols]


def _padded(values: F32, layout: Layout) -> F32:
    """(heads, *layout.padded): whole tiles, each of them a slice."""
    padded = np.zeros((layout.heads, *layout.padded), np.float32)
    padded[:, : layout.rows, : layout.cols] = values
    return padded


def _run_box(plan: Plan, box: Box, gemm: CpuGemm, a: Held, b: Held, threads: Threads) -> F32:
    """All dispatches of a box in large operations. Padding is left out: its sums are 0, or nobody reads them.

    Blocks of rows go to the threads, or of columns where there are far more of those.
    """
    m, n = plan.contract.m, plan.contract.n
    M, N = plan.problem.M, plan.problem.N
    c = np.empty((plan.problem.heads, M, N), np.float32)
    if box != _whole(plan):
        c[:] = np.nan
    rows, cols = _elements(box.i, m, M), _elements(box.j, n, N)

    def one(place: tuple[int, slice, slice]) -> None:
        head, i, j = place
        _product(plan, gemm, box.k, a[head, i], b[head], j, out=c[head, i, j])

    all_rows, all_cols = [rows], [cols]
    if rows.stop - rows.start >= (cols.stop - cols.start) // 2:
        all_rows = _blocks(rows, gemm.longest_block, threads)
    else:
        all_cols = _blocks(cols, gemm.longest_block, threads)
    heads = range(plan.problem.heads)[box.head]
    threads.each(one, [(head, i, j) for head in heads for i in all_rows for j in all_cols])
    return c


def _blocks(all_of: slice, longest: int, threads: Threads) -> list[slice]:
    """As many for each thread, none longer than `longest`."""
    start, size = all_of.start, all_of.stop - all_of.start
    each = -(-size // threads.count)
    blocks = split(size, -(-each // -(-each // longest)))
    return [slice(start + block.start, start + block.stop) for block in blocks]


def _product(plan: Plan, gemm: CpuGemm, k_tiles: slice, a: Held, b: Held, cols: slice, out: F32) -> None:
    """out = A @ B[:, cols] as the cores sum it; K tiles are fused only where partial sums stay fp32.

    a: some rows of A; b: of the same head.
    """
    contract, K = plan.contract, plan.problem.K
    fused = contract.result_dtype is DType.F32
    steps = [k_tiles] if fused else [slice(t, t + 1) for t in range(k_tiles.start, k_tiles.stop)]
    for number, step in enumerate(steps):
        partial = out if number == 0 else np.empty(out.shape, np.float32)
        gemm.multiply(a, b, _elements(step, contract.k, K), cols, partial)
        if not fused:
            partial[...] = _core_output(contract, partial)
        if number:
            out += partial


Spent = list[tuple[float, ...]]  # seconds of every step of some rows


def _shares(spent: Spent, seconds: float) -> list[float]:
    """The time that went by, divided among the steps as the threads' time was."""
    total = np.sum(spent, axis=0)
    shares: list[float] = (seconds * total / total.sum()).tolist()
    return shares


def _run_rows(
    products: Sequence[RowProduct],
    weights: Sequence[EmulatedBuffer],
    given: F32,
    threads: Threads,
    spent: Spent,
) -> F32:
    """Row products for some rows after the others, so that they stay in cache.

    The seconds are of `before`, packing, the product and `after` of each.
    """
    last = products[-1].plan.problem
    c = np.empty((last.M, last.N), np.float32)

    def some_rows(block: slice) -> None:
        x, times = given[block], []
        for number, (rows, weight) in enumerate(zip(products, weights, strict=True)):
            plan, gemm, problem = rows.plan, weight.gemm, rows.plan.problem
            pieces = split(
                len(x), max(1, BLOCK_BYTES // (4 * max(problem.K, problem.N)))
            )  # that a cache holds
            operand = gemm.room_for_rows(len(x), problem.K, threads.scratch)
            before = pack = 0.0
            for part in pieces:
                start = perf_counter()
                prepared = rows.before(x[part])
                ready = perf_counter()
                gemm.pack_rows(prepared, plan.a, operand[part])
                before, pack = before + ready - start, pack + perf_counter() - ready
            start = perf_counter()
            if number == len(products) - 1:
                x = c[block]
            else:
                x = threads.scratch.array(f"rows {number}", (len(x), problem.N), np.float32)
            _product(plan, gemm, _whole(plan).k, operand, weight.written[0], slice(0, problem.N), out=x)
            done = perf_counter()
            for part in pieces:
                rows.after(x[part], slice(block.start + part.start, block.start + part.stop))
            times += [before, pack, done - start, perf_counter() - done]
        spent.append(tuple(times))

    longest = min(weight.gemm.longest_block for weight in weights)
    threads.each(some_rows, _blocks(slice(0, last.M), longest, threads))
    return c


def _run_fused(
    chain: Chain, gemm: CpuGemm, a: Held, b: Held, other: Held, threads: Threads, spent: Spent
) -> F32:
    """A chain for some queries of one head after the other, so that their scores stay in cache.

    a, b, other: queries, keys and values, whose results have a row a query. Where the scores are (keys,
    queries) they are those of the transposed chain.
    """
    first, second = chain.first, chain.second
    heads = first.problem.heads
    transposed = chain.enters is Enters.B
    queries, keys = first.c.rows, first.c.cols
    width = second.problem.N
    if transposed:
        queries, keys, width = keys, queries, second.problem.M
    c = np.empty((queries, heads, width), np.float32)  # heads side by side, as whoever joins them wants it
    operand = second.b if transposed else second.a

    def some_queries(place: tuple[int, slice]) -> None:
        head, rows = place
        times = [perf_counter()]
        scores = threads.scratch.array("scores", (rows.stop - rows.start, keys), np.float32)
        _product(first, gemm, _whole(first).k, a[head, rows], b[head], slice(0, keys), out=scores)
        times.append(perf_counter())
        chain.between(scores.T if transposed else scores)
        times.append(perf_counter())
        weights = gemm.pack_in_place(scores, operand)
        times.append(perf_counter())
        _product(second, gemm, _whole(second).k, weights, other[head], slice(0, width), out=c[rows, head])
        times.append(perf_counter())
        spent.append(tuple(np.diff(times).tolist()))

    blocks = split(queries, max(16, SCORES_BYTES // (4 * keys)))
    threads.each(some_queries, [(head, rows) for head in range(heads) for rows in blocks])
    return c.transpose(1, 2, 0) if transposed else c.swapaxes(0, 1)


def _core_output(contract: Contract, partial: F32) -> F32:
    """What a core writes back of an fp32 accumulator."""
    return on_grid(partial, contract.result_rounding) if contract.result_dtype is DType.BF16 else partial


def _elements(tiles: slice, size: int, end: int) -> slice:
    """Of the tiles, without the padding of the last one."""
    return slice(tiles.start * size, min(tiles.stop * size, end))


def _whole(plan: Plan) -> Box:
    """The box of a plan with nothing missing."""
    i, k = plan.a.head_grid
    return Box(slice(0, plan.problem.heads), slice(0, i), slice(0, k), slice(0, plan.b.head_grid[1]))


@lru_cache(maxsize=256)  # an encoder has a dozen different plans and runs each many times
def _walked(plan: Plan) -> tuple[Walk, Box | None]:
    walk = plan.walk()
    return walk, _as_box(plan, walk)


def _as_box(plan: Plan, walk: Walk) -> Box | None:
    """The box that a walk fills, or None where it is anything else, a wrong plan for example."""
    head, i = np.divmod(walk.a[:, 0], plan.a.head_grid[0])
    b_head, k = np.divmod(walk.b[:, 0], plan.b.head_grid[0])
    j = walk.b[:, 1]
    consistent = (
        (b_head == head).all()
        and (walk.a[:, 1] == k).all()
        and (walk.c[:, 0] == head * plan.c.head_grid[0] + i).all()
        and (walk.c[:, 1] == j).all()
    )
    if not len(walk) or not consistent:
        return None
    axes = head, i, k, j
    ranges = [slice(int(axis.min()), int(axis.max()) + 1) for axis in axes]
    sizes = [r.stop - r.start for r in ranges]
    cells = np.ravel_multi_index(tuple(axis - r.start for axis, r in zip(axes, ranges, strict=True)), sizes)
    every_one_once = len(walk) == prod(sizes) and np.bincount(cells).max() == 1
    return Box(*ranges) if every_one_once else None
