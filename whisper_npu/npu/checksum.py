"""Whether what a device gave for a product can be right, at a small part of the product's cost.

For any vector r, C r is A (B r): two products with a vector, and B r is made once for a weight. Each row is
compared by itself, so that what is wrong in one is not lost among many: a tile that is zero, stale, of
another place, or lacks a part of its sum. Algorithm-based fault tolerance: Huang and Abraham, IEEE
Transactions on Computers C-33(6), 1984; with random vectors: Freivalds, IFIP Congress 1977.

What is not seen. Each element of r is spread evenly over the magnitudes from 1/2 to 1 of both signs, with a
density of 1, so that the weighted errors e r of a row have a density of at most 1 / max|e_j|. Where both
sides may lie t apart, one vector misses a wrong row with a probability of at most 2 t / max|e_j|, and VECTORS
of them with its VECTORS-th power: 1e-4 where an element is wrong by 200 t. An element that is wrong by more
than 4 t, alone in its row, is always seen.

How far both sides may lie apart. C_ij moves by at most g ||A_i|| ||B_j|| from A B, where g is the error of a
sum of K products (`Numerics.sum_error`) and A and B are as the device read them: rounded. The signs in r
are random, so that by Hoeffding's inequality (JASA 58, 1963) the weighted errors of a row add up to more than
SIGMAS g ||A_i|| ||B|| with a probability below 2 exp(-SIGMAS^2 / 2) = 4e-22, whatever the errors are. The
check's own fp32 sums move by at most gamma of their length (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.1), which is added in full. Subnormal numbers may be lost, as in `Matmul.tolerance`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.host.threads import Threads
from whisper_npu.ops import Matmul, Numerics
from whisper_npu.ops.op import F64

ROWS = 192  # of C that a thread compares at a time
AT_A_TIME = 2**20  # elements of B that are added up at a time
VECTORS = 2
PERIOD = 23  # products, see `Turns`
SIGMAS = 10.0
UNIT = 2.0**-24
LOST = 2.0**-125  # of a product or sum that is subnormal
TOO_SMALL, TOO_LARGE = 1e-30, 1e30  # squared norms beyond which fp32 sums could lose or overflow

RowsOf = Callable[[int, slice], F32]  # some rows of one of the matrices, (rows, cols), as the device read it


class Checked(Enum):
    """How much of what a device gives is checked before it is used."""

    NOTHING = "off"
    ONE = "one"  # of PERIOD products, in turn, whole: about one in each window of a small encoder
    ALL = "all"


class Turns:
    """Which products are checked.

    One in PERIOD: a prime, so that the turn comes to each of the n products that a caller repeats, within
    PERIOD repetitions, unless n is a multiple of PERIOD. Below 26, the products of the smallest encoder's
    window (two convolutions, and six for each of four layers), so that no window goes without a check. It
    begins anywhere, so that many short runs check every product too.
    """

    def __init__(self, checked: Checked, rng: np.random.Generator) -> None:
        self.checked = checked
        self.before_next = int(rng.integers(PERIOD))  # products that are not checked

    def comes(self) -> bool:
        """Whether the next product is to be checked. To be asked once for each."""
        if self.checked is not Checked.ONE:
            return self.checked is Checked.ALL
        if self.before_next > 0:
            self.before_next -= 1
            return False
        self.before_next = PERIOD - 1
        return True


@dataclass(frozen=True)
class Wrong:
    """Rows of C that cannot be right, and the columns in which the first of them is not."""

    index: int  # of the batch
    rows: slice
    cols: slice


@dataclass(frozen=True)
class Sums:
    """B r of every matrix of a batch, for VECTORS vectors r."""

    vectors: F32  # r: (VECTORS, N), of magnitudes from 1/2 to 1
    sums: F32  # (batch, VECTORS, K)
    norms: F64  # (batch,), of B
    norms_of_sums: F64  # (batch, VECTORS)

    @classmethod
    def of(cls, op: Matmul, b: RowsOf, threads: Threads, rng: np.random.Generator) -> Sums:
        signs = rng.choice(np.array([-1, 1], np.float32), (VECTORS, op.N))
        vectors = signs * rng.uniform(0.5, 1, signs.shape).astype(np.float32)
        exact = vectors.T.astype(np.float64)
        sums = np.empty((op.batch, VECTORS, op.K))
        squares = np.empty((op.batch, op.K))

        def some(place: tuple[int, slice]) -> None:
            index, rows = place
            y = b(index, rows).astype(np.float64)
            with np.errstate(all="ignore"):
                sums[index, :, rows] = (y @ exact).T
                squares[index, rows] = _dots(y)

        step = max(1, AT_A_TIME // op.N)
        steps = [slice(first, min(first + step, op.K)) for first in range(0, op.K, step)]
        threads.parallel_for(some, [(index, step) for index in range(op.batch) for step in steps])
        with np.errstate(all="ignore"):
            norms, norms_of_sums = np.sqrt(squares.sum(axis=1)), np.sqrt((sums * sums).sum(axis=2))
            return cls(vectors, sums.astype(np.float32), norms, norms_of_sums)


def wrong_in(
    op: Matmul,
    numerics: Numerics,
    a: RowsOf,
    b: RowsOf,
    c: F32,
    of_b: Sums,
    threads: Threads,
) -> Wrong | None:
    """Where C is not A B. c: (batch, M, N); of_b: as `Sums.of` made it. None where every checksum agrees.

    Results that overflow, or may, are compared one by one, in float64.
    """
    error = _error(op, numerics)
    found: list[Wrong] = []

    def compare(place: tuple[int, slice]) -> None:
        with np.errstate(all="ignore"):
            compare_rows(*place)

    def compare_rows(index: int, rows: slice) -> None:
        x, y = a(index, rows), c[index, rows]
        squares = _squares(x)
        norm_b = of_b.norms[index]
        allowed = _allowed(op, error, np.sqrt(squares), norm_b, of_b.norms_of_sums[index])
        agrees = np.ones(len(x), np.bool_)
        for number, (sums, vector) in enumerate(zip(of_b.sums[index], of_b.vectors, strict=True)):
            agrees &= np.abs(x @ sums - y @ vector) <= allowed[:, number]
        small = (squares <= TOO_LARGE) & (norm_b**2 <= TOO_LARGE)
        if (agrees & small).all():
            return
        whole = b(index, slice(0, op.K))
        for row in np.flatnonzero(~(agrees & small)):
            wrong = _wrong_elements(op, error, x[row], whole, y[row])
            if wrong.any() or small[row]:
                cols = np.flatnonzero(wrong) if wrong.any() else np.arange(op.N)
                at = rows.start + int(row)
                found.append(Wrong(index, slice(at, at + 1), slice(int(cols[0]), int(cols[-1]) + 1)))
                return  # one is enough

    blocks = [slice(first, min(first + ROWS, op.M)) for first in range(0, op.M, ROWS)]
    threads.parallel_for(compare, [(index, rows) for index in range(op.batch) for rows in blocks])
    return min(found, key=lambda one: (one.index, one.rows.start), default=None)


def _squares(x: F32) -> F64:
    """Of each row the sum of its squares. In float64 only where float32 would lose them."""
    squares: F64 = _dots(x).astype(np.float64)
    lost = squares < TOO_SMALL
    if lost.any():
        squares[lost] = _dots(x[lost].astype(np.float64))
    return squares


def _dots(x: F32 | F64) -> NDArray[Any]:
    """Each row times itself, by BLAS: (rows,)."""
    squares: NDArray[Any] = np.matmul(x[:, None, :], x[:, :, None])[:, 0, 0]
    return squares


def _allowed(op: Matmul, error: float, norms_a: F64, norm_b: float, norms_of_sums: F64) -> F64:
    """(rows, VECTORS): how far both sides may lie apart. See above."""
    of_c = _gamma(op.N + 1) * (1 + error) * op.N**0.5
    relative = (SIGMAS * error + of_c) * norm_b + (_gamma(op.K) + UNIT) * norms_of_sums
    lost = op.N * LOST * (op.K + op.K**0.5 * (norms_a + norm_b))
    allowed: F64 = 1.01 * np.outer(norms_a, relative) + lost[:, None]
    return allowed


def _wrong_elements(op: Matmul, error: float, x: F32, y: F32, c: F32) -> NDArray[np.bool_]:
    """Which elements of a row no sum gives: (N,). x: (K,), y: (K, N), c: (N,)."""
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    magnitude = np.abs(x64) @ np.abs(y64)
    bound = error * magnitude + LOST * (op.K + np.abs(x64).sum() + np.abs(y64).sum(axis=0))
    may_overflow = ~(magnitude + bound < np.finfo(np.float32).max / 2)
    wrong: NDArray[np.bool_] = ~((np.abs(c - x64 @ y64) <= bound) | (may_overflow & ~np.isfinite(c)))
    return wrong


def _error(op: Matmul, numerics: Numerics) -> float:
    """Of a sum over K in whatever order, in parts or whole, relative to the sum of magnitudes."""
    parts = -(-op.K // min(op.K, numerics.partial_k or op.K))
    return numerics.sum_error(op.K + parts - 1)


def _gamma(additions: int) -> float:
    return additions * UNIT / (1 - additions * UNIT)
