"""Every fault of a device at every stage: what is said, that nothing leaks, and that the device goes on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.contracts import SMALL, SMALL_PAIRS
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.npu import opened_npu
from tests.support.products import Multiply
from whisper_npu.dtypes import F32
from whisper_npu.errors import DeviceError, PlanError, TrialLostError
from whisper_npu.kernels.matmul.kernel import MatmulContract
from whisper_npu.npu.device import Device
from whisper_npu.npu.xrt import runs
from whisper_npu.ops import Attention, Matmul, Softmax

OP = Matmul(40, 30, 80)
ETIME, EIO = "(err=-62): Timer expired", "(err=-5): Input/output error"


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


def operands(op: Matmul = OP) -> tuple[F32, F32]:
    rng = np.random.default_rng(0)
    return tuple(rng.integers(-8, 9, o.shape).astype(np.float32) for o in op.inputs)  # type: ignore[return-value]


def wedged_by(reason: str) -> Callable[[FakeXrt, int], None]:
    def inject(fake: FakeXrt, at: int) -> None:
        fake.wedged_by = reason
        fake.inject(Fault.WEDGED, at=at)

    return inject


def fault(kind: Fault) -> Callable[[FakeXrt, int], None]:
    return lambda fake, at: fake.inject(kind, at=at)


FAULTS = {
    "timeout": (fault(Fault.TIMEOUT), "TIMEOUT .*--timeout"),
    "ended": (fault(Fault.ENDED), "TIMEOUT .*--timeout"),
    "abort": (fault(Fault.ABORT), "ABORT: .*whisper-npu doctor"),
    "error": (fault(Fault.ERROR), "ERROR: .*whisper-npu doctor"),
    "ETIME": (wedged_by(ETIME), "Timer expired; the NPU's firmware hangs: reboot"),
    "EIO": (wedged_by(EIO), "Input/output error; the NPU's firmware hangs: reboot"),
    "gone": (fault(Fault.GONE), "the NPU is gone: reload its driver"),
    "zeros": (fault(Fault.ZEROS), "(cannot be right|answers a known .* with zeros).*doctor"),
    "garbage": (fault(Fault.GARBAGE), "(cannot be right|answers a known .* with another result).*doctor"),
}
STAGES = ("the known answer", "the first dispatch", "the middle", "the last dispatch")


@pytest.mark.parametrize("contract", [SMALL, SMALL_PAIRS], ids=lambda contract: contract.name)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_dispatch(
    fake: FakeXrt, tmp_path: Path, name: str, stage: str, contract: MatmulContract
) -> None:
    """With SMALL_PAIRS the last dispatch is a packed batch's, of fewer pairs than it could hold."""
    inject, said = FAULTS[name]
    a, b = operands()
    with opened_npu(tmp_path, fake, [contract], timeout_seconds=0.05) as npu:
        prepare = Multiply(npu, contract) if stage != STAGES[0] else None
        dispatches = 1
        if prepare is not None:
            plan = prepare.device.plan(OP)
            assert plan is not None
            dispatches = plan.dispatches
        at = {STAGES[2]: (dispatches + 1) // 2, STAGES[3]: dispatches}.get(stage, 1)
        inject(fake, at)
        with pytest.raises(DeviceError, match=said) as caught:
            (prepare or Multiply(npu, contract))(a, b)
        assert contract.name in str(caught.value)
        assert "\n" not in str(caught.value)
        if name != "gone":  # which is for good
            fake.heal()
        hung = name in ("timeout", "ETIME", "EIO", "gone")  # such a context is the driver's to free
        assert hung or fake.alive()["hw_context"] == 0
        if stage == STAGES[0] and name in ("timeout", "ended", "ETIME", "EIO"):
            with pytest.raises(TrialLostError, match="did not come back"):
                Multiply(npu, contract)
        elif name == "gone":
            with pytest.raises(DeviceError, match="the NPU is gone"):
                Multiply(npu, contract)(a, b)
        else:
            assert np.array_equal(Multiply(npu, contract)(a, b), a @ b)  # and the device goes on
    del npu, prepare, caught
    gc.collect()
    assert hung or fake.alive()["hw_context"] == 0
    assert hung or +fake.alive() == {}


@pytest.mark.parametrize("reason", ["gone", "memory"])
def test_a_fault_while_a_weight_is_staged(fake: FakeXrt, tmp_path: Path, reason: str) -> None:
    a, b = operands()
    with opened_npu(tmp_path, fake, [SMALL]) as npu:
        multiply = Multiply(npu, SMALL)
        if reason == "gone":
            fake.gone = True
        else:
            fake.no_memory()
        with pytest.raises(
            DeviceError, match="the NPU is gone" if reason == "gone" else "ulimit -l"
        ) as caught:
            multiply.stage(b)
        assert "writing (30,80) bf16" in str(caught.value)
        fake.heal()
        assert np.array_equal(multiply(a, multiply.stage(b)), a @ b)


@pytest.mark.parametrize("kind", ["gone", "wedged", "hung"])
def test_a_fault_before_the_device_is_closed(fake: FakeXrt, tmp_path: Path, kind: str) -> None:
    """Closing says nothing and waits for nothing that does not come."""
    a, b = operands()
    npu = opened_npu(tmp_path, fake, [SMALL], timeout_seconds=0.05)
    multiply = Multiply(npu, SMALL)
    if kind == "hung":
        fake.inject(Fault.TIMEOUT, at=3)
        with pytest.raises(DeviceError):
            multiply(a, b)
    fake.gone, fake.wedged = kind == "gone", kind == "wedged"
    npu.close()
    npu.close()
    with pytest.raises(DeviceError, match="the device was closed"):
        multiply(a, b)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_ctrl_c_in_the_middle_of_a_product(
    fake: FakeXrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    a, b = operands(Matmul(80, 60, 240))
    with opened_npu(tmp_path, fake, [SMALL]) as npu:
        multiply = Multiply(npu, SMALL)
        wait, waits = runs.Submission.wait, []

        def interrupted(self: runs.Submission, timeout_ms: int) -> runs.Failure | None:
            waits.append(timeout_ms)
            if len(waits) == after:
                raise KeyboardInterrupt
            return wait(self, timeout_ms)

        with monkeypatch.context() as patch:
            patch.setattr(runs.Submission, "wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                multiply(a, b)
        gc.collect()
        assert fake.alive()["hw_context"] == 0  # what ran was waited for, and its context closed
        assert np.array_equal(multiply(a, b), a @ b)


def test_closing_waits_for_a_product_of_another_thread(
    fake: FakeXrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = operands(Matmul(80, 60, 240))
    npu = opened_npu(tmp_path, fake, [SMALL])
    multiply = Multiply(npu, SMALL)
    at_work, go_on = threading.Event(), threading.Event()
    wait = runs.Submission.wait

    def slow(self: runs.Submission, timeout_ms: int) -> runs.Failure | None:
        at_work.set()
        go_on.wait(60)
        return wait(self, timeout_ms)

    monkeypatch.setattr(runs.Submission, "wait", slow)
    done: list[F32 | DeviceError] = []

    def work() -> None:
        try:
            done.append(multiply(a, b))
        except DeviceError as error:
            done.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert at_work.wait(60)
    closer = threading.Thread(target=npu.close)
    closer.start()
    go_on.set()
    worker.join(60)
    closer.join(60)
    assert not worker.is_alive()
    assert not closer.is_alive()
    (result,) = done  # whole, or an error that says so: never a part
    assert "closed" in str(result) if isinstance(result, DeviceError) else np.array_equal(result, a @ b)
    assert fake.alive()["hw_context"] == 0


def test_a_mask_that_leaves_no_key_is_refused(device: Device) -> None:
    """Softmax over nothing would be NaN."""
    op = Attention(9, 12, 3, masked=True)
    y = np.full((9, 12), 7, np.float32)
    qkv = np.ones((9, 36), np.float32)
    with pytest.raises(PlanError, match="mask of attention leaves no key: at least one must not be 0"):
        device.run(op, {"qkv": qkv, "mask": np.zeros(9, np.float32), "y": y})
    assert (y == 7).all()
    scores = np.ones((4, 5), np.float32)
    with pytest.raises(PlanError, match="mask of softmax leaves no key"):
        device.run(Softmax(1, 4, 5, masked=True), {"scores": scores, "mask": np.zeros(5, np.float32)})
