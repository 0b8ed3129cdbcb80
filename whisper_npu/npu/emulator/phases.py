"""How the emulator executes the phases of a layer kernel fast: in large operations, on several threads.

Every number is read and written where the phases say that it lies, as kernels/layer/execute.py does it.
Polynomials and roundings are those of kernels/layer/numerics.py; sums are IEEE fp32 in the order of this
CPU's gemm, and attention knows a row's maximum beforehand, which exact rescaling allows. So what is rounded
to bf16 may come out one step apart. Compiled, GELU takes factors whole that a core splits into two parts:
2^-15 at most (2.1e-5 found, over 3 million numbers from -6 to 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.host.gemm import HostGemm, OperandForm, Packed, Side
from whisper_npu.host.rows import Exp2OfCore, GeluOfCore, compiled
from whisper_npu.host.threads import Threads
from whisper_npu.kernels.layer import numerics
from whisper_npu.kernels.layer.execute import Memory, Words, bias_of, headers_of, words_of_weight
from whisper_npu.kernels.layer.phases import (
    D_HEAD,
    KEYS,
    OBJECT,
    UNIT,
    Attend,
    Gemm,
    Matrix,
    Number,
    Phase,
    Rows,
    Units,
    padded,
)
from whisper_npu.npu.targets import Target
from whisper_npu.ops import EPSILON, Activation

ROWS = 128  # of a product that a thread makes at a time: divides the blocks in which matrices lie
SUMS_BYTES = 1 << 20  # of a product's sums that a core's cache holds
SCORES_BYTES = 3 << 19  # of the scores that one thread keeps in cache
ROUND = 256  # rows of a round; blocks of matrices are multiples of it

GELU = GeluOfCore(
    numerics.GELU_END,
    numerics.GELU_MIDDLE,
    numerics.GELU_FIRST,
    numerics.GELU_NEXT,
    numerics.GELU_LAST,
)
EXP2 = Exp2OfCore(
    numerics.MAGIC, numerics.STEP, numerics.ONE, numerics.START, numerics.LEAST, numerics.EXP2_ADDED
)


@dataclass(frozen=True)
class Told:
    """What a phase's headers say."""

    bias: F32  # (N,) of a product, in the order of its columns
    masked: NDArray[np.intp]  # the keys of attention that do not count
    gelu: bool
    n_state: int
    row: int


def told_of(phases: Sequence[Phase], headers: Words, target: Target) -> tuple[Told, ...]:
    """Of each phase."""
    found = []
    for phase in phases:
        told = headers_of(phase, headers, target)
        mask = told[0].mask[: phase.n_keys if isinstance(phase, Attend) else 0]
        bias = bias_of(phase, told) if isinstance(phase, Gemm) else np.empty(0, np.float32)
        gelu = bool(told[0][Number.GELU])
        found.append(Told(bias, np.flatnonzero(~mask), gelu, told[0][Number.N_STATE], told[0][Number.ROW]))
    return tuple(found)


@dataclass(frozen=True)
class Headers:
    """Those of a dispatch."""

    words: Words
    told: tuple[Told, ...]  # what they say

    @classmethod
    def of(cls, phases: Sequence[Phase], words: Words, target: Target) -> Headers:
        """words: the argument that has them, in front of whatever else it has."""
        own = words[: len(phases) * target.columns * OBJECT].copy()
        return cls(own, told_of(phases, own, target))


@dataclass(frozen=True)
class Product:
    """B of a phase that multiplies, as the host's gemm packs it."""

    packed: Packed
    K: int  # what is beyond is zeros, which need no products
    N: int


Products = tuple[Product | None, ...]  # for each phase; None where it does not multiply


def products_of(
    phases: Sequence[Phase], weights: Words, target: Target, gemm: HostGemm, threads: Threads
) -> Products:
    return tuple(
        _product(words_of_weight(phase, weights, target), gemm, threads) if isinstance(phase, Gemm) else None
        for phase in phases
    )


