"""A product with a known answer, on the device that transcription would use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.npu.device import Device
from whisper_npu.ops import Matmul

PROBLEM = Matmul(150, 160, 600)  # no tile size divides these, so that padding and sums of parts are tested


@dataclass(frozen=True)
class Trial:
    problem: tuple[int, int, int]
    device: str
    description: str
    kernel: str
    dispatches: int
    max_error: float  # against float64
    tolerance_used: float  # the worst element's error over its tolerance; nan if it is not a number
    zeros: bool  # the result was all zeros
    seconds: float  # MEASURED, the device's part
    clock: str

    @property
    def right(self) -> bool:
        return self.tolerance_used <= 1


def multiply_on(device: Device) -> Trial:
    """(150,160)@(160,600) with the kernel that `auto` chooses. Raises DeviceError if the device fails."""
    M, K, N = PROBLEM.M, PROBLEM.K, PROBLEM.N
    random = np.random.default_rng(0)
    a: F32 = random.standard_normal((M, K)).astype(np.float32)
    b: F32 = random.standard_normal((K, N)).astype(np.float32)
    c = np.empty((M, N), np.float32)
    choosable = any(kernel.matches(PROBLEM) for kernel in device.kernels())
    prepared = device.prepared([PROBLEM], "auto" if choosable else device.contracts()[0])
    prepared.run(PROBLEM, {"a": a, "b": b, "c": c})  # wakes the device up
    with prepared.recording() as recording:
        prepared.run(PROBLEM, {"a": a, "b": b, "c": c})
    (run,) = recording.runs
    contract = run.plan.contract
    error = np.abs(c - PROBLEM.reference(a, b)[0])  # (M, N) float64
    (tolerance,) = PROBLEM.tolerance(contract.numerics, a, b)
    return Trial(
        problem=(M, K, N),
        device=device.name,
        description=device.description,
        kernel=contract.name,
        dispatches=run.stats.dispatches,
        max_error=float(error.max()),
        tolerance_used=float((error / tolerance).max()),
        zeros=not c.any(),
        seconds=run.stats.kernel_measured_s,
        clock=device.clock,
    )
