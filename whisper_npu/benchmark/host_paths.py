"""Three ways in which the host surrounds a product's dispatches, from the baseline's to a pipeline.

All hand plans to a device through the same seam: `Device.alloc`, `Buffer.write`, `Device.execute`,
`Buffer.read`. Seconds are MEASURED wall time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from whisper_npu.dtypes import F32
from whisper_npu.kernels.matmul.kernel import MatmulPlan, tiled_plan
from whisper_npu.npu.device import Device, Stats
from whisper_npu.ops import Matmul


@dataclass(frozen=True)
class PathRun:
    """One run of a host path: its product and what it took. Seconds are MEASURED."""

    c: F32  # (M, N)
    stats: Stats  # as the device counted
    total_measured_s: float

    @property
    def host_measured_s(self) -> float:
        """Time outside Device.execute. Host work that overlaps with the device is not included."""
        return self.total_measured_s - self.stats.kernel_measured_s


HostPath = Callable[[Device, MatmulPlan, F32, F32], PathRun]


def whole(device: Device, plan: MatmulPlan, a: F32, b: F32) -> PathRun:
    """Convert operands in bulk and execute the whole plan at once.

    a: (M, K), b: (K, N) float32.
    """
    start = perf_counter()
    a_buffer, b_buffer, c_buffer = device.alloc(plan.a), device.alloc(plan.b), device.alloc(plan.c)
    a_buffer.write(a)
    b_buffer.write(b)
    stats = device.execute(plan, [a_buffer, b_buffer, c_buffer])
    c = c_buffer.read()
    total_seconds = perf_counter() - start
    for buffer in (a_buffer, b_buffer, c_buffer):
        buffer.close()
    return PathRun(c, stats, total_seconds)


def naive(device: Device, plan: MatmulPlan, a: F32, b: F32) -> PathRun:
    """Work as the baseline's host did: one dispatch at a time, operands converted element by element.

    For each tile product of `plan`: allocate, convert, run a plan of one dispatch, read, and add to the
    result on the host in fp32. a: (M, K), b: (K, N) float32, finite. The contract must take one product per
    dispatch, with operands rounded to nearest even.
    """
    m, k, n = plan.kernel.m, plan.kernel.k, plan.kernel.n
    one = tiled_plan(Matmul(m, k, n), plan.kernel)
    stats = Stats()
    start = perf_counter()
    c = np.zeros((plan.problem.M, plan.problem.N), np.float32)
    for (a_row, a_col), (b_row, b_col), (c_row, c_col) in plan.walk():
        a_buffer, b_buffer, c_buffer = device.alloc(one.a), device.alloc(one.b), device.alloc(one.c)
        a_buffer.write(_bf16_by_element(_tile(a, a_row * m, a_col * k, (m, k))))
        b_buffer.write(_bf16_by_element(_tile(b, b_row * k, b_col * n, (k, n))))
        stats += device.execute(one, [a_buffer, b_buffer, c_buffer])
        inside = c[c_row * m : (c_row + 1) * m, c_col * n : (c_col + 1) * n]
        inside += c_buffer.read()[: inside.shape[0], : inside.shape[1]]
        for buffer in (a_buffer, b_buffer, c_buffer):
            buffer.close()
    return PathRun(c, stats, perf_counter() - start)


def pipelined(device: Device, plan: MatmulPlan, a: F32, b: F32) -> PathRun:
    """Stage B and allocate all buffers before the clock starts; then run one row of tiles after the other.

    While the device works on a row, a thread packs the next one and unpacks the last one, which needs two
    sets of A and C. The thread touches only buffers that no run uses. a: (M, K), b: (K, N) float32.
    """
    M, m = plan.problem.M, plan.kernel.m
    row = tiled_plan(Matmul(m, plan.problem.K, plan.problem.N), plan.kernel)
    rows = -(-M // m)
    b_buffer = device.alloc(row.b)
    b_buffer.write(b)
    a_buffers = [device.alloc(row.a), device.alloc(row.a)]
    c_buffers = [device.alloc(row.c), device.alloc(row.c)]
    c = np.empty((rows * m, plan.problem.N), np.float32)

    def overlap(i: int) -> None:
        """Do the host's work while row i runs."""
        if i + 1 < rows:
            a_buffers[(i + 1) % 2].write(_tile(a, (i + 1) * m, 0, (m, plan.problem.K)))
        if i > 0:
            c[(i - 1) * m : i * m] = c_buffers[(i - 1) % 2].read()

    stats = Stats()
    with ThreadPoolExecutor(max_workers=1) as worker:
        start = perf_counter()
        overlap(-1)
        for i in range(rows):
            host = worker.submit(overlap, i)
            stats += device.execute(row, [a_buffers[i % 2], b_buffer, c_buffers[i % 2]])
            host.result()
        overlap(rows)
        total_seconds = perf_counter() - start
    for buffer in (b_buffer, *a_buffers, *c_buffers):
        buffer.close()
    return PathRun(c[:M], stats, total_seconds)


def _tile(matrix: F32, row: int, column: int, shape: tuple[int, int]) -> F32:
    """The part of `matrix` that begins at (row, column), padded with zeros to `shape` at the edges."""
    part = matrix[row : row + shape[0], column : column + shape[1]]
    if part.shape == shape:
        return part
    padded = np.zeros(shape, np.float32)
    padded[: part.shape[0], : part.shape[1]] = part
    return padded


def _bf16_by_element(matrix: F32) -> F32:
    """Round finite float32 to nearest even onto the bf16 grid, element by element: slow on purpose."""
    rounded = np.empty(matrix.shape, np.float32)
    flat = rounded.reshape(-1)
    for index, value in enumerate(matrix.ravel()):
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        (flat[index],) = struct.unpack("<f", struct.pack("<I", bits))
    return rounded
