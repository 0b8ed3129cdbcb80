"""What one dispatch does: phases, one after the other, each on all cores. Pure.

There is one overlay. Every core runs one program, and a phase's header tells it what to do: multiply
(`Gemm`), attend (`Attend`), or add and normalise rows (`Rows`). So sizes, and which phases a dispatch has,
stand in the instructions only.

Objects. Each object of each fifo is TILE x TILE bf16, 8 KiB, in any phase:

    A   shim and memtile j -> row j of cores, broadcast along the row     (m/r, k/s, r, s) on a core
    B   shim and memtile c -> column c of cores, broadcast up the column  (k/s, n/t, s, t) on a core
    C   each core -> memtile c, which joins a column's four -> shim c     (m/r, n/t, r, t) on a core

The memtile brings A and B into micro-tiles on their way to a core, C back into rows on its way out. B is
besides spread on its way into the memtile: row 2 i + h of the stream becomes row i + 32 h of the object, so
that 32 rows of [k of a head | v of the head], 128 numbers each, become 32 rows of K and below them 32 of V.
Weights are staged the other way round (`interleaved`).

Header. A phase begins with one object of B per column, from an argument of its own, HEADERS: there stands
what differs from run to run, so that weights can be staged before rows, biases and masks are known. Where a
dispatch would have an argument too many, headers lie in front of the WEIGHTS. `header` of a phase counts
objects of the argument `headers`, one for each column. A header's numbers are bf16 and lie as the
weights do (the core reads them by rows of the object: number x is at row x // 64, column x % 64):

    0 ..   31   NUMBERS whole numbers below 2^16, each as high * 256 + low: high at 2 i, low at 2 i + 1
    32 .. 1311  640 biases, each the sum of two bf16: high at 32 + 2 i, low at 32 + 2 i + 1
  1312 .. 2335  the mask of up to 8,192 keys: bit b of number i (0 .. 255) is 1 where key 8 i + b counts
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from whisper_npu.dtypes import DType
from whisper_npu.ops import Activation

HEADERS, WEIGHTS = "HEADERS", "WEIGHTS"  # arguments
TILE = 64  # m = k = n of a core's step
OBJECT = TILE * TILE  # bf16 of an object
BF16_BYTES = 2
KEYS = TILE // 2  # of an object of B in attention: so many rows of K, and as many of V below them
D_HEAD = TILE  # of every head: Whisper has no other
MAX_BIASES = 640  # of one column of cores in a phase
MAX_KEYS = 8192
KEPT = MAX_BIASES  # fp32 that a core keeps beside its sums
MASK_WORDS = MAX_KEYS // KEYS  # of 32 bits that a core keeps: one for each object of keys
HALVES = 2  # objects of a unit of rows: 2,048 fp32 each
UNIT = OBJECT  # fp32 that a core holds: what `Rows` takes at a time
MIN_ROW, MAX_ROW = 512, 2048  # numbers from one row of the residual stream to the next


class Number(IntEnum):
    """The whole numbers of a header. Counts of 0 leave a loop of the core out."""

    TILES = 0  # tiles of C that each core makes by multiplying: column blocks inside row blocks
    QUERIES = 1  # blocks of 64 queries that each core attends with: row blocks inside groups of heads
    UNITS = 2  # units of rows that each core takes
    STEPS = 3  # objects of A and of B that a tile of C takes
    KEY_BLOCKS = 4  # objects of B that a block of queries takes
    ADDITIONS = 5  # objects of B per unit: two for each row of cores where something is added, or 0
    SUMS = 6  # objects of C per unit with the sum in fp32: 2 or 0
    NORMED = 7  # objects of C per unit with the normalised rows: 1 or 0
    COLUMN_BLOCKS = 8  # tiles of C whose biases follow one another in the header
    GELU = 9  # 1: after the bias
    N_STATE = 10  # numbers of a row that count
    ROW = 11  # from one row of a unit to the next: 512, 1024 or 2048
    IN_BF16 = 12  # objects of C per tile of a product: 1, or 0 where it leaves in fp32
    IN_F32 = 13  # the same in fp32: 2, or 0


NUMBERS = 16


@dataclass(frozen=True)
class Matrix:
    """Where rows of bf16 lie in an argument of the dispatch, all evenly, or in blocks."""

    argument: str
    offset: int  # elements of bf16
    ld: int  # elements from one row to the next
    block: int = 0  # rows that lie evenly, a multiple of 256; 0: all
    step: int = 0  # elements from one block to the next


@dataclass(frozen=True)
class Units:
    """Rows of the residual stream, fp32, in units of UNIT numbers: rows of `row_length(n_state)`, in order.

    A unit is two objects. In plain rows its halves lie one behind the other, and the next unit behind them.
    In planes (planes.py) all first halves lie one behind the other, and `half` later all second halves.
    Either is right; sums that go to plain rows take many tasks.
    Offsets and steps count bf16, two for each fp32.
    """

    argument: str
    offset: int
    unit: int  # from one unit to the next: 2 * UNIT in plain rows, UNIT in planes
    half: int  # from the first half of a unit to its second: UNIT in plain rows
    block: int = 0  # rows that lie so, a multiple of 256; 0: all
    step: int = 0  # from one block to the next


@dataclass(frozen=True)
class Gemm:
    """C = activation(A W + bias), in bf16 or fp32. M and N are multiples of 256, K of 64.

    Round (i, j) makes rows 256 i and columns 256 j on: core (column c, row r) rows 256 i + 64 r and columns
    256 j + 64 c. Rounds go column block by column block inside a row block. `b` counts objects of WEIGHTS:
    for each column c of the array K / 64 objects for each column block.

    A result in fp32, for the residual stream, leaves as two objects per tile, its first 32 columns and its
    last 32, so that 64 elements of bf16 at 256 (2 j + half) + 64 c of a row are one half's: core column c has
    the columns 256 j + 128 half + 32 c on. Weights and biases are staged in this order (weights.by_columns).
    """

    M: int
    K: int
    N: int
    activation: Activation
    a: Matrix
    b: int
    c: Matrix
    header: int = 0
    result: DType = DType.BF16
    headers: str = HEADERS

    def __str__(self) -> str:
        activation = "" if self.activation is Activation.NONE else f", {self.activation.value}"
        return f"Gemm ({self.M},{self.K})@({self.K},{self.N}){activation} -> {self.result.value}"


@dataclass(frozen=True)
class Attend:
    """softmax(Q K^T) V by base 2, the heads side by side in C: q is scaled by log2(e) / sqrt(d_head) already.

    Column c of the array takes head 4 g + c of group g, row r of it the queries 256 i + 64 r on of round i.
    In a row of qkv lie q of all heads, then for each head its k and its v, 64 numbers each: heads that fill
    up a last group read what lies there, and write to columns of C that nobody reads. Keys come in blocks of
    32; those that the mask leaves out get no weight.
    """

    M: int  # queries, a multiple of 256
    n_keys: int  # a multiple of 32
    n_head: int
    qkv: Matrix
    c: Matrix
    header: int = 0
    headers: str = HEADERS

    def __str__(self) -> str:
        return f"Attend: {self.n_head} heads, {self.M} queries, {self.n_keys} keys"


@dataclass(frozen=True)
class Rows:
    """s = x + added; normed = (s - mean) / sqrt(variance + EPSILON), each only where it is asked for.

    Weight and bias of a norm are the next product's: W' = diag(weight) W, bias' = bias W + bias. A row has
    `row_length(n_state)` numbers, of which those behind n_state are 0: of x, and so of the sum. In `added`
    they may be anything.
    In each round a column takes the next four units, its row r of cores the r-th of them.
    x comes by A, the units of a row of cores to each of its cores; `added` comes by B, those of a column to
    each of its cores: object o of a unit is half o % 2 of row o // 2. A product leaves `added` in plain rows,
    and the sum goes to planes: they lie apart.
    Per unit the sum leaves before the normalised rows; where both are asked for, `normed` lies `sum.half`
    behind the second halves, in the same blocks (`Planes.normed`), so that one task says it.
    """

    M: int
    n_state: int
    x: Units
    added: Units | None
    sum: Units | None
    normed: Matrix | None  # its ld is row_length(n_state)
    header: int = 0
    headers: str = HEADERS

    def __str__(self) -> str:
        made = [name for name, where in (("sum", self.sum), ("normed", self.normed)) if where]
        return f"Rows ({self.M},{self.n_state}): {'x + added' if self.added else 'x'} -> {', '.join(made)}"


Phase = Gemm | Attend | Rows


def padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def row_length(n_state: int) -> int:
    """From one row of the residual stream to the next: a power of two, so that a unit has whole rows."""
    return max(MIN_ROW, 1 << (n_state - 1).bit_length())


def groups(n_head: int, columns: int) -> int:
    """Of heads: as many heads at a time as the array has columns."""
    return -(-n_head // columns)


def qkv_row(n_head: int, columns: int) -> int:
    """From one row of q, k and v to the next: the last group of heads has all its k and v in the row."""
    return padded(n_head * D_HEAD + 2 * groups(n_head, columns) * columns * D_HEAD, columns * TILE)


def context_row(n_head: int, columns: int) -> int:
    """Numbers of all heads side by side, those that fill up the last group included."""
    return groups(n_head, columns) * columns * D_HEAD
