"""Dispatches of phases as a test puts them together: arguments, phases, weights, and a run of their text.

What a test knows of them is how matrices lie in arguments; what the results must be it computes in float64.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.host.cxx import find_cxx
from whisper_npu.kernels.core import CoreSource
from whisper_npu.kernels.layer.core import LAYER_CC
from whisper_npu.kernels.layer.design import text_of
from whisper_npu.kernels.layer.phases import (
    D_HEAD,
    OBJECT,
    Attend,
    Gemm,
    Matrix,
    Phase,
    Rows,
    Units,
    context_row,
    padded,
    qkv_row,
    row_length,
)
from whisper_npu.kernels.layer.planes import Planes, laid_out, planes, taken_apart
from whisper_npu.kernels.layer.weights import headers_of, objects_of, objects_of_column
from whisper_npu.kernels.verifier import DesignError, Functions, LoadedDesign, parse
from whisper_npu.kernels.verifier.core_functions import CoreFunctionError, compiled, in_numpy
from whisper_npu.kernels.verifier.design import Function
from whisper_npu.npu.contract import Argument
from whisper_npu.npu.targets import NPU1, Target
from whisper_npu.ops import EPSILON, Activation, Direction, EncoderLayer
from whisper_npu.ops.rows import gelu_reference

BF16 = np.dtype(ml_dtypes.bfloat16)
Source = Callable[[Sequence[Function], Sequence[CoreSource], Target], Functions]
# The cores' own functions; without a compiler the same in NumPy, which gives the same bits and takes longer.
CORES: Source = compiled if find_cxx(os.environ) else in_numpy
F64 = NDArray[np.float64]
NOTHING = np.empty(0, BF16)


@dataclass(frozen=True)
class Plain:
    """Rows of fp32 that lie one behind the other. The offset counts bf16."""

    argument: str
    offset: int
    row: int  # numbers from one to the next

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.argument, self.offset, 2 * self.row)

    @property
    def units(self) -> Units:
        return Units(self.argument, self.offset, 2 * OBJECT, OBJECT)


@dataclass
class Dispatch:
    """What a dispatch reads, keeps in WORK and writes; matrices are put there one by one."""

    read: list[tuple[str, NDArray[Any]]] = field(default_factory=list)
    written: list[tuple[str, int]] = field(default_factory=list)
    parts: list[tuple[Phase, NDArray[Any], NDArray[Any]]] = field(default_factory=list)  # headers, objects
    work: int = 0  # elements so far
    stepping: Target = NPU1  # how far its shims step decides how planes lie

    # arguments

    def reads(self, name: str, elements: NDArray[Any]) -> None:
        self.read.append((name, elements))

    def reads_matrix(self, name: str, x: F32, rows: int, ld: int) -> Matrix:
        """x (rows, cols), padded with zeros."""
        memory = np.zeros((rows, ld), BF16)
        memory[: x.shape[0], : x.shape[1]] = x
        self.reads(name, memory.reshape(-1))
        return Matrix(name, 0, ld)

    def reads_stream(self, name: str, x: F32, rows: int) -> Planes:
        where = planes(self.stepping, name, 0, rows, x.shape[1])
        self.reads(name, laid_out(x, where))
        return where

    def reads_plain(self, name: str, x: F32, rows: int, row: int, filler: float = 0.0) -> Plain:
        """x (rows, cols) in fp32, padded with zeros below, and behind its columns with `filler`."""
        memory = np.zeros((rows, row), np.float32)
        memory[:, x.shape[1] :] = filler
        memory[: x.shape[0], : x.shape[1]] = x
        self.reads(name, memory.reshape(-1).view(BF16))
        return Plain(name, 0, row)

    def writes(self, name: str, elements: int) -> None:
        self.written.append((name, elements))

    def writes_stream(self, name: str, rows: int, n_state: int, *, normed: bool = False) -> Planes:
        where = planes(self.stepping, name, 0, rows, n_state, normed=normed)
        self.writes(name, where.elements)
        return where

    def keeps(self, rows: int, ld: int) -> Matrix:
        """In WORK."""
        self.work += rows * ld
        return Matrix("WORK", self.work - rows * ld, ld)

    def keeps_plain(self, rows: int, row: int) -> Plain:
        self.work += 2 * rows * row
        return Plain("WORK", self.work - 2 * rows * row, row)

    def keeps_stream(self, rows: int, n_state: int, *, normed: bool = True) -> Planes:
        where = planes(self.stepping, "WORK", self.work, rows, n_state, normed=normed)
        self.work += where.elements
        return where

    # phases

    @property
    def _b(self) -> int:
        return sum(NPU1.columns * objects_of_column(phase, NPU1) for phase, *_ in self.parts)

    @property
    def _header(self) -> int:
        return NPU1.columns * len(self.parts)

    def gemm(
        self,
        a: Matrix,
        c: Matrix | Plain,
        M: int,
        weight: F32,
        bias: F32,
        activation: Activation = Activation.NONE,
    ) -> None:
        """weight, bias: (K, N), (N,), padded here. c: of bf16, or plain rows of fp32."""
        K, N = (-(-size // unit) * unit for size, unit in zip(weight.shape, (64, 256), strict=True))
        whole, biases = np.zeros((K, N), np.float32), np.zeros(N, np.float32)
        whole[: weight.shape[0], : weight.shape[1]], biases[: len(bias)] = weight, bias
        result, where = (DType.F32, c.matrix) if isinstance(c, Plain) else (DType.BF16, c)
        phase = Gemm(M, K, N, activation, a, self._b, where, self._header, result)
        objects = objects_of(whole, NPU1.columns, phase.result)
        self.parts.append((phase, headers_of(phase, NPU1, bias=biases), objects))

    def attend(self, qkv: Matrix, c: Matrix, M: int, n_head: int, mask: NDArray[np.bool_]) -> None:
        """mask: (keys,), padded here."""
        counts = np.zeros(-(-len(mask) // 32) * 32, np.bool_)
        counts[: len(mask)] = mask
        phase = Attend(M, len(counts), n_head, qkv, c, self._header)
        self.parts.append((phase, headers_of(phase, NPU1, mask=counts), NOTHING))

    def rows(
        self,
        x: Planes,
        M: int,
        n_state: int,
        *,
        added: Plain | None = None,
        total: Planes | None = None,
        normed: Matrix | None = None,
    ) -> None:
        of_added = added.units if added else None
        phase = Rows(M, n_state, x.units, of_added, total.units if total else None, normed, self._header)
        self.parts.append((phase, headers_of(phase, NPU1), NOTHING))

    # the text, and a run of it

    @property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(phase for phase, *_ in self.parts)

    @cached_property
    def headers(self) -> NDArray[Any]:
        return np.concatenate([headers.reshape(-1) for _, headers, _ in self.parts])

    @cached_property
    def weights(self) -> NDArray[Any]:
        return np.concatenate([objects.reshape(-1) for *_, objects in self.parts])

    @property
    def _hosts(self) -> dict[str, NDArray[Any]]:
        """What the host gives besides matrices."""
        weights = {"WEIGHTS": self.weights} if self.weights.size else {}
        return {"HEADERS": self.headers} | weights

    @property
    def arguments(self) -> tuple[Argument, ...]:
        def argument(name: str, elements: int, direction: Direction) -> Argument:
            return Argument(name, elements, DType.BF16, direction)

        read = [argument(name, x.size, Direction.IN) for name, x in self.read]
        read += [argument(name, x.size, Direction.IN) for name, x in self._hosts.items()]
        kept = [argument("WORK", self.work, Direction.INOUT)] if self.work else []
        return *read, *kept, *(argument(name, size, Direction.OUT) for name, size in self.written)

    @cached_property
    def text(self) -> str:
        return text_of("layer", NPU1, self.arguments, self.phases)

    def loaded(self, text: str = "", functions: Source = CORES) -> LoadedDesign:
        design = parse(text or self.text)
        return LoadedDesign(design, functions(design.functions, (LAYER_CC,), NPU1), NPU1)

    def run(self, loaded: LoadedDesign | None = None, work: NDArray[Any] | None = None) -> Run:
        """One dispatch: results full of NaN before, WORK too, or as a dispatch before has left it."""
        memory = {name: x.copy() for name, x in (dict(self.read) | self._hosts).items()}
        before = {name: x.copy() for name, x in memory.items()}
        if self.work:
            memory["WORK"] = np.full(self.work, np.nan, BF16) if work is None else work
        memory |= {name: np.full(size, np.nan, BF16) for name, size in self.written}
        (loaded or self.loaded()).dispatch(list(memory.values()), timeout_seconds=60)
        for name, x in before.items():
            assert np.array_equal(memory[name].view(np.uint16), x.view(np.uint16)), name
        return Run(memory)


def place(where: Matrix, row: int) -> int:
    """Of a row's first element."""
    block, inside = divmod(row, where.block) if where.block else (0, row)
    return where.offset + block * where.step + inside * where.ld


