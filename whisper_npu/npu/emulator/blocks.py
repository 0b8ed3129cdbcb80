"""How the emulator executes a plan: dispatch by dispatch, or as the large operations that its walk proves.

What is computed follows from the walk: an op's sizes only say how large the matrices are. Results start as
NaN, so that a tile which no dispatch writes cannot pass for a result. Products of bf16 are exact in float32's
range. Sums are IEEE fp32 sums; the array's own way of adding (kernels/matmul/kernel.py) stays within the same
tolerance, and is not emulated bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from whisper_npu.dtypes import F32, DType
from whisper_npu.host.gemm import HostGemm, OperandForm, Packed, Side
from whisper_npu.host.threads import BLOCK_BYTES, Threads, split
from whisper_npu.kernels.matmul.kernel import MatmulPlan
from whisper_npu.npu.host_ops import attend, finish, masked_keys, normalise
from whisper_npu.npu.layout import Layout, padded_to_tiles, tile_of
from whisper_npu.npu.plan import Plan, Walk
from whisper_npu.ops import Attention, Epilogue, Linear, Norm, Part, SplitHeads

SIDES = {"A": Side.LHS, "B": Side.RHS}  # by the names of a product's operands
SCORES_BYTES = 3 << 19  # of the scores that one thread keeps in cache

StepSeconds = list[tuple[float, ...]]  # MEASURED, of every step of each block


@dataclass(frozen=True)
class Box:
    """A product's tile products where they are every (index, i, j, k) of four ranges, each exactly once."""

    index: slice  # of the batch
    i: slice
    k: slice
    j: slice

    @property
    def products(self) -> int:
        return prod(r.stop - r.start for r in (self.index, self.i, self.k, self.j))


@dataclass(frozen=True)
class Walked:
    """A plan's walk, and the box that it fills if it fills one."""

    walk: Walk
    box: Box | None
    is_whole: bool  # whether the dispatches make all of C, each part of every sum once

    @property
    def products(self) -> int:
        return len(self.walk)


@lru_cache(maxsize=256)  # an encoder has a dozen different plans and runs each many times
def walked(plan: Plan) -> Walked:
    walk = plan.walk()
    if not isinstance(plan, MatmulPlan):
        return Walked(walk, None, is_whole=False)
    box = _as_box(plan, walk)
    return Walked(walk, box, box is not None and box == _whole(plan))


@dataclass
class Executed:
    """What was executed, counted while it was."""

    dispatches: int = 0
    submissions: int = 0


def run_dispatches(plan: Plan, walk: Walk, operands: Sequence[F32]) -> tuple[list[F32], Executed]:
    """One dispatch after another, as the device would; the host adds each result tile to what is there.

    operands: (batch, rows, cols) each. Returns the results, likewise.
    """
    inputs = [padded_to_tiles(x, layout) for x, layout in zip(operands, plan.inputs, strict=True)]
    results = [np.full((o.batch, *o.padded), np.nan, np.float32) for o in plan.outputs]
    written = [np.zeros(layout.grid, bool) for layout in plan.outputs]
    executed = Executed()
    for number, places in enumerate(walk):  # a dispatch takes the next `batch` tile products
        if number % plan.contract.batch == 0:
            executed.submissions += executed.dispatches % plan.run_list == 0
            executed.dispatches += 1
        read, write = places[: len(inputs)], places[len(inputs) :]
        tiles = [tile_of(x, layout, at) for x, layout, at in zip(inputs, plan.inputs, read, strict=True)]
        partials = plan.contract.compute(*tiles)
        for result, layout, done, at, partial in zip(
            results, plan.outputs, written, write, partials, strict=True
        ):
            tile = tile_of(result, layout, at)
            if done[tuple(at)]:
                tile += partial
            else:
                tile[:] = partial
                done[tuple(at)] = True
    return [x[:, : o.rows, : o.cols] for x, o in zip(results, plan.outputs, strict=True)], executed


