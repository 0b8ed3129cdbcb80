"""A linear layer on a device: one product, and what the host does to its rows before and after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whisper_npu.host.bf16 import F32
from whisper_npu.npu.device import RowFunction
from whisper_npu.npu.matmul import Matmul, RowStep, as_it_is


class Linear:
    """x W^T + b, W staged on the device, with what comes before and after it in a row: norms, activations."""

    def __init__(
        self,
        weight: NDArray[np.floating],
        bias: NDArray[np.floating],
        matmul: Matmul,
        *,
        name: str,
        after: Callable[[F32], object] | None = None,
    ) -> None:
        self.matmul, self.name, self.after = matmul, name, after
        self.weight = matmul.stage(weight.T)  # (in, out)
        self.bias = bias.astype(np.float32)

    def __call__(self, x: F32, *, before: RowFunction = as_it_is, add: F32 | None = None) -> F32:
        """after(before(x) W^T + b) + add. add: (n_ctx, out) float32.

        x: (n_ctx, in) float32, or anything of whose rows `before` makes that. Returns (n_ctx, out) float32.
        """
        return self.matmul.by_rows(x, self.step(before=before, add=add))

    def step(self, *, before: RowFunction = as_it_is, add: F32 | None = None) -> RowStep:
        """The same as a step of `Matmul.by_rows`, for layers of which one takes the rows of the other."""

        def finish(y: F32, rows: slice) -> None:
            y += self.bias
            if self.after:
                self.after(y)
            if add is not None:
                y += add[rows]

        return RowStep(self.weight, self.name, before, finish)
