"""The residual add and the layer norm of rows in one dispatch: fp32 in and out, the sum written as well.

Two cores, one above the other, are a lane. The lower takes ROWS rows at a time, in chunks of CHUNK columns,
and keeps their sums in L1 until it has mean and variance; what it then gives to the upper has mean 0 and
variance 1, and the upper applies weight and bias. M and N stand in the instructions and in numbers that each
core reads, so that all sizes share one overlay. What the cores compute, and in which order they sum, is
`centred` and its neighbours below; norm.cc does the same.

A core has no fp32 multiplier. Peano's `mul_elem_16` splits each fp32 operand into three bf16 pieces and sums
all nine of their products (github.com/Xilinx/llvm-aie, clang/lib/Headers/aiev2_core.h, its default, "safe";
UG1603, Floating-Point Accuracy, states 0 ULP for it). A vmac aligns and rounds its addends as in
github.com/FIM43-Redeye/xdna-emu, src/interpreter/execute/vector_matmul/bf16_pipeline.rs. PRODUCT_ERROR
follows from both. What executes a contract here multiplies in IEEE fp32 instead; both stay within the
tolerance of `Norm.tolerance`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whisper_npu.dtypes import F32, DType
from whisper_npu.errors import PlanError
from whisper_npu.kernels.tasks import task_number
from whisper_npu.npu.contract import Argument, Contract, KnownAnswer
from whisper_npu.npu.cost import modelled_plan_seconds
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import STAY, Loop, Plan
from whisper_npu.npu.targets import CoreRate, Target
from whisper_npu.ops import EPSILON, Direction, Norm, Numerics, Op

ROWS = 2  # of one object: weight and bias are two rows as well, so they travel as rows do
CHUNK = 128  # columns of one object: 512 bytes of a row in one piece; divides every n_state of Whisper
DEPTH = 2  # buffers of each fifo: one is filled or emptied while the core works on the other
WIDTH = 16  # fp32 in a vector of 512 bits
SUMS = 4  # accumulators of a sum, so that an addition need not wait for the one before
NEWTON_STEPS = 3
START = 0x5F3759DF  # minus half the bits of v: within 3.44 % of 1/sqrt(v) (Lomont, Fast Inverse Square Root)

# How far a core's product of two fp32 lies from the exact one, relative, in 2^-24: 1 for each operand, whose
# first piece may lie in the next binade and then costs its last bit; 1 where the last vmac aligns the sum so
# far, 1 where it rounds; 1 for all others.
PRODUCT_ERROR = 5 * 2.0**-24

# The lower core in norm.cc, MODELLED: counted, not measured. For a vector of 16 fp32, in the slot that is
# busiest in the bundle (vector; store, which converts to bf16 too; two loads of 256 bits): 4 to add and to
# store twice; 1 for the mean's sum; 12 for a deviation and its square, 1 + 2 to split + 9 products; 11 to
# divide by the spread, 2 to split + 9 products. The upper core has 13. One bundle per cycle is the best;
# Peano issues about half of what the slots hold: one vmac in two cycles of upstream's loop
# (github.com/jdominick05/ignite-xdna, docs/SILICON.md).
VECTOR_SLOTS = 4 + 1 + 12 + 11
# A row's mean, variance and inverse root: 11 products that wait for each other, 9 vmacs of 4 cycles and a
# split of about 24 each (llvm-aie, AIE2Schedule.td: a vmac reads its accumulator 3 cycles after it starts and
# writes it after 6).
ROW_CYCLES = 11 * (9 * 4 + 24)
CALL_CYCLES = 100  # assumed, with the locks of the objects


# ------------------------------------------------------------------------- what a core computes, in its order


def centred(s: F32, inverse: np.float32) -> tuple[F32, F32]:
    """The deviations of each row from its mean, and 1 / sqrt(variance + EPSILON) of each row.

    s: (rows, N), inverse: 1 / N. Returns (rows, N) and (rows, 1).
    """
    deviations = s - summed(s) * inverse
    variance = summed(deviations * deviations) * inverse
    return deviations, inverse_root(variance + np.float32(EPSILON))


def summed(values: F32) -> F32:
    """Each row's sum, as (rows, 1).

    Element e of accumulator a adds columns 64 i + 16 a + e in the order of i; then the accumulators,
    (0 + 1) + (2 + 3); then the elements, each and the one half a vector further, as aie::reduce_add does.
    """
    rows = len(values)
    vectors = values.reshape(rows, -1, SUMS, WIDTH)
    total = np.zeros((rows, SUMS, WIDTH), np.float32)
    for i in range(vectors.shape[1]):
        total += vectors[:, i]
    sums: F32 = (total[:, 0] + total[:, 1]) + (total[:, 2] + total[:, 3])  # (rows, WIDTH)
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    return sums


def inverse_root(v: F32) -> F32:
    """1 / sqrt(v) by Newton's steps from START: their error goes 3.44e-2, 1.8e-3, 4.7e-6, below 2^-24.

    What remains are roundings: 16 * 2^-24, relative, with products as the core makes them.
    """
    y: F32 = (START - (v.view(np.int32) >> 1)).astype(np.int32).view(np.float32)
    half = v * np.float32(0.5)
    for _ in range(NEWTON_STEPS):
        y *= np.float32(1.5) - half * (y * y)
    return y


def affine(unit: F32, weight: F32, bias: F32) -> F32:
    """unit: (rows, N), weight and bias: (N,)."""
    return bias + unit * weight


# ----------------------------------------------------------------------------------------------- contracts


@dataclass(frozen=True)
class NormContract(Contract):
    """s = x + residual; y = (s - mean) / sqrt(variance + EPSILON) * weight + bias, of `rows` rows."""

    rows: int
    cols: int

    __hash__ = Contract.__hash__

    @property
    def overlay(self) -> str:
        return "norm"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Five bos, all that aiecc declares (github.com/Xilinx/mlir-aie, test/aiecc/buffers_xclbin.mlir)."""
        elements = self.rows * self.cols
        return (
            Argument("X", elements, DType.F32, Direction.IN),
            Argument("RESIDUAL", elements, DType.F32, Direction.IN),
            Argument("PARAMETERS", self.height * self.cols, DType.F32, Direction.IN),
            Argument("SUM", elements, DType.F32, Direction.OUT),
            Argument("Y", elements, DType.F32, Direction.OUT),
        )

    @property
    def height(self) -> int:
        """Rows that the lanes of one column of the array take together."""
        return lanes(self.target) * ROWS

    @property
    def rounds(self) -> int:
        """How often each lane takes ROWS rows."""
        return self.rows // (self.target.columns * self.height)

    @property
    def chunks(self) -> int:
        """How many make a row."""
        return self.cols // CHUNK

    @property
    def inverse(self) -> np.float32:
        """1 / N, which no core can divide."""
        return np.float32(1 / self.cols)

    @property
    def macs(self) -> int:
        return 0

    @property
    def numerics(self) -> Numerics:
        return Numerics(operand_unit=0.0)

    @property
    def bytes_to_device(self) -> int:
        """Each column of the array reads PARAMETERS."""
        x, residual, parameters = self.arguments[:3]
        return x.nbytes + residual.nbytes + self.target.columns * parameters.nbytes

    @property
    def l1_bytes(self) -> int:
        """The lower core's, the same for all sizes: it has room for rows of `max_cols`."""
        return _fixed_l1_bytes(self.target) + ROWS * max_cols(self.target) * DType.F32.nbytes

    def layouts(self, op: Op) -> tuple[Layout, ...]:
        assert isinstance(op, Norm)

        def rows(name: str) -> Layout:
            return Layout(name, op.M, op.N, self.rows, self.cols, DType.F32)

        parameters = Layout("PARAMETERS", self.height, op.N, self.height, self.cols, DType.F32)
        return rows("X"), rows("RESIDUAL"), parameters, rows("SUM"), rows("Y")

    @property
    def written(self) -> tuple[Layout, ...]:
        rows, cols = self.rows, self.cols
        return tuple(Layout(name, rows, cols, rows, cols, DType.F32) for name in ("SUM", "Y"))

    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        x, residual, parameters = tiles
        s = x + residual
        weight, bias = parameters[:ROWS]
        deviations, scale = centred(s, self.inverse)
        return s, affine(deviations * scale, weight, bias)

    def core_cycles(self, rate: CoreRate) -> float:
        """Of the lower core. Its vectors take as much longer than their slots as a product's loop does."""
        calls = self.rounds * (2 * self.chunks + 1) + self.chunks
        vector = VECTOR_SLOTS * self.target.macs_per_cycle / rate.macs_per_cycle
        row = self.cols // WIDTH * vector + ROW_CYCLES
        return self.rounds * ROWS * row + calls * CALL_CYCLES

    @property
    def tasks(self) -> int:
        """As kernels/norm/design.py issues them: two operands, two results; PARAMETERS once."""
        of_round = [(self.chunks, CHUNK), (self.height, self.cols), (CHUNK, 1)]
        rounds = [(self.rounds, self.height * self.cols)]
        of_rows, once = (
            task_number(self.target, DType.F32.nbytes, order, of_round) for order in (rounds, [])
        )
        return self.target.columns * (4 * of_rows + once)

    @property
    def writes(self) -> int:
        """Rounds and chunks to each core, and 1 / N to the lower ones."""
        return self.cores * 2 + self.cores // 2

    @property
    def stream_bytes(self) -> tuple[int, int]:
        """PARAMETERS come before X, to each column."""
        x, _, parameters = self.arguments[:3]
        return x.nbytes // self.target.columns + parameters.nbytes, x.nbytes // self.target.columns

    @property
    def trial_op(self) -> Norm:
        return Norm(self.rows, self.cols, residual=True)

    def known_answer(self, op: Op, rng: np.random.Generator) -> KnownAnswer:
        """SUM to the last bit: no sum of such numbers rounds or is zero. Y within its tolerance."""
        assert isinstance(op, Norm)
        x, residual, weight, bias = (
            rng.integers(-(2**14), 2**14, operand.shape).astype(np.float32) for operand in op.inputs
        )
        unit = np.float32(2.0**-12)
        inputs = (x + np.float32(0.5)) * unit, residual * unit, weight * unit, bias * unit
        _, y_bound = op.tolerance(self.numerics, *inputs)
        return KnownAnswer(inputs, op.reference(*inputs), (0.0, y_bound))


