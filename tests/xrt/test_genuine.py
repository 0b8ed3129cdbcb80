"""Our device on the genuine pyxrt: what the driver sees of it, and what becomes of the driver's failures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from whisper_npu.npu.contract import (
    CONTRACTS,
    MATMUL_64X64,
    MATMUL_64X512,
    MATMUL_128X512,
    Contract,
    matmul_64x64_batch,
)
from whisper_npu.npu.matmul import Matmul

from tests.e2e.conftest import SAMPLES
from tests.support import stand_in_kernels as standins
from tests.support.weights import require_weights
from tests.xrt.conftest import Open, Stub
from whisper_npu.errors import DeviceError, DispatchError
from whisper_npu.host.bf16 import F32
from whisper_npu.npu.targets.npu1 import XDNA1

SIZES = 200, 190, 300  # M, K, N: 60 dispatches of 64x64, more than two lots are in flight
MANY = 60


def integers(seed: int) -> tuple[F32, F32]:
    """Small enough for every sum to be exact in fp32, and every operand in bf16."""
    rng = np.random.default_rng(seed)
    M, K, N = SIZES
    a, b = rng.integers(-8, 9, (M, K)), rng.integers(-8, 9, (K, N))
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize(
    "contract", [MATMUL_64X64, MATMUL_128X512, matmul_64x64_batch(16)], ids=lambda contract: contract.name
)
def test_the_driver_executes_the_dispatches_that_are_reported(
    npu: Open, stub: Stub, contract: Contract
) -> None:
    matmul = Matmul(npu(contract), contract)
    a, b = integers(0)
    before = stub.count("dispatches")
    np.testing.assert_array_equal(matmul(a, b, "test"), a @ b)
    (product,) = matmul.take_products()
    assert stub.count("dispatches") - before == product.dispatches == product.plan.dispatches


@pytest.mark.parametrize("at", [1, 24, 25, 26, 50, MANY])
@pytest.mark.parametrize("kind", ["error", "abort", "timeout"])
def test_a_dispatch_that_fails_is_named_and_the_next_product_is_right(
    npu: Open, stub: Stub, kind: str, at: int
) -> None:
    matmul = Matmul(npu(MATMUL_64X64), MATMUL_64X64)
    a, b = integers(1)
    stub.fault(f"{kind}@{at}")
    with pytest.raises(DispatchError, match=rf"dispatch {at} of {MANY}\b.*{kind.upper()}"):
        matmul(a, b, "test")
    np.testing.assert_array_equal(matmul(a, b, "test"), a @ b)


def test_the_drivers_own_timeout_is_told_of(npu: Open, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_NPU_STUB_TIMEOUT", "10")
    matmul = Matmul(npu(MATMUL_64X64), MATMUL_64X64)
    a, b = integers(3)
    stub.fault("hang@3")
    with pytest.raises(DispatchError, match=rf"dispatch 3 of {MANY}\b.*TIMEOUT"):
        matmul(a, b, "test")
    np.testing.assert_array_equal(matmul(a, b, "test"), a @ b)


def test_zeros_instead_of_a_known_product_are_refused(npu: Open, stub: Stub) -> None:
    device = npu(MATMUL_64X64)
    stub.fault("zeros@1")
    with pytest.raises(DispatchError, match="zeros"):
        device.load(MATMUL_64X64)
    device.load(MATMUL_64X64)


def test_without_a_context_there_is_no_kernel(npu: Open, stub: Stub) -> None:
    device = npu(MATMUL_64X64)
    stub.fault("context@1")
    with pytest.raises(DeviceError):
        device.load(MATMUL_64X64)


def test_more_kernels_than_contexts_take_turns(npu: Open, stub: Stub) -> None:
    contexts = XDNA1.hw_contexts - stub.count("contexts")  # other tests may hold some
    contracts = CONTRACTS[: contexts + 2]
    device = npu(*contracts)
    matmuls = [Matmul(device, contract) for contract in contracts]
    a, b = integers(5)
    for matmul in matmuls[:contexts]:
        matmul(a, b, "test")
    opened = stub.count("contexts_created")
    for matmul in matmuls[:contexts]:
        matmul(a, b, "test")
    assert stub.count("contexts_created") == opened  # those that were used last are kept
    for matmul in matmuls:
        error = np.abs(matmul(a, b, "test") - a.astype(np.float64) @ b)
        assert (error <= matmul.choice.known_contracts[0].tolerance(a, b)).all()
        assert stub.count("contexts") <= XDNA1.hw_contexts


def test_nothing_is_left_on_the_device_when_it_is_closed(npu: Open, stub: Stub) -> None:
    before = stub.count("contexts")
    device = npu(MATMUL_64X64, MATMUL_64X512)
    a, b = integers(6)
    for contract in (MATMUL_64X64, MATMUL_64X512):
        Matmul(device, contract)(a, b, "test")
    device.close()
    assert stub.count("contexts") == before


def in_another_process(program: str, *arguments: object) -> str:
    """What a program prints; it must end normally."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


