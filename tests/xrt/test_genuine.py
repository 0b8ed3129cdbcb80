"""Our device on the genuine pyxrt: what the driver sees of it, and what becomes of the driver's failures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import SAMPLES
from tests.support.contracts import CONTRACTS, MATMUL_64X64, MATMUL_64X512, MATMUL_128X512, SMALL_NORM
from tests.support.products import Multiply
from tests.support.stand_in_kernels import write_kernel
from tests.support.weights import require_weights
from tests.xrt.conftest import Open, Stub
from whisper_npu.dtypes import F32
from whisper_npu.errors import DeviceError, DispatchError
from whisper_npu.kernels.matmul.kernel import MatmulContract, matmul_64x64_batch, tiled_plan
from whisper_npu.kernels.norm.kernel import rows_in_blocks
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.xrt.device import XrtDevice
from whisper_npu.ops import Matmul, Norm, Numerics

SIZES = 200, 190, 300  # M, K, N: 60 dispatches of 64x64, in three submissions
MANY = 60


def integers(seed: int) -> tuple[F32, F32]:
    """Small enough for every sum to be exact in fp32, and every operand in bf16."""
    rng = np.random.default_rng(seed)
    M, K, N = SIZES
    a, b = rng.integers(-8, 9, (M, K)), rng.integers(-8, 9, (K, N))
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize(
    "contract",
    [MATMUL_64X64, MATMUL_128X512, matmul_64x64_batch(NPU1, 16)],
    ids=lambda contract: contract.name,
)
def test_the_driver_executes_the_dispatches_that_are_reported(
    npu: Open, stub: Stub, contract: MatmulContract
) -> None:
    multiply = Multiply(npu(contract), contract)
    a, b = integers(0)
    before = stub.count("dispatches")
    np.testing.assert_array_equal(multiply(a, b), a @ b)
    (run,) = multiply.take_runs()
    assert stub.count("dispatches") - before == run.stats.dispatches == run.plan.dispatches


def test_the_power_mode_is_what_the_driver_says(npu: Open) -> None:
    device = npu(MATMUL_64X64)
    assert isinstance(device, XrtDevice)
    assert device.power_mode() == "performance"  # XRT's word for POWER_MODE_HIGH


@pytest.mark.parametrize("run_list", [1, 8, 25, 60])
def test_a_plan_says_how_many_dispatches_are_submitted_together(npu: Open, stub: Stub, run_list: int) -> None:
    """XRT hands 24 runs of a list to the driver as one command; the last run comes by itself."""
    device = npu(MATMUL_64X64)
    device.load(MATMUL_64X64)
    a, b = integers(2)
    M, K, N = SIZES
    plan = tiled_plan(Matmul(M, K, N), MATMUL_64X64, run_list=run_list)
    buffers = [device.alloc(layout) for layout in plan.layouts]
    for buffer, matrix in zip(buffers, (a, b), strict=False):
        buffer.write(matrix)
    before = {name: stub.count(name) for name in ("dispatches", "submissions", "chains")}
    stats = device.execute(plan, buffers)
    counted = {name: stub.count(name) - count for name, count in before.items()}
    np.testing.assert_array_equal(buffers[2].read(), a @ b)
    lists = [run_list - 1] * (MANY // run_list) + [max(MANY % run_list - 1, 0)]
    commands = sum(-(-length // 24) for length in lists)
    assert counted["dispatches"] == stats.dispatches == MANY
    assert counted["submissions"] == stats.submissions + commands
    assert stats.submissions == plan.submissions
    assert (counted["chains"] > 0) == (run_list > 1)


def test_a_kernel_may_have_several_results(npu: Open, stub: Stub) -> None:
    device = npu(MATMUL_64X64, SMALL_NORM)
    device.load(SMALL_NORM)
    op = Norm(4 * SMALL_NORM.rows - 1, SMALL_NORM.cols, residual=True)
    plan, rng = replace(rows_in_blocks(op, SMALL_NORM), run_list=3), np.random.default_rng(0)
    inputs = tuple(rng.standard_normal(operand.shape).astype(np.float32) for operand in op.inputs)
    buffers = [device.alloc(layout) for layout in plan.layouts]
    for buffer, matrix in zip(buffers, plan.turned(inputs), strict=False):
        buffer.write(matrix)
    before = stub.count("dispatches")
    device.execute(plan, buffers)
    assert stub.count("dispatches") - before == 4
    bounds = op.tolerance(Numerics(0.0), *inputs)
    for buffer, exact, bound in zip(buffers[3:], op.reference(*inputs), bounds, strict=True):
        assert (np.abs(buffer.read() - exact) <= bound).all()


@pytest.mark.parametrize("contract", [MATMUL_64X64, SMALL_NORM], ids=lambda contract: contract.name)
def test_a_result_of_which_one_element_is_wrong_is_refused(npu: Open, stub: Stub, contract: Contract) -> None:
    device = npu(MATMUL_64X64, *({contract} - {MATMUL_64X64}))
    stub.fault("part@1")
    with pytest.raises(DispatchError, match="another result; wrong are 1 of"):
        device.load(contract)
    device.load(contract)


@pytest.mark.parametrize("at", [1, 24, 25, 26, 50, MANY])
@pytest.mark.parametrize("kind", ["error", "abort", "timeout"])
def test_a_dispatch_that_fails_is_named_and_the_next_product_is_right(
    npu: Open, stub: Stub, kind: str, at: int
) -> None:
    multiply = Multiply(npu(MATMUL_64X64), MATMUL_64X64)
    a, b = integers(1)
    stub.fault(f"{kind}@{at}")
    with pytest.raises(DispatchError, match=rf"dispatch {at} of {MANY}\b.*{kind.upper()}"):
        multiply(a, b)
    np.testing.assert_array_equal(multiply(a, b), a @ b)


def test_the_drivers_own_timeout_is_told_of(npu: Open, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRT_STUB_TIMEOUT", "10")
    multiply = Multiply(npu(MATMUL_64X64), MATMUL_64X64)
    a, b = integers(3)
    stub.fault("hang@3")
    with pytest.raises(DispatchError, match=rf"dispatch 3 of {MANY}\b.*TIMEOUT"):
        multiply(a, b)
    np.testing.assert_array_equal(multiply(a, b), a @ b)


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
    contexts = NPU1.hw_contexts - stub.count("contexts")  # other tests may hold some
    contracts = CONTRACTS[: contexts + 2]
    device = npu(*contracts)
    multiplies = [Multiply(device, contract) for contract in contracts]
    a, b = integers(5)
    for multiply in multiplies[:contexts]:
        multiply(a, b)
    opened = stub.count("contexts_created")
    for multiply in multiplies[:contexts]:
        multiply(a, b)
    assert stub.count("contexts_created") == opened  # those that were used last are kept
    for multiply, contract in zip(multiplies, contracts, strict=True):
        error = np.abs(multiply(a, b) - a.astype(np.float64) @ b)
        assert (error <= contract.tolerance(a, b)).all()
        assert stub.count("contexts") <= NPU1.hw_contexts


def test_nothing_is_left_on_the_device_when_it_is_closed(npu: Open, stub: Stub) -> None:
    before = stub.count("contexts")
    device = npu(MATMUL_64X64, MATMUL_64X512)
    a, b = integers(6)
    for contract in (MATMUL_64X64, MATMUL_64X512):
        Multiply(device, contract)(a, b)
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
from tests.xrt.test_genuine import MATMUL_64X64, Multiply, integers
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
with open_device("npu", npu=NpuOptions((Path(sys.argv[1]),))) as device:
    multiply = Multiply(device, MATMUL_64X64)
    a, b = integers(7)
    for count in (100, 1000):
        for _ in range(count):
            weight = multiply.stage(b)
            multiply(a, weight)
            weight.close()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB
"""