def norm(target: Target, rows: int, cols: int) -> NormContract:
    """The contract for sizes that whole rounds and chunks cover."""
    return NormContract(f"norm_{rows}x{cols}", target, rows, cols)


def padded_norm(target: Target, op: Norm) -> NormContract:
    """The kernel for an op, its rows rounded up to whole rounds."""
    unit = target.columns * lanes(target) * ROWS
    return norm(target, -(-op.M // unit) * unit, op.N)


def lanes(target: Target) -> int:
    """How many one column has.

    Its memtile takes in X and RESIDUAL, and SUM and Y of each lane: six channels are enough for two lanes.
    """
    return (target.memtile.dma_channels - 2) // 2


def max_cols(target: Target) -> int:
    """The longest row that a core holds."""
    room = target.l1_bytes - _fixed_l1_bytes(target)
    return room // (ROWS * CHUNK * DType.F32.nbytes) * CHUNK


def _fixed_l1_bytes(target: Target) -> int:
    """Stack, four fifos, a vector of scale per row, and the three numbers that the sequence writes."""
    fifos = 4 * DEPTH * ROWS * CHUNK * DType.F32.nbytes
    return target.stack_bytes + fifos + ROWS * WIDTH * DType.F32.nbytes + 3 * 4


# ---------------------------------------------------------------------------------------------- the family


class NormPlan(Plan):
    """Weight and bias go to the array as rows of one operand."""

    def turned(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Weight and bias once per lane of a column: the memtile hands them out as it does rows."""
        x, residual, weight, bias = inputs
        return x, residual, np.tile(np.stack([weight, bias]), (lanes(self.contract.target), 1))


def rows_in_blocks(op: Norm, contract: NormContract) -> NormPlan:
    """As many rows in a dispatch as the contract takes."""
    move = (1, 0)
    blocks = -(-op.M // contract.rows)
    loops = (Loop("rows", blocks, (move, move, STAY, move, move)),)
    return NormPlan(op, contract, loops, contract.target.run_list)


@dataclass(frozen=True)
class NormOnRows(Kernel):
    """One overlay for all sizes, one dispatch for all rows."""

    target: Target
    built: tuple[NormContract, ...] | None = None  # the only ones there are; None: one for any size

    @property
    def name(self) -> str:
        return "norm"

    def contract(self, op: Op) -> NormContract | None:
        if not isinstance(op, Norm) or not op.residual or not self._holds(op.N):
            return None
        if self.built is None:
            return padded_norm(self.target, op)
        return _best_built([contract for contract in self.built if contract.cols == op.N], op)

    def _holds(self, cols: int) -> bool:
        return cols % CHUNK == 0 and cols <= max_cols(self.target)

    def plan(self, op: Op) -> NormPlan:
        contract = self.contract(op)
        if contract is None or not isinstance(op, Norm):
            raise PlanError(
                f"norm has no kernel for {op}: it takes norms with a residual, of rows that are whole chunks "
                f"of {CHUNK} and at most {max_cols(self.target)} long"
            )
        return rows_in_blocks(op, contract)


def _best_built(contracts: Sequence[NormContract], op: Norm) -> NormContract | None:
    """That of least modelled time."""
    return min(
        contracts,
        key=lambda c: modelled_plan_seconds(rows_in_blocks(op, c), c.target.profile).middle,
        default=None,
    )


def contracts(target: Target) -> tuple[NormContract, ...]:
    """None: a norm has any size, and its name says which."""
    return ()


def kernels(target: Target) -> tuple[Kernel, ...]:
    """What the planner may choose from."""
    return (NormOnRows(target),)


def kernels_built(built: Iterable[Contract]) -> tuple[Kernel, ...]:
    """The same where only these kernels are built."""
    mine = [contract for contract in built if isinstance(contract, NormContract)]
    targets = dict.fromkeys(contract.target for contract in mine)
    return tuple(
        NormOnRows(target, tuple(contract for contract in mine if contract.target == target))
        for target in targets
    )


def contract_named(name: str, target: Target) -> NormContract | None:
    """The contract of exactly this name, of any sizes; None for any other name."""
    found = re.fullmatch("norm_(0|[1-9][0-9]{0,8})x(0|[1-9][0-9]{0,8})", name)
    return norm(target, int(found[1]), int(found[2])) if found else None
