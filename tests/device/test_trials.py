"""The first run of built kernels on a machine: from small to large, and on record before it begins."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.contracts import MATMUL_64X512, SMALL, SMALL_F32, SMALL_NORM
from tests.support.fake_pyxrt import FakeXrt, Fault
from tests.support.npu import opened_npu
from tests.support.products import Multiply
from tests.support.stand_in_kernels import Memory, Work
from whisper_npu.errors import DeviceError, DispatchError, NoAnswerError, TrialLostError
from whisper_npu.kernels.matmul.kernel import MatmulContract, TiledMatmul, tiled_plan
from whisper_npu.npu.contract import Contract, in_order_of_trial
from whisper_npu.npu.planner import Choice
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.trials import Trial, Trials
from whisper_npu.ops import Matmul

ROOT = Path(__file__).parents[2]
TALL = replace(SMALL, name="matmul_16x24", m=16)
CONTRACTS = (SMALL, SMALL_F32, SMALL_NORM, TALL, MATMUL_64X512)


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


def trials_in(folder: Path, boot: str = "this") -> Trials:
    return Trials(folder / "trials", boot)


def states(folder: Path) -> dict[str, str]:
    """Of each kernel on record."""
    files = (folder / "trials").glob("*.json")
    documents = [json.loads(file.read_text()) for file in files]
    return {document["kernel"]: document["state"] for document in documents}


def load(folder: Path, fake: FakeXrt, contract: Contract, boot: str = "this") -> None:
    """In a process of its own, as far as the device knows."""
    with opened_npu(folder, fake, CONTRACTS, timeout_seconds=0.02, boot=boot) as npu:
        npu.load(contract)


# --- The order ----------------------------------------------------------------------------------------------


def test_the_order_is_cores_then_tasks_then_bytes() -> None:
    @dataclass(frozen=True)
    class OfTasks(MatmulContract):
        tasks: int = 0  # type: ignore[assignment]
        __hash__ = MatmulContract.__hash__

    def contract(cores: int, tasks: int, m: int) -> Contract:
        return OfTasks(f"{cores} {tasks} {m}", NPU1, m, 12, 24, cores, tasks=tasks)

    ordered = [
        contract(*size) for size in ((1, 4, 8), (1, 4, 16), (1, 9, 4), (16, 3, 8), (16, 3, 9), (16, 64, 2))
    ]
    assert in_order_of_trial(reversed(ordered)) == tuple(ordered)


def test_what_a_run_needs_is_tried_in_that_order(fake: FakeXrt, tmp_path: Path) -> None:
    """The first that hangs is the smallest, and nothing larger was submitted."""
    op = Matmul(100, 100, 100)
    choice = Choice(
        (TiledMatmul(MATMUL_64X512), TiledMatmul(SMALL)), plans={op: tiled_plan(op, MATMUL_64X512)}
    )
    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.02) as npu:
        fake.inject(Fault.TIMEOUT)
        with pytest.raises(NoAnswerError, match=f"{SMALL.name}: dispatch 1 of 1"):
            npu.prepared([op], choice)
        assert states(tmp_path) == {SMALL.name: "running"}


# --- What stays on record -----------------------------------------------------------------------------------


def test_a_kernel_is_on_disk_before_its_first_dispatch_and_passes_once(fake: FakeXrt, tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def watch(what: Work, data: list[Memory]) -> None:
        seen.append(states(tmp_path))
        assert not trials_in(tmp_path).lost()  # it runs
        what.compute(*data)

    fake.compute_by(watch)
    load(tmp_path, fake, SMALL)
    assert seen == [{SMALL.name: "running"}]
    assert states(tmp_path) == {SMALL.name: "passed"}
    load(tmp_path, fake, SMALL)
    assert seen[1:] == [{SMALL.name: "passed"}]


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.WEDGED])
def test_a_kernel_that_does_not_come_back_is_named_and_not_tried_again(
    fake: FakeXrt, tmp_path: Path, fault: Fault
) -> None:
    fake.inject(fault)
    with pytest.raises(NoAnswerError, match=SMALL.name):
        load(tmp_path, fake, SMALL)
    (lost,) = trials_in(tmp_path).lost()
    assert lost.kernel == SMALL.name
    fake.heal()
    fake.pop_counts()
    with pytest.raises(TrialLostError, match=rf"{SMALL.name} \(.*\), did not come back: reboot first"):
        load(tmp_path, fake, SMALL_F32)  # it would be blamed
    with pytest.raises(TrialLostError, match=rf"trial of {SMALL.name} \(.*\) did not come back"):
        load(tmp_path, fake, SMALL)
    for _ in range(2):
        with pytest.raises(TrialLostError, match=f"the last trial of {SMALL.name} .* did not come back"):
            load(tmp_path, fake, SMALL, boot="the next")
    assert fake.pop_counts().dispatches == 0
    load(tmp_path, fake, SMALL_F32, boot="the next")
    trials_in(tmp_path).forget_lost()
    load(tmp_path, fake, SMALL, boot="the next")
    assert states(tmp_path) == {SMALL.name: "passed", SMALL_F32.name: "passed"}


def test_a_context_that_does_not_come_back_is_on_record(fake: FakeXrt, tmp_path: Path) -> None:
    fake.wedge_at_contexts()
    with pytest.raises(NoAnswerError, match=f"{SMALL.name}: opening a hw_context"):
        load(tmp_path, fake, SMALL)
    assert [trial.kernel for trial in trials_in(tmp_path).lost()] == [SMALL.name]


def test_one_that_has_passed_is_taken_whatever_else_was_lost(fake: FakeXrt, tmp_path: Path) -> None:
    load(tmp_path, fake, SMALL_NORM)
    fake.inject(Fault.TIMEOUT)
    with pytest.raises(NoAnswerError):
        load(tmp_path, fake, SMALL)
    load(tmp_path, fake, SMALL_NORM)
    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.02) as npu:
        npu.load(SMALL_NORM)
        assert states(tmp_path)[SMALL.name] == "running"


def test_a_hang_after_the_trial_is_no_trial(fake: FakeXrt, tmp_path: Path) -> None:
    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.02) as npu:
        multiply = Multiply(npu, SMALL)
        fake.inject(Fault.TIMEOUT)
        with pytest.raises(NoAnswerError):
            multiply(np.ones((8, 12), np.float32), np.ones((12, 24), np.float32))
        multiply(np.ones((8, 12), np.float32), np.ones((12, 24), np.float32))
    assert states(tmp_path) == {SMALL.name: "passed"}


@pytest.mark.parametrize("fault", [Fault.ABORT, Fault.ERROR, Fault.ZEROS])
def test_a_kernel_that_fails_otherwise_came_back(fake: FakeXrt, tmp_path: Path, fault: Fault) -> None:
    fake.inject(fault)
    with pytest.raises(DispatchError):
        load(tmp_path, fake, SMALL)
    assert states(tmp_path) == {}
    fake.no_memory()
    with pytest.raises(DeviceError):
        load(tmp_path, fake, SMALL)
    assert states(tmp_path) == {}
    load(tmp_path, fake, SMALL)


def test_another_build_is_tried_anew(fake: FakeXrt, tmp_path: Path) -> None:
    trials = trials_in(tmp_path)
    with pytest.raises(NoAnswerError), trials.of("a", "first build"):
        raise NoAnswerError
    with trials_in(tmp_path, "the next").of("a", "second build"):
        pass
    with pytest.raises(TrialLostError), trials_in(tmp_path, "the next").of("a", "first build"):
        pass


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_during_a_hang_leaves_the_trial_on_record(
    fake: FakeXrt, tmp_path: Path, ends: type[BaseException]
) -> None:
    """It comes before the device can tell that nothing answers."""

    def interrupt(what: Work, data: list[Memory]) -> None:
        raise ends

    fake.compute_by(interrupt)
    with pytest.raises(ends):
        load(tmp_path, fake, SMALL)
    assert [trial.kernel for trial in trials_in(tmp_path).lost()] == [SMALL.name]
    fake.heal()
    with pytest.raises(TrialLostError, match="or it was interrupted"):
        load(tmp_path, fake, SMALL)


def test_the_record_is_on_disk_before_anything_is_dispatched(
    fake: FakeXrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text first, then its name in the folder: a machine that hangs writes nothing more."""
    synced: list[tuple[str, dict[str, str], int]] = []
    fsync = os.fsync

    def watch(file: int) -> None:
        number = os.fstat(file).st_ino
        place = next(path for path in tmp_path.rglob("*") if path.stat().st_ino == number)
        text = json.loads(place.read_text())["state"] if place.is_file() else "folder"
        synced.append((text, states(tmp_path), fake.counts.dispatches))
        fsync(file)

    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.02) as npu:
        monkeypatch.setattr(os, "fsync", watch)
        npu.load(SMALL)
    running = {SMALL.name: "running"}
    assert synced[:2] == [("running", {}, 0), ("folder", running, 0)]
    assert [(text, on_record) for text, on_record, _ in synced[2:]] == [
        ("passed", running),
        ("folder", {SMALL.name: "passed"}),
    ]
    assert fake.counts.dispatches == 1


