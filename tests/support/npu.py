"""An NPU of stand-ins: the chip's files, kernels, and a fake pyxrt or the real one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support import stand_in_kernels
from tests.support.contracts import MATMUL_64X64
from tests.support.fake_pyxrt import FakeXrt
from whisper_npu.npu.checksum import Checked
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.trials import Trials
from whisper_npu.npu.xrt.device import XrtDevice, open_npu

XCLBIN = "XRT_TEST_XCLBIN"  # for the real pyxrt: any xclbin that the driver, or its stand-in, takes


def opened_npu(
    folder: Path,
    fake: FakeXrt | None,
    contracts: Iterable[Contract],
    *,
    timeout_seconds: float = 10.0,
    boot: str = "this",
    checked: Checked = Checked.ALL,
) -> XrtDevice:
    """The NPU of a fake, or that of the real pyxrt, with a stand-in kernel of each contract.

    MATMUL_64X64 is built in any case: an NPU without any kernel of the program is not opened.
    """
    kernels = folder / "kernels"
    for contract in {contract.name: contract for contract in (MATMUL_64X64, *contracts)}.values():
        build(kernels, contract, fake)
    root = stand_in_kernels.write_npu(folder / "root")
    options = NpuOptions(kernel_folders=(kernels,), timeout_seconds=timeout_seconds)
    with pytest.MonkeyPatch.context() as patch:
        if fake:
            patch.setitem(sys.modules, "pyxrt", fake.module)
        return open_npu(options, root=root, trials=Trials(folder / "trials", boot), checked=checked)


def build(kernels: Path, contract: Contract, fake: FakeXrt | None) -> None:
    """A stand-in kernel where there is none yet."""
    if not (kernels / contract.name).exists():
        xclbin = stand_in_kernels.xclbin(contract) if fake else Path(os.environ[XCLBIN]).read_bytes()
        stand_in_kernels.write_kernel(kernels, contract, xclbin)


def build_what_is_loaded(device: Device, folder: Path, fake: FakeXrt | None) -> None:
    """For tests of any size: a kernel is there by the time it is needed.

    Views that `prepared` makes are copies of the device and have this `load` too; what it loads they share.
    """
    load = device.load

    def build_and_load(contract: Contract) -> None:
        build(folder / "kernels", contract, fake)
        load(contract)

    device.load = build_and_load  # type: ignore[method-assign]
