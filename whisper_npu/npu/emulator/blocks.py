"""How the emulator executes a plan: dispatch by dispatch, or as the large operations that its walk proves.

What is computed follows from the walk: the problem's sizes only say how large the matrices are. C starts as
NaN, so that a tile which no dispatch writes cannot pass for a result. Products of bf16 are exact in float32's
range, so sums are fp32 sums, as in the core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from time import perf_counter

import numpy as np

from whisper_npu.host.bf16 import F32, on_grid
from whisper_npu.host.gemm import CpuGemm, Held
from whisper_npu.host.threads import BLOCK_BYTES, Threads, split
from whisper_npu.npu.contract import Contract, DType
from whisper_npu.npu.device import Chain, Enters, RowProduct
from whisper_npu.npu.layout import tile_of
from whisper_npu.npu.plan import Layout, Plan, Walk

SCORES_BYTES = 3 << 19  # of the scores that one thread keeps in cache


@dataclass(frozen=True)
class Box:
    """A plan's products where they are every (head, i, j, k) of four ranges, each exactly once."""

    head: slice
    i: slice
    k: slice
    j: slice


def run_dispatches(plan: Plan, walk: Walk, a: F32, b: F32) -> F32:
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


def run_box(plan: Plan, box: Box, gemm: CpuGemm, a: Held, b: Held, threads: Threads) -> F32:
    """All dispatches of a box in large operations. Padding is left out: its sums are 0, or nobody reads them.

    Blocks of rows go to the threads, or of columns where there are far more of those.
    """
    m, n = plan.contract.m, plan.contract.n
    M, N = plan.problem.M, plan.problem.N
    c = np.empty((plan.problem.heads, M, N), np.float32)
    if not is_whole(plan):
        c[:] = np.nan
    rows, cols = _elements(box.i, m, M), _elements(box.j, n, N)

    def one(place: tuple[int, slice, slice]) -> None:
        head, i, j = place
        _product(plan, gemm, box.k, a[head, i], b[head], j, out=c[head, i, j])

    all_rows, all_cols = [rows], [cols]
    if rows.stop - rows.start >= (cols.stop - cols.start) // 2:
        all_rows = _blocks(rows, gemm.longest_block, 1, threads)
    else:
        all_cols = _blocks(cols, gemm.longest_block, gemm.column_step, threads)
    heads = range(plan.problem.heads)[box.head]
    threads.each(one, [(head, i, j) for head in heads for i in all_rows for j in all_cols])
    return c


def _blocks(all_of: slice, longest: int, step: int, threads: Threads) -> list[slice]:
    """As many for each thread, of whole steps, none longer than `longest` or a step."""
    start, steps = all_of.start, -(-(all_of.stop - all_of.start) // step)
    each = -(-steps // threads.count)
    blocks = split(steps, -(-each // -(-each // max(1, longest // step))))
    return [slice(start + b.start * step, min(start + b.stop * step, all_of.stop)) for b in blocks]


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


Spent = list[tuple[float, ...]]  # seconds of every step of each block


def shares_of(seconds: float, spent: Spent) -> list[float]:
    """The time that went by, divided among the steps as the threads' time was."""
    total = np.sum(spent, axis=0)
    shares: list[float] = (seconds * total / total.sum()).tolist()
    return shares


def run_rows_in_blocks(
    products: Sequence[RowProduct],
    weights: Sequence[tuple[CpuGemm, Held]],
    given: F32,
    threads: Threads,
) -> tuple[F32, Spent]:
    """Row products for some rows after the others, so that they stay in cache.

    Spent are the seconds of `before`, packing, the product and `after` of each.
    """
    M, N = products[-1].plan.problem.M, products[-1].plan.problem.N
    c = np.empty((M, N), np.float32)
    spent: Spent = []

    def some_rows(block: slice) -> None:
        x, times = given[block], []
        for number, (rows, (gemm, weight)) in enumerate(zip(products, weights, strict=True)):
            plan, problem = rows.plan, rows.plan.problem
            widest = 4 * max(problem.K, problem.N)
            pieces = split(len(x), max(1, BLOCK_BYTES // widest))  # that a core's cache holds
            operand = gemm.room_for_rows(len(x), problem.K, threads.scratch)
            before = pack = 0.0
            for part in pieces:
                start = perf_counter()
                prepared = rows.prepared(x[part])
                ready = perf_counter()
                gemm.pack_rows(prepared, plan.a, operand[part])
                before, pack = before + ready - start, pack + perf_counter() - ready
            start = perf_counter()
            is_last = number == len(products) - 1
            place = f"rows of {number}", (len(x), problem.N), np.float32
            x = c[block] if is_last else threads.scratch.array(*place)
            _product(plan, gemm, _whole(plan).k, operand, weight, slice(0, problem.N), out=x)
            done = perf_counter()
            for part in pieces:
                rows.after(x[part], slice(block.start + part.start, block.start + part.stop))
            times += [before, pack, done - start, perf_counter() - done]
        spent.append(tuple(times))

    longest = min(gemm.longest_block for gemm, _ in weights)
    threads.each(some_rows, _blocks(slice(0, M), longest, 1, threads))
    return c, spent


def run_chain_in_blocks(
    chain: Chain, gemms: tuple[CpuGemm, CpuGemm], a: Held, b: Held, other: Held, threads: Threads
) -> tuple[F32, Spent]:
    """A chain for some queries of one head after the other, so that their scores stay in cache.

    a, b, other: queries, keys and values, whose results have a row a query. Where the scores are (keys,
    queries) they are those of the transposed chain. Spent are the seconds of the first product, the function,
    packing and the second product.
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
    spent: Spent = []

    def some_queries(place: tuple[int, slice]) -> None:
        head, rows = place
        times = [perf_counter()]
        scores = threads.scratch.array("scores", (rows.stop - rows.start, keys), np.float32)
        _product(first, gemms[0], _whole(first).k, a[head, rows], b[head], slice(0, keys), out=scores)
        times.append(perf_counter())
        chain.between(scores.T if transposed else scores)
        times.append(perf_counter())
        weights = gemms[1].pack_in_place(scores, operand)
        times.append(perf_counter())
        _product(second, gemms[1], _whole(second).k, weights, other[head], slice(0, width), out=c[rows, head])
        times.append(perf_counter())
        spent.append(tuple(np.diff(times).tolist()))

    blocks = split(queries, max(16, SCORES_BYTES // (4 * keys)))
    threads.each(some_queries, [(head, rows) for head in range(heads) for rows in blocks])
    return (c.transpose(1, 2, 0) if transposed else c.swapaxes(0, 1)), spent


def _core_output(contract: Contract, partial: F32) -> F32:
    """What a core writes back of an fp32 accumulator."""
    return on_grid(partial, contract.result_rounding) if contract.result_dtype is DType.BF16 else partial


def _elements(tiles: slice, size: int, end: int) -> slice:
    """Of the tiles, without the padding of the last one."""
    return slice(tiles.start * size, min(tiles.stop * size, end))


def is_whole(plan: Plan) -> bool:
    """Whether the plan's dispatches make all of C, each part of every sum once."""
    return walked(plan)[1] == _whole(plan)


def _whole(plan: Plan) -> Box:
    """The box of a plan with nothing missing."""
    i, k = plan.a.head_grid
    return Box(slice(0, plan.problem.heads), slice(0, i), slice(0, k), slice(0, plan.b.head_grid[1]))


@lru_cache(maxsize=256)  # an encoder has a dozen different plans and runs each many times
def walked(plan: Plan) -> tuple[Walk, Box | None]:
    """A plan's walk, and the box that it fills, if it fills one."""
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