def test_a_thousand_products_take_no_more_memory_than_a_hundred(xclbin: Path, tmp_path: Path) -> None:
    write_kernel(tmp_path, MATMUL_64X64, xclbin.read_bytes())
    hundred, thousand = map(int, in_another_process(THOUSAND_PRODUCTS, tmp_path).split())
    a, b = integers(7)
    assert (thousand - hundred) * 1024 < 100 * (a.nbytes + b.nbytes)  # of 900 products' operands


FAILS_AND_GOES_ON = """
import ctypes, os, sys, time
from pathlib import Path
from tests.xrt.test_genuine import MATMUL_64X64, Multiply, integers
from whisper_npu.errors import DeviceError
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
device = open_device("npu", npu=NpuOptions((Path(sys.argv[1]),), timeout_seconds=0.05))
multiply = Multiply(device, MATMUL_64X64)
ctypes.CDLL(None).amdxdna_stub_fault(sys.argv[2].encode())
a, b = integers(8)
try:
    multiply(a, b)
except DeviceError as error:
    print(type(error).__name__, error)
ctypes.CDLL(None).amdxdna_stub_fault(None)
time.sleep(2 * float(os.environ["XRT_STUB_TIMEOUT"]) / 1000)
assert (multiply(a, b) == a @ b).all()
"""