@dataclass(frozen=True)
class Run:
    """What a dispatch left in memory."""

    memory: dict[str, NDArray[Any]]

    def matrix(self, where: Matrix, rows: int, cols: int) -> F32:
        """Rows of bf16."""
        found = np.empty((rows, cols), np.float32)
        for row in range(rows):
            found[row] = self.memory[where.argument][place(where, row) :][:cols]
        return found

    def plain(self, where: Plain, rows: int, cols: int) -> F32:
        memory = self.memory[where.argument].view(np.float32)[where.offset // 2 :]
        return memory[: rows * where.row].reshape(rows, where.row)[:, :cols]

    def stream(self, where: Planes, rows: int, n_state: int) -> F32:
        memory = self.memory[where.argument][where.offset : where.offset + where.elements]
        return taken_apart(memory, where, (rows, n_state))


# ------------------------------------------------------------------- dispatches, and what they must give


@dataclass(frozen=True)
class Result:
    """What float64 gives, and how far each element may lie from it."""

    where: Matrix | Plain | Planes
    wanted: F64  # (rows, cols)
    allowed: F64 | float

    def share(self, run: Run) -> float:
        """The largest share of its tolerance that an element took; what is no number took all and more."""
        rows, cols = self.wanted.shape
        match self.where:
            case Planes():
                found = run.stream(self.where, rows, cols)
            case Plain():
                found = run.plain(self.where, rows, cols)
            case Matrix():
                found = run.matrix(self.where, rows, cols)
        with np.errstate(invalid="ignore", over="ignore"):  # whatever a wrong text has left there
            used = np.abs(found - self.wanted) / self.allowed
        return float(np.nan_to_num(used, nan=np.inf).max())


@dataclass(frozen=True)
class Case:
    dispatch: Dispatch
    results: tuple[Result, ...]

    def share(self, run: Run) -> float:
        return max(result.share(run) for result in self.results)

    def said(self, text: str) -> str:
        """What is wrong with a text in place of the dispatch's own; "" where nothing is found."""
        try:
            run = self.dispatch.run(self.dispatch.loaded(text))
        except (DesignError, CoreFunctionError) as error:
            return str(error)
        share = self.share(run)
        return "" if share <= 1 else f"an element took {share:g} of its tolerance"


BF16_UNIT = 2.0**-8  # of a rounding to bf16
GELU_ERROR, GELU_RELATIVE = 2.0**-10, 2.0**-9  # before it is rounded


def on_bf16(x: NDArray[Any]) -> F64:
    return x.astype(BF16).astype(np.float64)


def of_product(
    a: F64, weight: F32, bias: F32, activation: Activation, result: DType = DType.BF16
) -> tuple[F64, F64]:
    """Of a (M,K) on the bf16 grid: what one product gives, and how far it may be off."""
    y = a @ on_bf16(weight) + bias
    off = a.shape[1] * 2.0**-23 * (np.abs(a) @ np.abs(on_bf16(weight))) + 2.0**-16 * np.abs(bias)
    if activation is Activation.GELU:
        y = gelu_reference(y)
        off = 1.13 * off + GELU_ERROR + GELU_RELATIVE * np.abs(y)
    rounding = BF16_UNIT if result is DType.BF16 else 2.0**-23
    return y, off + rounding * (np.abs(y) + off)


def product(
    sizes: tuple[int, int, int],
    rng: np.random.Generator,
    activation: Activation = Activation.NONE,
    result: DType = DType.BF16,
    step: int = 0,
) -> Case:
    """activation(A W + bias). sizes: M,K,N. step: from row to row of A, where its rows overlap."""
    M, K, N = sizes
    d, rows, cols = Dispatch(), padded(M, 256), padded(N, 256)
    weight = (rng.standard_normal((K, N)) / np.sqrt(K)).astype(np.float32)
    bias, depth = rng.standard_normal(N).astype(np.float32), padded(K, 64)
    if step:
        flat = rng.standard_normal(step * rows + depth).astype(np.float32)
        d.reads("X", flat.astype(BF16))
        a, x = Matrix("X", 0, step), np.lib.stride_tricks.sliding_window_view(flat, K)[: step * M : step]
    else:
        x = rng.standard_normal((M, K)).astype(np.float32)
        a = d.reads_matrix("X", x, rows, depth)
    d.writes("Y", rows * cols * result.nbytes // 2)
    y = Matrix("Y", 0, cols) if result is DType.BF16 else Plain("Y", 0, cols)
    d.gemm(a, y, rows, weight, bias, activation)
    return Case(d, (Result(y, *of_product(on_bf16(x), weight, bias, activation, result)),))


def two_products(M: int, sizes: tuple[int, int, int], rng: np.random.Generator) -> Case:
    """(A V) W, with what lies between them in WORK. sizes: K of A, N of V, N of W."""
    d, rows = Dispatch(), padded(M, 256)
    x, *weights = (
        rng.standard_normal(shape).astype(np.float32) / np.float32(8)
        for shape in ((M, sizes[0]), sizes[:2], sizes[1:])
    )
    a = d.reads_matrix("X", x, rows, sizes[0])
    between = d.keeps(rows, sizes[1])
    d.writes("Y", rows * sizes[2])
    wanted, allowed = on_bf16(x), 0.0
    for weight, where, into in ((weights[0], a, between), (weights[1], between, Matrix("Y", 0, sizes[2]))):
        bias = np.zeros(weight.shape[1], np.float32)
        before = allowed @ np.abs(on_bf16(weight)) if isinstance(allowed, np.ndarray) else 0.0
        d.gemm(where, into, rows, weight, bias)
        wanted, off = of_product(wanted, weight, bias, Activation.NONE)
        allowed = off + before * (1 + BF16_UNIT)
    return Case(d, (Result(Matrix("Y", 0, sizes[2]), wanted, allowed),))


def attention(
    n_ctx: int,
    n_head: int,
    rng: np.random.Generator,
    mask: NDArray[np.bool_] | None = None,
    scale: float = 0.5,
) -> Case:
    """All heads of a row of q, k and v. scale: of q. What is in no head, and rows of no key, are NaN or 0."""
    rows, ld, n_state = padded(n_ctx, 256), qkv_row(n_head, NPU1.columns), n_head * D_HEAD
    counts = np.ones(n_ctx, np.bool_) if mask is None else mask
    qkv = rng.standard_normal((n_ctx, 3 * n_state)).astype(np.float32)
    qkv[:, :n_state] *= scale
    d, row = Dispatch(), context_row(n_head, NPU1.columns)
    x = d.reads_matrix("X", qkv, rows, ld)
    d.writes("Y", rows * row)
    d.attend(x, Matrix("Y", 0, row), rows, n_head, counts)

    q, kv = np.split(on_bf16(qkv), [n_state], axis=1)
    k, v = kv.reshape(n_ctx, n_head, 2, D_HEAD).transpose(2, 1, 0, 3)  # (n_head, n_ctx, 64)
    scores = q.reshape(n_ctx, n_head, D_HEAD).swapaxes(0, 1) @ k.swapaxes(1, 2)
    scores[..., ~counts] = -np.inf
    p = 2.0 ** (scores - scores.max(2, keepdims=True))
    p /= p.sum(2, keepdims=True)

    def side_by_side(heads: F64) -> F64:
        return heads.swapaxes(0, 1).reshape(n_ctx, n_state)

    # P is rounded to bf16 and so are its sums; a power of two is within 2^-7.
    wanted, allowed = side_by_side(p @ v), side_by_side(p @ np.abs(v)) * (2 * BF16_UNIT + 2.0**-7) + 1e-6
    return Case(d, (Result(Matrix("Y", 0, row), wanted, allowed + BF16_UNIT * np.abs(wanted)),))


def rows_of_stream(
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    added: bool = False,
    total: bool = False,
    normed: bool = False,
    stepping: Target = NPU1,
) -> Case:
    """The sum, the normalised rows, or both."""
    M, n_state = shape
    d, rows, row = Dispatch(stepping=stepping), padded(M, 256), row_length(n_state)
    x, u = (scale * rng.standard_normal(shape).astype(np.float32) for scale in (3, 1))
    stream, where, made, s = d.reads_stream("X", x, rows), None, None, x.astype(np.float64)
    if total:
        made = d.writes_stream("Y", rows, n_state, normed=normed)
    elif normed:
        d.writes("Y", rows * row)
    results: list[Result] = []
    if added:
        where = d.reads_plain("U", u, rows, row)
        s += u
    if made:
        results.append(Result(made, s, 2.0**-23 * (np.abs(x) + np.abs(s)) + 2.0**-126))
    rows_made = (made.normed if made else Matrix("Y", 0, row)) if normed else None
    if rows_made:
        y = (s - s.mean(1, keepdims=True)) / np.sqrt(s.var(1, keepdims=True) + EPSILON)
        results.append(Result(rows_made, y, BF16_UNIT * np.abs(y) + 1e-4))
    d.rows(stream, rows, n_state, added=where, total=made, normed=rows_made)
    return Case(d, tuple(results))


def encoder_layer(n_state: int, n_ctx: int, rng: np.random.Generator) -> Case:
    """A whole layer of random weights. Norms are folded into the products behind them."""
    op = EncoderLayer(n_ctx, n_state, n_state // D_HEAD, 4 * n_state)
    values = {o.name: rng.standard_normal(o.shape).astype(np.float32) for o in op.inputs}
    for name, value in values.items():
        if value.ndim == 2 and name != "x":
            value /= np.sqrt(len(value))
        if name.endswith("ln_weight"):
            value[:] = 1 + value / 8
    values["qkv_weight"][:, :n_state] /= np.sqrt(D_HEAD)
    values["qkv_bias"][:n_state] /= np.sqrt(D_HEAD)

    M, row, n_head = padded(n_ctx, 256), row_length(n_state), op.n_head
    d, qkv_ld = Dispatch(), qkv_row(n_head, NPU1.columns)
    x, y = d.reads_stream("X", values["x"], M), d.writes_stream("Y", M, n_state)
    normed, qkv = d.keeps(M, row), d.keeps(M, qkv_ld)
    context = d.keeps(M, context_row(n_head, NPU1.columns))
    stream, middle = d.keeps_stream(M, n_state), d.keeps(M, padded(op.n_mlp, 256))
    u = d.keeps_plain(M, row)

    d.rows(x, M, n_state, normed=normed)
    weight, bias = (in_order_of_heads(w, n_head) for w in folded(values, "attn_ln", "qkv"))
    # Heads that fill up a group have no weights, but columns.
    d.gemm(normed, qkv, M, np.pad(weight, ((0, 0), (0, qkv_ld - weight.shape[1]))), bias)
    d.attend(qkv, context, M, n_head, np.ones(n_ctx, np.bool_))
    d.gemm(context, u, M, values["out_weight"], values["out_bias"])
    d.rows(x, M, n_state, added=u, total=stream, normed=stream.normed)
    d.gemm(stream.normed, middle, M, *folded(values, "mlp_ln", "mlp0"), Activation.GELU)
    d.gemm(middle, u, M, values["mlp2_weight"], values["mlp2_bias"])
    d.rows(stream, M, n_state, added=u, total=y)

    exact = op._values(tuple(values[o.name] for o in op.inputs))
    # Eight roundings to bf16, each of a product's operands or its result, of elements up to the largest.
    results = [(context, exact["context"]), (stream, exact["stream"]), (y, exact["y"])]
    return Case(
        d, tuple(Result(w, r.astype(np.float64), 8 * BF16_UNIT / 2 * np.abs(r).max()) for w, r in results)
    )


def folded(values: Mapping[str, F32], norm: str, product: str) -> tuple[F32, F32]:
    """W' = diag(weight) W, bias' = bias W + bias of a product, for rows that are only normalised."""
    scale, shift, weight, bias = (
        values[name].astype(np.float64)
        for name in (f"{norm}_weight", f"{norm}_bias", f"{product}_weight", f"{product}_bias")
    )
    return (scale[:, np.newaxis] * weight).astype(np.float32), (shift @ weight + bias).astype(np.float32)


def in_order_of_heads(columns: F32, n_head: int) -> F32:
    """q, k and v of all heads, each side by side: q, to base 2, and then k and v head by head."""
    q, k, v = np.split(columns.astype(np.float64), 3, axis=-1)
    heads = [part.reshape(*part.shape[:-1], n_head, D_HEAD) for part in (k, v)]
    k_and_v = np.stack(heads, axis=-2).reshape(*k.shape[:-1], -1)
    return np.concatenate([q * np.log2(np.e), k_and_v], axis=-1).astype(np.float32)
