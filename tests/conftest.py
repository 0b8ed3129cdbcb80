"""What all tests share: the devices, and a cache of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.support.contracts import CONTRACTS
from tests.support.fake_pyxrt import FakeXrt
from tests.support.npu import XCLBIN, build_what_is_loaded, opened_npu
from whisper_npu.apps.cli.transcribe import CONFIGURABLE
from whisper_npu.host.gemm import blas
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity

# No deadline: the first example of a shape pays for BLAS threads and caches, and machines differ.
settings.register_profile("whisper-npu", deadline=None, max_examples=30)
# make fuzz: many more, for tests that are marked so and leave the number of examples to the profile.
settings.register_profile("fuzz", deadline=None, max_examples=2000)
settings.load_profile("whisper-npu")

EMULATORS: dict[str, Callable[[], Emulator]] = {
    "emulator-fast": Emulator,
    "emulator-blas": lambda: Emulator(gemm_of=blas),  # the same where the CPU multiplies no bf16
    "emulator-exact": lambda: Emulator(Fidelity.EXACT),
}
DEVICES = (*EMULATORS, "xrt-fake", "xrt")


@pytest.fixture(autouse=True)
def no_settings_of_whoever_runs_the_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither a config file nor variables may change what the program does here."""
    for name in ("WHISPER_NPU_CONFIG", *(str(one.envvar) for one in CONFIGURABLE if one.envvar)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        action="append",
        choices=DEVICES,
        help="devices for tests that hold for every device; all but xrt, which needs the real pyxrt "
        f"and ${XCLBIN}, unless told otherwise",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        names = metafunc.config.getoption("--device") or DEVICES[:-1]
        metafunc.parametrize("device", list(dict.fromkeys(names)), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Above the genuine pyxrt only what meets it: all else has run without it.

    And one file of the emulator's loops, for which there is no compiler there.
    """
    if config.getoption("--device") != ["xrt"]:
        return

    def meets(item: pytest.Item) -> bool:
        fixtures = set(getattr(item, "fixturenames", ()))
        opens = "device" in fixtures or ("fake" not in fixtures and fixtures & {"npu", "window"})
        return bool(opens) or item.path.parent.name == "xrt" or item.path.name == "test_layer_fast.py"

    config.hook.pytest_deselected(items=[item for item in items if not meets(item)])
    items[:] = [item for item in items if meets(item)]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache that starts empty: nothing that an earlier run built can make a test pass."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHISPER_NPU_CACHE", str(cache))
        yield
    shutil.rmtree(cache)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """Every device that there is: a test that takes it holds for all of them."""
    name = request.param
    if name in EMULATORS:
        with EMULATORS[name]() as emulator:
            yield emulator
        return
    folder = tmp_path_factory.mktemp("npu")
    fake = None if name == "xrt" else FakeXrt()
    with opened_npu(folder, fake, CONTRACTS) as npu:
        build_what_is_loaded(npu, folder, fake)
        yield npu
    assert fake is None or fake.problems() == []