@pytest.fixture
def fails_and_goes_on(xclbin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The error that a fault becomes, in a process that then computes a right product and ends normally.

    Of its own, for XRT aborts a process that destroys a run in progress, and what cannot be destroyed stays.
    """
    write_kernel(tmp_path, MATMUL_64X64, xclbin.read_bytes())
    monkeypatch.setenv("XRT_STUB_TIMEOUT", "200")  # ms, after which the driver ends what hangs
    return lambda fault: in_another_process(FAILS_AND_GOES_ON, tmp_path, fault)


@pytest.mark.parametrize("at", [1, 25, MANY])
@pytest.mark.parametrize("waits_by", ["syncobj", "WAIT_CMD"])
def test_a_dispatch_that_hangs_longer_than_allowed_is_a_timeout(
    fails_and_goes_on: Callable[[str], str], at: int, waits_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if waits_by == "WAIT_CMD":
        monkeypatch.setenv("XRT_STUB_WAIT_CMD", "1")
    error = fails_and_goes_on(f"hang@{at}")
    assert error.startswith("NoAnswerError")
    assert "TIMEOUT (0.05 s allowed)" in error


@pytest.mark.parametrize("fault", ["enomem@1", "enomem@20", "gone@1", "gone@5", "gone@10", "gone@20"])
def test_what_the_driver_refuses_is_an_error_of_ours(
    fails_and_goes_on: Callable[[str], str], fault: str
) -> None:
    said = fails_and_goes_on(fault).splitlines()  # XRT speaks too
    assert any(line.startswith(("DeviceError", "DispatchError")) for line in said)


FAILS_IN_A_WINDOW_OF_LAYERS = """
import os, sys, time
from pathlib import Path
import numpy as np, pytest
from tests.support.encoders import small_encoder
from tests.support.text_npu import GenuineTextNpu
from whisper_npu.errors import DeviceError
given = small_encoder()
with pytest.MonkeyPatch.context() as patch, GenuineTextNpu(Path(sys.argv[1]), patch) as npu:
    encoder = given.on(npu.open(*given.contracts, timeout_seconds=0.05))
    encoder(given.mel)  # makes what later windows use again
    before = npu.counted("ioctls"), npu.counted("submissions")
    wanted = encoder(given.mel)
    ioctls = npu.counted("ioctls") - before[0]
    assert npu.counted("submissions") - before[1] == len(given.ops)
    kind = sys.argv[2]
    npu.fault(f"hang@{len(given.ops) - 1}" if kind == "hang" else f"gone@{ioctls // 2}")
    dispatches = npu.dispatches()
    try:
        encoder(given.mel)
    except DeviceError as error:
        print(type(error).__name__, error)
    assert npu.dispatches() - dispatches < len(given.ops)
    npu.fault(None)
    time.sleep(2 * float(os.environ["XRT_STUB_TIMEOUT"]) / 1000)
    assert np.array_equal(encoder(given.mel), wanted)
    assert npu.problems() == []
"""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("hang", r"NoAnswerError layer_encoder_\S+: dispatch 1 of 1 .* TIMEOUT \(0.05 s allowed\)"),
        ("gone", r"DeviceError layer_\S+: .*(the NPU is gone|may be gone)"),
    ],
)
def test_a_device_that_hangs_or_dies_within_a_window_of_layers(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    """In a process of its own, as above."""
    monkeypatch.setenv("XRT_STUB_TIMEOUT", "200")
    printed = in_another_process(FAILS_IN_A_WINDOW_OF_LAYERS, tmp_path, kind)
    assert re.search(said, printed), printed


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("contract", [MATMUL_64X512, MATMUL_128X512], ids=lambda contract: contract.name)
def test_a_transcription(
    xclbin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contract: Contract
) -> None:
    require_weights("tiny.en")
    write_kernel(tmp_path, contract, xclbin.read_bytes())
    report, counts = tmp_path / "report.json", tmp_path / "counts.json"
    monkeypatch.setenv("XRT_STUB_COUNTS", str(counts))
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


def test_a_run_that_ends_in_time_is_polled_for_and_not_waited_for(npu: Open, stub: Stub) -> None:
    """A wait of pyxrt holds Python's GIL until the driver answers."""
    multiply = Multiply(npu(MATMUL_64X64), MATMUL_64X64)
    a, b = integers(3)
    np.testing.assert_array_equal(multiply(a, b), a @ b)
    before = stub.count("waits"), stub.count("dispatches")
    np.testing.assert_array_equal(multiply(a, b), a @ b)
    assert stub.count("dispatches") - before[1] == MANY
    assert stub.count("waits") == before[0]