def _product(weight: Words, gemm: HostGemm, threads: Threads) -> Product:
    rows, cols = (np.flatnonzero(weight.any(axis=axis)) for axis in (1, 0))
    K, N = (int(used[-1]) + 1 if len(used) else 1 for used in (rows, cols))
    K += K % 2
    return Product(gemm.pack_rhs_of_bf16(weight[None, :K, :N], threads)[0], K, N)


def form(side: Side, rows: int, cols: int) -> OperandForm:
    return OperandForm(side, rows, cols, DType.BF16, Rounding.NEAREST_EVEN, 2)


# Names the arrays that `kept_of` makes of headers and weights: increase the number whenever it makes others.
KEPT_FORM = "headers, and products without the zeros behind them, 1"


def kept_names(phases: Sequence[Phase]) -> tuple[str, ...]:
    """Of what `kept_of` gives."""
    numbers = range(sum(isinstance(phase, Gemm) for phase in phases))
    return ("headers", "sizes", *map("product{}".format, numbers))


def kept_of(headers: Headers, products: Products) -> dict[str, NDArray[Any]]:
    """All that phases take of HEADERS and WEIGHTS, as arrays that can be kept."""
    made = [product for product in products if product is not None]
    sizes = np.array([(product.K, product.N) for product in made], np.int64)
    packed = {f"product{number}": product.packed for number, product in enumerate(made)}
    return {"headers": headers.words, "sizes": sizes, **packed}


def of_kept(
    phases: Sequence[Phase], kept: Mapping[str, NDArray[Any]], target: Target
) -> tuple[Headers, Products]:
    """The reverse."""
    made = (Product(kept[f"product{number}"], int(K), int(N)) for number, (K, N) in enumerate(kept["sizes"]))
    products = tuple(next(made) if isinstance(phase, Gemm) else None for phase in phases)
    return Headers.of(phases, kept["headers"], target), products


def run_phases(
    phases: Sequence[Phase],
    told: Sequence[Told],
    products: Sequence[Product | None],
    rows: int,
    memory: Memory,
    gemm: HostGemm,
    threads: Threads,
) -> None:
    """All phases. told, products: for each phase. rows: that are read of the result.

    Rows beyond those and the last block of keys are left out. Rows of a product, and of the stream, are made
    of the same rows of what the phase before made, and lie in memory of their own: from one attention to the
    next, a block of rows goes through all phases at once. Phases that make another number of rows than the
    result has (the first convolution of a stem) are done before the next begins.
    """
    last = phases[-1].M

    def of_one_kind(one: tuple[Phase, Told, Product | None]) -> tuple[bool, int]:
        return isinstance(one[0], Attend), one[0].M

    for (is_attention, M), some in groupby(zip(phases, told, products, strict=True), of_one_kind):
        together = list(some)
        array = _Array(memory, gemm, threads, padded(rows, KEYS) if last == M else M)
        if is_attention:
            for phase, of, _ in together:
                assert isinstance(phase, Attend)
                array.attend(phase, of)
        else:
            array.go_by_rows(together)


