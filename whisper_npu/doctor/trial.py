"""A known-answer product on the device that transcription would use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whisper_npu.host.bf16 import F32
from whisper_npu.npu.device import Device
from whisper_npu.npu.matmul import matmul_on
from whisper_npu.npu.plan import Problem
from whisper_npu.npu.planner import kernels_of

PROBLEM = Problem(150, 160, 600)  # of no size that a kernel's tile divides: padding and two sums are in it


@dataclass(frozen=True)
class Trial:
    problem: tuple[int, int, int]
    device: str
    description: str
    kernel: str
    dispatches: int
    max_error: float  # against float64
    tolerance_used: float  # the worst element's share of what its contract allows; nan: not a number
    zeros: bool  # nothing but zeros came back
    seconds: float  # MEASURED, the device's part
    clock: str

    @property
    def right(self) -> bool:
        return self.tolerance_used <= 1


def multiply_on(device: Device) -> Trial:
    """(150,160)@(160,600) by the kernel that `auto` takes. Raises DeviceError where the device fails."""
    M, K, N = PROBLEM.M, PROBLEM.K, PROBLEM.N
    random = np.random.default_rng(0)
    a: F32 = random.standard_normal((M, K)).astype(np.float32)
    b: F32 = random.standard_normal((K, N)).astype(np.float32)
    kernels = device.kernels()
    choice = "auto" if kernels_of(kernels, device.gemm_tiles()) else kernels[0]
    matmul = matmul_on(device, choice, [PROBLEM])
    contract = matmul.plan(PROBLEM).contract
    matmul(a, b, "doctor")  # the first wakes the device up
    matmul.take_products()
    c = matmul(a, b, "doctor")  # (M, N) float32
    (product,) = matmul.take_products()
    error = np.abs(c - contract.reference(a, b))  # (M, N) float64
    return Trial(
        problem=(M, K, N),
        device=device.name,
        description=device.description,
        kernel=contract.name,
        dispatches=product.dispatches,
        max_error=float(error.max()),
        tolerance_used=float((error / contract.tolerance(a, b)).max()),
        zeros=not c.any(),
        seconds=product.kernel_seconds,
        clock=device.clock,
    )
