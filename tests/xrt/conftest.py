"""The stub below the genuine pyxrt, and an NPU above both. `make test-xrt` runs these tests; see docs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.stand_in_kernels import write_kernel
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions

Open = Callable[..., Device]


class Stub:
    """The preloaded tests/xrt/amdxdna_stub.c, in this process."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.amdxdna_stub_count.restype = ctypes.c_uint64

    def count(self, name: str) -> int:
        return int(self._library.amdxdna_stub_count(name.encode()))

    def fault(self, text: str | None) -> None:
        """KIND@N: the N-th from now on; None: no more."""
        self._library.amdxdna_stub_fault(text and text.encode())


@pytest.fixture
def stub() -> Iterator[Stub]:
    library = ctypes.CDLL(None)
    if not hasattr(library, "amdxdna_stub_count"):
        pytest.skip("needs the genuine pyxrt above the stub: make test-xrt")
    stub = Stub(library)
    yield stub
    stub.fault(None)


@pytest.fixture
def xclbin(stub: Stub) -> Path:
    return Path(os.environ["XRT_TEST_XCLBIN"])


@pytest.fixture
def npu(xclbin: Path, tmp_path: Path) -> Iterator[Open]:
    """Opens the NPU with stand-ins of these contracts: `npu(contract, ..., timeout_seconds=10.0)`.

    Each in an xclbin of its own, so that each needs a hw_context.
    """
    opened: list[Device] = []

    def open_with(*contracts: Contract, timeout_seconds: float = 10.0) -> Device:
        for number, contract in enumerate(contracts):
            other = xclbin.read_bytes().replace(b"PDI 00", f"PDI {number:02}".encode(), 1)
            write_kernel(tmp_path, contract, other)
        opened.append(open_device("npu", npu=NpuOptions((tmp_path,), timeout_seconds)))
        return opened[-1]

    yield open_with
    for device in opened:
        device.close()
