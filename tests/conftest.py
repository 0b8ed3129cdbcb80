"""What all tests share: the devices, and a home that no test of ours writes to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from whisper_npu.npu.device import Device, Fidelity
from whisper_npu.npu.emulator import Emulator

# No deadline: the first example of a shape pays for BLAS threads and caches, and machines differ.
settings.register_profile("whisper-npu", deadline=None, max_examples=40)
settings.load_profile("whisper-npu")


@pytest.fixture(params=["emulator-fast", "emulator-exact"], scope="session")
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Every device that there is: a test that takes it holds for all of them."""
    with Emulator(Fidelity(request.param.removeprefix("emulator-"))) as opened:
        yield opened
