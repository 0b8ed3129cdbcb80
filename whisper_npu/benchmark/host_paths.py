"""What the host does around a product's dispatches: three ways, from the baseline's to a pipeline.

All hand plans to a device through the same seam: `Device.alloc`, `Buffer.write`, `Device.run`, `Buffer.read`.
Seconds are MEASURED wall time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from whisper_npu.host.bf16 import F32
from whisper_npu.npu.device import Completion, Device
from whisper_npu.npu.plan import Plan, Problem, tiled_plan


@dataclass(frozen=True)
class Outcome:
    """A product, and what it took. Seconds are MEASURED."""

    c: F32  # (M, N)
    dispatches: int  # as the device counted them
    bytes_to_device: int
    bytes_from_device: int
    device_seconds: float  # inside Device.run
    total_seconds: float

    @property
    def host_seconds(self) -> float:
        """Outside Device.run: what the host adds. What it does while the device runs is not in it."""
        return self.total_seconds - self.device_seconds

    @classmethod
    def of(cls, c: F32, done: list[Completion], total_seconds: float) -> Outcome:
        return cls(
            c=c,
            dispatches=sum(d.dispatches for d in done),
            bytes_to_device=sum(d.bytes_to_device for d in done),
            bytes_from_device=sum(d.bytes_from_device for d in done),
            device_seconds=sum(d.seconds for d in done),
            total_seconds=total_seconds,
        )


HostPath = Callable[[Device, Plan, F32, F32], Outcome]


def whole(device: Device, plan: Plan, a: F32, b: F32) -> Outcome:
    """Operands converted in bulk, the plan handed over whole.

    a: (M, K), b: (K, N) float32.
    """
    start = perf_counter()
    a_buffer, b_buffer, c_buffer = device.alloc(plan.a), device.alloc(plan.b), device.alloc(plan.c)
    a_buffer.write(a)
    b_buffer.write(b)
    done = device.run(plan, a_buffer, b_buffer, c_buffer)
    c = c_buffer.read()
    total_seconds = perf_counter() - start
    for buffer in (a_buffer, b_buffer, c_buffer):
        buffer.close()
    return Outcome.of(c, [done], total_seconds)


def naive(device: Device, plan: Plan, a: F32, b: F32) -> Outcome:
    """As the baseline's host did: every dispatch by itself, operands converted element by element in Python.

    For each tile product that `plan` walks: allocate, convert, run a plan of one dispatch, read, add to the
    result on the host in fp32. a: (M, K), b: (K, N) float32, finite. The contract takes one product a
    dispatch, of operands rounded to nearest even.
    """
    m, k, n = plan.contract.m, plan.contract.k, plan.contract.n
    one = tiled_plan(Problem(m, k, n), plan.contract)
    done = []
    start = perf_counter()
    c = np.zeros((plan.problem.M, plan.problem.N), np.float32)
    for (a_row, a_col), (b_row, b_col), (c_row, c_col) in plan.walk():
        a_buffer, b_buffer, c_buffer = device.alloc(one.a), device.alloc(one.b), device.alloc(one.c)
        a_buffer.write(_bf16_by_element(_tile(a, a_row * m, a_col * k, (m, k))))
        b_buffer.write(_bf16_by_element(_tile(b, b_row * k, b_col * n, (k, n))))
        done.append(device.run(one, a_buffer, b_buffer, c_buffer))
        inside = c[c_row * m : (c_row + 1) * m, c_col * n : (c_col + 1) * n]
        inside += c_buffer.read()[: inside.shape[0], : inside.shape[1]]
        for buffer in (a_buffer, b_buffer, c_buffer):
            buffer.close()
    return Outcome.of(c, done, perf_counter() - start)


def pipelined(device: Device, plan: Plan, a: F32, b: F32) -> Outcome:
    """B staged and all buffers allocated before the clock starts; then one row of tiles after the other.

    While the device works on a row, one worker thread packs the next one and unpacks the last one, hence two
    sets of A and C. The thread touches only buffers that no run uses. a: (M, K), b: (K, N) float32.
    """
    M, m = plan.problem.M, plan.contract.m
    row = tiled_plan(Problem(m, plan.problem.K, plan.problem.N), plan.contract)
    rows = -(-M // m)
    b_buffer = device.alloc(row.b)
    b_buffer.write(b)
    a_buffers = [device.alloc(row.a), device.alloc(row.a)]
    c_buffers = [device.alloc(row.c), device.alloc(row.c)]
    c = np.empty((rows * m, plan.problem.N), np.float32)

    def beside(i: int) -> None:
        """What the host does while row i runs."""
        if i + 1 < rows:
            a_buffers[(i + 1) % 2].write(_tile(a, (i + 1) * m, 0, (m, plan.problem.K)))
        if i > 0:
            c[(i - 1) * m : i * m] = c_buffers[(i - 1) % 2].read()

    done = []
    with ThreadPoolExecutor(max_workers=1) as worker:
        start = perf_counter()
        beside(-1)
        for i in range(rows):
            host = worker.submit(beside, i)
            done.append(device.run(row, a_buffers[i % 2], b_buffer, c_buffers[i % 2]))
            host.result()
        beside(rows)
        total_seconds = perf_counter() - start
    for buffer in (b_buffer, *a_buffers, *c_buffers):
        buffer.close()
    return Outcome.of(c[:M], done, total_seconds)


def _tile(matrix: F32, row: int, column: int, shape: tuple[int, int]) -> F32:
    """The part of `matrix` that begins there, padded with zeros to `shape` at its edges."""
    part = matrix[row : row + shape[0], column : column + shape[1]]
    if part.shape == shape:
        return part
    padded = np.zeros(shape, np.float32)
    padded[: part.shape[0], : part.shape[1]] = part
    return padded


def _bf16_by_element(matrix: F32) -> F32:
    """Finite float32 rounded to nearest even onto the bf16 grid, element by element, slow on purpose."""
    rounded = np.empty(matrix.shape, np.float32)
    flat = rounded.reshape(-1)
    for index, value in enumerate(matrix.ravel()):
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        (flat[index],) = struct.unpack("<f", struct.pack("<I", bits))
    return rounded