def executed_in_boxes(plan: Plan, products: int) -> Executed:
    """The dispatches that so many tile products are, made in large operations."""
    dispatches = -(-products // plan.contract.batch)
    return Executed(dispatches, -(-dispatches // plan.run_list))


def multiply_box(
    plan: MatmulPlan, box: Box, gemm: HostGemm, a: Packed, b: Packed, threads: Threads, out: F32 | None
) -> F32:
    """All dispatches of a box in large operations. Padding is left out: its sums are 0, or nobody reads them.

    Blocks of rows go to the threads, or of columns where there are far more of those. out: (batch, M, N), or
    None.
    """
    contract, problem = plan.kernel, plan.problem
    M, N = problem.M, problem.N
    c = np.empty((problem.batch, M, N), np.float32) if out is None else out
    if box != _whole(plan):
        c[:] = np.nan
    rows, cols = _elements(box.i, contract.m, M), _elements(box.j, contract.n, N)

    def one(place: tuple[int, slice, slice]) -> None:
        index, i, j = place
        _product(plan, gemm, box.k, a[index, i], b[index], j, out=c[index, i, j])

    all_rows, all_cols = [rows], [cols]
    if rows.stop - rows.start >= (cols.stop - cols.start) // 2:
        all_rows = _blocks(rows, gemm.longest_block, 1, threads)
    else:
        all_cols = _blocks(cols, gemm.longest_block, gemm.column_step, threads)
    batch = range(problem.batch)[box.index]
    threads.parallel_for(one, [(index, i, j) for index in batch for i in all_rows for j in all_cols])
    return c


def _blocks(all_of: slice, longest: int, step: int, threads: Threads) -> list[slice]:
    """As many for each thread, of whole steps, none longer than `longest` or a step."""
    start, steps = all_of.start, -(-(all_of.stop - all_of.start) // step)
    each = -(-steps // threads.count)
    blocks = split(steps, -(-each // -(-each // max(1, longest // step))))
    return [slice(start + b.start * step, min(start + b.stop * step, all_of.stop)) for b in blocks]


def _product(
    plan: MatmulPlan, gemm: HostGemm, k_tiles: slice, a: Packed, b: Packed, cols: slice, out: F32
) -> None:
    """out = A @ B[:, cols] as the cores sum it; K tiles are fused only where partial sums stay fp32.

    a: some rows of A; b: of the same product.
    """
    contract, K = plan.kernel, plan.problem.K
    fused = contract.result_dtype is DType.F32
    steps = [k_tiles] if fused else [slice(t, t + 1) for t in range(k_tiles.start, k_tiles.stop)]
    for number, step in enumerate(steps):
        partial = out if number == 0 else np.empty(out.shape, np.float32)
        gemm.multiply(a, b, _elements(step, contract.k, K), cols, partial)
        if not fused:
            partial[...] = contract.rounded(partial)
        if number:
            out += partial


def apportion(seconds: float, spent: StepSeconds) -> list[float]:
    """The time that went by, divided among the steps as the threads' time was."""
    total = np.sum(spent, axis=0)
    shares: list[float] = (seconds * total / total.sum()).tolist()
    return shares


# ------------------------------------------------------------------------------------------- ops by rows


@dataclass(frozen=True)
class NormByRows:
    """A Norm, some rows at a time."""

    part: Part
    op: Norm
    gemm = None

    def run(self, given: dict[str, Any], threads: Threads) -> list[float]:
        """given: some rows of each operand, and what all rows share. Returns the MEASURED seconds."""
        start = perf_counter()
        normalise(self.op, given, slice(None))
        return [perf_counter() - start]


@dataclass(frozen=True)
class LinearByRows:
    """A Linear, some rows at a time, with its weight as the host's gemm packs it."""

    part: Part
    op: Linear
    plan: MatmulPlan
    gemm: HostGemm
    weight: Packed
    prologue: Norm | None
    epilogue: Epilogue
    form: OperandForm  # of x
    k_tiles: slice  # all of them

    @classmethod
    def of(cls, part: Part, op: Linear, plan: MatmulPlan, gemm: HostGemm, weight: Packed) -> LinearByRows:
        form, k_tiles = form_of(plan.a), _whole(plan).k
        return cls(part, op, plan, gemm, weight, op.prologue, op.epilogue, form, k_tiles)

    def run(self, given: dict[str, Any], threads: Threads) -> list[float]:
        """given: some rows of each operand, and what all rows share.

        Returns the MEASURED seconds of the prologue, packing, the product and the epilogue.
        """
        op, x, y = self.op, given["x"], given["y"]
        pieces = split(len(x), max(1, BLOCK_BYTES // (4 * max(op.K, op.N))))  # that a core's cache holds
        operand = self.gemm.alloc_rows(len(x), op.K, threads.scratch)
        before = pack = 0.0
        for piece in pieces:
            start = perf_counter()
            rows = x[piece]
            if self.prologue is not None:
                normed = threads.scratch.array("normed", rows.shape, np.float32)
                norm = {"x": rows, "weight": given["norm_weight"], "bias": given["norm_bias"], "y": normed}
                normalise(self.prologue, norm, slice(None))
                rows = normed
            ready = perf_counter()
            self.gemm.pack_rows(rows, self.form, operand[piece])
            before, pack = before + ready - start, pack + perf_counter() - ready
        start = perf_counter()
        _product(self.plan, self.gemm, self.k_tiles, operand, self.weight, slice(0, op.N), out=y)
        done = perf_counter()
        for piece in pieces:
            finish(self.epilogue, given, piece)
        return [before, pack, done - start, perf_counter() - done]


ByRows = NormByRows | LinearByRows


def run_rows_in_blocks(
    steps: Sequence[ByRows], values: dict[str, Any], kept: set[str], threads: Threads
) -> StepSeconds:
    """All ops for some rows, then for the next ones, so that what lies between them stays in cache.

    values: by name, operands whole; what is made and was missing is put there only if it is in `kept`.
    """
    rows = steps[0].op.M
    made = {step.part.operands[o.name]: o.shape for step in steps for o in step.op.outputs}
    values |= {
        name: np.empty(shape, np.float32)
        for name, shape in made.items()
        if name in kept and name not in values
    }
    operands = [[(o.name, step.part.operands[o.name], o.shape) for o in step.op.operands] for step in steps]
    spent: StepSeconds = []

    def some_rows(block: slice) -> None:
        local: dict[str, F32] = {}  # what this block made, for the ops that follow
        times: list[float] = []
        for number, step in enumerate(steps):
            given: dict[str, Any] = {}
            for operand, name, shape in operands[number]:
                if name in local:
                    given[operand] = local[name]
                    continue
                whole = values.get(name)
                if len(shape) == 1 or operand == "weight":  # what all rows share
                    given[operand] = whole
                elif whole is not None:
                    given[operand] = whole[block]
                else:
                    rows_of_it = block.stop - block.start, shape[1]
                    given[operand] = threads.scratch.array(f"{operand} of {number}", rows_of_it, np.float32)
                if name in made:
                    local[name] = given[operand]
            times += step.run(given, threads)
        spent.append(tuple(times))

    row_bytes = 4 * max(size for shape in made.values() for size in shape[1:])
    longest = min(
        (step.gemm.longest_block for step in steps if step.gemm), default=max(1, BLOCK_BYTES // row_bytes)
    )
    threads.parallel_for(some_rows, _blocks(slice(0, rows), longest, 1, threads))
    return spent


# --------------------------------------------------------------------------------------------- attention


def attend_in_blocks(
    op: Attention,
    plans: tuple[MatmulPlan, MatmulPlan],
    gemm_of: Callable[[OperandForm], HostGemm],
    values: dict[str, Any],
    threads: Threads,
) -> tuple[StepSeconds, float]:
    """Scores, softmax and context for some queries of one head after the other, so that scores stay in cache.

    A transposed plan sums the same products and rounds alike, so here both are made upright. Spent are the
    seconds of the scores, softmax, packing and the context; and what packing q, k and v took.
    """
    start = perf_counter()
    scores_plan, context_plan = plans
    heads = [
        x.reshape(op.n_head, *x.shape[-2:])
        for x in SplitHeads(op.n_ctx, op.n_state, op.n_head).views(values["qkv"])
    ]
    lhs, rhs = (Side.LHS, op.n_ctx, op.d_head), (Side.RHS, op.d_head, op.n_ctx)
    forms = [
        _form_of_plan(scores_plan, *lhs),
        _form_of_plan(scores_plan, *rhs),
        _form_of_plan(context_plan, Side.RHS, op.n_ctx, op.d_head),
    ]
    first, second = gemm_of(forms[0]), gemm_of(forms[2])
    q, k_t, v = (
        gemm.pack(x, form, threads, None)
        for gemm, x, form in zip((first, first, second), heads, forms, strict=True)
    )
    weights_form = _form_of_plan(context_plan, Side.LHS, op.n_ctx, op.n_ctx)
    packed_s = perf_counter() - start
    masked = masked_keys(values.get("mask"))
    y = values.setdefault("y", np.empty((op.n_ctx, op.n_state), np.float32))
    context = y.reshape(op.n_ctx, op.n_head, op.d_head)
    spent: StepSeconds = []

    def some_queries(place: tuple[int, slice]) -> None:
        head, rows = place
        times = [perf_counter()]
        scores = threads.scratch.array("scores", (rows.stop - rows.start, op.n_ctx), np.float32)
        _product(
            scores_plan,
            first,
            _whole(scores_plan).k,
            q[head, rows],
            k_t[head],
            slice(0, op.n_ctx),
            out=scores,
        )
        times.append(perf_counter())
        attend(scores, masked)
        times.append(perf_counter())
        weights = second.pack_in_place(scores, weights_form)
        times.append(perf_counter())
        _product(
            context_plan,
            second,
            _whole(context_plan).k,
            weights,
            v[head],
            slice(0, op.d_head),
            out=context[rows, head],
        )
        times.append(perf_counter())
        spent.append(tuple(np.diff(times).tolist()))

    blocks = split(op.n_ctx, max(16, SCORES_BYTES // (4 * op.n_ctx)))
    threads.parallel_for(some_queries, [(head, rows) for head in range(op.n_head) for rows in blocks])
    return spent, packed_s


def _form_of_plan(plan: MatmulPlan, side: Side, rows: int, cols: int) -> OperandForm:
    kernel = plan.kernel
    return OperandForm(side, rows, cols, kernel.operand_dtype, kernel.operand_rounding, kernel.k)


def form_of(layout: Layout) -> OperandForm:
    """An operand of a product, as the host's gemm takes it."""
    side = SIDES[layout.operand]
    k = layout.tile_cols if side is Side.LHS else layout.tile_rows
    return OperandForm(side, layout.rows, layout.cols, layout.dtype, layout.rounding, k)


# ------------------------------------------------------------------------------------------------- boxes


def _elements(tiles: slice, size: int, end: int) -> slice:
    """What the tiles hold, without the padding of the last one."""
    return slice(tiles.start * size, min(tiles.stop * size, end))


@lru_cache(maxsize=256)
def _whole(plan: MatmulPlan) -> Box:
    """The box of a plan with nothing missing."""
    i, k = plan.a.matrix_grid
    return Box(slice(0, plan.problem.batch), slice(0, i), slice(0, k), slice(0, plan.b.matrix_grid[1]))


def _as_box(plan: MatmulPlan, walk: Walk) -> Box | None:
    """The box that a walk fills, or None where it is anything else, a wrong plan for example."""
    a, b, c = walk.tiles
    index, i = np.divmod(a[:, 0], plan.a.matrix_grid[0])
    b_index, k = np.divmod(b[:, 0], plan.b.matrix_grid[0])
    j = b[:, 1]
    consistent = (
        (b_index == index).all()
        and (a[:, 1] == k).all()
        and (c[:, 0] == index * plan.c.matrix_grid[0] + i).all()
        and (c[:, 1] == j).all()
    )
    if not len(walk) or not consistent:
        return None
    axes = index, i, k, j
    ranges = [slice(int(axis.min()), int(axis.max()) + 1) for axis in axes]
    sizes = [r.stop - r.start for r in ranges]
    cells = np.ravel_multi_index(tuple(axis - r.start for axis, r in zip(axes, ranges, strict=True)), sizes)
    every_one_once = len(walk) == prod(sizes) and np.bincount(cells).max() == 1
    return Box(*ranges) if every_one_once else None
