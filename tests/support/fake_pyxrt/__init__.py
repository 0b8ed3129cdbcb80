"""A pyxrt for tests, stricter than the real one: what works by luck there is an error here.

Every bo has two copies of its bytes, the host's and the device's; only a sync carries bytes from one to the
other, so a forgotten or misdirected sync gives stale data. Fresh bytes are NaN, in bf16 and in fp32. A
dispatch does what the stand-in instructions on the device say, on the device's copies, when it is waited for:
what a contract promises (tests/support/stand_in_kernels.py), or what a design's text says
(tests/support/text_kernels.py). What a real NPU would answer with wrong data, a hang or a crash raises
Misuse, and is on record in `misuses` even if somebody catches it.

Behaviour after github.com/Xilinx/XRT, releases 2.21 to 2.25: src/python/pybind11/src/pyxrt.cpp and
src/runtime_src/core/common/api/xrt_{kernel,bo}.cpp.

    fake = FakeXrt()
    monkeypatch.setitem(sys.modules, "pyxrt", fake.module)
"""

from __future__ import annotations

from tests.support.fake_pyxrt.binding import pyxrt_module
from tests.support.fake_pyxrt.chip import Chip, Counts, Fault, Misuse, Part

__all__ = ["Counts", "FakeXrt", "Fault", "Misuse", "Part"]


class FakeXrt(Chip):
    """One NPU, its driver, and the module that talks to them. Nothing outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.module = pyxrt_module(self)
