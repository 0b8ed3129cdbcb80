"""How the emulator executes a plan: dispatch by dispatch, or as the large operations that its walk proves.

What is computed follows from the walk: an op's sizes only say how large the matrices are. Results start as
NaN, so that a tile which no dispatch writes cannot pass for a result. Dispatch by dispatch, sums are those of
the array to the bit (`Contract.compute`). The large operations add in IEEE fp32, in the order of this CPU's
gemm; both stay within the tolerance of `Matmul.tolerance`. Dispatches are counted where their work is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice, pairwise
from math import prod
from threading import Lock
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.host.gemm import HostGemm, OperandForm, Packed, Side
from whisper_npu.host.threads import BLOCK_BYTES, Threads, split
from whisper_npu.kernels.matmul.kernel import MatmulContract, MatmulPlan
from whisper_npu.npu.host_ops import attend, finish, masked_keys, normalise
from whisper_npu.npu.layout import Layout, padded_to_tiles, tile_of
from whisper_npu.npu.plan import Plan, Walk
from whisper_npu.ops import Attention, Epilogue, Linear, Norm, Part, SplitHeads

SIDES = {"A": Side.LHS, "B": Side.RHS}  # by the names of a product's operands
SCORES_BYTES = 3 << 19  # of the scores that one thread keeps in cache
ROWS_AT_LEAST = 32  # of a tile that a thread multiplies by itself
MACS_TO_SHARE = 1 << 23  # of one run list: from here on several threads gain more than they wait

T = TypeVar("T")
Tiles = tuple[F32, ...]
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


class RunLists:
    """How dispatches go out: a list takes up to `size` of them, and is counted when it goes."""

    def __init__(self, size: int) -> None:
        self.executed = Executed()
        self._size = size
        self._waiting = 0

    def add(self, dispatches: int) -> None:
        """Dispatches whose work is done."""
        for _ in range(dispatches):
            self._waiting += 1
            if self._waiting == self._size:
                self.submit()

    def submit(self) -> Executed:
        """The last list is not full. Returns what was executed."""
        if self._waiting:
            self.executed.dispatches += self._waiting
            self.executed.submissions += 1
            self._waiting = 0
        return self.executed


class Tally:
    """What large operations make of a plan's box, reported by each thread when it has done its part.

    A dispatch counts when as much was multiplied as it holds, its padding aside.
    """

    def __init__(self, plan: MatmulPlan, box: Box) -> None:
        M, K, N = plan.problem.M, plan.problem.K, plan.problem.N
        contract = plan.kernel
        rows, ks = _elements(box.i, contract.m, M), _elements(box.k, contract.k, K)
        ranges = box.index, rows, ks, _elements(box.j, contract.n, N)
        self._elements = prod(each.stop - each.start for each in ranges)
        self._dispatches = -(-box.products // contract.batch)
        self._lists = RunLists(plan.run_list)
        self._lock = Lock()
        self._multiplied = self._counted = 0

    def add(self, rows: int, ks: int, cols: int) -> None:
        """The products of so many rows of A with so many columns of B are done, over so many of K."""
        with self._lock:
            self._multiplied += rows * ks * cols
            complete = self._multiplied * self._dispatches // self._elements
            self._lists.add(complete - self._counted)
            self._counted = complete

    def executed(self) -> Executed:
        """To be asked when all threads are done."""
        return self._lists.submit()


def tally_of(plan: MatmulPlan) -> Tally:
    """For a plan with nothing missing."""
    return Tally(plan, _whole(plan))


def in_groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in their order, `size` at a time; the last group may be smaller."""
    left = iter(items)
    while group := list(islice(left, size)):
        yield group


def run_dispatches(
    plan: Plan, walk: Walk, operands: Sequence[F32], threads: Threads
) -> tuple[list[F32], Executed]:
    """One run list after another, as the device would; the host adds each result tile to what is there.

    operands: (batch, rows, cols) each. Returns the results, likewise.
    """
    inputs = [padded_to_tiles(x, layout) for x, layout in zip(operands, plan.inputs, strict=True)]
    results = [np.full((o.batch, *o.padded), np.nan, np.float32) for o in plan.outputs]
    written = [np.zeros(layout.grid, bool) for layout in plan.outputs]
    lists, is_large = RunLists(plan.run_list), plan.contract.macs * plan.run_list >= MACS_TO_SHARE
    shares = is_large and (plan.contract.shares or _rows_by_themselves(plan))
    compute = partial(_shared, plan, threads) if shares else partial(_computed, plan)
    with nullcontext() if shares else threads.exclusively(blas_threads=1):
        for run_list in in_groups(in_groups(walk, plan.contract.batch), plan.run_list):
            places = [at for dispatch in run_list for at in dispatch]
            tiles = [
                tuple(
                    tile_of(x, layout, place)
                    for x, layout, place in zip(inputs, plan.inputs, at[: len(inputs)], strict=True)
                )
                for at in places
            ]
            computed = iter(compute(tiles))
            for dispatch in run_list:
                for at, values in zip(dispatch, computed, strict=False):
                    _write(plan, results, written, at[len(inputs) :], values)
                lists.add(1)
    return [x[:, : o.rows, : o.cols] for x, o in zip(results, plan.outputs, strict=True)], lists.submit()