def test_a_disk_that_fails_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered then; and no lock is left for which the next write would wait."""

    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    for _ in range(2):
        with trials_in(tmp_path).of("a", "0"):
            pass
    assert trials_in(tmp_path).lost() == ()


DIES = """
import os, sys
from pathlib import Path
from whisper_npu.npu.trials import Trials
with Trials(Path(sys.argv[1]) / "trials", "this").of("matmul_dies", "0"):
    os._exit(1)
"""


def test_a_process_that_ends_in_its_trial_leaves_it_on_record(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=ROOT).returncode == 1
    assert [trial.kernel for trial in trials_in(tmp_path).lost()] == ["matmul_dies"]


def test_the_last_lost_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "trials"
    folder.mkdir()
    for number, started in enumerate(["2026-05-01 10:00:00", "2026-05-02 10:00:00", "2026-04-01 10:00:00"]):
        trial = {"kernel": f"k{number}", "state": "running", "started": started, "boot": "x"}
        (folder / f"{number}.json").write_text(json.dumps(trial))
    for name, content in {"a": "{", "b": "[]", "c": '{"kernel": 1}'}.items():
        (folder / f"{name}.json").write_text(content)
    assert [trial.kernel for trial in trials_in(tmp_path).lost()] == ["k1", "k0", "k2"]
    assert str(trials_in(tmp_path).lost()[0]) == "k1 (2026-05-02 10:00:00)"
    assert Trial("k", "running", "today", "x") != trials_in(tmp_path).lost()[0]


def test_a_folder_that_cannot_be_written_remembers_nothing(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a file")
    with trials_in(tmp_path).of("a", "0"):
        pass
    with pytest.raises(NoAnswerError), trials_in(tmp_path).of("a", "0"):
        raise NoAnswerError
    assert trials_in(tmp_path).lost() == ()
