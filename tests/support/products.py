"""Matrix products through a device's public door, as a test wants to write them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Buffer, Device, Run
from whisper_npu.npu.planner import Choice
from whisper_npu.ops import Batched, Matmul, Op


class Multiply:
    """`A @ B` on a device by one kernel, or by the kernels of a choice.

    `take_runs` tells what was executed.
    """

    def __init__(
        self, device: Device, kernel: str | Contract | Choice = "auto", ops: Iterable[Op] = ()
    ) -> None:
        self.device = device.prepared(ops, kernel)
        self._runs: list[Run] = []

    def __call__(self, a: F32, b: F32 | Buffer, name: str = "test", batched: Batched = Batched.SCORES) -> F32:
        """a: (M, K) or (batch, M, K); b: (K, N), (batch, K, N), or staged."""
        b_shape = b.layout.shape if isinstance(b, Buffer) else b.shape
        op = Matmul(a.shape[-2], a.shape[-1], b_shape[-1], *a.shape[:-2], batched=batched, name=name)
        c = np.empty((*a.shape[:-1], b_shape[-1]), np.float32)
        if a.ndim == 3 and a.shape[0] == 1:
            a, c_of_one = a[0], c[0]
            b = b[0] if not isinstance(b, Buffer) else b
        else:
            c_of_one = c
        with self.device.recording() as recording:
            self.device.run(op, {"a": a, "b": b, "c": c_of_one})
        self._runs += recording.runs
        return c

    def stage(self, b: F32) -> Buffer:
        """b: (K, N)."""
        return self.device.stage(Matmul(1, *b.shape), b)

    def take_runs(self) -> tuple[Run, ...]:
        """What was executed since the last call of this."""
        runs = tuple(self._runs)
        self._runs.clear()
        return runs
