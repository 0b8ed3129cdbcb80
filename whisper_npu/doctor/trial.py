"""A product whose answer is known to the last bit, on the device that transcription would use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    elements: int  # of the result
    wrong: int  # of them
    zeros: bool  # the result was all zeros
    seconds: float  # MEASURED, the device's part
    clock: str

    @property
    def right(self) -> bool:
        return self.wrong == 0


def multiply_on(device: Device) -> Trial:
    """(150,160)@(160,600) with the kernel that `auto` chooses. Raises DeviceError if the device fails."""
    choosable = any(kernel.matches(PROBLEM) for kernel in device.kernels())
    prepared = device.prepared([PROBLEM], "auto" if choosable else device.contracts()[0])
    plan = prepared.plan(PROBLEM)
    assert plan is not None  # whatever was prepared makes products
    contract = plan.contract
    known = contract.known_answer(PROBLEM, np.random.default_rng(0))
    a, b = known.inputs
    c = np.empty((PROBLEM.M, PROBLEM.N), np.float32)
    prepared.run(PROBLEM, {"a": a, "b": b, "c": c})  # wakes the device up
    with prepared.recording() as recording:
        prepared.run(PROBLEM, {"a": a, "b": b, "c": c})
    (run,) = recording.runs
    (wrong,) = known.wrong((c,))
    return Trial(
        problem=(PROBLEM.M, PROBLEM.K, PROBLEM.N),
        device=device.name,
        description=device.description,
        kernel=contract.name,
        dispatches=run.stats.dispatches,
        elements=c.size,
        wrong=int(wrong.sum()),
        zeros=not c.any(),
        seconds=run.stats.kernel_measured_s,
        clock=device.clock,
    )
