"""The fake pyxrt: what it takes, as bare code against pyxrt would call it, and each thing that it refuses."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.support import stand_in_kernels
from tests.support.contracts import SMALL_NORM
from tests.support.fake_pyxrt import FakeXrt, Fault, Misuse, Part
from tests.support.fake_pyxrt.binding import ARGUMENTS, CLASSES
from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import to_bf16
from whisper_npu.kernels.matmul.kernel import MatmulContract
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import NPU1

SMALL = MatmulContract("small", NPU1, m=4, k=8, n=12, core_count=1)
OTHER = replace(SMALL, name="other", n=16)
PAIRS = replace(SMALL, name="pairs", products=2)

# All names of the real module in XRT 2.25, src/python/pybind11/src/pyxrt.cpp.
REAL_NAMES = {
    "XCL_BO_FLAGS_NONE",
    "xclBOSyncDirection",
    "ert_cmd_state",
    "xrt_info_device",
    "xrt_msg_level",
    "emergency",
    "alert",
    "critical",
    "error",
    "warning",
    "notice",
    "info",
    "debug",
    "enumerate_devices",
    "log_message",
    "uuid",
    "hw_context",
    "device",
    "run",
    "kernel",
    "bo",
    "xclbin",
    "xclbinip_vector",
    "xclbinkernel_vector",
    "xclbinmem_vector",
    "elf",
    "program",
    "module",
    "ext",
    "runlist",
}
REAL_METHODS = {
    "uuid": "to_string",
    "xclbin": "get_kernels get_xsa_name get_uuid get_mems get_axlf",
    "device": "load_xclbin register_xclbin get_xclbin_uuid get_info",
    "hw_context": "add_config get_device get_xclbin_uuid get_xclbin get_mode",
    "kernel": "group_id",
    "bo": "write read sync map size address flags normal cacheable device_only host_only p2p svm",
    "run": "start set_arg wait wait2 state add_callback get_ctrl_scratchpad_bo",
    "runlist": "add execute wait",
}


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    """A fake that nobody misuses, or the test takes the record away."""
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


@pytest.fixture
def pyxrt(fake: FakeXrt) -> ModuleType:
    return fake.module


def misuse(fake: FakeXrt, reason: str) -> Any:
    """Expects Misuse, on record too; the record is emptied."""

    class Expected:
        def __enter__(self) -> None:
            self.raises = pytest.raises(Misuse, match=reason)
            self.raises.__enter__()

        def __exit__(self, *error: Any) -> bool:
            assert self.raises.__exit__(*error)
            assert len(fake.misuses) == 1
            fake.misuses.clear()
            return True

    return Expected()


def kept_for_ever(fake: FakeXrt, *objects: object) -> None:
    """As a program must keep what the device may still use: until the device itself is gone."""
    fake.__dict__["kept"] = objects


class Program:
    """What every program against pyxrt sets up: one kernel with its bos, and operands on the device."""

    def __init__(self, pyxrt: ModuleType, folder: Path, contract: Contract = SMALL, *, seed: int = 0) -> None:
        self.pyxrt, self.contract = pyxrt, contract
        path = folder / f"{contract.name}.xclbin"
        path.write_bytes(stand_in_kernels.xclbin(contract))
        self.device = pyxrt.device(0)
        xclbin = pyxrt.xclbin(str(path))
        self.device.register_xclbin(xclbin)
        self.context = pyxrt.hw_context(self.device, xclbin.get_uuid())
        self.kernel = pyxrt.kernel(self.context, "MLIR_AIE")
        content = stand_in_kernels.instructions(contract)
        self.nbytes = len(content)
        self.instructions = pyxrt.bo(self.device, self.nbytes, pyxrt.bo.cacheable, self.kernel.group_id(1))
        self.instructions.map()[:] = content
        self.to_device(self.instructions)
        self.bos = [self.data(nbytes, 3 + i) for i, nbytes in enumerate(self.what.nbytes)]
        if not isinstance(contract, MatmulContract):
            return
        rng = np.random.default_rng(seed)
        self.a, self.b = (
            rng.integers(-8, 9, shape).astype(np.float32)
            for shape in ((contract.m, contract.k), (contract.k, contract.n))
        )
        if len(self.bos) == 3:
            for bo, matrix in zip(self.bos, (self.a, self.b), strict=False):
                bo.map()[:] = to_bf16(matrix, Rounding.NEAREST_EVEN).tobytes()
                self.to_device(bo)

    @property
    def what(self) -> stand_in_kernels.Instructions:
        return stand_in_kernels.decode(stand_in_kernels.instructions(self.contract))

    def data(self, nbytes: int, argument: int = 3) -> Any:
        return self.pyxrt.bo(self.device, nbytes, self.pyxrt.bo.host_only, self.kernel.group_id(argument))

    def to_device(self, bo: Any, *part: int) -> None:
        bo.sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE, *part)

    def from_device(self, bo: Any, *part: int) -> None:
        bo.sync(self.pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE, *part)

    @property
    def arguments(self) -> list[Any]:
        return [3, self.instructions, self.nbytes, *self.bos]

    def run(self, **instead: Any) -> Any:
        """A run with its arguments; `_5=bo` gives another one, None leaves it out."""
        run = self.pyxrt.run(self.kernel)
        for number, value in enumerate(self.arguments):
            given = instead.get(f"_{number}", value)
            if given is not None:
                run.set_arg(number, given)
        return run

    def result(self) -> F32:
        self.from_device(self.bos[-1])
        return self.peek()

    def peek(self) -> F32:
        """C as the host has it, without a sync."""
        return np.frombuffer(bytes(self.bos[-1].map()), np.float32).reshape(self.a.shape[0], -1)

    @property
    def expected(self) -> F32:
        return self.a @ self.b


@pytest.fixture
def program(pyxrt: ModuleType, tmp_path: Path) -> Program:
    return Program(pyxrt, tmp_path)


# --- What works ---------------------------------------------------------------------------------------------


def test_names_are_those_of_the_real_module(pyxrt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name for name in vars(pyxrt) if not name.startswith("_")} <= REAL_NAMES
    for name in CLASSES:
        own = {n for n in dir(getattr(pyxrt, name)) if not n.startswith("_")} - {"chip", "classes"}
        assert own <= set(REAL_METHODS[name].split()), name
    monkeypatch.setitem(sys.modules, "pyxrt", pyxrt)
    assert importlib.util.find_spec("pyxrt") is not None


def test_enums_are_pybinds(pyxrt: ModuleType) -> None:
    state = pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED
    assert state == 4
    assert int(state) == 4
    assert hash(state) == hash(4)
    assert state != pyxrt.ert_cmd_state.ERT_CMD_STATE_ABORT
    assert state.name == "ERT_CMD_STATE_COMPLETED"
    assert not isinstance(state, int)


def test_a_run_computes_its_product(program: Program, fake: FakeXrt) -> None:
    run = program.run()
    run.start()
    assert run.wait(1000) == program.pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED
    assert np.array_equal(program.result(), program.expected)
    assert fake.pop_counts().dispatches == 1


def test_a_run_may_be_started_again_with_other_arguments(program: Program) -> None:
    run = program.run()
    run.start()
    run.wait(1000)
    half = program.data(program.what.nbytes[0])
    half.map()[:] = to_bf16(program.a / 2, Rounding.NEAREST_EVEN).tobytes()
    program.to_device(half)
    run.set_arg(3, half)
    run.start()
    run.wait(1000)
    assert np.array_equal(program.result(), program.expected / 2)


def test_calling_a_kernel_starts_it(program: Program) -> None:
    run = program.kernel(*program.arguments)
    run.wait2()
    assert np.array_equal(program.result(), program.expected)


def test_polling_ends_a_run_as_well(program: Program) -> None:
    run = program.run()
    run.start()
    assert run.state() == 1
    assert run.state() == 4
    run.start()
    assert run.wait(1) == 4


def test_pairs_lie_in_one_bo(pyxrt: ModuleType, tmp_path: Path) -> None:
    program = Program(pyxrt, tmp_path, PAIRS)
    pairs, c = program.bos
    pairs.map()[:] = np.ones(pairs.size() // 2, "<u2").tobytes()  # the smallest number of bf16
    program.to_device(pairs)
    pyxrt.run(program.kernel)
    run = program.kernel(3, program.instructions, program.nbytes, pairs, c)
    assert run.wait(1000) == 4
    program.from_device(c)
    assert not np.isnan(np.frombuffer(c.map(), np.float32)).any()


def test_sub_bos_are_parts_of_their_root(program: Program) -> None:
    nbytes = program.what.nbytes[2]
    root = program.data(3 * nbytes)
    parts = [program.pyxrt.bo(root, nbytes, i * nbytes) for i in range(3)]
    assert [part.address() - root.address() for part in parts] == [0, nbytes, 2 * nbytes]
    run = program.run(_5=parts[1])
    run.start()
    run.wait(1000)
    program.from_device(root)
    rows = np.frombuffer(bytes(root.map()), np.float32).reshape(3, 4, 12)
    assert np.array_equal(rows[1], program.expected)
    assert np.isnan(rows[[0, 2]]).all()
    program.from_device(parts[1], 8, 16)
    assert bytes(parts[1].map()) == rows[1].tobytes()


def test_a_sub_bo_keeps_its_root_alive(program: Program, fake: FakeXrt) -> None:
    root = program.data(64)
    part = program.pyxrt.bo(root, 32, 32)
    view = part.map()
    del root
    view[0] = 7
    program.to_device(part)
    assert part.read(1, 0).tolist() == [7]
    assert fake.dangling_views() == 0


def test_bytes_are_counted(program: Program, fake: FakeXrt) -> None:
    fake.pop_counts()
    program.to_device(program.bos[0], 8, 4)
    program.from_device(program.bos[2])
    counts = fake.pop_counts()
    assert (counts.syncs_to_device, counts.bytes_to_device) == (1, 8)
    assert (counts.syncs_from_device, counts.bytes_from_device) == (1, program.what.nbytes[2])
    assert counts.bos == counts.dispatches == 0


def test_what_is_alive_is_counted(pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path) -> None:
    program = Program(pyxrt, tmp_path)
    run = program.run()
    alive = fake.alive()
    assert (alive["bo"], alive["run"], alive["hw_context"]) == (4, 1, 1)
    del program.context  # the kernel keeps it
    assert fake.alive()["hw_context"] == 1
    del program, run
    assert +fake.alive() == {}


# --- Several results ----------------------------------------------------------------------------------------


@pytest.fixture
def norm(pyxrt: ModuleType, tmp_path: Path) -> Program:
    """With x, a residual, weight and bias on the device; s and y are its results."""
    program = Program(pyxrt, tmp_path, SMALL_NORM)
    rng = np.random.default_rng(0)
    for bo in program.bos[:3]:
        bo.map()[:] = rng.standard_normal(bo.size() // 4).astype(np.float32).tobytes()
        program.to_device(bo)
    return program


def floats(bo: Any, sync_by: Program | None = None) -> F32:
    if sync_by:
        sync_by.from_device(bo)
    return np.frombuffer(bytes(bo.map()), np.float32)


def test_a_dispatch_may_have_several_results(norm: Program, fake: FakeXrt) -> None:
    x, residual, parameters = map(floats, norm.bos[:3])
    run = norm.run()
    run.start()
    assert run.wait(1000) == 4
    s, y = (floats(bo, norm).reshape(SMALL_NORM.rows, SMALL_NORM.cols) for bo in norm.bos[3:])
    assert np.array_equal(s.ravel(), x + residual)
    weight, bias = parameters.reshape(-1, SMALL_NORM.cols)[:2]
    assert np.allclose(y, (s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True) * weight + bias, atol=1e-4)
    counts = fake.pop_counts()
    assert (counts.dispatches, counts.single_runs, counts.lists) == (1, 1, 0)


@pytest.mark.parametrize("result", [3, 4])
def test_each_result_is_out_of_reach_under_way(norm: Program, fake: FakeXrt, result: int) -> None:
    bo = norm.bos[result]
    run = norm.run()
    run.start()
    with misuse(fake, "sync from the device of a result"):
        norm.from_device(bo)
    with misuse(fake, "sync to the device"):
        norm.to_device(bo)
    second = norm.run(
        **{f"_{3 + other}": norm.data(SMALL_NORM.arguments[4].nbytes) for other in (3, 4) if other != result}
    )
    with misuse(fake, "argument"):  # the other result's bo is gone: a run keeps none
        second.start()
    run.wait(1000)


@pytest.mark.parametrize("result", [3, 4])
def test_no_result_may_be_lost(norm: Program, fake: FakeXrt, result: int) -> None:
    others = {
        f"_{3 + other}": norm.data(SMALL_NORM.arguments[4].nbytes) for other in (3, 4) if other != result
    }
    first, second = norm.run(), norm.run(**others)
    first.start()
    with misuse(fake, "writes where another"):
        second.start()
    first.wait(1000)
    second.start()
    second.wait(1000)
    one = norm.bos[result]
    with misuse(fake, "two results to one place"):
        norm.run(_6=one, _7=one).start()
    with misuse(fake, "over its own operand"):
        norm.run(**{f"_{3 + result}": norm.bos[1]}).start()


@pytest.mark.parametrize("result", [3, 4])
def test_each_result_is_poisoned_until_it_is_written(norm: Program, fake: FakeXrt, result: int) -> None:
    run = norm.run()
    for fault in (None, Fault.ERROR):
        if fault:
            fake.inject(fault)
        run.start()
        run.wait(1000)
        assert np.isnan(floats(norm.bos[result], norm)).all() == (fault is not None)


@pytest.mark.parametrize("result", [3, 4])
def test_no_result_of_another_context_may_be_read(
    norm: Program, fake: FakeXrt, pyxrt: ModuleType, tmp_path: Path, result: int
) -> None:
    other = Program(pyxrt, tmp_path)
    first, second = norm.run(), other.run(_3=norm.bos[result])
    first.start()
    with misuse(fake, "of another context"):
        second.start()
    first.wait(1000)


@pytest.mark.parametrize("result", [3, 4])
def test_no_result_behind_a_failure_is_of_use(norm: Program, fake: FakeXrt, result: int) -> None:
    places = [norm.data(SMALL_NORM.arguments[4].nbytes) for _ in range(2)]
    runlist = norm.pyxrt.runlist(norm.context)
    for run in (norm.run(), norm.run(_6=places[0], _7=places[1])):
        runlist.add(run)
    fake.inject(Fault.ERROR)
    runlist.execute()
    with pytest.raises(RuntimeError, match="ERROR"):
        runlist.wait()
    assert np.isnan(floats(places[result - 3], norm)).all()
    assert np.isnan(floats(norm.bos[result], norm)).all()


@pytest.mark.parametrize("number", range(3, 8))
def test_every_bo_must_be_large_enough(norm: Program, fake: FakeXrt, number: int) -> None:
    short = norm.data(norm.what.nbytes[number - 3] - 4)
    with misuse(fake, f"argument {number} has"):
        norm.run(**{f"_{number}": short}).start()


def test_one_result_of_several_may_be_wrong(norm: Program, fake: FakeXrt) -> None:
    run = norm.run()
    run.start()
    run.wait(1000)
    right = [floats(bo, norm) for bo in norm.bos[3:]]
    for result in range(2):
        fake.inject(Fault.GARBAGE, part=Part(result, slice(-20, None)))
        run.start()
        run.wait(1000)
        now = [floats(bo, norm) for bo in norm.bos[3:]]
        assert np.array_equal(now[1 - result], right[1 - result])
        assert np.array_equal(now[result][:-20], right[result][:-20])
        assert not np.array_equal(now[result], right[result])


# --- Two copies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DType)
def test_fresh_memory_is_nan_on_both_sides(program: Program, fake: FakeXrt, dtype: DType) -> None:
    bo = program.data(64)

    def numbers() -> F32:
        memory = np.frombuffer(bytes(bo.map()), np.uint8)
        return stand_in_kernels.as_f32(stand_in_kernels.as_elements(memory, dtype))

    host = bytes(bo.map())
    assert np.isnan(numbers()).all()
    program.from_device(bo)
    assert np.isnan(numbers()).all()
    assert bytes(bo.map()) != host


def test_without_a_sync_to_the_device_it_computes_with_old_data(program: Program) -> None:
    run = program.run()
    run.start()
    run.wait(1000)
    right = program.result()
    program.bos[0].map()[:] = bytes(program.what.nbytes[0])
    run.start()
    run.wait(1000)
    assert np.array_equal(program.result(), right)


def test_without_a_sync_from_the_device_the_host_sees_old_data(program: Program) -> None:
    run = program.run()
    run.start()
    run.wait(1000)
    assert np.isnan(program.peek()).all()
    program.to_device(program.bos[-1])  # the wrong direction: the result is lost
    assert np.isnan(program.result()).all()


def test_a_sync_of_a_part_leaves_the_rest(program: Program) -> None:
    run = program.run()
    run.start()
    run.wait(1000)
    program.from_device(program.bos[-1], 12 * 4, 12 * 4)
    seen = program.peek()
    assert np.array_equal(seen[1], program.expected[1])
    assert np.isnan(seen[[0, 2, 3]]).all()


def test_instructions_that_were_not_synced_are_none(program: Program, fake: FakeXrt) -> None:
    other = program.pyxrt.bo(
        program.device, program.nbytes, program.pyxrt.bo.cacheable, program.kernel.group_id(1)
    )
    other.map()[:] = stand_in_kernels.instructions(SMALL)
    run = program.run(_1=other)
    with misuse(fake, "was it synced"):
        run.start()


# --- While a run is under way -------------------------------------------------------------------------------


def test_nothing_of_a_started_run_may_be_touched(program: Program, fake: FakeXrt) -> None:
    run = program.run()
    run.start()
    with misuse(fake, "set_arg"):
        run.set_arg(3, program.bos[0])
    with misuse(fake, "start of a run that was started"):
        run.start()
    with misuse(fake, "sync to the device"):
        program.to_device(program.bos[0])
    with misuse(fake, "sync from the device of a result"):
        program.from_device(program.bos[2])
    program.from_device(program.bos[0])  # reading an operand harms nobody
    assert run.wait(1000) == 4
    assert np.array_equal(program.result(), program.expected)


def test_other_tiles_of_the_same_bo_may_be_synced(program: Program) -> None:
    nbytes = program.what.nbytes[0]
    root = program.data(2 * nbytes)
    run = program.run(_3=program.pyxrt.bo(root, nbytes, 0))
    run.start()
    program.to_device(root, nbytes, nbytes)
    run.wait(1000)


def test_writing_an_operand_under_way_is_noticed(program: Program, fake: FakeXrt) -> None:
    run = program.run()
    run.start()
    program.bos[1].map()[0] ^= 1
    with misuse(fake, "the host wrote to an operand"):
        run.wait(1000)


def test_two_runs_may_not_write_to_one_place(program: Program, fake: FakeXrt) -> None:
    first, second = program.run(), program.run()
    first.start()
    with misuse(fake, "writes where another"):
        second.start()
    first.wait(1000)


def test_a_result_may_not_lie_over_its_operand(program: Program, fake: FakeXrt) -> None:
    wide = program.data(program.what.nbytes[2])
    run = program.run(_3=wide, _5=wide)
    with misuse(fake, "over its own operand"):
        run.start()


def test_what_another_context_writes_may_not_be_read(
    pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path
) -> None:
    one, two = Program(pyxrt, tmp_path), Program(pyxrt, tmp_path, OTHER)
    first, second = one.run(), two.run(_3=one.bos[2])
    first.start()
    with misuse(fake, "of another context"):
        second.start()
    first.wait(1000)
    second.start()
    second.wait(1000)


def test_runs_of_one_context_execute_in_order(program: Program) -> None:
    later = program.data(program.what.nbytes[2])
    first, second = program.run(), program.run(_5=later)
    first.start()
    second.start()
    assert second.wait(1000) == 4
    assert first.wait(1000) == 4
    assert np.array_equal(program.result(), program.expected)


def test_a_run_may_not_be_destroyed_under_way(program: Program, fake: FakeXrt) -> None:
    run = program.run()
    run.start()
    del run
    assert fake.misuses == ["a run was destroyed while its command is in progress: XRT aborts the process"]
    fake.misuses.clear()


def test_a_bo_may_not_be_freed_under_way(program: Program, fake: FakeXrt) -> None:
    scratch = program.data(program.what.nbytes[2])
    run = program.run(_5=scratch)
    run.start()
    del scratch
    assert fake.misuses == ["a bo was freed while a started run uses it"]
    fake.misuses.clear()
    run.wait(1000)


# --- Arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_every_argument_must_be_set(program: Program, fake: FakeXrt, number: int) -> None:
    run = program.run(**{f"_{number}": None})
    with misuse(fake, f"argument {number} is"):
        run.start()


def test_the_opcode_must_be_right(program: Program, fake: FakeXrt) -> None:
    run = program.run(_0=2)
    with misuse(fake, "argument 0 is 2, not 3"):
        run.start()


@pytest.mark.parametrize(("divisor", "reason"), [(4, "64 bytes are no"), (0.5, "has 256 bytes of 512")])
def test_the_size_of_instructions_is_in_bytes(
    program: Program, fake: FakeXrt, divisor: float, reason: str
) -> None:
    run = program.run(_2=int(program.nbytes / divisor))
    with misuse(fake, reason):
        run.start()


@pytest.mark.parametrize("number", [3, 4, 5])
def test_a_bo_must_be_large_enough(program: Program, fake: FakeXrt, number: int) -> None:
    short = program.data(program.what.nbytes[number - 3] - 4)
    run = program.run(**{f"_{number}": short})
    with misuse(fake, f"argument {number} has"):
        run.start()


def test_arguments_must_be_of_their_kind(program: Program, fake: FakeXrt) -> None:
    run = program.run()
    with misuse(fake, "argument 0 is a number"):
        run.set_arg(0, program.bos[0])
    with misuse(fake, "argument 3 is a bo"):
        run.set_arg(3, 7)
    with misuse(fake, "argument 3 is a bo, not ndarray"):
        program.kernel(3, program.instructions, program.nbytes, np.zeros(4))
    with misuse(fake, "argument 1 must be a cacheable bo"):
        run.set_arg(1, program.bos[0])
    with misuse(fake, "argument 3 must be a host_only bo"):
        run.set_arg(3, program.instructions)
    with pytest.raises(IndexError, match="range_check"):
        run.set_arg(ARGUMENTS, program.bos[0])


@pytest.mark.parametrize("value", [1.0, "1", None, 2**31, -1])
def test_a_number_is_an_int_of_32_bits(program: Program, fake: FakeXrt, value: Any) -> None:
    run = program.run()
    with pytest.raises(TypeError, match="incompatible function arguments"):
        run.set_arg(2, value)
    fake.misuses.clear()
    run.set_arg(2, np.int64(program.nbytes))


def test_an_argument_too_many_is_refused(pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path) -> None:
    program = Program(pyxrt, tmp_path, PAIRS)
    run = program.run(_5=program.data(4))
    run.set_arg(5, program.bos[0])
    with misuse(fake, "argument 5 is set"):
        run.start()


def test_a_run_does_not_keep_its_bos(program: Program, fake: FakeXrt) -> None:
    run = program.run(_3=program.data(program.what.nbytes[0]))
    with misuse(fake, "argument 3: its bo is gone"):
        run.start()


def test_an_address_is_a_multiple_of_4(program: Program, fake: FakeXrt) -> None:
    part = program.pyxrt.bo(program.bos[1], 64, 2)
    with misuse(fake, "begins at byte 2"):
        program.run(_3=part)


def test_instructions_of_another_xclbin_are_refused(pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path) -> None:
    one, two = Program(pyxrt, tmp_path), Program(pyxrt, tmp_path, OTHER)
    run = pyxrt.run(one.kernel)
    for number, value in enumerate(two.arguments):
        run.set_arg(number, value)
    with misuse(fake, "another xclbin"):
        run.start()


def test_instructions_of_one_xclbin_share_a_context(pyxrt: ModuleType, tmp_path: Path) -> None:
    program = Program(pyxrt, tmp_path)
    (tmp_path / "both.xclbin").write_bytes(stand_in_kernels.xclbin(OTHER, SMALL))
    both = pyxrt.xclbin(str(tmp_path / "both.xclbin"))
    program.device.register_xclbin(both)
    program.kernel = pyxrt.kernel(pyxrt.hw_context(program.device, both.get_uuid()), "MLIR_AIE")
    run = program.run()
    run.start()
    assert run.wait(1000) == 4


# --- bos ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", ["normal", "device_only", "p2p", "svm"])
def test_other_flags_are_refused(program: Program, fake: FakeXrt, flags: str) -> None:
    with misuse(fake, f"flags {flags}"):
        program.pyxrt.bo(program.device, 64, getattr(program.pyxrt.bo, flags), program.kernel.group_id(3))


@pytest.mark.parametrize(("flags", "argument"), [("cacheable", 3), ("host_only", 1)])
def test_a_group_belongs_to_its_flags(program: Program, fake: FakeXrt, flags: str, argument: int) -> None:
    with misuse(fake, f"a {flags} bo in memory group"):
        group = program.kernel.group_id(argument)
        program.pyxrt.bo(program.device, 64, getattr(program.pyxrt.bo, flags), group)


@pytest.mark.parametrize("argument", [0, 2, ARGUMENTS])
def test_scalars_have_no_group(program: Program, fake: FakeXrt, argument: int) -> None:
    with misuse(fake, f"argument {argument} is no bo"):
        program.kernel.group_id(argument)


@pytest.mark.parametrize("size", [1.5, "64", None, -1])
def test_a_size_is_a_number_of_bytes(program: Program, fake: FakeXrt, size: Any) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        program.data(size)
    fake.misuses.clear()


def test_flags_are_no_numbers(program: Program, fake: FakeXrt) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        program.pyxrt.bo(program.device, 64, 1 << 29, 0)
    fake.misuses.clear()


def test_an_empty_bo_is_refused(program: Program, fake: FakeXrt) -> None:
    with misuse(fake, "0 bytes"):
        program.data(0)


@pytest.mark.parametrize(("size", "offset"), [(64, 4), (65, 0), (0, 0), (4, 64)])
def test_a_sub_bo_or_sync_lies_within_its_bo(program: Program, fake: FakeXrt, size: int, offset: int) -> None:
    root = program.data(64)
    with misuse(fake, f"a sub-bo of {size} bytes at {offset} in a bo of 64"):
        program.pyxrt.bo(root, size, offset)
    with misuse(fake, f"sync of {size} bytes at {offset} of a bo of 64"):
        program.to_device(root, size, offset)


def test_a_sync_of_a_sub_bo_stays_within_it(program: Program, fake: FakeXrt) -> None:
    part = program.pyxrt.bo(program.data(64), 16, 16)
    with misuse(fake, "sync of 32 bytes at 0 of a bo of 16"):
        program.to_device(part, 32, 0)


def test_a_sub_bo_of_a_sub_bo_is_refused(program: Program, fake: FakeXrt) -> None:
    part = program.pyxrt.bo(program.data(64), 32, 0)
    with misuse(fake, "derive it from the root"):
        program.pyxrt.bo(part, 16, 0)


def test_write_takes_contiguous_arrays(program: Program, fake: FakeXrt) -> None:
    bo = program.data(16)
    bo.write(np.arange(4, dtype=np.int32), 0)
    assert bo.read(16, 0).view(np.int32).tolist() == [0, 1, 2, 3]
    with misuse(fake, "ignores strides"):
        bo.write(np.arange(8, dtype=np.int32)[::2], 0)
    with misuse(fake, "write of 16 bytes at 4 of a bo of 16"):
        bo.write(np.arange(4, dtype=np.int32), 4)


def test_no_memory_when_asked_for(program: Program, fake: FakeXrt) -> None:
    fake.no_memory(at=2)
    kept = program.data(64)
    with pytest.raises(RuntimeError, match="Cannot allocate memory"):
        program.data(64)
    assert program.data(64).size() == kept.size()


def test_the_heap_of_cacheable_bos_ends_at_512_mib(program: Program) -> None:
    group, kind = program.kernel.group_id(1), program.pyxrt.bo.cacheable
    quarter = 128 << 20
    kept = [program.pyxrt.bo(program.device, quarter, kind, group) for _ in range(3)]
    with pytest.raises(RuntimeError, match="Cannot allocate memory"):
        program.pyxrt.bo(program.device, quarter, kind, group)  # 3 and the instructions are there
    kept.pop()
    assert program.pyxrt.bo(program.device, quarter, kind, group).size() == quarter


# --- Views --------------------------------------------------------------------------------------------------


def test_a_view_dies_with_its_bo(program: Program) -> None:
    bo = program.data(64)
    view = bo.map()
    del bo
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_an_array_over_a_dead_bo_shows_poison_and_is_counted(program: Program, fake: FakeXrt) -> None:
    bo = program.data(64)
    array = np.frombuffer(bo.map(), np.float32)
    array[:] = 1
    del bo
    assert np.isnan(array).all()
    assert fake.dangling_views() == 1
    assert fake.problems() == []  # it was not used
    array[3] = 1
    assert fake.problems() == ["a view from map() was written to after its bo was gone"]
    del array
    assert fake.dangling_views() == 0
    fake.misuses.clear()


def test_views_that_go_first_leave_nothing(program: Program, fake: FakeXrt) -> None:
    bo = program.data(64)
    array = np.frombuffer(bo.map(), np.float32)
    del array
    del bo
    assert fake.dangling_views() == 0


# --- Contexts and kernels -----------------------------------------------------------------------------------


def test_a_seventh_context_is_one_too_many(program: Program, fake: FakeXrt, tmp_path: Path) -> None:
    uuid = program.pyxrt.xclbin(str(tmp_path / "small.xclbin")).get_uuid()
    contexts = [program.pyxrt.hw_context(program.device, uuid) for _ in range(5)]
    with pytest.raises(RuntimeError, match="err=-22"):
        program.pyxrt.hw_context(program.device, uuid)
    contexts.pop()
    assert program.pyxrt.hw_context(program.device, uuid) is not None
    assert fake.pop_counts().contexts == 7


def test_an_xclbin_must_be_registered(program: Program, fake: FakeXrt, tmp_path: Path) -> None:
    (tmp_path / "other.xclbin").write_bytes(stand_in_kernels.xclbin(OTHER))
    xclbin = program.pyxrt.xclbin(str(tmp_path / "other.xclbin"))
    with misuse(fake, "is registered"):
        program.pyxrt.hw_context(program.device, xclbin.get_uuid())


def test_a_file_must_be_an_xclbin(pyxrt: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        pyxrt.xclbin(str(tmp_path / "none"))
    (tmp_path / "text").write_text("no xclbin")
    with pytest.raises(RuntimeError, match="contain header"):
        pyxrt.xclbin(str(tmp_path / "text"))


def test_paths_are_strings(pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        pyxrt.xclbin(tmp_path / "small.xclbin")
    fake.misuses.clear()


def test_the_old_flow_is_not_supported(program: Program, fake: FakeXrt) -> None:
    with misuse(fake, "Operation not supported"):
        program.device.load_xclbin("small.xclbin")
    with misuse(fake, "Operation not supported"):
        program.pyxrt.kernel(program.device, program.pyxrt.uuid("0"), "MLIR_AIE")


def test_there_is_one_device_and_one_kernel(program: Program) -> None:
    with pytest.raises(RuntimeError, match="No such device with index '1'"):
        program.pyxrt.device(1)
    with pytest.raises(RuntimeError, match="No such kernel 'matmul'"):
        program.pyxrt.kernel(program.context, "matmul")


# --- Waiting and faults -------------------------------------------------------------------------------------


def test_a_run_that_was_not_started_cannot_be_waited_for(program: Program, fake: FakeXrt) -> None:
    with misuse(fake, "not started"):
        program.run().wait(1000)


@pytest.mark.parametrize("fault", [Fault.ABORT, Fault.ERROR])
def test_wait_returns_a_failure_and_wait2_raises_it(program: Program, fake: FakeXrt, fault: Fault) -> None:
    fake.inject(fault, at=2)
    run = program.run()
    for state in ("COMPLETED", fault.name, "COMPLETED"):
        run.start()
        assert run.wait(1000).name == f"ERT_CMD_STATE_{state}"
        assert np.isnan(program.result()).all() == (state != "COMPLETED")
    fake.inject(fault)
    run.start()
    with pytest.raises(RuntimeError, match=fault.name):
        run.wait2()


@pytest.mark.parametrize("fault", [Fault.ZEROS, Fault.GARBAGE])
def test_a_wrong_result_completes(program: Program, fake: FakeXrt, fault: Fault) -> None:
    fake.inject(fault, lasting=True)
    for _ in range(2):
        run = program.run()
        run.start()
        assert run.wait(1000) == 4
        c = program.result()
        assert np.isfinite(c).all()
        assert not np.array_equal(c, program.expected)
        assert c.any() == (fault is Fault.GARBAGE)
    fake.heal()
    run.start()
    run.wait(1000)
    assert np.array_equal(program.result(), program.expected)


@pytest.mark.parametrize("fault", [Fault.ZEROS, Fault.GARBAGE])
@pytest.mark.parametrize("elements", [slice(1), slice(-12, None), slice(5, 7)])
def test_a_part_of_a_result_may_be_wrong(
    program: Program, fake: FakeXrt, fault: Fault, elements: slice
) -> None:
    fake.inject(fault, part=Part(0, elements))
    run = program.run()
    run.start()
    assert run.wait(1000) == 4
    c, right = program.result().ravel().copy(), program.expected.ravel()
    assert np.isfinite(c).all()
    assert (c[elements] != right[elements]).any()
    assert c[elements].any() == (fault is Fault.GARBAGE)
    c[elements] = right[elements]
    assert np.array_equal(c, right)


def test_a_timeout_leaves_a_run_that_nobody_can_use_or_destroy(
    pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path
) -> None:
    program = Program(pyxrt, tmp_path)
    fake.inject(Fault.TIMEOUT)
    run = program.run()
    run.start()
    assert run.wait(5) == pyxrt.ert_cmd_state.ERT_CMD_STATE_TIMEOUT
    assert run.state() == 1  # still in progress
    with misuse(fake, "started and not waited for"):
        run.start()
    with misuse(fake, "for ever"):
        run.wait()
    with misuse(fake, "sync from the device of a result"):
        program.result()

    place = program.data(program.what.nbytes[2])
    later = program.run(_5=place)
    later.start()
    assert later.wait(5).name == "ERT_CMD_STATE_TIMEOUT"  # the context hangs

    fresh = Program(pyxrt, tmp_path)
    run_of_another_context = fresh.run()
    run_of_another_context.start()
    assert run_of_another_context.wait(5) == 4

    del later
    assert "XRT aborts the process" in fake.misuses.pop(0)
    fake.misuses.clear()
    kept_for_ever(fake, program, run)


def test_a_timeout_may_also_be_raised_when_its_time_is_up(program: Program, fake: FakeXrt) -> None:
    fake.sync_objects = True
    fake.inject(Fault.TIMEOUT)
    run = program.run()
    run.start()
    start = perf_counter()
    with pytest.raises(RuntimeError, match="unexpected command state"):
        run.wait(20)
    assert perf_counter() - start >= 0.02
    assert run.state() == 1
    fake.gone = True
    with pytest.raises(RuntimeError, match="unexpected command state"):
        run.wait(1)
    kept_for_ever(fake, program, run)


def test_a_driver_that_ends_a_run_aborts_what_is_behind_it(program: Program, fake: FakeXrt) -> None:
    place = program.data(program.what.nbytes[2])
    first, second = program.run(), program.run(_5=place)
    fake.inject(Fault.ENDED)
    first.start()
    second.start()
    assert first.wait(1000).name == "ERT_CMD_STATE_TIMEOUT"
    assert second.wait(1000).name == "ERT_CMD_STATE_ABORT"
    assert np.isnan(program.result()).all()
    first.start()
    assert first.wait(1000) == 4
    assert np.array_equal(program.result(), program.expected)


def test_a_node_that_vanishes_fails_every_call(program: Program, fake: FakeXrt) -> None:
    place = program.data(program.what.nbytes[2])
    before, run = program.run(_5=place), program.run()
    fake.inject(Fault.GONE, at=2)
    before.start()
    calls = [run.start, lambda: before.wait(1), lambda: program.data(64), lambda: program.pyxrt.device(0)]
    for call in calls:
        with pytest.raises(RuntimeError, match="No such device"):
            call()
    assert program.pyxrt.enumerate_devices() == 0
    fake.heal()
    assert before.wait(1) == 4


# --- Run lists ----------------------------------------------------------------------------------------------


def listed(program: Program, count: int) -> tuple[Any, list[Any], list[Any]]:
    """A run list of `count` runs that each have a place for C; its runs; the places."""
    places = [program.data(program.what.nbytes[2]) for _ in range(count)]
    runs = [program.run(_5=place) for place in places]
    runlist = program.pyxrt.runlist(program.context)
    for run in runs:
        runlist.add(run)
    return runlist, runs, places


def results(program: Program, places: list[Any]) -> list[F32]:
    for place in places:
        program.from_device(place)
    return [np.frombuffer(bytes(place.map()), np.float32).reshape(4, 12) for place in places]


def test_a_list_computes_all_its_products_any_number_of_times(program: Program, fake: FakeXrt) -> None:
    runlist, _, places = listed(program, 30)
    for _ in range(2):
        runlist.execute()
        runlist.wait()
        assert all(np.array_equal(c, program.expected) for c in results(program, places))
    counts = fake.pop_counts()
    assert (counts.lists, counts.dispatches) == (2, 60)


def test_a_single_run_after_a_list_ends_after_it(program: Program) -> None:
    runlist, _, places = listed(program, 3)
    last = program.run()
    runlist.execute()
    last.start()
    assert last.wait(1000) == 4
    runlist.wait()
    assert all(np.array_equal(c, program.expected) for c in results(program, places))


def test_the_first_failure_of_a_list_is_raised_and_later_runs_count_as_aborted(
    program: Program, fake: FakeXrt
) -> None:
    runlist, runs, places = listed(program, 4)
    fake.inject(Fault.ERROR, at=2)
    runlist.execute()
    with pytest.raises(RuntimeError, match="ERT_CMD_STATE_ERROR"):
        runlist.wait()
    states = [run.state().name.removeprefix("ERT_CMD_STATE_") for run in runs]
    assert states == ["NEW", "ERROR", "ABORT", "ABORT"]
    first, *others = results(program, places)
    assert np.array_equal(first, program.expected)
    assert all(np.isnan(c).all() for c in others)
    runlist.execute()
    runlist.wait()
    assert all(np.array_equal(c, program.expected) for c in results(program, places))


def test_a_list_that_times_out_raises(program: Program, fake: FakeXrt) -> None:
    runlist, _, _ = listed(program, 2)
    fake.inject(Fault.TIMEOUT)
    runlist.execute()
    with pytest.raises(RuntimeError, match="ERT_CMD_STATE_TIMEOUT"):
        runlist.wait()


def test_a_list_that_runs_takes_no_orders(program: Program, fake: FakeXrt) -> None:
    runlist, runs, places = listed(program, 2)
    runlist.execute()
    with misuse(fake, "idle before adding"):
        runlist.add(program.run())
    with misuse(fake, "idle before submitting"):
        runlist.execute()
    with misuse(fake, "set_arg"):
        runs[0].set_arg(5, places[0])
    with misuse(fake, "result that was not waited for"):
        program.from_device(places[1])
    with misuse(fake, "wait for the list"):
        runs[0].wait(1000)
    runlist.wait()
    assert runs[0].state() == 1  # nobody touches it
    runs[0].set_arg(5, places[0])


def test_a_run_of_a_list_is_not_started_alone(program: Program, fake: FakeXrt) -> None:
    runlist, runs, _ = listed(program, 1)
    with misuse(fake, "belongs to a runlist"):
        runs[0].start()
    del runlist
    runs[0].start()
    runs[0].wait(1000)


def test_a_list_takes_runs_of_its_context(pyxrt: ModuleType, fake: FakeXrt, tmp_path: Path) -> None:
    one, two = Program(pyxrt, tmp_path), Program(pyxrt, tmp_path, OTHER)
    with misuse(fake, "its own context"):
        pyxrt.runlist(one.context).add(two.run())
    with misuse(fake, "without a context"):
        pyxrt.runlist().add(one.run())


def test_a_run_is_once_in_a_list(program: Program, fake: FakeXrt) -> None:
    runlist, runs, _ = listed(program, 1)
    runlist.add(runs[0])
    with misuse(fake, "twice"):
        runlist.execute()


def test_a_list_that_is_not_submitted_is_not_submitted_in_parts(program: Program, fake: FakeXrt) -> None:
    runlist, runs, places = listed(program, 30)
    fake.inject(Fault.GONE, at=27)
    with pytest.raises(RuntimeError, match="No such device"):
        runlist.execute()
    assert fake.pop_counts().dispatches == 24
    with pytest.raises(RuntimeError, match="No such device"):
        runlist.wait()  # for the 24 that were
    assert [run.state() for run in runs] == [1] * 30
    fake.heal()
    runlist.wait()
    computed = [not np.isnan(c).any() for c in results(program, places)]
    assert computed == [True] * 24 + [False] * 6


def test_nothing_is_to_be_waited_for_where_nothing_was_submitted(program: Program, fake: FakeXrt) -> None:
    runlist, _, _ = listed(program, 3)
    fake.inject(Fault.GONE, at=2)
    with pytest.raises(RuntimeError, match="No such device"):
        runlist.execute()
    with misuse(fake, "idle before adding"):
        runlist.add(program.run())
    runlist.wait()
    runlist.add(program.run())


def test_a_list_is_waited_for_before_it_is_destroyed(program: Program, fake: FakeXrt) -> None:
    runlist, _, _ = listed(program, 1)
    runlist.execute()
    del runlist
    assert fake.misuses[0] == "a runlist was destroyed before it was waited for"
    fake.misuses.clear()


@pytest.mark.parametrize("timeout", [1000, 1.0])
def test_no_wait_of_a_list_takes_a_time(program: Program, fake: FakeXrt, timeout: float) -> None:
    runlist, runs, _ = listed(program, 1)
    for wait in (runlist.wait, runs[0].wait2):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            wait(timeout)
    fake.misuses.clear()
    assert not hasattr(runlist, "reset")
