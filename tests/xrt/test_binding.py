"""What npu/xrt takes for granted of pyxrt, and that the stub catches what hardware would punish."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.contracts import SMALL_NORM
from tests.support.stand_in_kernels import instructions
from tests.xrt.conftest import Stub
from whisper_npu.dtypes import DType
from whisper_npu.kernels.matmul.kernel import MatmulContract
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Numerics

CONTRACT = MatmulContract("matmul_16x32", NPU1, m=16, k=8, n=32, core_count=1, operand_dtype=DType.F32)
INSTRUCTIONS = instructions(CONTRACT)


@dataclass
class Binding:
    """A bare use of pyxrt: a context, a kernel, and the operands of one product."""

    pyxrt: Any
    device: Any
    context: Any
    kernel: Any
    instructions: Any
    data: tuple[Any, ...]

    def new_run(self, *, nbytes: int = len(INSTRUCTIONS), opcode: int = 3) -> Any:
        run = self.pyxrt.run(self.kernel)
        for argument, value in enumerate((opcode, self.instructions, nbytes, *self.data)):
            run.set_arg(argument, value)
        return run

    def write(self, bo: Any, matrix: np.ndarray[Any, Any], *, sync: bool = True) -> None:
        np.frombuffer(bo.map(), np.float32)[: matrix.size] = matrix.ravel()
        if sync:
            bo.sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE)

    def result(self, *, sync: bool = True) -> np.ndarray[Any, Any]:
        if sync:
            self.data[2].sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE)
        c = np.frombuffer(self.data[2].map(), np.float32)
        return c[: CONTRACT.m * CONTRACT.n].reshape(CONTRACT.m, CONTRACT.n).copy()


A = np.random.default_rng(1).integers(-4, 5, (CONTRACT.m, CONTRACT.k)).astype(np.float32)
B = np.random.default_rng(2).integers(-4, 5, (CONTRACT.k, CONTRACT.n)).astype(np.float32)


@pytest.fixture
def binding(stub: Stub, xclbin: Path) -> Binding:
    pyxrt = importlib.import_module("pyxrt")
    device = pyxrt.device(0)
    loaded = pyxrt.xclbin(str(xclbin))
    device.register_xclbin(loaded)
    context = pyxrt.hw_context(device, loaded.get_uuid())
    kernel = pyxrt.kernel(context, "MLIR_AIE")
    bo = pyxrt.bo(device, len(INSTRUCTIONS), pyxrt.bo.cacheable, kernel.group_id(1))
    bo.write(INSTRUCTIONS, 0)
    bo.sync(pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE)
    sizes = A.nbytes, B.nbytes, CONTRACT.bytes_from_device
    data = tuple(pyxrt.bo(device, size, pyxrt.bo.host_only, kernel.group_id(3)) for size in sizes)
    return Binding(pyxrt, device, context, kernel, bo, data)


def state(name: str, binding: Binding) -> Any:
    return getattr(binding.pyxrt.ert_cmd_state, f"ERT_CMD_STATE_{name}")


def test_a_product(binding: Binding) -> None:
    binding.write(binding.data[0], A)
    binding.write(binding.data[1], B)
    run = binding.new_run()
    run.start()
    assert run.wait(10_000) == state("COMPLETED", binding)
    np.testing.assert_array_equal(binding.result(), A @ B)


@pytest.fixture
def norm(binding: Binding) -> Binding:
    """The same with a kernel of five arguments, two of them results, and random operands."""
    pyxrt, contract = binding.pyxrt, SMALL_NORM
    binding.instructions.write(instructions(contract), 0)
    binding.instructions.sync(pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE)
    kind, group = pyxrt.bo.host_only, binding.kernel.group_id(3)
    binding.data = tuple(pyxrt.bo(binding.device, a.nbytes, kind, group) for a in contract.arguments)
    rng = np.random.default_rng(0)
    for bo, argument in zip(binding.data, contract.arguments[:3], strict=False):
        binding.write(bo, rng.standard_normal(argument.elements).astype(np.float32))
    return binding


def floats(binding: Binding, number: int) -> np.ndarray[Any, Any]:
    binding.data[number].sync(binding.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE)
    elements = SMALL_NORM.arguments[number].elements
    return np.frombuffer(binding.data[number].map(), np.float32)[:elements].copy()


def test_a_dispatch_may_have_several_results(norm: Binding, stub: Stub) -> None:
    x, residual, parameters = (floats(norm, number) for number in range(3))
    run = norm.new_run()
    run.start()
    assert run.wait(10_000) == state("COMPLETED", norm)
    s, y = (floats(norm, number).reshape(SMALL_NORM.rows, SMALL_NORM.cols) for number in (3, 4))
    np.testing.assert_array_equal(s.ravel(), x + residual)
    op = SMALL_NORM.trial_op
    inputs = (x.reshape(s.shape), residual.reshape(s.shape), *parameters.reshape(-1, SMALL_NORM.cols)[:2])
    (_, exact), (_, bound) = op.reference(*inputs), op.tolerance(Numerics(0.0), *inputs)
    assert (np.abs(y - exact) <= bound).all()
    stub.fault("part@1")
    run.start()
    assert run.wait(10_000) == state("COMPLETED", norm)
    wrong = floats(norm, 4).reshape(s.shape) != y
    assert np.argwhere(wrong).tolist() == [[SMALL_NORM.rows - 1, SMALL_NORM.cols - 1]]
    np.testing.assert_array_equal(floats(norm, 3).reshape(s.shape), s)


@pytest.mark.parametrize("number", range(5))
def test_every_argument_must_be_large_enough(norm: Binding, number: int) -> None:
    size = SMALL_NORM.arguments[number].nbytes
    run = norm.new_run()
    run.set_arg(3 + number, norm.pyxrt.bo(norm.data[number], 4, size - 4))
    run.start()
    assert run.wait(10_000) == state("ERROR", norm)


@pytest.mark.parametrize("forgotten", ["operand", "result"])
def test_a_forgotten_sync_gives_a_wrong_product(binding: Binding, forgotten: str) -> None:
    binding.write(binding.data[0], A, sync=forgotten != "operand")
    binding.write(binding.data[1], B)
    run = binding.new_run()
    run.start()
    assert run.wait(10_000) == state("COMPLETED", binding)
    assert not binding.result(sync=forgotten != "result").any()


def test_a_result_that_is_read_before_it_is_waited_for_is_not_there(binding: Binding) -> None:
    binding.write(binding.data[0], A)
    binding.write(binding.data[1], B)
    run = binding.new_run()
    run.start()
    early = binding.result()
    assert run.wait(10_000) == state("COMPLETED", binding)
    assert not early.any()


def test_wrong_commands_end_with_error(binding: Binding) -> None:
    short = binding.pyxrt.bo(binding.data[2], 4, CONTRACT.bytes_from_device - 4)
    for wrong in (binding.new_run(nbytes=len(INSTRUCTIONS) // 4), binding.new_run(opcode=2)):
        wrong.start()
        assert wrong.wait(10_000) == state("ERROR", binding)
    run = binding.new_run()
    run.set_arg(5, short)
    run.start()
    assert run.wait(10_000) == state("ERROR", binding)


def test_a_sub_bo_of_the_root_has_its_address(binding: Binding) -> None:
    root = binding.data[0]
    assert binding.pyxrt.bo(root, 64, 128).address() == root.address() + 128


def test_a_list_runs_again_with_other_arguments_and_has_no_timeout(binding: Binding, stub: Stub) -> None:
    binding.write(binding.data[0], A)
    binding.write(binding.data[1], B)
    runs = [binding.new_run() for _ in range(3)]
    listed = binding.pyxrt.runlist(binding.context)
    for run in runs:
        listed.add(run)
    for _ in range(2):
        listed.execute()
        listed.wait()
    np.testing.assert_array_equal(binding.result(), A @ B)
    binding.write(binding.data[0], 2 * A)
    other = binding.pyxrt.bo(binding.device, B.nbytes, binding.pyxrt.bo.host_only, binding.kernel.group_id(4))
    binding.write(other, -B)
    runs[2].set_arg(4, other)
    before = stub.count("dispatches")
    listed.execute()
    listed.wait()
    assert stub.count("dispatches") - before == 3
    np.testing.assert_array_equal(binding.result(), -2 * A @ B)
    with pytest.raises(TypeError):
        listed.wait(1000)
    with pytest.raises(RuntimeError, match="belongs to a runlist"):
        runs[0].start()


def test_states_of_a_list(binding: Binding, stub: Stub) -> None:
    """Whoever completed in a list stays NEW; only from the one that failed on are states of use."""
    runs = [binding.new_run() for _ in range(3)]
    listed = binding.pyxrt.runlist(binding.context)
    for run in runs:
        listed.add(run)
    listed.execute()
    listed.wait()
    assert [run.state() for run in runs] == [state("NEW", binding)] * 3
    stub.fault("error@2")
    listed.execute()
    with pytest.raises(RuntimeError, match="ERT_CMD_STATE_ERROR"):
        listed.wait()
    assert [run.state() for run in runs] == [state(name, binding) for name in ("NEW", "ERROR", "ABORT")]


def test_who_waits_for_a_run_has_waited_for_the_list_before_it(binding: Binding, stub: Stub) -> None:
    listed = binding.pyxrt.runlist(binding.context)
    listed.add(binding.new_run())
    last = binding.new_run()
    before = stub.count("dispatches")
    listed.execute()
    last.start()
    assert last.wait(10_000) == state("COMPLETED", binding)
    assert stub.count("dispatches") - before == 2
    listed.wait()


@pytest.mark.parametrize("waits_by", ["syncobj", "WAIT_CMD"])
def test_how_a_wait_that_is_too_short_ends(
    binding: Binding, stub: Stub, waits_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the driver's older interface XRT 2.25 raises, by its newer one it returns TIMEOUT."""
    if waits_by == "WAIT_CMD":
        monkeypatch.setenv("XRT_STUB_WAIT_CMD", "1")
        binding.context = binding.pyxrt.hw_context(binding.device, binding.context.get_xclbin_uuid())
        binding.kernel = binding.pyxrt.kernel(binding.context, "MLIR_AIE")
    monkeypatch.setenv("XRT_STUB_TIMEOUT", "200")  # else the run could not be given back
    run = binding.new_run()
    stub.fault("hang@1")
    run.start()
    if waits_by == "WAIT_CMD":
        assert run.wait(20) == state("TIMEOUT", binding)
    else:
        with pytest.raises(RuntimeError, match="unexpected command state"):
            run.wait(20)
    assert run.state() == state("NEW", binding)
    assert run.wait(10_000) == state("TIMEOUT", binding)
    run.start()
    assert run.wait(10_000) == state("COMPLETED", binding)
