"""Tolerances that are estimates, or bounds that no operands reach: one figure each, so that none may grow.

The operands are simple numbers, and the figures what the formulas in the ops' docstrings gave for them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from whisper_npu.dtypes import DType
from whisper_npu.ops import (
    Activation,
    Attention,
    EncoderLayer,
    Epilogue,
    Linear,
    Norm,
    Numerics,
    Op,
    Softmax,
)

BF16, F32 = Numerics.of(DType.BF16), Numerics(0.0)


def waves(*shape: int) -> NDArray[np.float32]:
    """Numbers between -1 and 1, no two alike."""
    count = int(np.prod(shape))
    return np.sin(np.arange(count, dtype=np.float64)).reshape(shape).astype(np.float32)


def ones(*shape: int) -> NDArray[np.float32]:
    return np.ones(shape, np.float32)


FIGURES: dict[str, tuple[Op, Numerics, Callable[..., NDArray[np.float32]], float]] = {
    "norm": (Norm(2, 8), F32, waves, 6.95082e-06),
    "norm of a sum": (Norm(2, 8, residual=True), F32, waves, 7.30254e-06),
    "epilogue": (Epilogue(2, 8), F32, ones, 1.47684e-06),
    "epilogue with GELU": (Epilogue(2, 8, Activation.GELU, residual=True), F32, ones, 1.71526e-06),
    "softmax": (Softmax(1, 2, 8), F32, ones, 1.94209e-07),
    "linear": (Linear(2, 64, 8), BF16, ones, 0.566402),
    "linear in fp32": (Linear(2, 64, 8), F32, ones, 0.000296192),
    "linear behind a norm": (Linear(2, 64, 8, norm=True), BF16, waves, 0.281886),
    "attention": (Attention(4, 16, 2), BF16, waves, 0.0796792),
    "attention of large scores": (Attention(4, 16, 2), BF16, lambda *s: 8 * waves(*s), 8.12453),
    "layer": (EncoderLayer(4, 16, 2, 32), BF16, waves, 0.470948),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_tolerance_is_no_larger_than_its_formula(name: str) -> None:
    op, numerics, make, figure = FIGURES[name]
    inputs = [make(*operand.shape) for operand in op.inputs]
    tolerances = op.tolerance(numerics, *inputs)
    assert max(float(bound.max()) for bound in tolerances) == pytest.approx(figure, rel=1e-4)
