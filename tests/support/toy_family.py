"""A family of kernels that is no product: y = x + v and z = x - v for every row x, in fp32.

It has what matrix products have not: a row as an operand, two results, a function that is told its size at
run time, in a buffer that the runtime sequence writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType
from whisper_npu.kernels.core import CoreFunction, CoreSource, Parameter
from whisper_npu.kernels.host_arrays import laid_out
from whisper_npu.kernels.mlir import Text, core, memref
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.npu.contract import Argument, Contract, KnownAnswer
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import CoreRate, Target
from whisper_npu.ops import Direction, Numerics, Op, Operand

SUMS_CC = """
#include <aie_api/aie.hpp>

extern "C" void sum_and_difference(float *x, float *v, std::int32_t *width, float *y, float *z) {
  for (std::int32_t i = 0; i < *width; ++i) {
    y[i] = x[i] + v[i];
    z[i] = x[i] - v[i];
  }
}
"""


@dataclass(frozen=True)
class Sums(Op):
    M: int
    N: int
    name: str = field(default="sums", compare=False)

    @property
    def operands(self) -> tuple[Operand, ...]:
        rows = self.M, self.N
        return (
            Operand("x", rows),
            Operand("v", (self.N,)),
            Operand("y", rows, Direction.OUT),
            Operand("z", rows, Direction.OUT),
        )

    @property
    def macs(self) -> int:
        return 0

    def reference(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        x, v = (array.astype(np.float64) for array in inputs)
        return x + v, x - v

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        return tuple(2.0**-24 * np.abs(result) + 2.0**-149 for result in self.reference(*inputs))


@dataclass(frozen=True)
class SumsContract(Contract):
    rows: int
    width: int

    __hash__ = Contract.__hash__

    @property
    def overlay(self) -> str:
        return f"sums_{self.width}"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        sizes = {"x": self.rows * self.width, "v": self.width} | dict.fromkeys("yz", self.rows * self.width)
        ways = {"x": Direction.IN, "v": Direction.IN}
        return tuple(
            Argument(name, size, DType.F32, ways.get(name, Direction.OUT)) for name, size in sizes.items()
        )

    @property
    def cores(self) -> int:
        return 1

    @property
    def macs(self) -> int:
        return 0

    @property
    def numerics(self) -> Numerics:
        return Numerics(0.0)

    @property
    def bytes_to_device(self) -> int:
        return 4 * (self.rows + 1) * self.width

    @property
    def l1_bytes(self) -> int:
        return 4 * 7 * self.width + 8 + self.target.stack_bytes

    def layouts(self, op: Op) -> tuple[Layout, ...]:
        shapes = {"x": (self.rows, self.width), "v": (1, self.width)}
        whole = self.rows, self.width
        return tuple(
            Layout(name, *shapes.get(name, whole), *shapes.get(name, whole), DType.F32) for name in "xvyz"
        )

    @property
    def written(self) -> tuple[Layout, ...]:
        return self.layouts(Sums(self.rows, self.width))[2:]

    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        x, v = tiles
        return x + v, x - v

    def core_cycles(self, rate: CoreRate) -> float:
        return 0.0

    @property
    def trial_op(self) -> Sums:
        return Sums(self.rows, self.width)

    def known_answer(self, op: Op, rng: np.random.Generator) -> KnownAnswer:
        inputs = tuple(
            rng.standard_normal(layout.shape).astype(np.float32) for layout in self.layouts(op)[:2]
        )
        return KnownAnswer(inputs, self.compute(*inputs), (0.0, 0.0))


@dataclass(frozen=True)
class ToyFamily:
    """As kernels/registry.py asks for one. folder: where its C++ source is written."""

    folder: Path
    NAME = "toy"
    MAKES = "sums and differences of rows"
    CONTRACT: type[Contract] = SumsContract

    def core_sources(self) -> tuple[CoreSource, ...]:
        path = self.folder / "sums.cc"
        path.write_text(SUMS_CC, encoding="utf-8")
        return (CoreSource(path, (), lambda target: (), lambda target, sizes: (_SUM_AND_DIFFERENCE,)),)

    def contracts(self, target: Target) -> tuple[Contract, ...]:
        return (SumsContract("sums_5x48", target, 5, 48),)

    def contract_named(self, name: str, target: Target) -> Contract | None:
        return next((contract for contract in self.contracts(target) if contract.name == name), None)

    def kernels(self, target: Target) -> tuple[Kernel, ...]:
        return ()

    def kernels_built(self, built: Iterable[Contract]) -> tuple[Kernel, ...]:
        return ()

    def kernel_of(self, contract: Contract) -> Kernel | None:
        return None

    def has_design(self, contract: Contract) -> bool:
        return True

    def goldens(self, target: Target) -> tuple[Contract, ...]:
        return ()

    def plan_with(self, contract: Contract, op: Op) -> Plan | None:
        return None

    def trial(self, contract: Contract) -> Plan:
        return Plan(contract.trial_op, contract, ())

    def dispatch(self, contract: Contract) -> Plan:
        return self.trial(contract)

    def host_arrays(self, plan: Plan, inputs: tuple[F32, ...]) -> list[NDArray[Any]]:
        return [laid_out(x, layout) for x, layout in zip(inputs, plan.inputs, strict=True)]

    def design(self, contract: Contract, toolchain: Generation = NEWEST) -> str:
        assert isinstance(contract, SumsContract)
        return _design(contract, toolchain)


def _sum_and_difference(arguments: Sequence[NDArray[Any]]) -> None:
    x, v, width, y, z = arguments
    n = int(width[0])
    y[:n], z[:n] = x[:n] + v[:n], x[:n] - v[:n]


_SUM_AND_DIFFERENCE = CoreFunction(
    "sum_and_difference",
    (
        Parameter("x", None, "f32"),
        Parameter("v", None, "f32"),
        Parameter("width", (1,), "i32"),
        Parameter("y", None, "f32", Direction.OUT),
        Parameter("z", None, "f32", Direction.OUT),
    ),
    _sum_and_difference,
)


def _design(contract: SumsContract, toolchain: Generation) -> str:
    rows, width = contract.rows, contract.width
    row, number = memref((width,), "f32"), memref((1,), "i32")
    text = Text(toolchain)
    with text.device(contract.target.device(1)):
        text.function("sum_and_difference", (row, row, number, row, row), "sums.o")
        text.tiles([(0, 0), core(0, 0)])
        sizes = {name: text.buffer(name, core(0, 0), (1,), "i32") for name in ("rows", "width")}
        for name in "xv":
            text.fifo(f"{name}_L3L1", (0, 0), [core(0, 0)], 2 if name == "x" else 1, (width,), "f32")
        for name in "yz":
            text.fifo(f"{name}_L1L3", core(0, 0), [(0, 0)], 2, (width,), "f32")
        with text.core(core(0, 0), contract.target.stack_bytes, loads_bounds=True):
            v = text.acquire("v_L3L1", "Consume")
            text.load_index("%rows_now", sizes["rows"])
            with text.loop("%row", "%c0", "%rows_now"):
                x = text.acquire("x_L3L1", "Consume")
                y, z = (text.acquire(f"{name}_L1L3", "Produce") for name in "yz")
                text.call("sum_and_difference", x, v, sizes["width"], y, z)
                for name in "yz":
                    text.release(f"{name}_L1L3", "Produce")
                text.release("x_L3L1", "Consume")
            text.release("v_L3L1", "Consume")
        with text.sequence(contract.arguments):
            text.write("rows", 0, rows)
            text.write("width", 0, width)
            whole = [(1, 0), (1, 0), (rows, width), (width, 1)]
            for number_of, name in enumerate("yz"):
                text.dma(name, 0, whole, number_of, f"{name}_L1L3", token=True)
            text.dma("x", 0, whole, 2, "x_L3L1")
            text.dma("v", 0, [(1, 0), (1, 0), (1, 0), (width, 1)], 3, "v_L3L1")
            text.waits(f"{name}_L1L3" for name in "yz")
    return str(text)
