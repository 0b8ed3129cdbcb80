"""What a model asks for, as data: an Op says what is wanted, not how it is done, nor where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import DType, Rounding
from whisper_npu.errors import PlanError

F64 = NDArray[np.float64]
Shape = tuple[int, ...]


class Direction(Enum):
    """Whether an op reads an operand, writes it, or changes it in place."""

    IN = "in"
    OUT = "out"
    INOUT = "inout"


@dataclass(frozen=True)
class Operand:
    """One array of an op."""

    name: str
    shape: Shape
    direction: Direction = Direction.IN
    dtype: DType = DType.F32
    is_weight: bool = False  # the same in every run: a device may hold it staged


@dataclass(frozen=True)
class Numerics:
    """The roundings that decide how far a result may lie from `Op.reference`."""

    operand_unit: float  # the largest relative error of rounding an operand of a product; 0 for float32
    result_unit: float = 0.0  # the same of a partial result that a core writes
    partial_k: int | None = None  # products that are added up before the host adds; None: all of them

    def sum_error(self, additions: int) -> float:
        """How far a sum of products may move, relative to the sum of their magnitudes: see Matmul.tolerance.

        What a core writes is rounded once more.
        """
        roundings = additions * 2.0**-24
        return (1 + roundings / (1 - roundings)) * (1 + self.result_unit) - 1

    @classmethod
    def of(cls, dtype: DType, rounding: Rounding = Rounding.NEAREST_EVEN) -> Numerics:
        """Products whose operands are rounded to `dtype` have these, with results in float32."""
        return cls(rounding.unit if dtype is DType.BF16 else 0.0)


BF16_NUMERICS = Numerics.of(DType.BF16)


@dataclass(frozen=True)
class Part:
    """One of the smaller ops that mean the same as a larger one.

    operands: for each operand of `op` the name that it has in the larger op: one of the larger op's operands,
    or a value that another part makes.
    """

    op: Op
    operands: Mapping[str, str]


def flattened(op: Op, is_whole: Callable[[Op], bool], scope: str = "") -> Iterator[Part]:
    """The op as parts, each of them whole: what is not is replaced by its own parts, in order.

    What a replaced part makes for itself gets a name of its own. An op without parts is whole whatever
    is_whole says.
    """
    inner = op.lower()
    if is_whole(op) or not inner:
        yield Part(op, {operand.name: operand.name for operand in op.operands})
        return
    outer = {operand.name for operand in op.operands}
    for number, part in enumerate(inner):
        names = {
            name: value if value in outer else f"{scope}{value}" for name, value in part.operands.items()
        }
        for small in flattened(part.op, is_whole, f"{scope}{number}."):
            yield Part(small.op, {name: names.get(value, value) for name, value in small.operands.items()})


def check_sizes(op: Op, *sizes: int) -> None:
    """Raises PlanError where a size is below 1."""
    if min(sizes) < 1:
        given = ", ".join(map(str, sizes))
        raise PlanError(f"no plan for {op.name} of sizes {given}: every size must be at least 1")


class Op(ABC):
    """Frozen, hashable, comparable.

    Two ops are equal where they ask for the same, whatever their names are.
    """

    name: str  # whose work it is, "attention.scores" for example: what reports call it

    @property
    @abstractmethod
    def operands(self) -> tuple[Operand, ...]:
        """Every array that the op takes or gives, in order."""

    @abstractmethod
    def reference(self, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """The results in float64, of inputs as they are, in the order of `operands`.

        It knows nothing of tiles or of bf16.
        """

    @abstractmethod
    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[F64, ...]:
        """How far each element of the results may lie from `reference`. The reason stands with each op."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of its matrix products."""

    def lower(self) -> tuple[Part, ...]:
        """Smaller ops that together mean the same; none where there are no smaller ones."""
        return ()

    @property
    def inputs(self) -> tuple[Operand, ...]:
        return tuple(o for o in self.operands if o.direction is not Direction.OUT)

    @property
    def outputs(self) -> tuple[Operand, ...]:
        return tuple(o for o in self.operands if o.direction is not Direction.IN)