THOUSAND_PRODUCTS = """
import resource, sys
from pathlib import Path
from tests.xrt.test_genuine import MATMUL_64X64, Matmul, integers
from whisper_npu.npu.device import NpuOptions, open_device
with open_device("npu", npu=NpuOptions((Path(sys.argv[1]),))) as device:
    matmul = Matmul(device, MATMUL_64X64)
    a, b = integers(7)
    for count in (100, 1000):
        for _ in range(count):
            weight = matmul.stage(b)
            matmul(a, weight, "test")
            weight.buffer.close()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB
"""


def test_a_thousand_products_take_no_more_memory_than_a_hundred(xclbin: Path, tmp_path: Path) -> None:
    standins.write_kernel(tmp_path, MATMUL_64X64, xclbin.read_bytes())
    hundred, thousand = map(int, in_another_process(THOUSAND_PRODUCTS, tmp_path).split())
    a, b = integers(7)
    assert (thousand - hundred) * 1024 < 100 * (a.nbytes + b.nbytes)  # of 900 products' operands


FAILS_AND_GOES_ON = """
import ctypes, os, sys, time
from pathlib import Path
from tests.xrt.test_genuine import MATMUL_64X64, Matmul, integers
from whisper_npu.errors import DeviceError
from whisper_npu.npu.device import NpuOptions, open_device
device = open_device("npu", npu=NpuOptions((Path(sys.argv[1]),), timeout_seconds=0.05))
matmul = Matmul(device, MATMUL_64X64)
ctypes.CDLL(None).amdxdna_stub_fault(sys.argv[2].encode())
a, b = integers(8)
try:
    matmul(a, b, "test")
except DeviceError as error:
    print(type(error).__name__, error)
ctypes.CDLL(None).amdxdna_stub_fault(None)
time.sleep(2 * float(os.environ["WHISPER_NPU_STUB_TIMEOUT"]) / 1000)
assert (matmul(a, b, "test") == a @ b).all()
"""


@pytest.fixture
def fails_and_goes_on(xclbin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The error that a fault becomes, in a process that then computes a right product and ends normally.

    Of its own, for XRT aborts a process that destroys a run in progress, and what cannot be destroyed stays.
    """
    standins.write_kernel(tmp_path, MATMUL_64X64, xclbin.read_bytes())
    monkeypatch.setenv("WHISPER_NPU_STUB_TIMEOUT", "200")  # ms, after which the driver ends what hangs
    return lambda fault: in_another_process(FAILS_AND_GOES_ON, tmp_path, fault)


@pytest.mark.parametrize("at", [1, 25, MANY])
@pytest.mark.parametrize("waits_by", ["syncobj", "WAIT_CMD"])
def test_a_dispatch_that_hangs_longer_than_allowed_is_a_timeout(
    fails_and_goes_on: Callable[[str], str], at: int, waits_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if waits_by == "WAIT_CMD":
        monkeypatch.setenv("WHISPER_NPU_STUB_WAIT_CMD", "1")
    error = fails_and_goes_on(f"hang@{at}")
    assert error.startswith("DispatchError")
    assert "TIMEOUT (0.05 s allowed)" in error


@pytest.mark.parametrize("fault", ["enomem@1", "enomem@20", "gone@1", "gone@5", "gone@10", "gone@20"])
def test_what_the_driver_refuses_is_an_error_of_ours(
    fails_and_goes_on: Callable[[str], str], fault: str
) -> None:
    said = fails_and_goes_on(fault).splitlines()  # XRT speaks too
    assert any(line.startswith(("DeviceError", "DispatchError")) for line in said)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("contract", [MATMUL_64X512, MATMUL_128X512], ids=lambda contract: contract.name)
def test_a_transcription(
    xclbin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contract: Contract
) -> None:
    require_weights("tiny.en")
    standins.write_kernel(tmp_path, contract, xclbin.read_bytes())
    report, counts = tmp_path / "report.json", tmp_path / "counts.json"
    monkeypatch.setenv("WHISPER_NPU_STUB_COUNTS", str(counts))
    command = ["transcribe", str(SAMPLES / "sns-0930.wav"), "--model", "tiny.en", "--kernel", contract.name]
    command += ["--kernels", str(tmp_path), "--report", str(report)]
    said = {}
    for device in ("npu", "emulator"):
        done = subprocess.run(
            [sys.executable, "-m", "whisper_npu", *command, "--device", device],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said[device] = done.stdout
        if device == "npu":
            executed = json.loads(counts.read_text())["dispatches"]
            reported = json.loads(report.read_text())
            known_answers = 1
            assert reported["device"]["name"] == "npu"
            assert executed == reported["encoder"]["dispatches"] + known_answers
    assert said["npu"] == said["emulator"]