@dataclass(frozen=True)
class _Array:
    memory: Mapping[str, Words]
    gemm: HostGemm
    threads: Threads
    rows: int

    def go_by_rows(self, together: Sequence[tuple[Phase, Told, Product | None]]) -> None:
        """Phases of as many rows each."""

        def some_rows(rows: slice) -> None:
            for phase, told, b in together:
                if isinstance(phase, Gemm):
                    assert b is not None
                    self.multiply(phase, told, b, rows)
                elif isinstance(phase, Rows):
                    self.add_and_normalise(phase, told, rows)

        self.threads.parallel_for(some_rows, self._blocks(ROWS))

    def _blocks(self, height: int) -> list[slice]:
        """All rows, `height` at a time: it divides the blocks in which matrices lie."""
        assert ROUND % height == 0
        return [slice(i, min(i + height, self.rows)) for i in range(0, self.rows, height)]

    def multiply(self, phase: Gemm, told: Told, b: Product, rows: slice) -> None:
        is_f32 = phase.result is DType.F32
        width = max(64, SUMS_BYTES // (4 * ROWS) // 64 * 64)
        a = self._operand(self._rows(phase.a, rows, b.K))
        whole: NDArray[Any] = self._rows(phase.c, rows, phase.N * phase.result.nbytes // 2)
        if is_f32:
            whole = whole.view(np.float32)
        for first in range(0, phase.N, width):
            cols = slice(first, min(first + width, phase.N))
            to: NDArray[Any] = whole[:, cols]
            sums = to if is_f32 else self.threads.scratch.array("sums", to.shape, np.float32)
            used = slice(first, min(cols.stop, max(first, b.N)))
            if used != cols:
                sums[:, used.stop - first :] = 0
            if used.stop > first:
                self.gemm.multiply(a, b.packed, slice(0, b.K), used, sums[:, : used.stop - first])
            epilogue(sums, told.bias[cols], to, gelu=told.gelu)

    def add_and_normalise(self, phase: Rows, told: Told, rows: slice) -> None:
        row = told.row
        streams = [
            None if units is None else self._halves(units, rows, row, told.n_state)
            for units in (phase.x, phase.added, phase.sum)
        ]
        normed = None
        if phase.normed is not None:
            words = self._rows(phase.normed, rows, row)
            of_half, step = UNIT // 2 // row, words.strides[0]
            shape = len(words) // (2 * of_half), 2, of_half, told.n_state
            normed = np.ndarray(shape, np.uint16, words, 0, (2 * of_half * step, of_half * step, step, 2))
        x, added, total = streams
        assert x is not None
        add_and_normalise(x, added, total, normed)

    def attend(self, phase: Attend, told: Told) -> None:
        """Some queries of one head after the other, so that scores stay in cache."""
        threads, gemm, scratch = self.threads, self.gemm, self.threads.scratch
        n_head, n_state, n_keys = phase.n_head, phase.n_head * D_HEAD, phase.n_keys
        assert not phase.qkv.block  # rows of keys lie evenly
        k_and_v = self._rows(phase.qkv, slice(0, n_keys), 3 * n_state)[:, n_state:]
        k, v = k_and_v.reshape(n_keys, n_head, 2, D_HEAD).transpose(2, 1, 0, 3)  # (n_head, n_keys, d_head)
        k_t = gemm.pack_rhs_of_bf16(k.swapaxes(1, 2), threads)
        v = gemm.pack_rhs_of_bf16(v, threads)

        def some_queries(place: tuple[int, slice]) -> None:
            head, rows = place
            cols = slice(D_HEAD * head, D_HEAD * (head + 1))
            q = self._operand(self._rows(phase.qkv, rows, n_state)[:, cols])
            height = rows.stop - rows.start
            scores = scratch.array("scores", (height, n_keys), np.float32)
            gemm.multiply(q, k_t[head], slice(0, D_HEAD), slice(0, n_keys), scores)
            weights, totals = powers(scores, told.masked, in_bf16=gemm.takes_bf16)
            o = scratch.array("o", (height, D_HEAD), np.float32)
            gemm.multiply(weights, v[head], slice(0, n_keys), slice(0, D_HEAD), o)
            divide(o, totals, self._rows(phase.c, rows, n_state)[:, cols])

        height = ROUND
        while height > 16 and 4 * height * n_keys > SCORES_BYTES:
            height //= 2
        blocks = self._blocks(height)
        threads.parallel_for(some_queries, [(head, rows) for head in range(n_head) for rows in blocks])

    def _operand(self, words: Words) -> Packed:
        """Rows of an A as the gemm takes them."""
        if self.gemm.takes_bf16:
            return words
        values: F32 = self.threads.scratch.array("operand", words.shape, np.float32)
        halves = values.view(np.uint16).reshape(*words.shape, 2)
        halves[..., 0], halves[..., 1] = 0, words
        return values

    def _rows(self, matrix: Matrix, rows: slice, cols: int) -> Words:
        """Some rows of one block where they lie, (rows, cols)."""
        number, first = divmod(rows.start, matrix.block) if matrix.block else (0, rows.start)
        start = matrix.offset + number * matrix.step + first * matrix.ld
        shape = rows.stop - rows.start, cols
        return np.ndarray(shape, np.uint16, self.memory[matrix.argument], 2 * start, (2 * matrix.ld, 2))

    def _halves(self, units: Units, rows: slice, row: int, n_state: int) -> F32:
        """Whole units of one block where they lie: (units, 2, rows of a half, n_state) fp32."""
        number, first = divmod(rows.start, units.block) if units.block else (0, rows.start)
        count = (rows.stop - rows.start) * row // UNIT
        start = units.offset + number * units.step + first * row // UNIT * units.unit
        shape, steps = (count, 2, UNIT // 2 // row, n_state), (2 * units.unit, 2 * units.half, 4 * row, 4)
        return np.ndarray(shape, np.float32, self.memory[units.argument], 2 * start, steps)


# ------------------------------------------------- what cores do, compiled, or the same in NumPy without that


def epilogue(sums: F32, bias: F32, out: NDArray[Any], *, gelu: bool) -> None:
    """out = activation(sums + bias). sums: (rows, cols); out: the same in fp32, or bf16 as uint16."""
    if loops := compiled():
        loops.epilogue(sums, bias, GELU if gelu else None, out)
        return
    x = numerics.activated(sums + bias, Activation.GELU if gelu else Activation.NONE, fused)
    out[...] = x if out.dtype == np.float32 else to_bf16(x, Rounding.NEAREST_EVEN).view(np.uint16)


def powers(scores: F32, masked: NDArray[np.intp], *, in_bf16: bool) -> tuple[Packed, F32]:
    """EXP2_SCALE 2^(scores - their maximum as a whole number), where scores were, and each row's sum (rows,).

    masked: indices of the keys that do not count.
    """
    if len(masked):
        scores[:, masked] = numerics.LOWEST
    rows, keys = scores.shape
    totals = np.empty(rows, np.float32)
    if loops := compiled():
        loops.powers(scores, EXP2, totals, in_bf16=in_bf16)
    else:
        highest = np.maximum(numerics.START, numerics.whole(scores.max(axis=1, keepdims=True)))
        scores[...] = numerics.exp2(scores, highest, fused)
        scores.sum(axis=1, out=totals)
        if in_bf16:
            scores.view(np.uint16)[:, :keys] = to_bf16(scores, Rounding.NEAREST_EVEN).view(np.uint16)
    return (scores.view(np.uint16)[:, :keys] if in_bf16 else scores), totals


def divide(o: F32, totals: F32, out: Words) -> None:
    """out = bf16(o / totals); 0 where no key counts. o, out: (rows, 64), totals: (rows,)."""
    if loops := compiled():
        loops.divide(o, totals, out)
    else:
        scales = (1 / np.maximum(totals, np.float32(2.0**-126))).astype(np.float32)
        out[...] = to_bf16(o * scales[:, None], Rounding.NEAREST_EVEN).view(np.uint16)


def add_and_normalise(x: F32, added: F32 | None, total: F32 | None, normed: Words | None) -> None:
    """Some units, (units, 2, rows of a half, n_state) each: nobody reads the padding behind n_state."""
    if loops := compiled():
        loops.add_and_normalise(x, added, total, normed, EPSILON)
        return
    s = x if added is None else x + added
    if total is not None:
        total[...] = s
    if normed is not None:
        found = numerics.normed(s.reshape(-1, s.shape[-1]), s.shape[-1], fused)
        normed[...] = to_bf16(found, Rounding.NEAREST_EVEN).view(np.uint16).reshape(normed.shape)


def fused(sums: F32 | np.float32, a: F32 | np.float32, b: F32 | np.float32) -> F32:
    """As `numerics.mac`, in fp32: a product of two bf16 is exact there."""
    with np.errstate(over="ignore", invalid="ignore"):
        result: F32 = np.asarray(sums + np.multiply(a, b, dtype=np.float32), np.float32)
    return result
