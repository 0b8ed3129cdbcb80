"""What a dispatch costs the host: through our device, and through pyxrt alone in the same loop.

    python -m tests.xrt.dispatch_cost                                                 # with an NPU
    XRT_STUB_SHARED=1 tests/xrt/run.sh python3 -m tests.xrt.dispatch_cost     # without, and as root

Without an NPU the genuine pyxrt runs above the stub of the driver, which here computes nothing: no time of an
NPU or of a system call is in the figures. Seconds are MEASURED, all loops alternating in one run; their
ratio is what to quote, for the seconds move with whatever else the machine does.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from tests.support.contracts import MATMUL_64X64
from tests.support.stand_in_kernels import write_kernel
from whisper_npu.kernels.matmul.kernel import tiled_plan
from whisper_npu.npu.artifacts import find_kernel, searched_folders
from whisper_npu.npu.device import Buffer, Device
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.plan import Plan
from whisper_npu.ops import Matmul

CONTRACT = MATMUL_64X64  # operands of 8 KiB
RUN_LIST = CONTRACT.target.run_list
LISTED = RUN_LIST - 1  # runs that XRT hands to the driver as one command; one more comes behind them
SINGLE = tiled_plan(Matmul(64, 64, 64), CONTRACT)
MANY = tiled_plan(Matmul(640, 640, 640), CONTRACT, run_list=RUN_LIST)  # 1,000 dispatches in 40 lists


class Bare:
    """The same dispatches by pyxrt alone: arguments set, started, waited for, results synced."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.pyxrt = pyxrt = importlib.import_module("pyxrt")
        artifact = find_kernel(CONTRACT, searched_folders(folders))
        self.device = pyxrt.device(0)
        xclbin = pyxrt.xclbin(str(artifact.xclbin))
        self.device.register_xclbin(xclbin)
        self.context = pyxrt.hw_context(self.device, xclbin.get_uuid())
        self.kernel = pyxrt.kernel(self.context, "MLIR_AIE")
        self.nbytes = len(artifact.instructions)
        self.instructions = pyxrt.bo(self.device, self.nbytes, pyxrt.bo.cacheable, self.kernel.group_id(1))
        self.instructions.write(artifact.instructions, 0)
        self.instructions.sync(pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE)
        self.a, self.b = (self.data(CONTRACT.m * CONTRACT.k * 2) for _ in range(2))
        self.c = self.data(CONTRACT.bytes_from_device * (LISTED + 1))
        self.run = self.new_run(0)
        self.listed = [self.new_run(place) for place in range(1, LISTED + 1)]
        self.list = pyxrt.runlist(self.context)
        for run in self.listed:
            self.list.add(run)

    def data(self, nbytes: int) -> Any:
        return self.pyxrt.bo(self.device, nbytes, self.pyxrt.bo.host_only, self.kernel.group_id(3))

    def new_run(self, place: int) -> Any:
        c = self.pyxrt.bo(self.c, CONTRACT.bytes_from_device, place * CONTRACT.bytes_from_device)
        run = self.pyxrt.run(self.kernel)
        for argument, value in enumerate((3, self.instructions, self.nbytes, self.a, self.b, c)):
            run.set_arg(argument, value)
        return run

    def sync_results(self, count: int) -> None:
        direction = self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
        self.c.sync(direction, count * CONTRACT.bytes_from_device, 0)

    def by_new_runs(self) -> None:
        run = self.new_run(0)
        run.start()
        run.wait(10_000)
        self.sync_results(1)

    def by_one_run(self) -> None:
        self.run.set_arg(3, self.a)
        self.run.set_arg(4, self.b)
        self.run.start()
        self.run.wait(10_000)
        self.sync_results(1)

    def by_lists(self) -> None:
        for _ in range(MANY.submissions):
            self.one_list()

    def by_lists_summed(self) -> None:
        """The sum over K too, in the order of the plan and as plainly as NumPy lets one write it."""
        steps = MANY.problem.K // CONTRACT.k
        c = np.zeros((MANY.dispatches // steps, CONTRACT.m, CONTRACT.n), np.float32)
        partials = np.frombuffer(self.c.map(), np.float32).reshape(-1, CONTRACT.m, CONTRACT.n)
        for number in range(MANY.submissions):
            self.one_list()
            for place, partial in enumerate(partials):
                c[(number * (LISTED + 1) + place) // steps] += partial

    def one_list(self) -> None:
        for run in (*self.listed, self.run):
            run.set_arg(3, self.a)
            run.set_arg(4, self.b)
        self.list.execute()
        self.run.start()
        self.run.wait(10_000)
        self.list.wait()
        self.sync_results(LISTED + 1)


def written(device: Device, plan: Plan) -> list[Buffer]:
    buffers = [device.alloc(layout) for layout in plan.layouts]
    for buffer in buffers[: len(plan.inputs)]:
        buffer.write(np.ones(buffer.layout.shape, np.float32))
    return buffers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folders = (*arguments.kernels, Path(scratch))
        stub = ctypes.CDLL(None) if hasattr(ctypes.CDLL(None), "amdxdna_stub_instant") else None
        if stub is not None:
            write_kernel(Path(scratch), CONTRACT, Path(os.environ["XRT_TEST_XCLBIN"]).read_bytes())
        with open_device("npu", npu=NpuOptions(folders)) as device:
            device.load(CONTRACT)
            if stub is not None:
                stub.amdxdna_stub_instant(1)
            measure(device, Bare(folders), arguments.rounds)


def measure(device: Device, bare: Bare, rounds: int) -> None:
    single, many = written(device, SINGLE), written(device, MANY)
    loops: dict[str, tuple[Callable[[], object], int]] = {  # what to call, and its dispatches
        "pyxrt, a new run": (bare.by_new_runs, 1),
        "pyxrt, one run": (bare.by_one_run, 1),
        "ours, one run": (lambda: device.execute(SINGLE, single), SINGLE.dispatches),
        "pyxrt, lists": (bare.by_lists, MANY.dispatches),
        "pyxrt, lists summed": (bare.by_lists_summed, MANY.dispatches),
        "ours, lists": (lambda: device.execute(MANY, many), MANY.dispatches),
    }
    microseconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(rounds + 2):  # two to warm up
        for name, (call, dispatches) in loops.items():
            repeats = max(1, MANY.dispatches // dispatches)
            start = perf_counter()
            for _ in range(repeats):
                call()
            if number >= 2:
                microseconds[name].append(1e6 * (perf_counter() - start) / (repeats * dispatches))

    def ratio(name: str, of: str) -> float:
        return median(one / other for one, other in zip(microseconds[name], microseconds[of], strict=True))

    print(f"us per dispatch of {CONTRACT.name}, median of {rounds} rounds; MEASURED")
    rows = (
        ("a new run for each", "pyxrt, a new run", "ours, one run"),
        ("one run, used again", "pyxrt, one run", "ours, one run"),
        (f"lists of {LISTED} and a run", "pyxrt, lists", "ours, lists"),
        ("  and NumPy sums over K", "pyxrt, lists summed", "ours, lists"),
    )
    print(f"{'':<24}{'pyxrt':>8}{'ours':>8}{'ratio':>8}")
    for title, theirs, ours in rows:
        print(
            f"{title:<24}{median(microseconds[theirs]):>8.1f}{median(microseconds[ours]):>8.1f}"
            f"{ratio(ours, theirs):>8.2f}"
        )
    print("Ours never makes a new run for each, and always sums the results over K.")


if __name__ == "__main__":
    main()
