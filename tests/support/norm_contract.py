"""A kernel of another family than products: the norm of rows, with two results, as small as tests want it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.support.stand_in_kernels import NormOfRows, Operation, operation_of
from whisper_npu.dtypes import F32, DType
from whisper_npu.npu.kernel import Argument, Contract
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import STAY, Loop, Plan
from whisper_npu.npu.targets import NPU1, CoreRate
from whisper_npu.ops import EPSILON, Direction, Norm, Numerics, Op


@dataclass(frozen=True)
class RowsContract(Contract):
    """s = x + residual, and its norm, of `rows` rows; weight and bias lie one after the other."""

    rows: int
    cols: int

    __hash__ = Contract.__hash__

    @property
    def overlay(self) -> str:
        return self.name

    @property
    def arguments(self) -> tuple[Argument, ...]:
        elements = self.rows * self.cols
        return (
            Argument("X", elements, DType.F32, Direction.IN),
            Argument("RESIDUAL", elements, DType.F32, Direction.IN),
            Argument("PARAMETERS", 2 * self.cols, DType.F32, Direction.IN),
            Argument("SUM", elements, DType.F32, Direction.OUT),
            Argument("Y", elements, DType.F32, Direction.OUT),
        )

    @property
    def macs(self) -> int:
        return 0

    @property
    def numerics(self) -> Numerics:
        return Numerics(0.0)

    @property
    def bytes_to_device(self) -> int:
        return sum(argument.nbytes for argument in self.arguments[:3])

    @property
    def l1_bytes(self) -> int:
        return 0

    def layouts(self, op: Op) -> tuple[Layout, ...]:
        assert isinstance(op, Norm)

        def rows(name: str) -> Layout:
            return Layout(name, op.M, op.N, self.rows, self.cols, DType.F32)

        parameters = Layout("PARAMETERS", 2, op.N, 2, self.cols, DType.F32)
        return rows("X"), rows("RESIDUAL"), parameters, rows("SUM"), rows("Y")

    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        x, residual, (weight, bias) = tiles
        s = x + residual
        centred = s - s.mean(1, keepdims=True)
        variance = np.square(centred).mean(1, keepdims=True)
        return s, centred / np.sqrt(variance + np.float32(EPSILON)) * weight + bias

    @property
    def written(self) -> tuple[Layout, ...]:
        rows, cols = self.rows, self.cols
        return tuple(Layout(name, rows, cols, rows, cols, DType.F32) for name in ("SUM", "Y"))

    def core_seconds(self, rate: CoreRate) -> float:
        return 0.0

    def trial(self) -> Plan:
        return rows_plan(Norm(self.rows, self.cols, residual=True), self)

    def trial_inputs(self, rng: np.random.Generator) -> tuple[F32, ...]:
        return tuple(rng.standard_normal(o.shape).astype(np.float32) for o in self.trial().op.inputs)

    def wrong_elements(self, inputs: tuple[F32, ...], results: tuple[F32, ...]) -> int:
        op = self.trial().op
        bounds = op.tolerance(self.numerics, *inputs)
        return sum(
            int((~(np.abs(result - y) <= bound)).sum())
            for result, y, bound in zip(results, op.reference(*inputs), bounds, strict=True)
        )


@dataclass(frozen=True)
class RowsPlan(Plan):
    """Rows in blocks of what the contract takes."""

    __hash__ = Plan.__hash__

    def turned(self, inputs: tuple[F32, ...]) -> tuple[F32, ...]:
        x, residual, weight, bias = inputs
        return x, residual, np.stack([weight, bias])


def rows_plan(op: Norm, contract: RowsContract, run_list: int = 1) -> RowsPlan:
    """The rows of `op` in blocks of what one dispatch takes."""
    down = (1, 0)
    loops = (Loop("rows", -(-op.M // contract.rows), (down, down, STAY, down, down)),)
    return RowsPlan(op, contract, loops, run_list)


@operation_of.register
def _(contract: RowsContract) -> Operation:
    epsilon = int(np.float32(EPSILON).view(np.uint32))
    return NormOfRows(contract.rows, contract.cols, contract.cols, epsilon, 1, 2, 0, 2, contract.cols)


SMALL_NORM = RowsContract("norm_6x20", NPU1, rows=6, cols=20)
