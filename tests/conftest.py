"""What all tests share: the devices, and a cache of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

from whisper_npu.npu.device import Device, Fidelity
from whisper_npu.npu.emulator import Emulator

# No deadline: the first example of a shape pays for BLAS threads and caches, and machines differ.
settings.register_profile("whisper-npu", deadline=None, max_examples=40)
settings.load_profile("whisper-npu")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that starts empty: nothing that an earlier run built can make a test pass."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHISPER_NPU_CACHE", str(cache))
        yield
    shutil.rmtree(cache)


@pytest.fixture(params=["emulator-fast", "emulator-exact"], scope="session")
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Every device that there is: a test that takes it holds for all of them."""
    with Emulator(Fidelity(request.param.removeprefix("emulator-"))) as opened:
        yield opened