def _rows_by_themselves(plan: Plan) -> bool:
    """Whether what `compute` makes of some rows of A is what it makes of all; BLAS sums fp32 otherwise."""
    return isinstance(plan, MatmulPlan) and plan.kernel.operand_dtype is DType.BF16


def _write(
    plan: Plan,
    results: list[F32],
    written: list[NDArray[np.bool_]],
    at: Sequence[Sequence[int]],
    values: Tiles,
) -> None:
    """The host adds what a tile product made to what was written there."""
    for result, layout, done, place, made in zip(results, plan.outputs, written, at, values, strict=True):
        tile = tile_of(result, layout, place)
        if done[tuple(place)]:
            tile += made
        else:
            tile[:] = made
            done[tuple(place)] = True


def _computed(plan: Plan, products: Sequence[Tiles]) -> list[Tiles]:
    """What the tile products of a run list write."""
    return [plan.contract.compute(*tiles) for tiles in products]


def _shared(plan: Plan, threads: Threads, products: Sequence[Tiles]) -> list[Tiles]:
    """The same on several threads."""
    if plan.contract.shares:
        return [plan.contract.compute_shared(threads.parallel_for, *tiles) for tiles in products]
    return _computed_by_rows(plan, threads, products)


def _computed_by_rows(plan: Plan, threads: Threads, products: Sequence[Tiles]) -> list[Tiles]:
    """Some rows of each product for every thread."""
    contract = plan.contract
    assert isinstance(contract, MatmulContract)
    written = [np.empty((contract.m, contract.n), np.float32) for _ in products]

    def some_rows(job: tuple[int, slice]) -> None:
        number, rows = job
        a, b = products[number]
        (written[number][rows],) = contract.compute(a[rows], b)

    blocks = split(contract.m, max(ROWS_AT_LEAST, -(-contract.m // (2 * threads.count))))
    threads.parallel_for(some_rows, [(number, rows) for number in range(len(products)) for rows in blocks])
    return [(result,) for result in written]


def multiply_box(
    plan: MatmulPlan, box: Box, gemm: HostGemm, a: Packed, b: Packed, threads: Threads, out: F32 | None
) -> tuple[F32, Executed]:
    """All dispatches of a box in large operations. Padding is left out: its sums are 0, or nobody reads them.

    Blocks of rows go to the threads, or of columns where there are far more of those. out: (batch, M, N), or
    None. Returns it, and what was executed.
    """
    contract, problem = plan.kernel, plan.problem
    M, N = problem.M, problem.N
    c = np.empty((problem.batch, M, N), np.float32) if out is None else out
    if box != _whole(plan):
        c[:] = np.nan
    rows, cols = _elements(box.i, contract.m, M), _elements(box.j, contract.n, N)

    tally = Tally(plan, box)

    def one(place: tuple[int, slice, slice]) -> None:
        index, i, j = place
        _product(plan, gemm, box.k, a[index, i], b[index], j, c[index, i, j], tally)

    all_rows, all_cols = [rows], [cols]
    n_rows, n_cols = rows.stop - rows.start, cols.stop - cols.start
    if n_rows >= n_cols // 2:
        all_rows = _blocks(rows, gemm.longest_block, _row_step(gemm, problem.K * n_cols), threads)
    else:
        step = _enlarged(gemm.column_step, problem.K * n_rows, gemm.least_macs)
        if gemm.columns_are_alike:
            all_cols = _alike(cols, step)
        else:
            all_cols = _blocks(cols, gemm.longest_block, step, threads)
    batch = range(problem.batch)[box.index]
    threads.parallel_for(one, [(index, i, j) for index in batch for i in all_rows for j in all_cols])
    return c, tally.executed()


def _blocks(all_of: slice, longest: int, step: int, threads: Threads) -> list[slice]:
    """As many for each thread, cut at multiples of the step, few of them longer than `longest`.

    What the last step leaves over is the last block's.
    """
    start, steps = all_of.start, (all_of.stop - all_of.start) // step
    rounds = -(-(all_of.stop - all_of.start) // (longest * threads.count))
    pieces = max(1, min(rounds * threads.count, steps))
    cuts = [start + (2 * steps * piece + pieces) // (2 * pieces) * step for piece in range(1, pieces)]
    return [slice(begin, end) for begin, end in pairwise([start, *cuts, all_of.stop])]


def _alike(all_of: slice, size: int) -> list[slice]:
    """Whatever the number of threads; what the last block leaves over is its own."""
    starts = range(all_of.start, max(all_of.start + 1, all_of.stop - size + 1), size)
    return [slice(begin, end) for begin, end in pairwise([*starts, all_of.stop])]


def _row_step(gemm: HostGemm, macs_of_a_row: int) -> int:
    """Rows of C may be cut at multiples of this without changing a bit of it."""
    return _enlarged(gemm.row_step, macs_of_a_row, gemm.least_macs)


def _enlarged(step: int, macs_of_one: int, least_macs: int) -> int:
    """A multiple of the step that has at least so many multiplications."""
    return step * max(1, -(-least_macs // (step * macs_of_one)))


def _product(
    plan: MatmulPlan,
    gemm: HostGemm,
    k_tiles: slice,
    a: Packed,
    b: Packed,
    cols: slice,
    out: F32,
    tally: Tally,
) -> None:
    """out = A @ B[:, cols] of fp32 sums; K tiles are fused only where partial sums stay fp32.

    a: some rows of A; b: of the same product; tally: is told what was multiplied.
    """
    contract, K = plan.kernel, plan.problem.K
    fused = contract.result_dtype is DType.F32
    steps = [k_tiles] if fused else [slice(t, t + 1) for t in range(k_tiles.start, k_tiles.stop)]
    for number, step in enumerate(steps):
        sums = out if number == 0 else np.empty(out.shape, np.float32)
        ks = _elements(step, contract.k, K)
        gemm.multiply(a, b, ks, cols, sums)
        tally.add(len(sums), ks.stop - ks.start, sums.shape[1])
        if not fused:
            sums[...] = contract.rounded(sums)
        if number:
            out += sums


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
    row_step = 1

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
    tally: Tally  # of all rows

    @classmethod
    def of(cls, part: Part, op: Linear, plan: MatmulPlan, gemm: HostGemm, weight: Packed) -> LinearByRows:
        form, k_tiles, tally = form_of(plan.a), _whole(plan).k, tally_of(plan)
        return cls(part, op, plan, gemm, weight, op.prologue, op.epilogue, form, k_tiles, tally)

    @property
    def row_step(self) -> int:
        return _row_step(self.gemm, self.op.K * self.op.N)

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
        _product(self.plan, self.gemm, self.k_tiles, operand, self.weight, slice(0, op.N), y, self.tally)
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
    cut_at = max(step.row_step for step in steps)
    threads.parallel_for(some_rows, _blocks(slice(0, rows), longest, cut_at, threads))
    return spent


# --------------------------------------------------------------------------------------------- attention


def attend_in_blocks(
    op: Attention,
    plans: tuple[MatmulPlan, MatmulPlan],
    gemm_of: Callable[[OperandForm], HostGemm],
    values: dict[str, Any],
    threads: Threads,
) -> tuple[StepSeconds, float, tuple[Executed, Executed]]:
    """Scores, softmax and context for some queries of one head after the other, so that scores stay in cache.

    A transposed plan sums the same products and rounds alike, so here both are made upright. Spent are the
    seconds of the scores, softmax, packing and the context; what packing q, k and v took; and what was
    executed of each plan. Both plans must make all of their product: then heads meet as the op's do.
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
    tallies = tally_of(scores_plan), tally_of(context_plan)

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
            scores,
            tallies[0],
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
            context[rows, head],
            tallies[1],
        )
        times.append(perf_counter())
        spent.append(tuple(np.diff(times).tolist()))

    blocks = split(op.n_ctx, max(16, SCORES_BYTES // (4 * op.n_ctx)))
    threads.parallel_for(some_queries, [(head, rows) for head in range(op.n_head) for rows in blocks])
    return spent, packed_s, (tallies[0].executed(), tallies[1].executed())


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
