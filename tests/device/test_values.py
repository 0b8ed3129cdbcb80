"""What parts of an op make for each other lies where no later part writes, on every device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support.contracts import SMALL_F32
from whisper_npu.npu.device import Device
from whisper_npu.ops import Direction, Epilogue, Matmul, Numerics, Op, Operand, Part


@dataclass(frozen=True)
class SumOfTwo(Op):
    """y = a w + b w + bias: two products by one kernel, and then a sum that reads both."""

    name: str = field(default="sum of two", compare=False)
    product = Matmul(7, 11, 23)
    sum = Epilogue(7, 23, residual=True)

    @property
    def operands(self) -> tuple[Operand, ...]:
        shapes = {"a": (7, 11), "b": (7, 11), "w": (11, 23), "bias": (23,)}
        given = (Operand(name, shape) for name, shape in shapes.items())
        return (*given, Operand("y", (7, 23), Direction.OUT))

    @property
    def macs(self) -> int:
        return 2 * self.product.macs

    def lower(self) -> tuple[Part, ...]:
        return (
            Part(self.product, {"a": "a", "b": "w", "c": "first"}),
            Part(self.product, {"a": "b", "b": "w", "c": "y"}),
            Part(self.sum, {"y": "y", "bias": "bias", "residual": "first"}),
        )

    def reference(self, *inputs: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        a, b, w, bias = (given.astype(np.float64) for given in inputs)
        return (a @ w + b @ w + bias,)

    def tolerance(self, numerics: Numerics, *inputs: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
        return (np.zeros((7, 23)),)


def test_a_product_that_is_read_after_the_next_one_is_still_there(device: Device) -> None:
    op, rng = SumOfTwo(), np.random.default_rng(0)
    inputs = [rng.integers(-4, 5, operand.shape).astype(np.float32) for operand in op.inputs]
    y = np.empty((7, 23), np.float32)
    values = {operand.name: given for operand, given in zip(op.inputs, inputs, strict=True)}
    device.prepared([op], SMALL_F32).run(op, values | {"y": y})
    assert np.array_equal(y, op.reference(*inputs)[0])
